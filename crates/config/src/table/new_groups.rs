//! Share and streams groups.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { NEW_GROUPS: Broker;
    accepted "group.share.assignment.interval.ms": Int = "1000", AtLeast(0), Medium, ClusterWide;
        "Least time between two assignments of one share group."
    accepted "group.share.assignor.offload.enable": Boolean = "true", Any, Medium, ClusterWide, internal;
        "Computes share group assignments outside the coordinator's threads."
    accepted "group.share.assignors": List = "simple", Any, Medium, ReadOnly;
        "Assignors of share groups."
    accepted "group.share.delivery.count.limit": Int = "5", Between(2, 10), Medium, ReadOnly;
        "How often a record of a share group is delivered at most."
    accepted "group.share.dlq.manager.class.name": String = "org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager", Any, Medium, ReadOnly, internal;
        "Java class that writes rejected records of share groups to dead letter queues."
    accepted "group.share.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, ReadOnly;
        "Heartbeat interval handed to members of share groups."
    accepted "group.share.initialize.retry.interval.ms": Int = "30000", AtLeast(1), Low, ReadOnly, internal;
        "Wait before the state of a share partition is initialised again."
    accepted "group.share.max.assignment.interval.ms": Int = "15000", AtLeast(0), Medium, ReadOnly;
        "Largest assignment interval a share group may ask for."
    accepted "group.share.max.delivery.count.limit": Int = "10", Between(5, 25), Medium, ReadOnly;
        "Largest delivery count limit a share group may ask for."
    accepted "group.share.max.heartbeat.interval.ms": Int = "15000", AtLeast(1), Medium, ReadOnly;
        "Largest heartbeat interval a share group may ask for."
    accepted "group.share.max.partition.max.record.locks": Int = "4000", Between(2000, 10_000), Medium, ReadOnly;
        "Largest number of record locks per partition a share group may ask for."
    accepted "group.share.max.record.lock.duration.ms": Int = "60000", Between(30_000, 3_600_000), Medium, ReadOnly;
        "Longest record lock a share group may ask for."
    accepted "group.share.max.session.timeout.ms": Int = "60000", AtLeast(1), Medium, ReadOnly;
        "Longest session timeout a share group may ask for."
    accepted "group.share.max.share.sessions": Int = "2000", AtLeast(1), Medium, ReadOnly;
        "Share sessions a broker keeps."
    accepted "group.share.max.size": Int = "200", Between(1, 1000), Medium, ReadOnly;
        "Members a share group may have."
    accepted "group.share.min.assignment.interval.ms": Int = "0", AtLeast(0), Medium, ReadOnly;
        "Smallest assignment interval a share group may ask for."
    accepted "group.share.min.delivery.count.limit": Int = "2", Between(2, 5), Medium, ReadOnly;
        "Smallest delivery count limit a share group may ask for."
    accepted "group.share.min.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, ReadOnly;
        "Smallest heartbeat interval a share group may ask for."
    accepted "group.share.min.partition.max.record.locks": Int = "100", Between(100, 2000), Medium, ReadOnly;
        "Smallest number of record locks per partition a share group may ask for."
    accepted "group.share.min.record.lock.duration.ms": Int = "15000", Between(1000, 30_000), Medium, ReadOnly;
        "Shortest record lock a share group may ask for."
    accepted "group.share.min.session.timeout.ms": Int = "45000", AtLeast(1), Medium, ReadOnly;
        "Shortest session timeout a share group may ask for."
    accepted "group.share.partition.max.record.locks": Int = "2000", Between(100, 10_000), Medium, ReadOnly;
        "Records of one partition a share group may have in flight."
    accepted "group.share.persister.class.name": String = "org.apache.kafka.server.share.persister.DefaultStatePersister", Any, Medium, ReadOnly, internal;
        "Java class that stores the state of share groups."
    accepted "group.share.record.lock.duration.ms": Int = "30000", Between(1000, 3_600_000), Medium, ReadOnly;
        "How long a member of a share group holds a record."
    accepted "group.share.session.timeout.ms": Int = "45000", AtLeast(1), Medium, ReadOnly;
        "Session timeout of members of share groups."
    accepted "group.streams.acceptable.recovery.lag": Long = "10000", AtLeast(0), Medium, ReadOnly, internal;
        "Lag at which a streams task's replica counts as caught up."
    accepted "group.streams.assignment.interval.ms": Int = "1000", AtLeast(0), Medium, ClusterWide;
        "Least time between two assignments of one streams group."
    accepted "group.streams.assignor.offload.enable": Boolean = "true", Any, Medium, ClusterWide, internal;
        "Computes streams group assignments outside the coordinator's threads."
    accepted "group.streams.assignors": List = "sticky", Any, Medium, ReadOnly;
        "Assignors of streams groups, the first is the default."
    accepted "group.streams.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, ReadOnly;
        "Heartbeat interval handed to members of streams groups (KIP-1071)."
    accepted "group.streams.initial.rebalance.delay.ms": Int = "3000", AtLeast(0), Medium, ReadOnly;
        "How long the first rebalance of a streams group waits for more members."
    accepted "group.streams.max.assignment.interval.ms": Int = "15000", AtLeast(0), Medium, ReadOnly;
        "Largest assignment interval a streams group may ask for."
    accepted "group.streams.max.heartbeat.interval.ms": Int = "15000", AtLeast(1), Medium, ReadOnly;
        "Largest heartbeat interval a streams group may ask for."
    accepted "group.streams.max.session.timeout.ms": Int = "60000", AtLeast(1), Medium, ReadOnly;
        "Longest session timeout a streams group may ask for."
    accepted "group.streams.max.size": Int = "2147483647", AtLeast(1), Medium, ReadOnly;
        "Members a streams group may have."
    accepted "group.streams.max.standby.replicas": Int = "2", AtLeast(0), Medium, ReadOnly;
        "Most standby replicas a streams group may ask for."
    accepted "group.streams.max.warmup.replicas": Int = "20", AtLeast(0), Medium, ReadOnly, internal;
        "Most warm-up replicas a streams group may ask for."
    accepted "group.streams.min.assignment.interval.ms": Int = "0", AtLeast(0), Medium, ReadOnly;
        "Smallest assignment interval a streams group may ask for."
    accepted "group.streams.min.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, ReadOnly;
        "Smallest heartbeat interval a streams group may ask for."
    accepted "group.streams.min.session.timeout.ms": Int = "45000", AtLeast(1), Medium, ReadOnly;
        "Shortest session timeout a streams group may ask for."
    accepted "group.streams.min.task.offset.interval.ms": Int = "15000", AtLeast(1), Medium, ReadOnly, internal;
        "Smallest task offset interval a streams group may ask for."
    accepted "group.streams.num.standby.replicas": Int = "0", AtLeast(0), Medium, ReadOnly;
        "Standby replicas of each streams task."
    accepted "group.streams.num.warmup.replicas": Int = "2", AtLeast(0), Medium, ReadOnly, internal;
        "Warm-up replicas a streams group may have at a time."
    accepted "group.streams.rack.aware.assignment.tags": List = "", Any, Low, ReadOnly;
        "Client tags that standby replicas of streams tasks are spread over."
    accepted "group.streams.session.timeout.ms": Int = "45000", AtLeast(1), Medium, ReadOnly;
        "Session timeout of members of streams groups."
    accepted "group.streams.task.offset.interval.ms": Int = "60000", AtLeast(1), Medium, ReadOnly, internal;
        "How often members of a streams group report their task offsets."
    accepted "group.streams.topology.description.plugin.class": Class = null, Any, Medium, ReadOnly;
        "Java class that describes the topologies of streams groups."
    accepted "share.coordinator.append.linger.ms": Int = "-1", AtLeast(-1), Medium, ReadOnly;
        "How long writes of share state wait to be batched, -1 to adapt to load."
    accepted "share.coordinator.cached.buffer.max.bytes": Int = "1048588", AtLeast(524_288), Medium, ClusterWide;
        "Largest append buffer the share coordinator keeps for reuse."
    accepted "share.coordinator.cold.partition.snapshot.interval.ms": Int = "300000", AtLeast(1), Low, ReadOnly, internal;
        "How often idle share partitions get a fresh snapshot."
    accepted "share.coordinator.load.buffer.size": Int = "5242880", AtLeast(1), High, ReadOnly;
        "Batch size while share state is loaded."
    accepted "share.coordinator.snapshot.update.records.per.snapshot": Int = "500", Between(0, 500), Medium, ReadOnly;
        "Updates of share state between two snapshots."
    accepted "share.coordinator.state.topic.compression.codec": Int = "0", Any, High, ReadOnly;
        "Codec number of the batches of __share_group_state."
    accepted "share.coordinator.state.topic.min.isr": Short = "2", AtLeast(1), High, ReadOnly;
        "In-sync replicas __share_group_state needs."
    accepted "share.coordinator.state.topic.num.partitions": Int = "50", AtLeast(1), High, ReadOnly;
        "Partitions of __share_group_state."
    accepted "share.coordinator.state.topic.prune.interval.ms": Int = "300000", AtLeast(1), Low, ReadOnly, internal;
        "How often obsolete share state is cut off its topic."
    accepted "share.coordinator.state.topic.replication.factor": Short = "3", AtLeast(1), High, ReadOnly;
        "Replicas of __share_group_state."
    accepted "share.coordinator.state.topic.segment.bytes": Int = "104857600", AtLeast(1), High, ReadOnly;
        "Segment size of __share_group_state."
    accepted "share.coordinator.threads": Int = "1", AtLeast(1), Medium, ReadOnly;
        "Threads of the share coordinator."
    accepted "share.coordinator.write.timeout.ms": Int = "5000", AtLeast(1), High, ReadOnly;
        "How long a write of share state may take."
    accepted "share.fetch.purgatory.purge.interval.requests": Int = "1000", Any, Medium, ReadOnly;
        "Kafka's tuning of waiting share fetches; nothing here needs it."
}
