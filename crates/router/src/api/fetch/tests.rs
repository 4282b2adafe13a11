//! The gathered encoding against kafka-protocol's, in every version.

use std::{io::Write as _, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use ottla_net::{Frame, Part};
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, FetchResponse, TopicName,
        fetch_response::{
            AbortedTransaction as WireAborted, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch,
            NodeEndpoint, PartitionData, SnapshotId,
        },
    },
};
use ottla_replica::{AbortedTransaction, EpochEnd};
use ottla_types::{ErrorCode, TopicId};
use proptest::prelude::*;
use uuid::Uuid;

use super::{FetchReply, PartitionReply, TopicReply};
use crate::{api::leaders::LeaderEndpoint, handler::IntoFrame};

fn records() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..200)), 0..3)
}

fn part((in_file, bytes): &(bool, Vec<u8>)) -> Part {
    if !in_file {
        return Part::Bytes(Bytes::copy_from_slice(bytes));
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(b"before").expect("writes");
    file.write_all(bytes).expect("writes");
    Part::File { file: Arc::new(file), offset: 6, len: bytes.len() }
}

fn partition() -> impl Strategy<Value = (PartitionReply, PartitionData)> {
    let aborted = prop::option::of(prop::collection::vec((any::<i64>(), any::<i64>()), 0..3));
    let snapshot = prop::option::of((0..9i64, 0..9));
    let tags = (prop::option::of((0..9, 0..9i64)), prop::option::of((0..9, 0..9)), snapshot, -1..3);
    let head = (any::<i32>(), any::<i16>(), any::<i64>(), any::<i64>(), any::<i64>());
    (head, aborted, tags, records()).prop_map(
        |(head, aborted, (diverging, leader, snapshot, preferred), records)| {
            let (index, error, high_watermark, last_stable_offset, log_start) = head;
            let ours = PartitionReply {
                index,
                error: ErrorCode(error),
                high_watermark,
                last_stable_offset,
                log_start,
                diverging: diverging.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset }),
                snapshot,
                preferred_replica: preferred,
                current_leader: leader,
                aborted: aborted.as_ref().map(|aborted| {
                    let ended = |&(producer_id, first_offset)| AbortedTransaction {
                        producer_id,
                        first_offset,
                        last_offset: 0,
                        last_stable_offset: 0,
                    };
                    aborted.iter().map(ended).collect()
                }),
                records: records.iter().map(part).collect(),
            };
            let mut theirs = PartitionData::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_high_watermark(high_watermark)
                .with_last_stable_offset(last_stable_offset)
                .with_log_start_offset(log_start)
                .with_preferred_read_replica(BrokerId(preferred))
                .with_aborted_transactions(aborted.map(|aborted| {
                    let ended = |(pid, first): (i64, i64)| {
                        WireAborted::default().with_producer_id(pid.into()).with_first_offset(first)
                    };
                    aborted.into_iter().map(ended).collect()
                }))
                .with_records(Some(records.into_iter().flat_map(|(_, bytes)| bytes).collect()));
            if let Some((epoch, end)) = diverging {
                theirs.diverging_epoch = EpochEndOffset::default().with_epoch(epoch).with_end_offset(end);
            }
            if let Some((end_offset, epoch)) = snapshot {
                theirs.snapshot_id = SnapshotId::default().with_end_offset(end_offset).with_epoch(epoch);
            }
            if let Some((leader, epoch)) = leader {
                theirs.current_leader =
                    LeaderIdAndEpoch::default().with_leader_id(leader.into()).with_leader_epoch(epoch);
            }
            (ours, theirs)
        },
    )
}

fn topic() -> impl Strategy<Value = (TopicReply, FetchableTopicResponse)> {
    ("[a-z.]{0,200}", any::<u128>(), prop::collection::vec(partition(), 0..4)).prop_map(
        |(name, id, partitions)| {
            let (ours, theirs): (Vec<_>, Vec<_>) = partitions.into_iter().unzip();
            let name = TopicName(StrBytes::from_string(name));
            let id = Uuid::from_u128(id);
            (
                TopicReply { topic: name.clone(), topic_id: TopicId(id), partitions: ours },
                FetchableTopicResponse::default().with_topic(name).with_topic_id(id).with_partitions(theirs),
            )
        },
    )
}

fn flatten(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    for part in &frame.0 {
        match part {
            Part::Bytes(bytes) => out.extend_from_slice(bytes),
            Part::File { file, offset, len } => {
                let mut bytes = vec![0; *len];
                file.read_exact_at(&mut bytes, *offset).expect("reads");
                out.extend_from_slice(&bytes);
            }
        }
    }
    out
}

/// Without what the version cannot say.
fn at_version(mut response: FetchResponse, version: i16) -> FetchResponse {
    for topic in &mut response.responses {
        for partition in &mut topic.partitions {
            if version < 11 {
                partition.preferred_read_replica = BrokerId(-1);
            }
            if version < 12 {
                partition.diverging_epoch = EpochEndOffset::default();
                partition.current_leader = LeaderIdAndEpoch::default();
                partition.snapshot_id = SnapshotId::default();
            }
        }
    }
    if version < 7 {
        response.session_id = 0;
    }
    if version < 16 {
        response.node_endpoints.clear();
    }
    response
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn gathered_responses_are_what_kafka_protocol_encodes(
        topics in prop::collection::vec(topic(), 0..4),
        (error, session_id, correlation_id) in (any::<i16>(), any::<i32>(), any::<i32>()),
        endpoints in prop::collection::vec((0..9, "[a-z]{0,9}", 0..65_536, prop::option::of("[a-z]{0,4}")), 0..3),
    ) {
        let (ours, theirs): (Vec<_>, Vec<_>) = topics.into_iter().unzip();
        let reply = FetchReply {
            error: ErrorCode(error),
            session_id,
            topics: ours,
            endpoints: endpoints
                .iter()
                .map(|(node, host, port, rack)| LeaderEndpoint {
                    node: *node,
                    host: host.as_str().into(),
                    port: *port,
                    rack: rack.as_deref().map(Into::into),
                })
                .collect(),
        };
        let response = FetchResponse::default()
            .with_error_code(error)
            .with_session_id(session_id)
            .with_responses(theirs)
            .with_node_endpoints(
                endpoints
                    .into_iter()
                    .map(|(node, host, port, rack)| {
                        NodeEndpoint::default()
                            .with_node_id(node.into())
                            .with_host(StrBytes::from_string(host))
                            .with_port(port)
                            .with_rack(rack.map(StrBytes::from_string))
                    })
                    .collect(),
            );
        for version in 4..=18 {
            let frame = reply.clone().into_frame(1, version, correlation_id).expect("encodes");
            let expected =
                ottla_protocol::encode_response(1, version, correlation_id, &at_version(response.clone(), version));
            prop_assert_eq!(flatten(&frame), expected.expect("encodes"), "version {}", version);
            prop_assert_eq!(frame.len(), flatten(&frame).len());
        }
    }
}
