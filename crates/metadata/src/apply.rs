//! How each fact changes the image. This is the only place where an image changes.

use std::sync::Arc;

use ottla_protocol::{StrBytes, persisted::metadata::*};
use ottla_types::{NO_LEADER, TopicId};

use crate::{
    BrokerRegistration, ConfigResource, ControllerRegistration, Endpoint, Fact, FeatureRange, Image,
    LeaderRecoveryState, Partition, ResourceType, Topic,
};

/// What a change record carries when the leader stays (its default).
const NO_LEADER_CHANGE: i32 = -2;
/// Partition numbers above this are not believed.
const MAX_PARTITIONS: usize = 10_000_000;

fn text(s: &StrBytes) -> Arc<str> {
    Arc::from(s.as_str())
}

impl Image {
    /// Adds one fact. Facts about what is not there change nothing: a logged fact is a fact.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Batch { epoch, timestamp } => {
                self.position.epoch = *epoch;
                self.position.timestamp = *timestamp;
            }
            Fact::Control => self.position.offset += 1,
            Fact::Record(record, _) => {
                self.position.offset += 1;
                self.transact(record);
            }
        }
    }

    /// Holds records back while a metadata transaction is open (KIP-868).
    fn transact(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::BeginTransaction(begin) => {
                let name = begin.name.as_ref().map(text).unwrap_or_default();
                self.open_transaction = Some((name, Arc::default()));
            }
            MetadataRecord::EndTransaction(_) => {
                if let Some((_, held)) = self.open_transaction.take() {
                    held.iter().for_each(|record| self.replay(record));
                }
            }
            MetadataRecord::AbortTransaction(_) => self.open_transaction = None,
            _ => match &mut self.open_transaction {
                Some((_, held)) => Arc::make_mut(held).push(record.clone()),
                None => self.replay(record),
            },
        }
    }

    fn replay(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Topic(record) => self.topics.put(Topic {
                name: text(&record.name),
                id: TopicId(record.topic_id),
                partitions: Vec::new(),
            }),
            MetadataRecord::Partition(record) => self.put_partition(record),
            MetadataRecord::PartitionChange(record) => self.change_partition(record),
            MetadataRecord::RemoveTopic(record) => {
                if let Some(topic) = self.topics.remove(TopicId(record.topic_id)) {
                    Arc::make_mut(&mut self.configs).forget(&ConfigResource::topic(Arc::clone(&topic.name)));
                }
            }
            MetadataRecord::ClearElr(record) => self.clear_elr(&record.topic_name),
            MetadataRecord::Config(record) => {
                let kind = ResourceType(record.resource_type);
                let resource = ConfigResource { kind, name: text(&record.resource_name) };
                Arc::make_mut(&mut self.configs).set(resource, &record.name, record.value.as_deref());
            }
            MetadataRecord::FeatureLevel(record) => {
                Arc::make_mut(&mut self.features).set(&record.name, record.feature_level);
            }
            MetadataRecord::ProducerIds(record) => {
                self.next_producer_id = record.next_producer_id;
                self.last_producer_id_block = Some((record.broker_id, record.broker_epoch));
            }
            MetadataRecord::RegisterBroker(record) => {
                Arc::make_mut(&mut self.brokers).insert(record.broker_id, Arc::new(broker(record)));
            }
            MetadataRecord::UnregisterBroker(record) => {
                Arc::make_mut(&mut self.brokers).remove(&record.broker_id);
            }
            MetadataRecord::FenceBroker(record) => {
                self.change_broker(record.id, |broker| broker.fenced = true)
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.change_broker(record.id, |broker| broker.fenced = false)
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_registration(record),
            MetadataRecord::RegisterController(record) => {
                Arc::make_mut(&mut self.controllers)
                    .insert(record.controller_id, Arc::new(controller(record)));
            }
            MetadataRecord::UnregisterController(record) => {
                Arc::make_mut(&mut self.controllers).remove(&record.controller_id);
            }
            other => Arc::make_mut(&mut self.security).replay(other),
        }
    }

    fn put_partition(&mut self, record: &PartitionRecord) {
        let Some(at) = usize::try_from(record.partition_id).ok().filter(|at| *at < MAX_PARTITIONS) else {
            return;
        };
        let partition = Arc::new(partition(record));
        self.topics.update(TopicId(record.topic_id), |topic| {
            if at >= topic.partitions.len() {
                // A snapshot may list partitions in any order: the ones before come later.
                topic.partitions.resize(at + 1, Arc::new(absent()));
            }
            topic.partitions[at] = partition;
        });
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) {
        self.topics.update(TopicId(record.topic_id), |topic| {
            let at = usize::try_from(record.partition_id).ok();
            if let Some(partition) = at.and_then(|at| topic.partitions.get_mut(at)) {
                Arc::make_mut(partition).apply(record);
            }
        });
    }

    /// The minimum of in-sync replicas changed for a topic, or for all (an empty name): eligibility starts over.
    fn clear_elr(&mut self, name: &str) {
        let affected: Vec<TopicId> = self
            .topics
            .iter()
            .filter(|topic| name.is_empty() || &*topic.name == name)
            .filter(|topic| {
                topic.partitions.iter().any(|p| !p.elr.is_empty() || !p.last_known_elr.is_empty())
            })
            .map(|topic| topic.id)
            .collect();
        for id in affected {
            self.topics.update(id, |topic| {
                for partition in &mut topic.partitions {
                    if !partition.elr.is_empty() || !partition.last_known_elr.is_empty() {
                        let partition = Arc::make_mut(partition);
                        partition.elr.clear();
                        partition.last_known_elr.clear();
                    }
                }
            });
        }
    }

    fn change_broker(&mut self, id: i32, change: impl FnOnce(&mut BrokerRegistration)) {
        if let Some(broker) = Arc::make_mut(&mut self.brokers).get_mut(&id) {
            change(Arc::make_mut(broker));
        }
    }

    fn change_registration(&mut self, record: &BrokerRegistrationChangeRecord) {
        self.change_broker(record.broker_id, |broker| {
            match record.fenced {
                1 => broker.fenced = true,
                -1 => broker.fenced = false,
                _ => {}
            }
            broker.in_controlled_shutdown |= record.in_controlled_shutdown == 1;
            if !record.log_dirs.is_empty() {
                broker.log_dirs.clone_from(&record.log_dirs);
            }
            if record.cordoned_log_dirs.is_some() {
                broker.cordoned_log_dirs.clone_from(&record.cordoned_log_dirs);
            }
        });
    }
}

