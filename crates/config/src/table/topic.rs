//! Topics.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { TOPIC: Topic;
    accepted "cleanup.policy": List = "delete", ListOf(&["compact", "delete"]), Medium, Dynamic;
        "What happens to old records: delete, compact, both, or nothing when empty. So far a compacted topic refuses records without a key, and that is all."
    done "compression.gzip.level": Int = "-1", BetweenOr(1, 9, -1), Medium, Dynamic;
        "Level used when batches are compressed with gzip."
    done "compression.lz4.level": Int = "9", Between(1, 17), Medium, Dynamic;
        "Level used when batches are compressed with lz4."
    done "compression.type": String = "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium, Dynamic;
        "Codec of stored batches; producer keeps what the producer chose."
    done "compression.zstd.level": Int = "3", Between(-131_072, 22), Medium, Dynamic;
        "Level used when batches are compressed with zstd."
    accepted "delete.retention.ms": Long = "86400000", AtLeast(0), Medium, Dynamic;
        "How long delete markers stay in a compacted topic."
    accepted "errors.deadletterqueue.group.enable": Boolean = "false", Any, Medium, Dynamic;
        "Lets the topic serve as a dead letter queue of share groups."
    accepted "file.delete.delay.ms": Long = "60000", AtLeast(0), Medium, Dynamic;
        "Wait before the files of a deleted segment are unlinked."
    done "flush.messages": Long = "9223372036854775807", AtLeast(1), Medium, Dynamic;
        "Records a partition takes before it is synced to disk."
    done "flush.ms": Long = "9223372036854775807", AtLeast(0), Medium, Dynamic;
        "Longest time records stay unsynced."
    done "follower.replication.throttled.replicas": List = "", ThrottledReplicas, Medium, Dynamic;
        "Replicas whose incoming replication is throttled, partition:broker or *."
    done "index.interval.bytes": Int = "4096", AtLeast(0), Medium, Dynamic;
        "Bytes of log between two index entries."
    done "internal.segment.bytes": Int = null, Any, Medium, Dynamic, internal;
        "Segment size without its lower limit, for tests."
    done "leader.replication.throttled.replicas": List = "", ThrottledReplicas, Medium, Dynamic;
        "Replicas whose outgoing replication is throttled, partition:broker or *."
    accepted "local.retention.bytes": Long = "-2", AtLeast(-2), Medium, Dynamic;
        "Tiered: bytes kept locally, -2 for the same as retention.bytes."
    accepted "local.retention.ms": Long = "-2", AtLeast(-2), Medium, Dynamic;
        "Tiered: time records are kept locally, -2 for the same as retention.ms."
    accepted "max.compaction.lag.ms": Long = "9223372036854775807", AtLeast(1), Medium, Dynamic;
        "Longest time a record stays uncompacted."
    accepted "max.decompressed.message.bytes": Int = "2147483639", Between(1, 2_147_483_639), Medium, Dynamic;
        "Largest size a compressed batch may unpack to."
    done "max.message.bytes": Int = "1048588", AtLeast(0), Medium, Dynamic;
        "Largest record batch that is accepted."
    done "message.timestamp.after.max.ms": Long = "3600000", AtLeast(0), Medium, Dynamic;
        "How far in the future a producer's timestamp may be."
    done "message.timestamp.before.max.ms": Long = "9223372036854775807", AtLeast(0), Medium, Dynamic;
        "How far in the past a producer's timestamp may be."
    done "message.timestamp.type": String = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, Dynamic;
        "Whether records carry the producer's time or the time they were appended."
    accepted "min.cleanable.dirty.ratio": Double = "0.5", Between(0, 1), Medium, Dynamic;
        "Share of uncompacted bytes that starts a compaction."
    accepted "min.compaction.lag.ms": Long = "0", AtLeast(0), Medium, Dynamic;
        "Shortest time a record stays uncompacted."
    done "min.insync.replicas": Int = "1", AtLeast(1), Medium, Dynamic;
        "In-sync replicas a partition needs to accept writes with acks=all."
    done "preallocate": Boolean = "false", Any, Medium, Dynamic;
        "Reserves a segment's space when it is created."
    accepted "remote.copy.lag.bytes": Long = "-1", AtLeast(-1), Medium, Dynamic;
        "Tiered: bytes a sealed segment may lag before it is copied, -1 for no limit."
    accepted "remote.copy.lag.ms": Long = "0", AtLeast(-1), Medium, Dynamic;
        "Tiered: time a sealed segment may lag before it is copied, -1 for no limit."
    accepted "remote.log.copy.disable": Boolean = "false", Any, Medium, Dynamic;
        "Tiered: stops copying; what is remote stays readable."
    accepted "remote.log.delete.on.disable": Boolean = "false", Any, Medium, Dynamic;
        "Tiered: deletes the remote data when tiering is turned off."
    accepted "remote.storage.enable": Boolean = "false", Any, Medium, Dynamic;
        "Tiered: turns it on for the topic."
    accepted "retention.bytes": Long = "-1", Any, Medium, Dynamic;
        "Bytes a partition keeps, -1 for no limit."
    accepted "retention.ms": Long = "604800000", AtLeast(-1), Medium, Dynamic;
        "Milliseconds records are kept, -1 for ever."
    done "segment.bytes": Int = "1073741824", AtLeast(1_048_576), Medium, Dynamic;
        "Size at which a segment is sealed."
    done "segment.index.bytes": Int = "10485760", AtLeast(4), Medium, Dynamic;
        "Index size at which a segment is sealed."
    done "segment.jitter.ms": Long = "0", AtLeast(0), Medium, Dynamic;
        "Most milliseconds taken off a segment's age at random, so that not all are sealed at once."
    done "segment.ms": Long = "604800000", AtLeast(1), Medium, Dynamic;
        "Milliseconds after which a segment is sealed."
    done "unclean.leader.election.enable": Boolean = "false", Any, Medium, Dynamic;
        "Lets a replica outside the in-sync set lead, which may lose records."
}
