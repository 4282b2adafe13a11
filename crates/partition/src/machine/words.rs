//! What a partition is told, what it answers, and what it wants done.

use ottla_types::{ErrorCode, LeaderEpoch, Millis, NodeId, Offset};

use crate::{
    Brokers, EpochEnd, FollowerFetch, IsrAnswer, IsrProposal, LeaderTerm, ProducerRefusal, ProducerTable,
};

/// Settings that the rules depend on; may change while running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `min.insync.replicas`; capped by the number of replicas.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { min_insync_replicas: 1, replica_lag_time_max_ms: 30_000 }
    }
}

/// What happened to the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller made this broker the leader, or changed something while it is.
    Lead(LeaderTerm),
    /// The controller made another broker the leader; [`NO_LEADER`](ottla_types::NO_LEADER) when there is none.
    Follow {
        /// Who leads.
        leader: NodeId,
        /// Counts leaders.
        leader_epoch: LeaderEpoch,
    },
    /// The settings changed. [`Event::Lead`] brings its own.
    RulesChanged(Rules),
    /// How brokers stand with the controller changed.
    Brokers(Brokers),
    /// A follower asked for records.
    FollowerFetched(FollowerFetch),
    /// The controller answered an [`IsrProposal`].
    IsrAnswered {
        /// What it was asked.
        asked: IsrProposal,
        /// What it said.
        answer: IsrAnswer,
    },
    /// The leader said in a Fetch response how far all is replicated and where its log starts.
    LeaderSaid {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The leader said that histories differ from the end of this epoch on.
    Diverged(EpochEnd),
    /// The leader's log does not hold the offset after our log's end.
    OutOfRange {
        /// Where the leader's log starts.
        leader_start: Offset,
        /// Where it ends.
        leader_end: Offset,
    },
    /// The log was cut to end at `end`; `producers` is what the remaining log says.
    Truncated {
        /// The new log end.
        end: Offset,
        /// Rebuilt from a snapshot and the log.
        producers: Box<ProducerTable>,
    },
    /// The log was emptied; its next record gets this offset.
    StartedOver {
        /// Its start and end now.
        at: Offset,
    },
    /// Records before `to` are gone (retention, DeleteRecords).
    LogStartMoved {
        /// The new log start.
        to: Offset,
    },
}

/// What the driver has to do, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Cut the log to end here, then report [`Event::Truncated`].
    pub truncate_to: Option<Offset>,
    /// Empty the log and let it start here, then report [`Event::StartedOver`].
    pub start_over_at: Option<Offset>,
    /// Write this start of a leader epoch to the log's checkpoint.
    pub assign_epoch: Option<(LeaderEpoch, Offset)>,
    /// Advance the log start to this offset.
    pub advance_log_start: Option<Offset>,
    /// Ask the controller for another in-sync set.
    pub propose_isr: Option<IsrProposal>,
    /// Offsets or role changed: publish the view, wake who waits for it.
    pub moved: bool,
    /// This broker no longer leads: fail what waits for replication.
    pub resigned: bool,
}

/// Whether this broker leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads, in this epoch.
    Leader(LeaderEpoch),
    /// Another does ([`NO_LEADER`](ottla_types::NO_LEADER): nobody).
    Follower {
        /// Who leads.
        leader: NodeId,
        /// Counts leaders; -1 before the first.
        leader_epoch: LeaderEpoch,
    },
}

/// A batch that may be appended, or that already has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Write it with this base offset and leader epoch, then call [`Partition::appended`](crate::Partition::appended).
    Append {
        /// Offset of its first record.
        base_offset: Offset,
        /// To be stamped into the batch.
        leader_epoch: LeaderEpoch,
    },
    /// It is in the log already.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its largest timestamp.
        timestamp: Millis,
    },
}

/// Why a batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// Another broker leads.
    #[error("this broker is not the leader of the partition")]
    NotLeader,
    /// acks=all, and fewer replicas are in sync than `min.insync.replicas` asks for.
    #[error(
        "The size of the current ISR {in_sync} is insufficient to satisfy the min.isr requirement of {required}"
    )]
    NotEnoughReplicas {
        /// How many are in sync.
        in_sync: usize,
        /// How many there must be.
        required: usize,
    },
    /// The producer rules say no.
    #[error(transparent)]
    Producer(#[from] ProducerRefusal),
}

impl AppendRefusal {
    /// Kafka's code on Produce.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
            Self::Producer(refusal) => refusal.code(),
        }
    }
}
