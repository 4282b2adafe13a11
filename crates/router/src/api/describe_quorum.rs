//! DescribeQuorum (55), versions 0–2 (KIP-595, KIP-836, KIP-853): who votes on the metadata, who follows, and how far.
//!
//! Answered by the active controller; brokers and other controllers of this cluster pass it on to that one. On a
//! controller's listener it is not passed on: NOT_LEADER_OR_FOLLOWER, unless this is the active one.
//!
//! Versions: 1 when a replica fetched last and was caught up last; 2 directory ids, messages, where the voters are.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, TopicName,
        describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
    },
};
use ottla_raft::{QuorumView, ReplicaView};
use ottla_types::{ErrorCode, NO_LEADER};
use uuid::Uuid;

use super::text::wire;
use crate::{Handler, Quorum, Reply, RequestContext, ask::AboutQuorum};

const METADATA_TOPIC: &str = "__cluster_metadata";
const NOT_LEADER: &str = "For requests intended only for the leader, this error indicates that the broker is not the \
                          current leader. For requests intended for any replica, this error indicates that the broker \
                          is not a replica of the topic partition.";
const UNKNOWN: &str = "This server does not host this topic-partition.";

/// Serves it from this node's own member of the quorum.
pub(crate) struct DescribeQuorum {
    quorum: Arc<dyn Quorum>,
}

impl DescribeQuorum {
    pub(crate) fn new(quorum: Arc<dyn Quorum>) -> Self {
        Self { quorum }
    }
}

impl Handler for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    type Response = DescribeQuorumResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(&self, ctx: &RequestContext, request: DescribeQuorumRequest) -> Reply<DescribeQuorumResponse> {
        Reply::Now(describe(&*self.quorum, &request, ctx.api_version))
    }
}

impl AboutQuorum for DescribeQuorum {
    fn is_elsewhere(answer: &DescribeQuorumResponse) -> bool {
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.any(|partition| partition.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER.0)
    }

    fn refuse(request: &DescribeQuorumRequest, code: ErrorCode) -> DescribeQuorumResponse {
        refuse_all(request, code, None)
    }
}

/// Version 2 says where the voters are, and of which directory each replica is.
fn names_directories(version: i16) -> bool {
    version >= 2
}

/// What this member of the quorum says.
fn describe(quorum: &dyn Quorum, request: &DescribeQuorumRequest, version: i16) -> DescribeQuorumResponse {
    let asks_for_it = match &request.topics[..] {
        [topic] => {
            let zero = topic.partitions.len() == 1 && topic.partitions[0].partition_index == 0;
            topic.topic_name.as_str() == METADATA_TOPIC && zero
        }
        _ => false,
    };
    if !asks_for_it {
        return refuse_all(request, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(UNKNOWN));
    }
    if !quorum.status().borrow().in_office {
        return refuse_all(request, ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(NOT_LEADER));
    }
    let mut view = quorum.view();
    if !names_directories(version) {
        let replicas = view.voters.iter_mut().chain(&mut view.observers);
        replicas.for_each(|replica| replica.directory_id = Uuid::nil());
    }
    let partition = PartitionData::default()
        .with_error_message(Some(StrBytes::default()))
        .with_leader_id(BrokerId(view.leader.unwrap_or(NO_LEADER)))
        .with_leader_epoch(view.epoch)
        .with_high_watermark(view.high_watermark)
        .with_current_voters(view.voters.iter().map(replica).collect())
        .with_observers(view.observers.iter().map(replica).collect());
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![partition]);
    let nodes = if names_directories(version) { nodes(&view) } else { Vec::new() };
    answer(vec![topic]).with_nodes(nodes)
}

fn answer(topics: Vec<TopicData>) -> DescribeQuorumResponse {
    DescribeQuorumResponse::default().with_error_message(Some(StrBytes::default())).with_topics(topics)
}

fn replica(replica: &ReplicaView) -> ReplicaState {
    ReplicaState::default()
        .with_replica_id(BrokerId(replica.id))
        .with_replica_directory_id(replica.directory_id)
        .with_log_end_offset(replica.log_end)
        .with_last_fetch_timestamp(replica.last_fetch.0)
        .with_last_caught_up_timestamp(replica.last_caught_up.0)
}

/// Where the voters listen.
fn nodes(view: &QuorumView) -> Vec<Node> {
    let listeners = |voter: &ReplicaView| {
        let listeners = voter.endpoints.iter().map(|endpoint| {
            Listener::default()
                .with_name(wire(&endpoint.name))
                .with_host(wire(&endpoint.host))
                .with_port(endpoint.port)
        });
        listeners.collect()
    };
    let node = |voter: &ReplicaView| {
        Node::default().with_node_id(BrokerId(voter.id)).with_listeners(listeners(voter))
    };
    view.voters.iter().map(node).collect()
}

