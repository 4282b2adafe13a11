//! Topics, their replicas and leaders.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { REPLICATION: Broker;
    accepted "alter.config.policy.class.name": Class = null, Any, Low, ReadOnly;
        "Java class that approves configuration changes."
    accepted "alter.log.dirs.replication.quota.window.num": Int = "11", AtLeast(1), Low, ReadOnly;
        "Samples kept to throttle moves between data directories."
    accepted "alter.log.dirs.replication.quota.window.size.seconds": Int = "1", AtLeast(1), Low, ReadOnly;
        "Length of a sample that throttles moves between data directories."
    done "auto.create.topics.enable": Boolean = "true", Any, High, ReadOnly;
        "Creates a missing topic when a client's Metadata request allows it."
    done "auto.leader.rebalance.enable": Boolean = "true", Any, High, ReadOnly;
        "Gives leadership back to preferred replicas now and then."
    accepted "create.topic.policy.class.name": Class = null, Any, Low, ReadOnly;
        "Java class that approves new topics."
    done "default.replication.factor": Int = "1", Any, Medium, ReadOnly;
        "Replicas of topics created without a number, automatically or with -1."
    accepted "delete.records.purgatory.purge.interval.requests": Int = "1", Any, Medium, ReadOnly;
        "Kafka's tuning of waiting DeleteRecords requests; nothing here needs it."
    done "delete.topic.enable": Boolean = "true", Any, High, ReadOnly;
        "Allows topics to be deleted."
    accepted "errors.deadletterqueue.auto.create.topics.enable": Boolean = "false", Any, Medium, ClusterWide;
        "Creates the dead letter topics of share groups when they are missing."
    accepted "errors.deadletterqueue.topic.name.prefix": String = "dlq.", Any, Medium, ClusterWide;
        "Prefix of the topics that serve as dead letter queues of share groups."
    accepted "follower.fetch.last.tiered.offset.enable": Boolean = "false", Any, Medium, ClusterWide;
        "A new follower starts at the last tiered offset instead of the earliest local one."
    done "leader.imbalance.check.interval.seconds": Long = "300", AtLeast(1), High, ReadOnly;
        "How often leadership is compared with the preferred replicas."
    done "min.insync.replicas": Int = "1", AtLeast(1), High, ClusterWide;
        "In-sync replicas a partition needs to accept writes with acks=all."
    done "num.partitions": Int = "1", AtLeast(1), Medium, ReadOnly;
        "Partitions of topics created without a number, automatically or with -1."
    accepted "num.replica.alter.log.dirs.threads": Int = null, Any, High, ReadOnly;
        "Threads that move partitions between data directories; here one copies for all, a piece of each in turn, within the one rate there is for moves, so that more would not finish sooner."
    done "num.replica.fetchers": Int = "1", AtLeast(1), High, ClusterWide;
        "Fetchers per broker that is followed."
    done "replica.fetch.backoff.ms": Int = "1000", AtLeast(0), Medium, ReadOnly;
        "Wait of a follower after a failed fetch."
    done "replica.fetch.max.bytes": Int = "1048576", AtLeast(0), Medium, ReadOnly;
        "Bytes of one partition a follower asks for."
    done "replica.fetch.min.bytes": Int = "1", Any, High, ReadOnly;
        "Bytes a follower's fetch waits for."
    done "replica.fetch.response.max.bytes": Int = "10485760", AtLeast(0), Medium, ReadOnly;
        "Bytes of one response a follower asks for."
    done "replica.fetch.wait.max.ms": Int = "500", Any, High, ReadOnly;
        "Longest wait of a follower's fetch."
    accepted "replica.high.watermark.checkpoint.interval.ms": Long = "5000", Any, High, ReadOnly;
        "How often the high watermarks are written."
    done "replica.lag.time.max.ms": Long = "30000", Any, High, ReadOnly;
        "A follower that has not caught up for this long leaves the in-sync set."
    done "replica.selector.class": String = null, OneOf(&["org.apache.kafka.common.replica.RackAwareReplicaSelector"]), Medium, ReadOnly;
        "Chooses the replica a consumer reads from: without it the leader, with it one in the consumer's rack (KIP-392)."
    accepted "replica.socket.receive.buffer.bytes": Int = "65536", Any, High, ReadOnly;
        "Receive buffer of a follower's socket."
    done "replica.socket.timeout.ms": Int = "30000", Any, High, ReadOnly;
        "Socket timeout of a follower."
    done "replication.quota.window.num": Int = "11", AtLeast(1), Low, ReadOnly;
        "Samples kept for the replication throttle."
    done "replication.quota.window.size.seconds": Int = "1", AtLeast(1), Low, ReadOnly;
        "Length of a sample of the replication throttle."
    done "unclean.leader.election.enable": Boolean = "false", Any, High, ClusterWide;
        "Lets a replica outside the in-sync set lead, which may lose records."
    done "unclean.leader.election.interval.ms": Long = "300000", AtLeast(1), Medium, ReadOnly, internal;
        "How often the controller looks for partitions that need an unclean election."
}
