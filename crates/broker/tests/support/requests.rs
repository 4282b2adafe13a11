//! The requests of a plain client, and what it makes of the answers.

use bytes::Bytes;
use ottla_protocol::{
    StrBytes,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DescribeGroupsRequest, FetchRequest,
        FindCoordinatorRequest, GroupId, InitProducerIdRequest, JoinGroupRequest, OffsetCommitRequest,
        OffsetFetchRequest, ProduceRequest, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_request::{FetchPartition, FetchTopic},
        join_group_request::JoinGroupRequestProtocol,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
};
use ottla_records::{BatchBuilder, Producer, batches_lenient};
use ottla_types::TopicId;

use super::Client;

/// The highest version that names topics.
pub const PRODUCE: i16 = 12;
/// The highest version that names topics.
pub const FETCH: i16 = 12;
pub const JOIN_GROUP: i16 = 9;

pub fn topic_name(name: &str) -> TopicName {
    TopicName(name.to_owned().into())
}

pub fn group_id(name: &str) -> GroupId {
    GroupId(name.to_owned().into())
}

pub fn api_versions(client: &mut Client) -> ApiVersionsResponse {
    client.call(0, &ApiVersionsRequest::default())
}

pub fn create_topics_request(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreateTopicsRequest {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default()
            .with_name((*name).to_owned().into())
            .with_value(Some((*value).to_owned().into()))
    };
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000)
}

/// Creates a topic and waits until it takes records.
pub fn create_topic(client: &mut Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
    let created = client.call(7, &create_topics_request(name, partitions, configs));
    let [topic] = &created.topics[..] else { panic!("one topic was asked for: {created:?}") };
    assert_eq!(topic.error_code, 0, "{topic:?}");
    TopicId(topic.topic_id)
}

pub fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(60_000)
        .with_topic_data(vec![topic])
}

/// Produces with acks=all.
pub fn produce(client: &mut Client, topic: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
    let mut answer = client.call(PRODUCE, &produce_request(topic, partition, records, -1));
    answer.responses.remove(0).partition_responses.remove(0)
}

/// One batch of these values.
pub fn batch<'a>(values: impl IntoIterator<Item = &'a [u8]>, producer: Producer) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(producer);
    for value in values {
        builder.append(1_700_000_000_000, None, Some(value), &[]);
    }
    builder.build()
}

pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Offset and value of every record of a partition.
pub fn read_all(client: &mut Client, topic: &str, partition: i32) -> Vec<(i64, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        let from = read.last().map_or(0, |(offset, _)| offset + 1);
        let mut answer = client.call(FETCH, &fetch_request(topic, partition, from));
        assert_eq!(answer.error_code, 0);
        let data = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0, "{data:?}");
        let before = read.len();
        for batch in batches_lenient(data.records.clone().unwrap_or_default()) {
            let batch = batch.expect("what was stored is well-formed");
            batch.verify_crc().expect("what was stored is whole");
            let mut records = batch.records().expect("what was stored is well-formed");
            while let Some(record) = records.try_next().expect("what was stored is well-formed") {
                if record.offset >= from {
                    read.push((record.offset, record.value.unwrap_or_default().to_vec()));
                }
            }
        }
        if read.len() == before {
            assert_eq!(data.high_watermark, from, "everything was read");
            return read;
        }
    }
}

/// A new producer id, of epoch 0.
pub fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let answer = client.call(4, &request);
    assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
    answer.producer_id.0
}

/// As a simple consumer, outside of any generation.
pub fn commit_request(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some("".into()));
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// The error and the offset a group has committed.
pub fn committed(client: &mut Client, group: &str, topic: &str, partition: i32) -> (i16, i64) {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![partition]);
    let group =
        OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(Some(vec![topic]));
    let answer = client.call(8, &OffsetFetchRequest::default().with_groups(vec![group]));
    let group = &answer.groups[0];
    if group.error_code != 0 {
        return (group.error_code, -1);
    }
    let partition = &group.topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

pub fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name("range".into());
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(600_000)
        .with_member_id(member.to_owned().into())
        .with_protocol_type("consumer".into())
        .with_protocols(vec![protocol])
}

/// Waits until the group has a coordinator that answers for it: its log may have to be created or loaded first.
pub fn await_coordinator(client: &mut Client, group: &str) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![group.to_owned().into()]);
    while client.call(4, &request).coordinators[0].error_code != 0
        || is_unready(committed(client, group, "none", 0).0)
    {
        std::thread::yield_now();
    }
}

/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
fn is_unready(error: i16) -> bool {
    matches!(error, 14..=16)
}

/// Asks for a member id of its own, without joining yet.
pub fn member_id(client: &mut Client, group: &str) -> StrBytes {
    let answer = client.call(JOIN_GROUP, &join_request(group, ""));
    assert_eq!(answer.error_code, 79, "MEMBER_ID_REQUIRED: {answer:?}");
    answer.member_id
}

/// The state of a group, such as `Stable`.
pub fn group_state(client: &mut Client, group: &str) -> String {
    let answer = client.call(5, &DescribeGroupsRequest::default().with_groups(vec![group_id(group)]));
    answer.groups[0].group_state.to_string()
}
