//! Tiered storage.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { REMOTE: Broker;
    accepted "remote.fetch.max.wait.ms": Int = "500", AtLeast(1), Medium, ClusterWide;
        "Tiered: longest wait of a fetch from remote storage."
    accepted "remote.list.offsets.request.timeout.ms": Long = "30000", AtLeast(1), Medium, ClusterWide;
        "Tiered: longest wait of ListOffsets on remote storage."
    accepted "remote.log.index.file.cache.total.size.bytes": Long = "1073741824", AtLeast(1), Low, ClusterWide;
        "Tiered: size of the cache of index files."
    accepted "remote.log.index.file.cache.ttl.ms": Long = "900000", AtLeast(-1), Low, ReadOnly, internal;
        "Tiered: how long an unused index file stays cached."
    accepted "remote.log.manager.copier.thread.pool.size": Int = "10", AtLeast(1), Medium, ClusterWide;
        "Tiered: threads that upload segments."
    accepted "remote.log.manager.copy.max.bytes.per.second": Long = "9223372036854775807", AtLeast(1), Medium, ClusterWide;
        "Tiered: bytes per second that are uploaded."
    accepted "remote.log.manager.copy.quota.window.num": Int = "11", AtLeast(1), Medium, ReadOnly;
        "Tiered: samples kept for the upload quota."
    accepted "remote.log.manager.copy.quota.window.size.seconds": Int = "1", AtLeast(1), Medium, ReadOnly;
        "Tiered: length of a sample of the upload quota."
    accepted "remote.log.manager.expiration.thread.pool.size": Int = "10", AtLeast(1), Medium, ClusterWide;
        "Tiered: threads that delete expired remote segments."
    accepted "remote.log.manager.fetch.max.bytes.per.second": Long = "9223372036854775807", AtLeast(1), Medium, ClusterWide;
        "Tiered: bytes per second read from remote storage."
    accepted "remote.log.manager.fetch.quota.window.num": Int = "11", AtLeast(1), Medium, ReadOnly;
        "Tiered: samples kept for the read quota."
    accepted "remote.log.manager.fetch.quota.window.size.seconds": Int = "1", AtLeast(1), Medium, ReadOnly;
        "Tiered: length of a sample of the read quota."
    accepted "remote.log.manager.follower.thread.pool.size": Int = "2", AtLeast(1), Medium, ClusterWide;
        "Tiered: threads that follow remote metadata."
    accepted "remote.log.manager.task.interval.ms": Long = "30000", AtLeast(1), Low, ReadOnly;
        "Tiered: how often its tasks run."
    accepted "remote.log.manager.task.retry.backoff.max.ms": Long = "30000", AtLeast(1), Low, ReadOnly, internal;
        "Tiered: longest wait between retries of a task."
    accepted "remote.log.manager.task.retry.backoff.ms": Long = "500", AtLeast(1), Low, ReadOnly, internal;
        "Tiered: first wait between retries of a task."
    accepted "remote.log.manager.task.retry.jitter": Double = "0.2", Fraction(0.0, 0.5), Low, ReadOnly, internal;
        "Tiered: random share of the wait between retries."
    accepted "remote.log.manager.thread.pool.size": Int = "2", AtLeast(1), Medium, ReadOnly;
        "Tiered: threads of its tasks."
    accepted "remote.log.metadata.custom.metadata.max.bytes": Int = "128", AtLeast(0), Low, ReadOnly;
        "Tiered: most bytes of custom metadata per segment."
    accepted "remote.log.metadata.manager.class.name": String = "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", NonEmpty, Medium, ReadOnly;
        "Tiered: Java class that keeps the metadata of remote segments."
    accepted "remote.log.metadata.manager.class.path": String = null, Any, Medium, ReadOnly;
        "Tiered: where the metadata manager's Java class is found."
    accepted "remote.log.metadata.manager.impl.prefix": String = "rlmm.config.", NonEmpty, Medium, ReadOnly;
        "Tiered: prefix of the keys handed to the metadata manager."
    accepted "remote.log.metadata.manager.listener.name": String = null, NonEmpty, Medium, ReadOnly;
        "Tiered: listener the metadata manager connects to."
    accepted "remote.log.reader.max.pending.tasks": Int = "100", AtLeast(1), Medium, ReadOnly;
        "Tiered: reads that may wait."
    accepted "remote.log.reader.threads": Int = "10", AtLeast(1), Medium, ClusterWide;
        "Tiered: threads that read remote segments."
    accepted "remote.log.storage.manager.class.name": String = null, NonEmpty, Medium, ReadOnly;
        "Tiered: Java class that stores remote segments."
    accepted "remote.log.storage.manager.class.path": String = null, Any, Medium, ReadOnly;
        "Tiered: where the storage manager's Java class is found."
    accepted "remote.log.storage.manager.impl.prefix": String = "rsm.config.", NonEmpty, Medium, ReadOnly;
        "Tiered: prefix of the keys handed to the storage manager."
    accepted "remote.log.storage.system.enable": Boolean = "false", Any, Medium, ReadOnly;
        "Turns tiered storage on."
}
