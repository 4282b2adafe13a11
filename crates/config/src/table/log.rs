//! Partition logs: directories, segments, flushing, retention, compaction, limits of batches.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { LOG: Broker;
    done "compression.gzip.level": Int = "-1", BetweenOr(1, 9, -1), Medium, ClusterWide;
        "Level used when batches are compressed with gzip."
    done "compression.lz4.level": Int = "9", Between(1, 17), Medium, ClusterWide;
        "Level used when batches are compressed with lz4."
    done "compression.type": String = "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide;
        "Codec of stored batches; producer keeps what the producer chose."
    done "compression.zstd.level": Int = "3", Between(-131_072, 22), Medium, ClusterWide;
        "Level used when batches are compressed with zstd."
    done "cordoned.log.dirs": List = "", Any, Medium, PerBroker;
        "Data directories that get no new partitions."
    accepted "log.cleaner.backoff.ms": Long = "15000", AtLeast(0), Medium, ClusterWide;
        "How long an idle compactor sleeps."
    accepted "log.cleaner.dedupe.buffer.size": Long = "134217728", Any, Medium, ClusterWide;
        "Memory all compactor threads share for their key maps."
    accepted "log.cleaner.delete.retention.ms": Long = "86400000", AtLeast(0), Medium, ClusterWide;
        "How long delete markers stay in a compacted topic."
    accepted "log.cleaner.enable": Boolean = "true", Any, Medium, ReadOnly;
        "Runs the compactor."
    accepted "log.cleaner.io.buffer.load.factor": Double = "0.9", Any, Medium, ClusterWide;
        "How full the compactor's key map may get."
    accepted "log.cleaner.io.buffer.size": Int = "524288", AtLeast(0), Medium, ClusterWide;
        "Memory of the compactor's read and write buffers."
    accepted "log.cleaner.io.max.bytes.per.second": Double = "1.7976931348623157E308", Any, Medium, ClusterWide;
        "Bytes per second the compactor may read and write."
    accepted "log.cleaner.max.compaction.lag.ms": Long = "9223372036854775807", AtLeast(1), Medium, ClusterWide;
        "Longest time a record stays uncompacted."
    accepted "log.cleaner.min.cleanable.ratio": Double = "0.5", Between(0, 1), Medium, ClusterWide;
        "Share of uncompacted bytes that starts a compaction."
    accepted "log.cleaner.min.compaction.lag.ms": Long = "0", AtLeast(0), Medium, ClusterWide;
        "Shortest time a record stays uncompacted."
    accepted "log.cleaner.threads": Int = "1", AtLeast(0), Medium, ClusterWide;
        "Threads of the compactor."
    accepted "log.cleanup.policy": List = "delete", ListOf(&["compact", "delete"]), Medium, ClusterWide;
        "What happens to old records: delete, compact, both, or nothing when empty. So far a compacted topic refuses records without a key, and that is all."
    done "log.dir": List = "/tmp/kafka-logs", NonEmptyList, High, ReadOnly;
        "Data directory when log.dirs is not set."
    done "log.dir.failure.timeout.ms": Long = "30000", AtLeast(1), Low, ReadOnly;
        "The process ends when a failed directory cannot be reported for this long."
    done "log.dirs": List = null, NonEmptyList, High, ReadOnly;
        "Data directories, separated by commas."
    done "log.flush.interval.messages": Long = "9223372036854775807", AtLeast(1), High, ClusterWide;
        "Records a partition takes before it is synced to disk."
    done "log.flush.interval.ms": Long = null, Any, High, ClusterWide;
        "Longest time records stay unsynced; without it, log.flush.scheduler.interval.ms."
    accepted "log.flush.offset.checkpoint.interval.ms": Int = "60000", AtLeast(0), High, ReadOnly;
        "How often the recovery points are written."
    done "log.flush.scheduler.interval.ms": Long = "9223372036854775807", Any, High, ReadOnly;
        "How often unsynced records are looked for."
    accepted "log.flush.start.offset.checkpoint.interval.ms": Int = "60000", AtLeast(0), High, ReadOnly;
        "How often the log start offsets are written."
    done "log.index.interval.bytes": Int = "4096", AtLeast(0), Medium, ClusterWide;
        "Bytes of log between two index entries."
    done "log.index.size.max.bytes": Int = "10485760", AtLeast(4), Medium, ClusterWide;
        "Index size at which a segment is sealed."
    accepted "log.initial.task.delay.ms": Long = "30000", AtLeast(0), Low, ReadOnly, internal;
        "Wait after start before the log's housekeeping begins."
    accepted "log.local.retention.bytes": Long = "-2", AtLeast(-2), Medium, ClusterWide;
        "Tiered: bytes kept locally, -2 for the same as log.retention.bytes."
    accepted "log.local.retention.ms": Long = "-2", AtLeast(-2), Medium, ClusterWide;
        "Tiered: time records are kept locally, -2 for the same as log.retention.ms."
    done "log.message.timestamp.after.max.ms": Long = "3600000", AtLeast(0), Medium, ClusterWide;
        "How far in the future a producer's timestamp may be."
    done "log.message.timestamp.before.max.ms": Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide;
        "How far in the past a producer's timestamp may be."
    done "log.message.timestamp.type": String = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide;
        "Whether records carry the producer's time or the time they were appended."
    done "log.preallocate": Boolean = "false", Any, Medium, ClusterWide;
        "Reserves a segment's space when it is created."
    accepted "log.remote.copy.lag.bytes": Long = "-1", AtLeast(-1), Medium, ClusterWide;
        "Tiered: bytes a sealed segment may lag before it is copied, -1 for no limit."
    accepted "log.remote.copy.lag.ms": Long = "0", AtLeast(-1), Medium, ClusterWide;
        "Tiered: time a sealed segment may lag before it is copied, -1 for no limit."
    accepted "log.retention.bytes": Long = "-1", Any, High, ClusterWide;
        "Bytes a partition keeps, -1 for no limit."
    accepted "log.retention.check.interval.ms": Long = "300000", AtLeast(1), Medium, ReadOnly;
        "How often old segments are looked for."
    accepted "log.retention.hours": Int = "168", Any, High, ReadOnly;
        "Hours records are kept; log.retention.minutes and log.retention.ms come first."
    accepted "log.retention.minutes": Int = null, Any, High, ReadOnly;
        "Minutes records are kept; log.retention.ms comes first."
    accepted "log.retention.ms": Long = null, Any, High, ClusterWide;
        "Milliseconds records are kept, -1 for ever."
    done "log.roll.hours": Int = "168", AtLeast(1), High, ReadOnly;
        "Hours after which a segment is sealed; log.roll.ms comes first."
    done "log.roll.jitter.hours": Int = "0", AtLeast(0), High, ReadOnly;
        "Most hours taken off a segment's age at random; log.roll.jitter.ms comes first."
    done "log.roll.jitter.ms": Long = null, Any, High, ClusterWide;
        "Most milliseconds taken off a segment's age at random, so that not all are sealed at once."
    done "log.roll.ms": Long = null, Any, High, ClusterWide;
        "Milliseconds after which a segment is sealed."
    done "log.segment.bytes": Int = "1073741824", AtLeast(1_048_576), High, ClusterWide;
        "Size at which a segment is sealed."
    accepted "log.segment.delete.delay.ms": Long = "60000", AtLeast(0), High, ClusterWide;
        "Wait before the files of a deleted segment are unlinked."
    accepted "max.decompressed.message.bytes": Int = "2147483639", Between(1, 2_147_483_639), Medium, ClusterWide;
        "Largest size a compressed batch may unpack to."
    done "message.max.bytes": Int = "1048588", AtLeast(0), High, ClusterWide;
        "Largest record batch that is accepted."
    done "num.recovery.threads.per.data.dir": Int = "2", AtLeast(1), High, ClusterWide;
        "Threads per data directory that recover and close logs."
}
