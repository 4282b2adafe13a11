//! FetchSnapshot (59), versions 0–1 (KIP-630, KIP-853): a snapshot of the metadata, piece by piece.
//!
//! Asked by observers that are behind the start of the metadata log, or begin with nothing. Only the leader answers with
//! bytes. Version 1 says where the leader is, and names the observer's directory.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::ImageCell;
use ottla_protocol::{
    StrBytes,
    messages::{
        FetchSnapshotRequest, FetchSnapshotResponse, TopicName, fetch_snapshot_request,
        fetch_snapshot_response::{
            LeaderIdAndEpoch, NodeEndpoint, PartitionSnapshot, SnapshotId as WireId, TopicSnapshot,
        },
    },
};
use ottla_raft::SnapshotId;
use ottla_types::ErrorCode;
use tracing::error;

use super::controller::leader::{QuorumLeader, check_leader};
use crate::{Handler, MetadataLogView, Quorum, Reply, RequestContext};

const METADATA_TOPIC: &str = "__cluster_metadata";
/// Bytes of one piece, at most: the observer asks on from there.
const MAX_PIECE: usize = 8 << 20;

pub(crate) struct FetchSnapshot {
    leader: QuorumLeader,
    log: Arc<dyn MetadataLogView>,
    cluster_id: Arc<str>,
}

impl FetchSnapshot {
    pub(crate) fn new(
        quorum: Arc<dyn Quorum>,
        image: Arc<ImageCell>,
        log: Arc<dyn MetadataLogView>,
        cluster_id: Arc<str>,
    ) -> Self {
        Self { leader: QuorumLeader { quorum, image }, log, cluster_id }
    }

    fn answer(
        &self,
        asked: &fetch_snapshot_request::PartitionSnapshot,
        max_bytes: i32,
    ) -> Result<PartitionSnapshot, ErrorCode> {
        check_leader(&self.leader.quorum.status().borrow(), asked.current_leader_epoch)?;
        let id = SnapshotId { end_offset: asked.snapshot_id.end_offset, epoch: asked.snapshot_id.epoch };
        if id == SnapshotId::BOOTSTRAP {
            return Err(ErrorCode::SNAPSHOT_NOT_FOUND);
        }
        let position = u64::try_from(asked.position);
        let max_bytes = usize::try_from(max_bytes).unwrap_or(0).min(MAX_PIECE);
        let piece = self.log.snapshot(id, position.unwrap_or(0), max_bytes).map_err(|e| {
            error!("The snapshot {id:?} could not be read: {e}");
            ErrorCode::UNKNOWN_SERVER_ERROR
        })?;
        let piece = piece.ok_or(ErrorCode::SNAPSHOT_NOT_FOUND)?;
        if position.map_or(true, |position| position >= piece.size) {
            return Err(ErrorCode::POSITION_OUT_OF_RANGE);
        }
        let wire_id = WireId::default().with_end_offset(id.end_offset).with_epoch(id.epoch);
        Ok(PartitionSnapshot::default()
            .with_snapshot_id(wire_id)
            .with_size(i64::try_from(piece.size).unwrap_or(i64::MAX))
            .with_position(asked.position)
            .with_unaligned_records(piece.bytes))
    }
}