impl Partition {
    /// What a change record makes of a partition: the leader epoch rises with a new leader, the partition epoch always.
    pub fn apply(&mut self, record: &PartitionChangeRecord) {
        fn set<T: Clone>(to: &mut Vec<T>, from: &Option<Vec<T>>) {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        set(&mut self.isr, &record.isr);
        set(&mut self.replicas, &record.replicas);
        set(&mut self.removing_replicas, &record.removing_replicas);
        set(&mut self.adding_replicas, &record.adding_replicas);
        set(&mut self.directories, &record.directories);
        set(&mut self.elr, &record.eligible_leader_replicas);
        set(&mut self.last_known_elr, &record.last_known_elr);
        if record.leader != NO_LEADER_CHANGE {
            self.leader = record.leader;
            self.leader_epoch = self.leader_epoch.saturating_add(1);
        }
        if record.leader_recovery_state >= 0 {
            self.leader_recovery_state = LeaderRecoveryState::from_value(record.leader_recovery_state);
        }
        self.partition_epoch = self.partition_epoch.saturating_add(1);
    }
}

fn absent() -> Partition {
    Partition {
        replicas: Vec::new(),
        directories: Vec::new(),
        isr: Vec::new(),
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: NO_LEADER,
        leader_recovery_state: LeaderRecoveryState::Recovered,
        leader_epoch: 0,
        partition_epoch: 0,
    }
}

fn partition(record: &PartitionRecord) -> Partition {
    Partition {
        replicas: record.replicas.clone(),
        directories: record.directories.clone(),
        isr: record.isr.clone(),
        removing_replicas: record.removing_replicas.clone(),
        adding_replicas: record.adding_replicas.clone(),
        elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
        last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
        leader: record.leader,
        leader_recovery_state: LeaderRecoveryState::from_value(record.leader_recovery_state),
        leader_epoch: record.leader_epoch,
        partition_epoch: record.partition_epoch,
    }
}

fn broker(record: &RegisterBrokerRecord) -> BrokerRegistration {
    let listeners = record.end_points.iter().map(|at| Endpoint {
        name: text(&at.name),
        host: text(&at.host),
        port: at.port,
        security_protocol: at.security_protocol,
    });
    let features = record.features.iter().map(|feature| FeatureRange {
        name: text(&feature.name),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    BrokerRegistration {
        id: record.broker_id,
        epoch: record.broker_epoch,
        incarnation_id: record.incarnation_id,
        listeners: listeners.collect(),
        features: features.collect(),
        rack: record.rack.as_ref().map(text),
        fenced: record.fenced,
        in_controlled_shutdown: record.in_controlled_shutdown,
        log_dirs: record.log_dirs.clone(),
        cordoned_log_dirs: record.cordoned_log_dirs.clone(),
    }
}

fn controller(record: &RegisterControllerRecord) -> ControllerRegistration {
    let listeners = record.end_points.iter().map(|at| Endpoint {
        name: text(&at.name),
        host: text(&at.host),
        port: at.port,
        security_protocol: at.security_protocol,
    });
    let features = record.features.iter().map(|feature| FeatureRange {
        name: text(&feature.name),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    ControllerRegistration {
        id: record.controller_id,
        incarnation_id: record.incarnation_id,
        zk_migration_ready: record.zk_migration_ready,
        listeners: listeners.collect(),
        features: features.collect(),
    }
}
