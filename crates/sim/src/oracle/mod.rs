//! What must hold, asked at every step. Knows what every node has on its disk, and what was ever promised.
//!
//! What may be lost is said exactly. A record is *committed* once a leader's high watermark has passed it. Its *holders*
//! are the in-sync and the eligible replicas as the controller has them (where there are neither, the last known
//! leader) whose disk has the record. A power cut that takes the last holder's copy takes the record. So does a decision
//! that lets the last holder go while the power of all that stay was cut and the controller cannot know yet: a killed
//! process that registers anew (KIP-966 does not tell a kill from a power cut), or one that shuts down. From the
//! record's offset on the partition is *tainted* then, and nothing more is asked of it but that it comes back to life.
//! Where a topic allows it or the operator asks for it, a leader may be elected that lacks records: what it has when it
//! takes the lead is what is committed from then on, and all that is asked is asked of that (`unclean`).
//! Nothing else excuses a loss: not crashes of processes, not restarts, not pauses, not networks.

mod facts;
mod groups;
mod partition;
mod topics;
mod unclean;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ottla_metadata::Image;
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartitionId};

use crate::{
    env::{Addr, Note},
    log::{Disk, Log},
    quorum::FactBatch,
};

/// What must not be, and is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// What it found.
    pub what: String,
}

pub(crate) fn wrong(check: &'static str, what: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { check, what: what.into() })
}

/// The disks of all nodes.
pub(crate) struct Disks<'a>(pub(crate) &'a BTreeMap<NodeId, crate::world::Node>);

impl Disks<'_> {
    pub(crate) fn disk(&self, node: NodeId) -> Option<&Disk> {
        self.0.get(&node).map(|node| &node.disk)
    }

    pub(crate) fn log(&self, node: NodeId, tp: TopicPartitionId) -> Option<&Log> {
        self.disk(node)?.logs.get(&tp)
    }
}

#[derive(Default)]
pub(crate) struct Oracle {
    /// All facts that were ever committed, by place.
    facts: Vec<Arc<FactBatch>>,
    /// What they give.
    pub(crate) image: Image,
    partitions: BTreeMap<TopicPartitionId, partition::History>,
    /// Which controller decides in a term.
    offices: BTreeMap<LeaderEpoch, NodeId>,
    topics: topics::Topics,
    /// Topics for which the operator asked for leaders, whatever they lack.
    unclean_asked: BTreeSet<Arc<str>>,
    groups: groups::Groups,
}

impl Oracle {
    /// Checks what `node` has just done.
    pub(crate) fn on(&mut self, node: Addr, note: &Note, disks: &Disks<'_>) -> Result<(), Violation> {
        match note {
            Note::Facts { from } => {
                let batches = disks.disk(node).map_or(&[][..], |disk| &disk.quorum.facts[*from..]);
                for batch in batches {
                    self.fact(node, batch, disks)?;
                }
                Ok(())
            }
            Note::Led { tp, epoch } => {
                let Some(log) = disks.log(node, *tp) else { return Ok(()) };
                self.partitions.entry(*tp).or_default().led(node, *tp, *epoch, log)
            }
            Note::HighWatermark { tp, epoch, leads, from, to } => {
                self.advanced(node, *tp, (*epoch, *leads), (*from, *to), disks)
            }
            Note::Truncated { tp, to, high_watermark } => {
                let stays = self.partitions.get(tp).map_or(Offset::MAX, partition::History::stays);
                if *to < *high_watermark && *to < stays {
                    let what =
                        format!("node {node} cuts {tp:?} to {to}, below its high watermark {high_watermark}");
                    return wrong("cut-below-high-watermark", what);
                }
                Ok(())
            }
            Note::Durable { tp, end, alone } => {
                let synced = disks.log(node, *tp).map_or(0, Log::synced);
                if *alone && synced < *end {
                    let what = format!(
                        "node {node} is alone in {tp:?} and acknowledges {end}, having synced {synced}"
                    );
                    return wrong("acknowledged-unsynced", what);
                }
                Ok(())
            }
            Note::Acked { tp, base_offset, content, count, from } => {
                let history = self.partitions.entry(*tp).or_default();
                history.acked(*from, *tp, (*base_offset, *content, *count))
            }
            Note::SequenceLost { tp, from } => self.sequence_lost(*tp, *from),
            Note::Consumed { tp, from, batches } => {
                self.partitions.entry(*tp).or_default().consumed(*tp, *from, batches)
            }
            Note::Assigned { group, generation, member, partitions } => {
                self.groups.assigned((group, *generation), member, partitions)
            }
            Note::OffsetsAsked { id } => {
                self.groups.asked(*id);
                Ok(())
            }
            Note::OffsetFetched { id, from, group, topic, partition, offset } => {
                let leads = self.coordinates(*from, group);
                self.groups.fetched(*id, (group, topic, *partition), *offset, leads)
            }
            Note::Office { term } => {
                let first = *self.offices.entry(*term).or_insert(node);
                if first != node {
                    let what = format!("controllers {first} and {node} decide in term {term}");
                    return wrong("one-controller-per-term", what);
                }
                Ok(())
            }
            Note::UncleanAsked { topic } => {
                self.unclean_asked.insert(Arc::clone(topic));
                Ok(())
            }
            Note::Unknown { topic, position } => self.topics.unknown(node, *topic, *position),
            Note::Served { topic, position } => self.topics.served(node, *topic, *position),
            Note::Registered | Note::Stopped | Note::Said(_) => Ok(()),
        }
    }

    fn tainted_from(&self, tp: TopicPartitionId) -> Offset {
        self.partitions.get(&tp).map_or(Offset::MAX, |history| history.tainted)
    }

    /// How many partitions have lost records in a way that is allowed.
    pub(crate) fn tainted(&self) -> usize {
        self.partitions.values().filter(|history| history.tainted < Offset::MAX).count()
    }

    /// How many records were ever committed.
    pub(crate) fn committed(&self) -> usize {
        self.partitions.values().map(partition::History::len).sum()
    }
}
