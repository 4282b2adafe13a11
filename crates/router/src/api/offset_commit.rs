//! OffsetCommit (8), versions 2–10.
//!
//! Topics and partitions that do not exist are answered here; the rest goes to the group's coordinator. The topic's id is
//! kept with the offset also when the request names the topic, as Kafka does.
//!
//! Versions: 2 to 4 a retention time, which counts; 6 leader epochs (KIP-320); 7 static members (KIP-345); 9 tells that a
//! group does not exist; 10 topic ids (KIP-516).

use std::{ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Outcome,
    groups::{Answer, Command, CommitPartition, CommitTopic, OffsetCommit as Commit, OffsetCommitAnswer},
};
use ottla_metadata::{Image, ImageCell};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};
use ottla_types::{ErrorCode, TopicId};

use super::text::shared;
use crate::{Handler, Reply, RequestContext, api::pending, resolve};

pub(crate) struct OffsetCommit {
    image: Arc<ImageCell>,
    coordinators: Arc<Coordinators>,
}

impl OffsetCommit {
    pub(crate) fn new(image: Arc<ImageCell>, coordinators: Arc<Coordinators>) -> Self {
        Self { image, coordinators }
    }
}

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;
    type Response = OffsetCommitResponse;
    const VERSIONS: RangeInclusive<i16> = 2..=10;

    fn handle(&self, ctx: &RequestContext, request: OffsetCommitRequest) -> Reply<OffsetCommitResponse> {
        let version = ctx.api_version;
        let (topics, mut response) = sort_out(&self.image.load(), version, &request.topics);
        if topics.is_empty() {
            return Reply::Now(response);
        }
        let command = Command::OffsetCommit(Commit {
            group_id: shared(&request.group_id),
            generation_id: request.generation_id_or_member_epoch,
            member_id: shared(&request.member_id),
            group_instance_id: request.group_instance_id.as_ref().map(shared),
            retention_time_ms: Some(request.retention_time_ms).filter(|retention| *retention != -1),
            tells_unknown_group: tells_unknown_group(version),
            topics,
        });
        let outcome = self.coordinators.submit(request.group_id.as_str(), command);
        pending::reply(outcome, move |outcome| {
            fill_in(&mut response, outcome);
            response
        })
    }
}

fn tells_unknown_group(version: i16) -> bool {
    version >= 9
}

fn has_topic_ids(version: i16) -> bool {
    version >= 10
}

/// What goes to the coordinator, and the answer with a hole ([`OPEN`]) for each partition that does.
fn sort_out(
    image: &Image,
    version: i16,
    topics: &[OffsetCommitRequestTopic],
) -> (Vec<CommitTopic>, OffsetCommitResponse) {
    let mut commits = Vec::with_capacity(topics.len());
    let mut answers = Vec::with_capacity(topics.len());
    for topic in topics {
        let known = if has_topic_ids(version) {
            image.topic_by_id(TopicId(topic.topic_id)).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            resolve::topic(image, TopicId::ZERO, &topic.name)
        };
        let code = |partition: i32| match &known {
            Err(error) => error.0,
            Ok(known) if known.partition(partition).is_none() => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
            Ok(_) => OPEN,
        };
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(partition.partition_index))
        });
        let answer = OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect());
        answers.push(answer);
        let open = topic.partitions.iter().filter(|partition| code(partition.partition_index) == OPEN);
        let open: Vec<CommitPartition> = open.map(commit).collect();
        if let Ok(known) = &known
            && !open.is_empty()
        {
            commits.push(CommitTopic { name: known.name.clone(), topic_id: known.id, partitions: open });
        }
    }
    (commits, OffsetCommitResponse::default().with_topics(answers))
}

/// Stands for "the coordinator will say". Not a code of Kafka's.
const OPEN: i16 = i16::MAX;

fn commit(partition: &OffsetCommitRequestPartition) -> CommitPartition {
    CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_ref().map(shared).unwrap_or_default(),
    }
}

/// Puts what the coordinator says into the holes: they are in the order of the command.
fn fill_in(response: &mut OffsetCommitResponse, outcome: Outcome) {
    let answer = match outcome {
        Ok(Answer::OffsetCommit(answer)) => answer,
        Ok(_) => unreachable!("a commit is answered with a commit"),
        Err(error) => OffsetCommitAnswer { error, topics: Vec::new() },
    };
    let mut codes = answer.topics.into_iter().flatten();
    let partitions = response.topics.iter_mut().flat_map(|topic| topic.partitions.iter_mut());
    for open in partitions.filter(|partition| partition.error_code == OPEN) {
        open.error_code = codes.next().unwrap_or(answer.error).0;
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::TopicName;

    use super::*;
    use crate::api::{recorded, text::wire};

    /// What Kafka 4.4 answered to a member of a group that does not exist.
    const UNKNOWN_GROUP: [(i16, ErrorCode, &str); 2] = [
        (8, ErrorCode::ILLEGAL_GENERATION, "0000000002027402000000000016000000"),
        (9, ErrorCode::GROUP_ID_NOT_FOUND, "0000000002027402000000000045000000"),
    ];

    #[test]
    fn refusals_are_kafkas() {
        for (version, error, body) in UNKNOWN_GROUP {
            let open = OffsetCommitResponsePartition::default().with_error_code(OPEN);
            let topic = OffsetCommitResponseTopic::default();
            let topic = topic.with_name(TopicName(wire("t"))).with_partitions(vec![open]);
            let mut ours = OffsetCommitResponse::default().with_topics(vec![topic]);
            let answer = OffsetCommitAnswer { error, topics: Vec::new() };
            fill_in(&mut ours, Ok(Answer::OffsetCommit(answer)));
            recorded::check(8, version, &ours, body);
        }
    }

    #[test]
    fn what_does_not_exist_is_answered_here() {
        let partition = OffsetCommitRequestPartition::default();
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(wire("t")))
            .with_partitions(vec![partition]);
        for (version, error) in
            [(9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), (10, ErrorCode::UNKNOWN_TOPIC_ID)]
        {
            let (commits, answer) = sort_out(&Image::new(), version, std::slice::from_ref(&topic));
            assert!(commits.is_empty());
            assert_eq!(answer.topics[0].partitions[0].error_code, error.0);
        }
    }
}