impl Handler for FetchSnapshot {
    type Request = FetchSnapshotRequest;
    type Response = FetchSnapshotResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(&self, ctx: &RequestContext, request: FetchSnapshotRequest) -> Reply<FetchSnapshotResponse> {
        let refused = |code: ErrorCode| Reply::Now(FetchSnapshotResponse::default().with_error_code(code.0));
        if request.cluster_id.as_ref().is_some_and(|id| id.as_str() != &*self.cluster_id) {
            return refused(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let [topic] = &request.topics[..] else { return refused(ErrorCode::INVALID_REQUEST) };
        let [asked] = &topic.partitions[..] else { return refused(ErrorCode::INVALID_REQUEST) };
        let (leader, epoch) = self.leader.now();
        let known = topic.name.as_str() == METADATA_TOPIC && asked.partition == 0;
        let answer = if known {
            let current = LeaderIdAndEpoch::default().with_leader_id(leader.into()).with_leader_epoch(epoch);
            self.answer(asked, request.max_bytes).unwrap_or_else(failed).with_current_leader(current)
        } else {
            failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        let topic = TopicSnapshot::default()
            .with_name(TopicName(StrBytes::from_string(topic.name.to_string())))
            .with_partitions(vec![answer.with_index(asked.partition)]);
        let mut response = FetchSnapshotResponse::default().with_topics(vec![topic]);
        if let Some(endpoint) = self.leader.endpoint(leader, &ctx.listener).filter(|_| names_endpoints(ctx)) {
            response.node_endpoints.push(
                NodeEndpoint::default()
                    .with_node_id(leader.into())
                    .with_host(StrBytes::from_string(endpoint.host.to_string()))
                    .with_port(u16::try_from(endpoint.port).unwrap_or(0)),
            );
        }
        Reply::Now(response)
    }
}

fn failed(code: ErrorCode) -> PartitionSnapshot {
    PartitionSnapshot::default().with_error_code(code.0)
}

/// Version 1 says where the leader is.
fn names_endpoints(ctx: &RequestContext) -> bool {
    ctx.api_version >= 1
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::messages::{BrokerId, fetch_snapshot_request::TopicSnapshot as AskedTopic};

    use super::*;
    use crate::api::testing::{FakeLog, FakeQuorum, ask, image};

    const ID: SnapshotId = SnapshotId { end_offset: 10, epoch: 3 };

    fn node(in_office: bool) -> FetchSnapshot {
        let snapshots = vec![(ID, Bytes::from_static(b"a snapshot"))];
        let log = FakeLog { snapshots, ..FakeLog::new(10, &[4]) };
        FetchSnapshot::new(FakeQuorum::new(in_office), image(), Arc::new(log), "c".into())
    }

    fn request(id: SnapshotId, position: i64, epoch: i32) -> FetchSnapshotRequest {
        let wanted =
            fetch_snapshot_request::SnapshotId::default().with_end_offset(id.end_offset).with_epoch(id.epoch);
        let partition = fetch_snapshot_request::PartitionSnapshot::default()
            .with_current_leader_epoch(epoch)
            .with_snapshot_id(wanted)
            .with_position(position);
        let topic = AskedTopic::default()
            .with_name(TopicName(METADATA_TOPIC.into()))
            .with_partitions(vec![partition]);
        FetchSnapshotRequest::default().with_max_bytes(4).with_topics(vec![topic])
    }

    async fn said(node: &FetchSnapshot, request: FetchSnapshotRequest) -> PartitionSnapshot {
        let answer = ask(node, 1, request).await;
        answer.topics[0].partitions[0].clone()
    }

    #[tokio::test]
    async fn a_snapshot_comes_piece_by_piece() {
        let node = node(true);
        let mut whole = Vec::new();
        while whole.len() < 10 {
            let piece = said(&node, request(ID, whole.len() as i64, 1)).await;
            assert_eq!((piece.error_code, piece.size, piece.position), (0, 10, whole.len() as i64));
            assert_eq!((piece.snapshot_id.end_offset, piece.snapshot_id.epoch), (10, 3));
            whole.extend_from_slice(&piece.unaligned_records);
        }
        assert_eq!(whole, b"a snapshot");
    }

    #[tokio::test]
    async fn what_cannot_be_given_is_said() {
        let leader = node(true);
        let other = SnapshotId { epoch: 2, ..ID };
        for (asked, code) in [
            (request(other, 0, 1), ErrorCode::SNAPSHOT_NOT_FOUND),
            (request(SnapshotId::BOOTSTRAP, 0, 1), ErrorCode::SNAPSHOT_NOT_FOUND),
            (request(ID, 10, 1), ErrorCode::POSITION_OUT_OF_RANGE),
            (request(ID, -1, 1), ErrorCode::POSITION_OUT_OF_RANGE),
            (request(ID, 0, 0), ErrorCode::FENCED_LEADER_EPOCH),
            (request(ID, 0, 2), ErrorCode::UNKNOWN_LEADER_EPOCH),
        ] {
            let piece = said(&leader, asked).await;
            assert_eq!(piece.error_code, code.0);
            assert_eq!(piece.current_leader.leader_id, BrokerId(1));
        }
        let answer = ask(&node(false), 1, request(ID, 0, 1)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
        assert_eq!((answer.node_endpoints[0].node_id, answer.node_endpoints[0].port), (BrokerId(1), 24_092));
    }

    #[tokio::test]
    async fn other_clusters_and_other_logs_are_refused() {
        let node = node(true);
        let elsewhere = request(ID, 0, 1).with_cluster_id(Some("zz".into()));
        assert_eq!(ask(&node, 1, elsewhere).await.error_code, ErrorCode::INCONSISTENT_CLUSTER_ID.0);
        assert_eq!(ask(&node, 1, request(ID, 0, 1).with_topics(vec![])).await.error_code, 42);
        let mut other = request(ID, 0, 1);
        other.topics[0].name = TopicName("x".into());
        assert_eq!(said(&node, other).await.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    }
}
