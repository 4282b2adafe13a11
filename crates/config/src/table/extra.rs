//! Keys operators set that Kafka defines outside its broker definition: the authorizer's, and the throttles.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { EXTRA: Broker;
    accepted "allow.everyone.if.no.acl.found": Unknown = null, Any, Medium, ReadOnly, internal;
        "ACLs are NOT enforced. With them, lets everybody use a resource that has no ACL."
    done "follower.replication.throttled.rate": Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, internal;
        "Bytes per second the throttled replicas of this broker may fetch."
    done "leader.replication.throttled.rate": Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, internal;
        "Bytes per second the throttled replicas of this broker may send."
    done "replica.alter.log.dirs.io.max.bytes.per.second": Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, internal;
        "Bytes per second moved between this broker's data directories."
    accepted "super.users": Unknown = null, Any, Medium, ReadOnly, internal;
        "ACLs are NOT enforced. With them, principals that may do everything, separated by semicolons."
}

keys! { ADDRESS_QUOTA: Quota;
    accepted "connection_creation_rate": Double = "2.147483647E9", Any, Medium, Dynamic;
        "Connections per second one address may open."
}
