//! Groups of the classic and the consumer protocol, and their offsets.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { CLASSIC_GROUPS: Broker;
    accepted "group.consumer.assignment.interval.ms": Int = "1000", AtLeast(0), Medium, ClusterWide;
        "Least time between two assignments of one consumer group."
    accepted "group.consumer.assignor.offload.enable": Boolean = "true", Any, Medium, ClusterWide, internal;
        "Computes consumer group assignments outside the coordinator's threads."
    accepted "group.consumer.assignors": List = "uniform,range", Any, Medium, ReadOnly;
        "Assignors the broker offers consumer groups, the first is the default (KIP-848)."
    accepted "group.consumer.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, ReadOnly;
        "Heartbeat interval handed to members of consumer groups (KIP-848)."
    accepted "group.consumer.max.assignment.interval.ms": Int = "15000", AtLeast(0), Medium, ReadOnly;
        "Largest assignment interval a consumer group may ask for."
    accepted "group.consumer.max.heartbeat.interval.ms": Int = "15000", AtLeast(1), Medium, ReadOnly;
        "Largest heartbeat interval a consumer group may ask for."
    accepted "group.consumer.max.session.timeout.ms": Int = "60000", AtLeast(1), Medium, ReadOnly;
        "Longest session timeout a consumer group may ask for."
    accepted "group.consumer.max.size": Int = "2147483647", AtLeast(1), Medium, ReadOnly;
        "Members a consumer group may have (KIP-848)."
    accepted "group.consumer.migration.policy": String = "bidirectional", OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly;
        "Whether a live group may change between the classic and the consumer protocol."
    accepted "group.consumer.min.assignment.interval.ms": Int = "0", AtLeast(0), Medium, ReadOnly;
        "Smallest assignment interval a consumer group may ask for."
    accepted "group.consumer.min.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, ReadOnly;
        "Smallest heartbeat interval a consumer group may ask for."
    accepted "group.consumer.min.session.timeout.ms": Int = "45000", AtLeast(1), Medium, ReadOnly;
        "Shortest session timeout a consumer group may ask for."
    accepted "group.consumer.regex.refresh.interval.ms": Int = "600000", AtLeast(10_000), Medium, ReadOnly, internal;
        "How often regular expression subscriptions are resolved again."
    accepted "group.consumer.session.timeout.ms": Int = "45000", AtLeast(1), Medium, ReadOnly;
        "Session timeout of members of consumer groups (KIP-848)."
    accepted "group.coordinator.append.linger.ms": Int = "-1", AtLeast(-1), Medium, ReadOnly;
        "How long writes of the group coordinator wait to be batched, -1 to adapt to load."
    accepted "group.coordinator.background.threads": Int = "2", AtLeast(1), High, ReadOnly;
        "Threads for the coordinator's background work, such as regular expressions."
    accepted "group.coordinator.cached.buffer.max.bytes": Int = "1048588", AtLeast(524_288), Medium, ClusterWide;
        "Largest append buffer the group coordinator keeps for reuse."
    accepted "group.coordinator.rebalance.protocols": List = "classic,consumer,streams", ListOf(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly;
        "Group protocols that are served."
    accepted "group.coordinator.threads": Int = "4", AtLeast(1), High, ReadOnly;
        "Threads of the group coordinator."
    done "group.initial.rebalance.delay.ms": Int = "3000", Any, Medium, ReadOnly;
        "How long the first rebalance of an empty group waits for more members."
    done "group.max.session.timeout.ms": Int = "1800000", Any, Medium, ReadOnly;
        "Longest session timeout a member of a classic group may ask for."
    done "group.max.size": Int = "2147483647", AtLeast(1), Medium, ReadOnly;
        "Members a classic group may have."
    done "group.min.session.timeout.ms": Int = "6000", Any, Medium, ReadOnly;
        "Shortest session timeout a member of a classic group may ask for."
    done "offset.metadata.max.bytes": Int = "4096", Any, High, ReadOnly;
        "Largest text that may be stored with a committed offset."
    done "offsets.commit.timeout.ms": Int = "5000", AtLeast(1), High, ReadOnly;
        "How long an offset commit waits for its replicas."
    accepted "offsets.load.buffer.size": Int = "5242880", AtLeast(1), High, ReadOnly;
        "Batch size while committed offsets are loaded."
    done "offsets.retention.check.interval.ms": Long = "600000", AtLeast(1), High, ReadOnly;
        "How often expired offsets are looked for."
    done "offsets.retention.minutes": Int = "10080", AtLeast(1), High, ReadOnly;
        "How long the offsets of an empty group are kept."
    accepted "offsets.topic.compression.codec": Int = "0", Any, High, ReadOnly;
        "Codec number of the batches of __consumer_offsets."
    done "offsets.topic.num.partitions": Int = "50", AtLeast(1), High, ReadOnly;
        "Partitions of __consumer_offsets."
    done "offsets.topic.replication.factor": Short = "3", AtLeast(1), High, ReadOnly;
        "Replicas of __consumer_offsets."
    done "offsets.topic.segment.bytes": Int = "104857600", AtLeast(1), High, ReadOnly;
        "Segment size of __consumer_offsets."
}
