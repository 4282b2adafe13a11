//! What a node may see and do while it handles one event.

use std::sync::Arc;

use ottla_machine::Ctx;
use ottla_types::{LeaderEpoch, Millis, NodeId, Offset, TopicId, TopicPartitionId};

use crate::{Fault, chance::Rng, log::Batch, message::Message};

/// A node or a client.
pub(crate) type Addr = i32;

/// Something the checks want to know of.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// This broker leads in this epoch from here on.
    Led { tp: TopicPartitionId, epoch: LeaderEpoch },
    /// A replica's high watermark moved.
    HighWatermark { tp: TopicPartitionId, epoch: LeaderEpoch, leads: bool, from: Offset, to: Offset },
    /// A replica cut its log. `high_watermark` is what it was before.
    Truncated { tp: TopicPartitionId, to: Offset, high_watermark: Offset },
    /// A node has taken facts for committed: the batches of its metadata log from this place on.
    Facts { from: usize },
    /// A controller decides in this term.
    Office { term: LeaderEpoch },
    /// A leader answered acks=all for everything before `end`, when `alone` by itself.
    Durable { tp: TopicPartitionId, end: Offset, alone: bool },
    /// A producer was told that its batch is in.
    Acked { tp: TopicPartitionId, base_offset: Offset, content: u64, count: Offset, from: Addr },
    /// A producer is told again and again that its batch does not follow the last one.
    SequenceLost { tp: TopicPartitionId, from: Addr },
    /// A consumer has read.
    Consumed { tp: TopicPartitionId, from: Offset, batches: Vec<Batch> },
    /// A member got these partitions of its group's topic.
    Assigned { group: Arc<str>, generation: i32, member: Arc<str>, partitions: Vec<i32> },
    /// A member asks for committed offsets.
    OffsetsAsked { id: u64 },
    /// A member was told a committed offset.
    OffsetFetched { id: u64, from: Addr, group: Arc<str>, topic: Arc<str>, partition: i32, offset: Offset },
    /// The operator asks for leaders of this topic, whatever they lack.
    UncleanAsked { topic: Arc<str> },
    /// A broker that goes by metadata up to `position` said that there is no such topic.
    Unknown { topic: TopicId, position: Offset },
    /// A broker that goes by metadata up to `position` acknowledged a batch, or was read from.
    Served { topic: TopicId, position: Offset },
    /// This broker goes by metadata that its registration is in.
    Registered,
    /// This broker may go: its shutdown is done.
    Stopped,
    /// For the trace.
    Said(String),
}

/// One event's surroundings.
pub(crate) struct Env<'a> {
    pub(crate) node: NodeId,
    /// The node's monotonic clock.
    pub(crate) now: Millis,
    /// The node's wall clock.
    pub(crate) wall: Millis,
    pub(crate) rng: &'a mut Rng,
    pub(crate) out: &'a mut Vec<(Addr, Message)>,
    pub(crate) notes: &'a mut Vec<Note>,
    pub(crate) fault: Option<Fault>,
    pub(crate) next_id: &'a mut u64,
}

impl Env<'_> {
    /// An id that nothing else has.
    pub(crate) fn id(&mut self) -> u64 {
        *self.next_id += 1;
        *self.next_id
    }

    pub(crate) fn send(&mut self, to: Addr, message: Message) {
        self.out.push((to, message));
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    pub(crate) fn say(&mut self, text: impl FnOnce() -> String) {
        self.notes.push(Note::Said(text()));
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Lets a core work.
    pub(crate) fn with_ctx<R>(&mut self, work: impl FnOnce(&mut Ctx<'_>) -> R) -> R {
        let rng = &mut *self.rng;
        let mut draw = || rng.next();
        work(&mut Ctx { now: self.now, wall: self.wall, rng: &mut draw })
    }
}
