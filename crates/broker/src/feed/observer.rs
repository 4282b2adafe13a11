//! What an observer of the metadata quorum asks next and makes of the answer (KIP-595, KIP-630, KIP-853). Pure: answers
//! go in, what is to be done to the local log comes out.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, FetchRequest, FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, TopicName,
        fetch_request::{FetchPartition, FetchTopic, ReplicaState},
        fetch_snapshot_request::{PartitionSnapshot, SnapshotId as WireSnapshotId, TopicSnapshot},
    },
};
use ottla_raft::SnapshotId;
use ottla_router::ControllerAddress;
use ottla_storage::METADATA_TOPIC;
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicId};
use uuid::Uuid;

use crate::storage_tool::JOIN_REMEDY;

/// How long the leader may hold an answer back that would be empty.
pub(super) const MAX_WAIT_MS: i32 = 500;
/// A larger snapshot is not believed.
const SNAPSHOT_MAX: i64 = 4 << 30;

/// A host and a port.
pub(super) type Address = (Arc<str>, u16);

/// Who asks, and how much at once.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) node_id: NodeId,
    pub(super) cluster_id: Arc<str>,
    pub(super) directory_id: Uuid,
    /// `controller.quorum.fetch.max.bytes`.
    pub(super) max_bytes: i32,
    /// `controller.quorum.fetch.snapshot.max.bytes`.
    pub(super) snapshot_max_bytes: i32,
}

/// Where the local log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEnd {
    pub(super) offset: Offset,
    pub(super) epoch: LeaderEpoch,
}

/// What is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The log from its end on.
    Log,
    /// A snapshot from a byte position on.
    Snapshot { id: SnapshotId, position: i64 },
}

/// What is to be done with an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Append these batches (maybe none), then apply what lies below the high watermark.
    Append { records: Bytes, high_watermark: Offset },
    /// The leader's log differs: remove all that is not in it. It has nothing of `epoch` from `end` on.
    Truncate { epoch: LeaderEpoch, end: Offset },
    /// The leader's log begins behind our end: its snapshot is to be fetched. Any older beginning of one goes.
    BeginSnapshot(SnapshotId),
    /// The next bytes of the snapshot; `last` when it is whole.
    Piece { id: SnapshotId, bytes: Bytes, last: bool },
    /// Somebody else leads, whose address is known now: ask there.
    Redirected,
    /// They are the controllers of another cluster: nothing they say is for this node.
    Foreign(String),
    /// Ask again after a while, somewhere else maybe. Says what went wrong, if it is worth a word.
    Wait(Option<String>),
}

/// An observer.
#[derive(Debug)]
pub(super) struct Observer {
    me: Identity,
    /// Where controllers are told to be; asked in turn while no leader is known.
    bootstrap: Vec<Address>,
    /// `controller.quorum.voters`: addresses by id, for answers that name a leader without its address.
    voters: BTreeMap<NodeId, Address>,
    turn: usize,
    epoch: LeaderEpoch,
    leader: Option<ControllerAddress>,
    /// The highest that any leader told.
    high_watermark: Offset,
    ask: Ask,
}

impl Observer {
    /// `bootstrap` must not be empty.
    pub(super) fn new(
        me: Identity,
        bootstrap: Vec<Address>,
        voters: BTreeMap<NodeId, Address>,
        epoch: LeaderEpoch,
    ) -> Self {
        assert!(!bootstrap.is_empty(), "a configuration without controllers is refused before");
        let turn = usize::try_from(me.node_id).unwrap_or(0);
        Self { me, bootstrap, voters, turn, epoch, leader: None, high_watermark: -1, ask: Ask::Log }
    }

    /// Who leads, as far as is known.
    pub(super) fn leader(&self) -> Option<&ControllerAddress> {
        self.leader.as_ref()
    }

    /// Whom to ask.
    pub(super) fn target(&self) -> Address {
        match &self.leader {
            Some(leader) => (leader.host.clone(), leader.port),
            None => self.bootstrap[self.turn % self.bootstrap.len()].clone(),
        }
    }

    /// What to ask.
    pub(super) fn ask(&self) -> Ask {
        self.ask
    }

    /// The peer could not be reached or did not answer.
    pub(super) fn failed(&mut self) {
        self.leader = None;
        self.turn = self.turn.wrapping_add(1);
    }

