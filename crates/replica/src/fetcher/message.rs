//! The requests of a follower, and what is read out of the answers.

use bytes::Bytes;
use ottla_partition::EpochEnd;
use ottla_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, TopicName,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicId, TopicPartition, TopicPartitionId};

use super::{replication::FetchOptions, session::Asked};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) node: NodeId,
    pub(super) broker_epoch: i64,
}

/// A Fetch as Kafka 4.4's followers send it.
pub(super) fn fetch(asker: Asker, options: &FetchOptions, asked: &Asked) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (key, wish) in &asked.wishes {
        let partition = FetchPartition::default()
            .with_partition(key.partition)
            .with_current_leader_epoch(wish.leader_epoch)
            .with_fetch_offset(wish.offset)
            .with_last_fetched_epoch(wish.last_epoch)
            .with_log_start_offset(wish.log_start)
            .with_partition_max_bytes(options.max_bytes);
        match topics.last_mut() {
            Some(topic) if topic.topic_id == key.topic.0 => topic.partitions.push(partition),
            _ => {
                topics.push(FetchTopic::default().with_topic_id(key.topic.0).with_partitions(vec![partition]))
            }
        }
    }
    let mut forgotten: Vec<ForgottenTopic> = Vec::new();
    for key in &asked.forgotten {
        match forgotten.last_mut() {
            Some(topic) if topic.topic_id == key.topic.0 => topic.partitions.push(key.partition),
            _ => forgotten.push(
                ForgottenTopic::default().with_topic_id(key.topic.0).with_partitions(vec![key.partition]),
            ),
        }
    }
    let state =
        ReplicaState::default().with_replica_id(BrokerId(asker.node)).with_replica_epoch(asker.broker_epoch);
    FetchRequest::default()
        .with_replica_state(state)
        .with_max_wait_ms(options.wait_max_ms)
        .with_min_bytes(options.min_bytes)
        .with_max_bytes(options.response_max_bytes)
        .with_session_id(asked.session_id)
        .with_session_epoch(asked.session_epoch)
        .with_topics(topics)
        .with_forgotten_topics_data(forgotten)
}

/// What a leader said of one partition.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) key: TopicPartitionId,
    pub(super) error: ErrorCode,
    pub(super) high_watermark: Offset,
    pub(super) log_start: Offset,
    pub(super) diverging: Option<EpochEnd>,
    pub(super) records: Bytes,
}

/// Everything a Fetch answer says, in its order.
pub(super) fn said(response: FetchResponse) -> impl Iterator<Item = Said> {
    response.responses.into_iter().flat_map(|topic| {
        let id = TopicId(topic.topic_id);
        topic.partitions.into_iter().map(move |partition| {
            let end = &partition.diverging_epoch;
            Said {
                key: TopicPartitionId { topic: id, partition: partition.partition_index },
                error: ErrorCode(partition.error_code),
                high_watermark: partition.high_watermark,
                log_start: partition.log_start_offset,
                diverging: (end.epoch >= 0)
                    .then_some(EpochEnd { epoch: end.epoch, end_offset: end.end_offset }),
                records: partition.records.unwrap_or_default(),
            }
        })
    })
}

/// The first offset of a log, or the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
}

/// Asks for a place in the leader's logs.
pub(super) fn list_offsets(
    asker: Asker,
    place: Place,
    partitions: &[(TopicPartition, LeaderEpoch)],
) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (name, leader_epoch) in partitions {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(name.partition)
            .with_current_leader_epoch(*leader_epoch)
            .with_timestamp(match place {
                Place::Start => -2,
                Place::End => -1,
            });
        match topics.last_mut() {
            Some(topic) if **topic.name == *name.topic => topic.partitions.push(partition),
            _ => topics.push(
                ListOffsetsTopic::default()
                    .with_name(TopicName(name.topic.to_string().into()))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    ListOffsetsRequest::default().with_replica_id(BrokerId(asker.node)).with_topics(topics)
}

/// What a ListOffsets answer says of a partition.
pub(super) fn offset_of(response: &ListOffsetsResponse, name: &TopicPartition) -> Result<Offset, ErrorCode> {
    let topic = response.topics.iter().find(|topic| **topic.name == *name.topic);
    let partition =
        topic.and_then(|topic| topic.partitions.iter().find(|one| one.partition_index == name.partition));
    match partition {
        Some(one) if one.error_code != 0 => Err(ErrorCode(one.error_code)),
        Some(one) if one.offset >= 0 => Ok(one.offset),
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}
