//! Keys older Kafka versions had. Files still carry them; they do nothing in Kafka 4 and nothing here.

/// Why a key of an older Kafka does nothing; `None` for any other name.
#[must_use]
pub fn removed(name: &str) -> Option<&'static str> {
    if name.starts_with("zookeeper.") {
        return Some("Kafka 4 has no ZooKeeper");
    }
    if name.starts_with("password.encoder.") {
        return Some("it protected passwords stored in ZooKeeper, which Kafka 4 does not have");
    }
    if name.starts_with("confluent.") {
        return Some("it belongs to Confluent's own broker");
    }
    Some(match name {
        "inter.broker.protocol.version" => "the cluster's metadata.version took its place",
        "log.message.format.version" | "message.format.version" => "batches have one format since Kafka 4",
        "log.message.downconversion.enable" | "message.downconversion.enable" => {
            "records are no longer converted to older formats since Kafka 4"
        }
        "log.message.timestamp.difference.max.ms" | "message.timestamp.difference.max.ms" => {
            "use log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"
        }
        "control.plane.listener.name" => "use controller.listener.names",
        "controlled.shutdown.max.retries" | "controlled.shutdown.retry.backoff.ms" => {
            "controlled shutdown needs no retries since Kafka 4"
        }
        "leader.imbalance.per.broker.percentage" => {
            "leaders move back whenever they are not the preferred ones"
        }
        "broker.id.generation.enable" | "reserved.broker.max.id" => "every process names its node.id",
        "offsets.commit.required.acks" => "offset commits always wait for all in-sync replicas",
        "host.name" | "port" => "use listeners",
        "advertised.host.name" | "advertised.port" => "use advertised.listeners",
        "group.coordinator.new.enable" => "use group.coordinator.rebalance.protocols",
        "group.share.enable" => "share groups are a feature of the cluster, share.version",
        _ => return None,
    })
}