    pub(super) fn fetch(&self, end: LogEnd, version: i16) -> FetchRequest {
        let mut partition = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(self.epoch)
            .with_fetch_offset(end.offset)
            .with_last_fetched_epoch(end.epoch)
            .with_log_start_offset(-1);
        if version >= 17 {
            partition = partition.with_replica_directory_id(self.me.directory_id);
        }
        if version >= 18 {
            partition = partition.with_high_watermark(self.high_watermark);
        }
        let topic = FetchTopic::default().with_topic_id(TopicId::METADATA.0).with_partitions(vec![partition]);
        let state = ReplicaState::default().with_replica_id(BrokerId(self.me.node_id)).with_replica_epoch(-1);
        FetchRequest::default()
            .with_cluster_id(Some(StrBytes::from_string(self.me.cluster_id.to_string())))
            .with_replica_state(state)
            .with_max_wait_ms(MAX_WAIT_MS)
            .with_max_bytes(self.me.max_bytes)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    }

    pub(super) fn fetch_snapshot(&self, id: SnapshotId, position: i64, version: i16) -> FetchSnapshotRequest {
        let wire = WireSnapshotId::default().with_end_offset(id.end_offset).with_epoch(id.epoch);
        let mut partition = PartitionSnapshot::default()
            .with_partition(0)
            .with_current_leader_epoch(self.epoch)
            .with_snapshot_id(wire)
            .with_position(position);
        if version >= 1 {
            partition = partition.with_replica_directory_id(self.me.directory_id);
        }
        let topic = TopicSnapshot::default()
            .with_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
            .with_partitions(vec![partition]);
        FetchSnapshotRequest::default()
            .with_cluster_id(Some(StrBytes::from_string(self.me.cluster_id.to_string())))
            .with_replica_id(BrokerId(self.me.node_id))
            .with_max_bytes(self.me.snapshot_max_bytes)
            .with_topics(vec![topic])
    }

    /// The answer to [`fetch`](Self::fetch).
    pub(super) fn fetched(&mut self, mut answer: FetchResponse, end: LogEnd) -> Verdict {
        if answer.error_code != 0 {
            return self.refused(ErrorCode(answer.error_code));
        }
        let Some(mut partition) = answer
            .responses
            .iter_mut()
            .find(|topic| topic.topic_id == TopicId::METADATA.0)
            .and_then(|topic| topic.partitions.iter_mut().find(|one| one.partition_index == 0))
            .map(std::mem::take)
        else {
            return self.nonsense("an answer without the metadata log");
        };
        let endpoints = answer.node_endpoints.iter().filter_map(|at| {
            Some((at.node_id.0, (Arc::from(at.host.as_str()), u16::try_from(at.port).ok()?)))
        });
        let endpoints: BTreeMap<NodeId, Address> = endpoints.collect();
        let leader = (partition.current_leader.leader_id.0, partition.current_leader.leader_epoch);
        if let Some(verdict) = self.follow(ErrorCode(partition.error_code), leader, &endpoints) {
            return verdict;
        }
        let snapshot =
            SnapshotId { end_offset: partition.snapshot_id.end_offset, epoch: partition.snapshot_id.epoch };
        let diverging = &partition.diverging_epoch;
        if diverging.epoch >= 0 || diverging.end_offset >= 0 {
            if diverging.epoch < 0 || diverging.end_offset < 0 {
                return self.nonsense("half of a diverging epoch");
            }
            return Verdict::Truncate { epoch: diverging.epoch, end: diverging.end_offset };
        }
        if snapshot.end_offset >= 0 || snapshot.epoch >= 0 {
            if snapshot.end_offset <= 0 || snapshot.epoch < 0 {
                return self.nonsense("half of a snapshot's id");
            }
            if snapshot.end_offset <= end.offset {
                return self.nonsense("a snapshot of what is in the log");
            }
            self.ask = Ask::Snapshot { id: snapshot, position: 0 };
            return Verdict::BeginSnapshot(snapshot);
        }
        let records = partition.records.take().unwrap_or_default();
        self.high_watermark = self.high_watermark.max(partition.high_watermark);
        Verdict::Append { records, high_watermark: self.high_watermark }
    }

