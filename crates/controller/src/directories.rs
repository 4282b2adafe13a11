//! Log dirs: which hold a replica, and what becomes of it when they fail (KIP-858, KIP-1066).

use ottla_metadata::{BrokerRegistration, Topic};
use ottla_protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, assign_replicas_to_dirs_request as request,
    assign_replicas_to_dirs_response as response,
};
use ottla_types::{ErrorCode, NodeId, TopicId};
use std::sync::Arc;
use uuid::Uuid;

use crate::{State, Turn, leadership::DIRECTORIES, partitions::Affected};

pub(crate) use ottla_metadata::directory::{LOST, MIGRATING, UNASSIGNED};

/// Ids that Kafka keeps for itself.
pub(crate) fn is_reserved(dir: Uuid) -> bool {
    dir.as_u128() < 100
}

impl State {
    /// The log dir a new replica goes to: known when the broker has one, its own choice otherwise.
    pub(crate) fn new_dir(&self, node: NodeId) -> Uuid {
        if self.level() < DIRECTORIES {
            return MIGRATING;
        }
        match self.image.broker(node).map(|broker| &broker.log_dirs[..]) {
            Some([only]) => *only,
            Some([]) => MIGRATING,
            Some(_) | None => UNASSIGNED,
        }
    }
}

/// Whether a log dir of a broker works, as far as is known.
pub(crate) fn is_online(broker: &BrokerRegistration, dir: Uuid) -> bool {
    broker.has_online_dir(dir)
}

/// Whether a broker takes new replicas.
pub(crate) fn takes_replicas(broker: &BrokerRegistration) -> bool {
    let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
    broker.log_dirs.is_empty() || broker.log_dirs.iter().any(|dir| !cordoned.contains(dir))
}

impl Turn<'_, '_> {
    /// Takes what is in failed log dirs out of service.
    pub(crate) fn dirs_failed(&mut self, broker: &BrokerRegistration, offline: &[Uuid], fenced: bool) {
        let failed: Vec<Uuid> = broker.log_dirs.iter().filter(|dir| offline.contains(dir)).copied().collect();
        if failed.is_empty() || self.state.level() < DIRECTORIES {
            return;
        }
        // A broker that is fenced in the same breath has left all in-sync sets already.
        if !fenced {
            let id = broker.id;
            let within = |partition: &ottla_metadata::Partition| {
                partition.is_in_sync(id)
                    && partition.directory_of(id).is_some_and(|dir| failed.contains(&dir))
            };
            self.change_partitions(&Affected { without: Some(id), ..Affected::which(&within) });
        }
        let left = broker.log_dirs.iter().filter(|dir| !failed.contains(dir)).copied().collect();
        self.change_registration(broker, |change| change.log_dirs = left);
    }

    pub(crate) fn assign_replicas_to_dirs(
        &mut self,
        request: &AssignReplicasToDirsRequest,
    ) -> AssignReplicasToDirsResponse {
        let mut answer = AssignReplicasToDirsResponse::default();
        let id = request.broker_id.0;
        let refusal = if self.state.level() < DIRECTORIES {
            Err(ErrorCode::UNSUPPORTED_VERSION)
        } else {
            self.check_broker_epoch(id, request.broker_epoch)
        };
        if let Err(code) = refusal {
            answer.error_code = code.0;
            return answer;
        }
        let broker = self.image().broker(id).cloned().expect("its epoch was checked");
        let mut left: Vec<(Arc<Topic>, i32, Uuid)> = Vec::new();
        for dir in &request.directories {
            let offline = !is_online(&broker, dir.id);
            let mut topics = Vec::with_capacity(dir.topics.len());
            for wanted in &dir.topics {
                topics.push(self.assign_topic(id, dir.id, wanted, offline.then_some(&mut left)));
            }
            answer.directories.push(response::DirectoryData::default().with_id(dir.id).with_topics(topics));
        }
        for (topic, index, dir) in left {
            self.leave(&topic, index, id, dir);
        }
        answer
    }

    fn assign_topic(
        &mut self,
        broker: NodeId,
        dir: Uuid,
        wanted: &request::TopicData,
        mut left: Option<&mut Vec<(Arc<Topic>, i32, Uuid)>>,
    ) -> response::TopicData {
        let topic = self.image().topic_by_id(TopicId(wanted.topic_id)).cloned();
        let mut answer = response::TopicData::default().with_topic_id(wanted.topic_id);
        for partition in &wanted.partitions {
            let index = partition.partition_index;
            let code = match &topic {
                None => ErrorCode::UNKNOWN_TOPIC_ID,
                Some(topic) => match self.partition(topic, index) {
                    None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    Some(old) if !old.is_replica(broker) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                    Some(_) => {
                        self.change(topic, index, |change| change.directory = Some((broker, dir)));
                        if let Some(left) = left.as_deref_mut() {
                            left.push((Arc::clone(topic), index, dir));
                        }
                        ErrorCode::NONE
                    }
                },
            };
            answer
                .partitions
                .push(response::PartitionData::default().with_partition_index(index).with_error_code(code.0));
        }
        answer
    }

    /// A replica that cannot be served any more leaves the in-sync set, and the lead. One that is in a dir is there again
    /// with the dir, and whether the broker had a clean end tells what it is worth. One that is lost comes back as whatever
    /// the operator has made of it, an empty log mostly, after an end that is clean: it is not eligible.
    fn leave(&mut self, topic: &Topic, index: i32, broker: NodeId, dir: Uuid) {
        self.change_without(topic, index, broker, |change| {
            change.isr.retain(|node| *node != broker);
            change.unclean = (dir == LOST).then_some(broker);
        });
    }
}
