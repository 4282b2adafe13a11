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
            self.answer(asked, request.max_bytes)
                .unwrap_or_else(|code| failed(code))
                .with_current_leader(current)
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
