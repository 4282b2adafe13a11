//! CreatePartitions (KIP-195).

use std::collections::BTreeMap;

use ottla_metadata::{Fact, Topic};
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_partitions_response::CreatePartitionsTopicResult,
};
use ottla_types::{ApiError, ErrorCode, NodeId};

use super::{LARGEST_REQUEST, replication_factor};
use crate::{Place, Turn, text};

impl Turn<'_, '_> {
    pub(crate) fn create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(topic.name.as_str()).or_default() += 1;
        }
        let too_many = self.adds_too_many(request);
        let mut response = CreatePartitionsResponse::default();
        for topic in &request.topics {
            let twice = match times.get_mut(topic.name.as_str()) {
                Some(0) => continue,
                Some(1) => false,
                Some(count) => {
                    *count = 0;
                    true
                }
                None => false,
            };
            let grown = if twice {
                Err(ApiError::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
            } else if too_many {
                let message = "Excessively large number of additional partitions per request.";
                Err(ApiError::new(ErrorCode::POLICY_VIOLATION, message))
            } else {
                self.grow(topic)
            };
            let mut result =
                CreatePartitionsTopicResult::default().with_error_message(None).with_name(topic.name.clone());
            match grown {
                Ok(facts) if !request.validate_only => self.facts.extend(facts),
                Ok(_) => {}
                Err(error) => {
                    result.error_code = error.code.0;
                    result.error_message = error.message.as_deref().map(text);
                }
            }
            response.results.push(result);
        }
        response
    }

    fn adds_too_many(&self, request: &CreatePartitionsRequest) -> bool {
        let added = request.topics.iter().map(|topic| {
            let have = self.image().topic(&topic.name).map_or(0, |topic| topic.partitions.len());
            usize::try_from(topic.count).unwrap_or(0).saturating_sub(have)
        });
        added.fold(0usize, usize::saturating_add) > LARGEST_REQUEST
    }

    fn grow(&mut self, wanted: &CreatePartitionsTopic) -> Result<Vec<Fact>, ApiError> {
        let topic = self.image().topic(&wanted.name).cloned();
        let topic = topic.ok_or(ApiError::from(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        let have = topic.partition_count();
        let refuse = |message: String| Err(ApiError::new(ErrorCode::INVALID_PARTITIONS, message));
        if wanted.count == have {
            return refuse(format!("Topic already has {have} partition(s)."));
        }
        if wanted.count < have {
            return refuse(format!(
                "The topic {} currently has {have} partition(s); {} would not be an increase.",
                topic.name, wanted.count
            ));
        }
        let added = wanted.count - have;
        let assignments = match &wanted.assignments {
            Some(assignments) => self.given(&topic, assignments, added)?,
            None => self.chosen(&topic, added)?,
        };
        let mut facts = Vec::with_capacity(assignments.len());
        for (index, replicas) in (have..).zip(assignments) {
            let record = self.new_partition(topic.id, index, replicas)?;
            facts.push(self.state.fact(record));
        }
        Ok(facts)
    }

    fn given(
        &self,
        topic: &Topic,
        assignments: &[CreatePartitionsAssignment],
        added: i32,
    ) -> Result<Vec<Vec<NodeId>>, ApiError> {
        if usize::try_from(added).is_ok_and(|added| added != assignments.len()) {
            let message = format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        }
        let factor = replication_factor(topic);
        let replicas = |assignment: &CreatePartitionsAssignment| {
            let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| id.0).collect();
            self.check_manual(&replicas, Some(factor)).map(|()| replicas)
        };
        assignments.iter().map(replicas).collect()
    }

    fn chosen(&mut self, topic: &Topic, added: i32) -> Result<Vec<Vec<NodeId>>, ApiError> {
        let replication_factor = i16::try_from(replication_factor(topic)).unwrap_or(i16::MAX);
        self.place(Place { partitions: added, replication_factor })
    }
}
