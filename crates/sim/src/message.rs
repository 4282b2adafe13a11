//! What goes over the network. Requests carry an id that their answers repeat.

use std::sync::Arc;

use ottla_controller::{Answer, Command};
use ottla_groups as groups;
use ottla_metadata::Image;
use ottla_partition::EpochEnd;
use ottla_raft::VoterChange;
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartitionId};

use crate::{log::Batch, quorum::FactBatch};

/// One partition of a Fetch.
#[derive(Clone, Debug)]
pub(crate) struct FetchPartition {
    pub(crate) tp: TopicPartitionId,
    pub(crate) from: Offset,
    /// -1 for none.
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// -1 for none.
    pub(crate) last_fetched_epoch: LeaderEpoch,
}

/// One partition of a Fetch's answer.
#[derive(Clone, Debug)]
pub(crate) struct FetchedPartition {
    pub(crate) tp: TopicPartitionId,
    pub(crate) error: ErrorCode,
    pub(crate) diverging: Option<EpochEnd>,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) batches: Vec<Batch>,
}

/// Who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Consumer,
    Follower { broker: NodeId, broker_epoch: i64 },
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// To a controller.
    Command {
        id: u64,
        command: Box<Command>,
    },
    /// `Err` carries who leads, as far as it is known.
    Answer {
        id: u64,
        answer: Result<Box<Answer>, Option<NodeId>>,
    },
    /// Asks a controller for the committed facts from here on. `only_leader`: of the active controller.
    FetchFacts {
        id: u64,
        from: Offset,
        only_leader: bool,
    },
    Facts {
        id: u64,
        batches: Result<FactsFrom, Option<NodeId>>,
    },
    Raft(Arc<crate::quorum::RaftMessage>),
    /// A controller tells another one that it is there.
    Hello,
    /// A snapshot that was sent to the member of this name in raft has arrived.
    SnapshotArrived {
        name: u64,
    },
    /// To a controller.
    ChangeVoters {
        id: u64,
        change: Box<VoterChange>,
    },
    VotersChanged {
        id: u64,
        result: Result<(), ErrorCode>,
    },
    Fetch {
        id: u64,
        reader: Reader,
        partitions: Vec<FetchPartition>,
    },
    Fetched {
        id: u64,
        partitions: Vec<FetchedPartition>,
    },
    /// acks=all.
    Produce {
        id: u64,
        tp: TopicPartitionId,
        batch: Batch,
    },
    Produced {
        id: u64,
        result: Result<Offset, ErrorCode>,
    },
    Group {
        id: u64,
        partition: i32,
        command: Box<groups::Command>,
    },
    GroupAnswer {
        id: u64,
        answer: Result<Box<groups::Answer>, ErrorCode>,
    },
    Metadata {
        id: u64,
    },
    MetadataIs {
        id: u64,
        image: Arc<Image>,
    },
    /// From the network: the connection to whom this is from has broken. What was asked there will not be answered.
    Disconnected,
    /// From the network, to controllers: the last connection of the broker that this is from was closed, and nobody
    /// listens where it was (ADR 0011).
    Missed,
}

/// Committed facts, or a snapshot of them where the log does not reach back.
#[derive(Clone, Debug)]
pub(crate) struct FactsFrom {
    pub(crate) snapshot: Option<Arc<Image>>,
    pub(crate) batches: Vec<Arc<FactBatch>>,
}

impl Message {
    /// Whether it goes back on the connection that somebody else opened.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Answer { .. }
                | Self::VotersChanged { .. }
                | Self::Facts { .. }
                | Self::Fetched { .. }
                | Self::Produced { .. }
                | Self::GroupAnswer { .. }
                | Self::MetadataIs { .. }
        )
    }

    /// Whether it goes by itself: not in order, and nobody is told when it is lost.
    pub(crate) fn is_loose(&self) -> bool {
        matches!(self, Self::Raft(_) | Self::Hello | Self::Missed | Self::SnapshotArrived { .. })
    }

    /// For the trace.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Command { command, .. } => {
                let text = format!("{command:?}");
                format!("Command {}", text.split(['(', ' ']).next().unwrap_or_default())
            }
            Self::Answer { answer: Ok(_), .. } => "Answer".into(),
            Self::Answer { answer: Err(leader), .. } => format!("Answer not-leader, try {leader:?}"),
            Self::FetchFacts { from, .. } => format!("FetchFacts from {from}"),
            Self::Facts { batches: Ok(found), .. } => format!("Facts {} batches", found.batches.len()),
            Self::Facts { .. } => "Facts not-leader".into(),
            Self::Raft(message) => crate::quorum::describe(message),
            Self::Fetch { reader, partitions, .. } => {
                let of = |p: &FetchPartition| {
                    format!("{}@{} e{}/{}", short(p.tp), p.from, p.current_leader_epoch, p.last_fetched_epoch)
                };
                format!("Fetch {reader:?} {}", partitions.iter().map(of).collect::<Vec<_>>().join(" "))
            }
            Self::Fetched { partitions, .. } => {
                let of = |p: &FetchedPartition| {
                    let diverging =
                        p.diverging.map(|end| format!(" diverges at {}/{}", end.epoch, end.end_offset));
                    let error = if p.error == ErrorCode::NONE { "" } else { p.error.name() };
                    format!(
                        "{} {}b hw{}{}{error}",
                        short(p.tp),
                        p.batches.len(),
                        p.high_watermark,
                        diverging.unwrap_or_default()
                    )
                };
                format!("Fetched {}", partitions.iter().map(of).collect::<Vec<_>>().join(", "))
            }
            Self::Produce { tp, batch, .. } => {
                let facts = &batch.facts;
                format!("Produce {} pid {} seq {}", short(*tp), facts.producer_id, facts.first_sequence)
            }
            Self::Produced { result, .. } => format!("Produced {result:?}"),
            Self::Group { command, .. } => {
                let text = format!("{command:?}");
                format!("Group {}", text.split(['(', ' ']).next().unwrap_or_default())
            }
            Self::GroupAnswer { answer, .. } => {
                let text = format!("{answer:?}");
                format!("GroupAnswer {}", text.chars().take(80).collect::<String>())
            }
            Self::Hello | Self::SnapshotArrived { .. } => "Hello".into(),
            Self::ChangeVoters { change, .. } => format!("{change:?}"),
            Self::VotersChanged { result, .. } => format!("VotersChanged {result:?}"),
            Self::Metadata { .. } => "Metadata".into(),
            Self::Disconnected => "Disconnected".into(),
            Self::Missed => "Missed".into(),
            Self::MetadataIs { image, .. } => format!("Metadata at {}", image.position.offset),
        }
    }
}

/// A partition in few letters: the start of its topic's id, and its number.
pub(crate) fn short(tp: TopicPartitionId) -> String {
    let id = tp.topic.to_string();
    format!("{}-{}", &id[..4.min(id.len())], tp.partition)
}