/// The same refusal for all that was asked.
fn refuse_all(
    request: &DescribeQuorumRequest,
    code: ErrorCode,
    message: Option<&'static str>,
) -> DescribeQuorumResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            PartitionData::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.0)
                .with_error_message(message.map(StrBytes::from_static_str))
        });
        TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
    });
    answer(topics.collect())
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{
        api,
        messages::describe_quorum_request::{PartitionData as AskedPartition, TopicData as AskedTopic},
    };
    use ottla_raft::VoterEndpoint;
    use ottla_types::Millis;

    use super::*;
    use crate::api::testing::{FakeQuorum, ask, body};

    fn request(topic: &'static str) -> DescribeQuorumRequest {
        let topic = AskedTopic::default()
            .with_topic_name(TopicName(topic.into()))
            .with_partitions(vec![AskedPartition::default()]);
        DescribeQuorumRequest::default().with_topics(vec![topic])
    }

    /// The recorded cluster.
    fn node(in_office: bool) -> DescribeQuorum {
        let quorum = FakeQuorum::new(in_office);
        let voter = |id: i32, at: i64| ReplicaView {
            id,
            directory_id: Uuid::nil(),
            log_end: 906,
            last_fetch: Millis(at),
            last_caught_up: Millis(at),
            endpoints: vec![VoterEndpoint {
                name: "CONTROLLER".into(),
                host: "127.0.0.1".into(),
                port: u16::try_from(24_091 + id).expect("a port"),
            }],
        };
        let voters = vec![voter(1, 0x1a2_057c_3787), voter(2, 0x1a2_057c_35bb), voter(3, 0x1a2_057c_35b8)];
        let view =
            QuorumView { leader: Some(1), epoch: 1, high_watermark: 906, voters, ..QuorumView::default() };
        *quorum.view.lock() = view;
        DescribeQuorum::new(quorum)
    }

    async fn said(node: &DescribeQuorum, version: i16, request: DescribeQuorumRequest) -> String {
        body(api::DESCRIBE_QUORUM, version, ask(node, version, request).await)
    }

    #[tokio::test]
    async fn the_leader_describes_the_quorum_as_kafka_does() {
        let node = node(true);
        let head = "02135f5f636c75737465725f6d6574616461746102";
        assert_eq!(
            said(&node, 0, request(METADATA_TOPIC)).await,
            format!(
                "0000{head}000000000000000000010000000100000000\
                 0000038a0400000001000000000000038a0000000002000000000000038a0000000003000000000000038a\
                 0001000000"
            )
        );
        assert_eq!(
            said(&node, 1, request(METADATA_TOPIC)).await,
            format!(
                "0000{head}00000000000000000001000000010000\
                 00000000038a0400000001000000000000038a000001a2057c3787000001a2057c3787000000000200000000\
                 0000038a000001a2057c35bb000001a2057c35bb0000000003000000000000038a000001a2057c35b8000001a2\
                 057c35b80001000000"
            )
        );
        let id = "00".repeat(16);
        assert_eq!(
            said(&node, 2, request(METADATA_TOPIC)).await,
            format!(
                "000001{head}00000000000001000000010000000100000000\
                 0000038a0400000001{id}000000000000038a000001a2057c3787000001a2057c37870000000002{id}\
                 000000000000038a000001a2057c35bb000001a2057c35bb0000000003{id}000000000000038a\
                 000001a2057c35b8000001a2057c35b8000100000400000001020b434f4e54524f4c4c45520a3132372e302e302e31\
                 5e1c000000000002020b434f4e54524f4c4c45520a3132372e302e302e315e1d000000000003020b434f4e54524f\
                 4c4c45520a3132372e302e302e315e1e000000"
            )
        );
    }

    #[tokio::test]
    async fn others_and_other_topics_are_refused_as_kafka_refuses_them() {
        let refused = said(&node(false), 2, request(METADATA_TOPIC)).await;
        let head = "00000102135f5f636c75737465725f6d6574616461746102000000000006e001466f7220";
        let tail = "00000000000000000000000000000000010100000100";
        assert!(refused.starts_with(head) && refused.ends_with(tail), "{refused}");
        assert_eq!(
            said(&node(true), 2, request("foo")).await,
            format!(
                "0000010204666f6f0200000000000330546869732073657276657220646f6573206e6f7420686f7374207468697320\
                 746f7069632d706172746974696f6e2e{tail}"
            )
        );
        assert_eq!(said(&node(true), 2, DescribeQuorumRequest::default()).await, "000001010100");
    }
}