    /// The answer to [`fetch_snapshot`](Self::fetch_snapshot).
    pub(super) fn fetched_snapshot(&mut self, mut answer: FetchSnapshotResponse) -> Verdict {
        let Ask::Snapshot { id, position } = self.ask else { return Verdict::Wait(None) };
        if answer.error_code != 0 {
            self.ask = Ask::Log;
            return self.refused(ErrorCode(answer.error_code));
        }
        let topics = answer.topics.iter_mut().flat_map(|topic| topic.partitions.iter_mut());
        let Some(piece) = topics.into_iter().find(|one| one.index == 0).map(std::mem::take) else {
            self.ask = Ask::Log;
            return self.nonsense("an answer without the metadata log's snapshot");
        };
        let endpoints = answer.node_endpoints.iter();
        let endpoints = endpoints.map(|at| (at.node_id.0, (Arc::from(at.host.as_str()), at.port))).collect();
        let leader = (piece.current_leader.leader_id.0, piece.current_leader.leader_epoch);
        if let Some(verdict) = self.follow(ErrorCode(piece.error_code), leader, &endpoints) {
            // SNAPSHOT_NOT_FOUND, or another leader: what is there now is asked for anew.
            self.ask = Ask::Log;
            return verdict;
        }
        let bytes = piece.unaligned_records;
        let next = position.saturating_add(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        let same = piece.snapshot_id.end_offset == id.end_offset && piece.snapshot_id.epoch == id.epoch;
        if !same || piece.position != position || next > piece.size || piece.size > SNAPSHOT_MAX {
            self.ask = Ask::Log;
            return self.nonsense("a piece of another snapshot, or of another place in it");
        }
        let last = next == piece.size;
        if bytes.is_empty() && !last {
            self.ask = Ask::Log;
            return self.nonsense("no bytes of a snapshot that has more");
        }
        self.ask = if last { Ask::Log } else { Ask::Snapshot { id, position: next } };
        Verdict::Piece { id, bytes, last }
    }

    /// Takes in who leads. `None` when the rest of the answer counts.
    fn follow(
        &mut self,
        error: ErrorCode,
        (leader, epoch): (NodeId, LeaderEpoch),
        endpoints: &BTreeMap<NodeId, Address>,
    ) -> Option<Verdict> {
        let before = (self.leader.as_ref().map(|leader| leader.id), self.epoch);
        if epoch > self.epoch {
            self.epoch = epoch;
            self.leader = None;
        } else if epoch >= 0 && epoch < self.epoch {
            // Somebody who does not know yet who leads.
            self.failed();
            return Some(Verdict::Wait(None));
        }
        if epoch == self.epoch && leader >= 0 {
            let address = endpoints.get(&leader).or_else(|| self.voters.get(&leader));
            match address {
                Some((host, port)) if self.leader.is_none() && !host.is_empty() => {
                    self.leader = Some(ControllerAddress { id: leader, host: host.clone(), port: *port });
                }
                _ => {}
            }
        }
        if error.is_ok() {
            return None;
        }
        let news = self.leader.is_some() && before != (self.leader.as_ref().map(|it| it.id), self.epoch);
        if news {
            return Some(Verdict::Redirected);
        }
        let expected = matches!(
            error,
            ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::UNKNOWN_LEADER_EPOCH
                | ErrorCode::BROKER_NOT_AVAILABLE
                | ErrorCode::SNAPSHOT_NOT_FOUND
        );
        self.failed();
        Some(Verdict::Wait((!expected).then(|| format!("The controller's answer was {error}"))))
    }

    fn refused(&mut self, error: ErrorCode) -> Verdict {
        self.failed();
        if error == ErrorCode::INCONSISTENT_CLUSTER_ID {
            return Verdict::Foreign(format!(
                "The controllers belong to another cluster than this node's log directories, which are formatted for \
                 cluster {} ({error}). {JOIN_REMEDY}",
                self.me.cluster_id
            ));
        }
        Verdict::Wait(Some(format!("The controller refused to send its log: {error}")))
    }

    fn nonsense(&mut self, what: &str) -> Verdict {
        self.failed();
        Verdict::Wait(Some(format!("The controller sent {what}")))
    }
}

/// Where the local log has to be cut to agree with a leader that has nothing of `epoch` from `end` on.
pub(super) fn cut(
    epochs: &[(LeaderEpoch, Offset)],
    log_end: Offset,
    epoch: LeaderEpoch,
    end: Offset,
) -> Offset {
    // The greatest epoch of ours that is not greater, and where it ends here.
    let at = epochs.partition_point(|(ours, _)| *ours <= epoch);
    let ours_ends = epochs.get(at).map_or(log_end, |(_, start)| *start);
    match at.checked_sub(1).map(|at| epochs[at].0) {
        Some(ours) if ours == epoch => ours_ends.min(end),
        Some(_) => ours_ends,
        None => epochs.first().map_or(log_end, |(_, start)| *start).min(end),
    }
}

/// For tests: the only partition of an answer.
#[cfg(test)]
pub(super) fn partition(
    answer: &mut FetchResponse,
) -> &mut ottla_protocol::messages::fetch_response::PartitionData {
    &mut answer.responses[0].partitions[0]
}

#[cfg(test)]
#[path = "observer_tests.rs"]
mod tests;
