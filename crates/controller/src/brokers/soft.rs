//! What the controller remembers of one term of office: who was heard of when, and what is due.

use std::collections::BTreeMap;

use ottla_machine::TimerQueue;
use ottla_types::{Millis, NodeId, Offset};

use crate::{Command, State};

/// What is known of a broker from this term of office.
#[derive(Clone, Copy, Debug)]
struct Contact {
    epoch: i64,
    /// When its last heartbeat came; none since it registered.
    heartbeat: Option<Millis>,
    metadata_offset: Offset,
    /// Once its leaders were moved for a shutdown: where others must have got to before it may go.
    moved_at: Option<Offset>,
}

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Timer {
    /// A broker's session ends.
    Session(NodeId),
    /// Preferred leaders are looked after.
    Balance,
    /// Partitions without a leader are looked after.
    Leaderless,
}

/// Soft state: who was heard of when, and what is due.
#[derive(Debug)]
pub struct Soft {
    activated: bool,
    now: Millis,
    contacts: BTreeMap<NodeId, Contact>,
    pub(crate) timers: TimerQueue<Timer>,
}

impl Soft {
    pub(crate) fn new(state: &State, now: Millis) -> Self {
        let mut soft =
            Self { activated: false, now, contacts: BTreeMap::new(), timers: TimerQueue::default() };
        for broker in state.image.alive_brokers() {
            // Nobody can have reached this leader before: everyone has a whole session to do it.
            soft.renew(broker.id, now, state);
        }
        soft
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        if self.activated { self.timers.deadline() } else { Some(self.now) }
    }

    pub(crate) fn due(&mut self, state: &State, now: Millis) -> Vec<Command> {
        let mut commands = Vec::new();
        if !std::mem::replace(&mut self.activated, true) {
            commands.push(Command::Activate);
        }
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Session(id) if state.image.broker(id).is_some_and(|broker| !broker.fenced) => {
                    commands.push(Command::FenceStale(id));
                }
                Timer::Session(_) => {}
                Timer::Balance => commands.push(Command::Balance),
                Timer::Leaderless => commands.push(Command::ElectLeaderless),
            }
        }
        commands
    }

    /// Whether a broker of this epoch has been heard of within its session timeout, in this term of office.
    pub(crate) fn has_session(&self, id: NodeId, epoch: i64) -> bool {
        self.timers.get(&Timer::Session(id)).is_some()
            && self
                .contacts
                .get(&id)
                .is_some_and(|contact| contact.epoch == epoch && contact.heartbeat.is_some())
    }

    pub(crate) fn heard_after(&self, id: NodeId, epoch: i64, since: Millis) -> bool {
        let contact = self.contacts.get(&id).filter(|contact| contact.epoch == epoch);
        contact.and_then(|contact| contact.heartbeat).is_some_and(|at| at > since)
    }

    /// A broker registered.
    pub(crate) fn registered(&mut self, id: NodeId, epoch: i64, now: Millis, state: &State) {
        let contact = Contact { epoch, heartbeat: None, metadata_offset: -1, moved_at: None };
        match self.contacts.get_mut(&id) {
            // The same start again.
            Some(known) if known.epoch == epoch => {}
            _ => drop(self.contacts.insert(id, contact)),
        }
        self.renew(id, now, state);
    }

    /// A heartbeat came.
    pub(crate) fn heard(&mut self, id: NodeId, epoch: i64, offset: Offset, now: Millis, state: &State) {
        let moved_at =
            self.contacts.get(&id).filter(|known| known.epoch == epoch).and_then(|known| known.moved_at);
        let contact = Contact { epoch, heartbeat: Some(now), metadata_offset: offset, moved_at };
        self.contacts.insert(id, contact);
        self.renew(id, now, state);
    }

    fn renew(&mut self, id: NodeId, now: Millis, state: &State) {
        self.timers.set(Timer::Session(id), now.plus(state.settings.broker_session_timeout_ms));
    }

    /// Where the others must have got to before a broker may stop.
    pub(crate) fn moved_at(&self, id: NodeId) -> Option<Offset> {
        self.contacts.get(&id).and_then(|contact| contact.moved_at)
    }

    pub(crate) fn set_moved_at(&mut self, id: NodeId, at: Option<Offset>) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.moved_at = at;
        }
    }

    /// How far a broker has said it has read the metadata; -1 when it has not.
    pub(crate) fn metadata_offset(&self, id: NodeId) -> Offset {
        self.contacts.get(&id).map_or(-1, |contact| contact.metadata_offset)
    }

    /// A broker has said farewell: its id is free for its next start.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.timers.cancel(&Timer::Session(id));
        self.contacts.remove(&id);
    }
}
