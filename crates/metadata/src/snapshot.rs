//! An image as the facts that give it, in the order Kafka writes a snapshot.

use ottla_protocol::{
    StrBytes,
    persisted::metadata::{
        ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord,
        RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
        register_broker_record::{BrokerEndpoint, BrokerFeature},
        register_controller_record::{ControllerEndpoint, ControllerFeature},
    },
};

use crate::{
    BrokerRegistration, ControllerRegistration, Fact, Image, Partition, Topic,
    features::feature::METADATA_VERSION,
};

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

impl Image {
    /// The records that give this image when they are applied to an empty one (position and open transaction aside).
    #[must_use]
    pub fn snapshot(&self) -> Vec<Fact> {
        let level = self.features.level(METADATA_VERSION);
        let mut records: Vec<MetadataRecord> = Vec::new();
        // The metadata version goes first: it says how the rest is to be read.
        let (first, others): (Vec<_>, Vec<_>) =
            self.features.iter().partition(|(name, _)| *name == METADATA_VERSION);
        for (name, feature_level) in first.into_iter().chain(others) {
            records.push(FeatureLevelRecord { name: text(name), feature_level, ..Default::default() }.into());
        }
        records.extend(self.brokers.values().map(|broker| register_broker(broker).into()));
        records.extend(self.controllers.values().map(|controller| register_controller(controller).into()));
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in topics {
            records.push(
                TopicRecord { name: text(&topic.name), topic_id: topic.id.0, ..Default::default() }.into(),
            );
            records.extend(topic.iter().map(|(index, it)| partition_record(topic, index, it).into()));
        }
        for (resource, values) in self.configs.iter() {
            records.extend(values.iter().map(|(name, value)| {
                MetadataRecord::from(ConfigRecord {
                    resource_type: resource.kind.0,
                    resource_name: text(&resource.name),
                    name: text(name),
                    value: Some(text(value)),
                    ..Default::default()
                })
            }));
        }
        if self.next_producer_id > 0 {
            let (broker_id, broker_epoch) = self.last_producer_id_block.unwrap_or((-1, -1));
            let next_producer_id = self.next_producer_id;
            records.push(
                ProducerIdsRecord { broker_id, broker_epoch, next_producer_id, ..Default::default() }.into(),
            );
        }
        records.extend(self.security.records());
        records.into_iter().map(|record| Fact::at_level(record, level)).collect()
    }
}

/// The record that registers a partition as it is.
#[must_use]
pub fn partition_record(topic: &Topic, index: i32, partition: &Partition) -> PartitionRecord {
    let some = |nodes: &Vec<i32>| (!nodes.is_empty()).then(|| nodes.clone());
    PartitionRecord {
        partition_id: index,
        topic_id: topic.id.0,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        removing_replicas: partition.removing_replicas.clone(),
        adding_replicas: partition.adding_replicas.clone(),
        leader: partition.leader,
        leader_recovery_state: partition.leader_recovery_state.value(),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        directories: partition.directories.clone(),
        eligible_leader_replicas: some(&partition.elr),
        last_known_elr: some(&partition.last_known_elr),
        ..Default::default()
    }
}

fn register_broker(broker: &BrokerRegistration) -> RegisterBrokerRecord {
    let end_points = broker.listeners.iter().map(|at| BrokerEndpoint {
        name: text(&at.name),
        host: text(&at.host),
        port: at.port,
        security_protocol: at.security_protocol,
        ..Default::default()
    });
    let features = broker.features.iter().map(|feature| BrokerFeature {
        name: text(&feature.name),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    });
    RegisterBrokerRecord {
        broker_id: broker.id,
        incarnation_id: broker.incarnation_id,
        broker_epoch: broker.epoch,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: broker.rack.as_deref().map(text),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        cordoned_log_dirs: broker.cordoned_log_dirs.clone(),
        ..Default::default()
    }
}

fn register_controller(controller: &ControllerRegistration) -> RegisterControllerRecord {
    let end_points = controller.listeners.iter().map(|at| ControllerEndpoint {
        name: text(&at.name),
        host: text(&at.host),
        port: at.port,
        security_protocol: at.security_protocol,
        ..Default::default()
    });
    let features = controller.features.iter().map(|feature| ControllerFeature {
        name: text(&feature.name),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    });
    RegisterControllerRecord {
        controller_id: controller.id,
        incarnation_id: controller.incarnation_id,
        zk_migration_ready: controller.zk_migration_ready,
        end_points: end_points.collect(),
        features: features.collect(),
        ..Default::default()
    }
}
