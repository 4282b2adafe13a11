//! One group.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { GROUP: Group;
    accepted "consumer.assignment.interval.ms": Int = "1000", AtLeast(0), Medium, Dynamic;
        "Least time between two assignments of this consumer group."
    accepted "consumer.assignor.offload.enable": Boolean = "true", Any, Medium, Dynamic, internal;
        "Computes this consumer group's assignments outside the coordinator's threads."
    accepted "consumer.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, Dynamic;
        "Heartbeat interval handed to the group's members."
    accepted "consumer.session.timeout.ms": Int = "45000", AtLeast(1), Medium, Dynamic;
        "Session timeout of the group's members."
    accepted "errors.deadletterqueue.copy.record.enable": Boolean = "false", Any, Medium, Dynamic;
        "Copies the whole record into the dead letter queue."
    accepted "errors.deadletterqueue.topic.name": String = "", Any, Medium, Dynamic;
        "Topic that takes the records the group rejects."
    accepted "share.assignment.interval.ms": Int = "1000", AtLeast(0), Medium, Dynamic;
        "Least time between two assignments of this share group."
    accepted "share.assignor.offload.enable": Boolean = "true", Any, Medium, Dynamic, internal;
        "Computes this share group's assignments outside the coordinator's threads."
    accepted "share.auto.offset.reset": String = "latest", OffsetReset, Medium, Dynamic;
        "Where a new share group starts: latest, earliest or by_duration:."
    accepted "share.delivery.count.limit": Int = "5", AtLeast(2), Medium, Dynamic;
        "How often a record is delivered at most."
    accepted "share.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, Dynamic;
        "Heartbeat interval handed to the share group's members."
    accepted "share.isolation.level": String = "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), Medium, Dynamic;
        "Whether the share group sees records of open transactions."
    accepted "share.partition.max.record.locks": Int = "2000", AtLeast(100), Medium, Dynamic;
        "Records of one partition that may be in flight."
    accepted "share.record.lock.duration.ms": Int = "30000", AtLeast(1000), Medium, Dynamic;
        "How long a member holds a record."
    accepted "share.renew.acknowledge.enable": Boolean = "true", Any, Medium, Dynamic;
        "Lets members extend the time they hold a record."
    accepted "share.session.timeout.ms": Int = "45000", AtLeast(1), Medium, Dynamic;
        "Session timeout of the share group's members."
    accepted "streams.acceptable.recovery.lag": Long = "10000", AtLeast(0), Medium, Dynamic, internal;
        "Lag at which a task's replica counts as caught up."
    accepted "streams.assignment.interval.ms": Int = "1000", AtLeast(0), Medium, Dynamic;
        "Least time between two assignments of this streams group."
    accepted "streams.assignor.name": String = null, Any, Medium, Dynamic;
        "Assignor of this streams group."
    accepted "streams.assignor.offload.enable": Boolean = "true", Any, Medium, Dynamic, internal;
        "Computes this streams group's assignments outside the coordinator's threads."
    accepted "streams.heartbeat.interval.ms": Int = "5000", AtLeast(1), Medium, Dynamic;
        "Heartbeat interval handed to the streams group's members."
    accepted "streams.initial.rebalance.delay.ms": Int = "3000", AtLeast(0), Medium, Dynamic;
        "How long the group's first rebalance waits for more members."
    accepted "streams.num.standby.replicas": Int = "0", AtLeast(0), Medium, Dynamic;
        "Standby replicas of each task."
    accepted "streams.num.warmup.replicas": Int = "2", AtLeast(0), Medium, Dynamic, internal;
        "Warm-up replicas at a time."
    accepted "streams.rack.aware.assignment.tags": List = "", Any, Low, Dynamic;
        "Client tags that standby replicas are spread over."
    accepted "streams.session.timeout.ms": Int = "45000", AtLeast(1), Medium, Dynamic;
        "Session timeout of the streams group's members."
    accepted "streams.task.offset.interval.ms": Int = "60000", AtLeast(1), Medium, Dynamic, internal;
        "How often members report their task offsets."
}
