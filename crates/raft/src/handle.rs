//! What the rest of the process holds of the driver.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
};

use ottla_machine::Machine;
use ottla_types::{ApiError, ErrorCode, LeaderEpoch, Millis, NodeId, Offset};
use parking_lot::Mutex;
use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::{QuorumView, ReplicaView, Seen, Speakers, VoterChange, raft_id};

/// An observer that did not ask for this long is forgotten, in milliseconds.
const OBSERVER_MS: i64 = 300_000;
/// Observers that are remembered.
const OBSERVERS: usize = 10_000;

/// Why nothing is taken from a node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Static voters know the sender by its node id alone, and another process speaks for that node: two that vote in one
    /// name could elect two leaders.
    Rival,
    /// It speaks as the voter of its node id, which is in this other directory by the log: its disk was replaced, and with
    /// it went whom it had voted for (KIP-853).
    OtherDirectory(Uuid),
}

/// Why a command was not carried out, or is not known to have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Another node decides, or none for now. The command was not carried out.
    #[error("not the leader of the metadata quorum")]
    NotLeader {
        /// Who leads, if it is known.
        leader: Option<NodeId>,
    },
    /// The leader lost its office before the facts were committed. They may or may not be.
    #[error("leadership of the metadata quorum was lost")]
    Lost,
    /// Too many commands wait. The command was not carried out.
    #[error("too many commands wait for the metadata quorum")]
    Busy,
    /// The driver has stopped.
    #[error("the metadata quorum's driver has stopped")]
    Stopped,
}

/// What the driver knows about the quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Raft's term, which is the leader epoch.
    pub epoch: LeaderEpoch,
    /// Whether commands are decided here.
    pub in_office: bool,
    /// The first offset that is not committed.
    pub high_watermark: Offset,
    /// `kraft.version`.
    pub kraft_version: i16,
    /// Why the driver stopped, when a fault stopped it.
    pub fault: Option<String>,
}

pub(crate) type Reply<M> = oneshot::Sender<Result<<M as Machine>::Answer, SubmitError>>;
pub(crate) type Changed = oneshot::Sender<Result<(), ApiError>>;

pub(crate) enum Event<M: Machine> {
    Command(M::Command, Reply<M>),
    Change(VoterChange, Changed),
    Step(Box<Message>),
    Seen(Seen, Option<u64>),
    Lost(NodeId),
    Unreachable(u64),
    SnapshotSent(u64, bool),
    Snapshot,
    Stop,
}

/// What handles and the driver both see.
#[derive(Default)]
pub(crate) struct Shared {
    view: Mutex<Arc<QuorumView>>,
    observers: Mutex<HashMap<(NodeId, Uuid), Observer>>,
    /// Whose messages come over which connection.
    speakers: Mutex<Speakers<Seen>>,
}

impl Shared {
    pub(crate) fn show(&self, view: QuorumView) {
        *self.view.lock() = Arc::new(view);
    }
}

#[derive(Clone, Copy)]
struct Observer {
    log_end: Offset,
    fetched: Millis,
    /// Where the leader's log ended then.
    end_then: Offset,
    caught_up: Millis,
}

/// Hands commands to the driver. Cheap to clone.
pub struct Handle<M: Machine> {
    pub(crate) events: SyncSender<Event<M>>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: u64,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            events: self.events.clone(),
            status: self.status.clone(),
            shared: self.shared.clone(),
            name: self.name,
        }
    }
}

impl<M: Machine> Handle<M> {
    /// Queues a command now, in order of the calls, and returns the future of its answer.
    ///
    /// The answer comes when the facts it rests on are committed and the state they give has been published. The
    /// command is carried out whether or not the future is polled.
    pub fn submit(
        &self,
        command: M::Command,
    ) -> impl Future<Output = Result<M::Answer, SubmitError>> + Send + use<M>
    where
        M::Answer: Send,
    {
        let (reply, answer) = oneshot::channel();
        let queued = self.events.try_send(Event::Command(command, reply)).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Busy,
            TrySendError::Disconnected(_) => SubmitError::Stopped,
        });
        async move {
            queued?;
            answer.await.unwrap_or(Err(SubmitError::Stopped))
        }
    }

    /// Asks for a change of the voters, now, and returns the future of the answer, which comes when it is committed (or
    /// as soon as it is certain to be tried, where the request says so).
    ///
    /// # Errors
    /// Kafka's codes: `NOT_LEADER_OR_FOLLOWER`, `UNSUPPORTED_VERSION` where the voters are static, `DUPLICATE_VOTER`,
    /// `VOTER_NOT_FOUND`, `INVALID_REQUEST`, `REQUEST_TIMED_OUT` while another change is under way or who is to be added
    /// has not caught up in time.
    pub fn change_voters(
        &self,
        change: VoterChange,
    ) -> impl Future<Output = Result<(), ApiError>> + Send + use<M> {
        let (reply, answer) = oneshot::channel();
        let queued = self.events.try_send(Event::Change(change, reply)).is_ok();
        async move {
            let gone = || {
                ApiError::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, "The metadata quorum takes no requests now")
            };
            if !queued {
                return Err(gone());
            }
            answer.await.unwrap_or_else(|_| Err(gone()))
        }
    }

    /// Hands in a message from another member. A full queue drops it, which raft bears.
    pub fn step(&self, message: Message) {
        self.tell(Event::Step(Box::new(message)));
    }

    /// Messages of a node of the same cluster came over `connection`; without any it only says that it is there. What
    /// it sends in another's name is dropped. `speaks_as` is raft's name that it says it has; an older process does not
    /// say it, and is known by its messages.
    ///
    /// # Errors
    /// Nothing is taken: the sender speaks for another.
    pub fn deliver(
        &self,
        connection: u64,
        sender: Seen,
        speaks_as: Option<u64>,
        messages: Vec<Message>,
    ) -> Result<(), Stranger> {
        let plain = raft_id(sender.id, Uuid::nil());
        let voter = self.other_voter(&sender);
        if let Some(directory) = voter
            && speaks_as.or_else(|| Some(messages.first()?.from)) == Some(plain)
        {
            return Err(Stranger::OtherDirectory(directory));
        }
        let mut speakers = self.shared.speakers.lock();
        let rival = speakers.get(sender.id).is_some_and(|other| other.directory_id != sender.directory_id);
        if rival && self.status.borrow().kraft_version == 0 {
            return Err(Stranger::Rival);
        }
        // A directory that has no vote where the node's other one has does not speak for the voter.
        let known = match voter {
            None => speakers.heard(connection, sender.id, sender.clone()),
            Some(_) => None,
        };
        drop(speakers);
        let own = raft_id(sender.id, sender.directory_id);
        let names = [if voter.is_some() { own } else { plain }, own];
        let mut messages = messages.into_iter().filter(|message| names.contains(&message.from)).peekable();
        // A member of nothing says so until it is one.
        if known.as_ref() != Some(&sender) || messages.peek().is_none() {
            let speaks_as = speaks_as.or_else(|| messages.peek().map(|message| message.from));
            self.tell(Event::Seen(sender, speaks_as));
        }
        messages.for_each(|one| self.step(one));
        Ok(())
    }

    /// The directory of the voter that has the sender's number, if the log says it and it is another.
    fn other_voter(&self, sender: &Seen) -> Option<Uuid> {
        let another = |voter: &&ReplicaView| {
            voter.id == sender.id && !voter.directory_id.is_nil() && voter.directory_id != sender.directory_id
        };
        if self.status.borrow().kraft_version == 0 {
            return None;
        }
        self.shared.view.lock().voters.iter().find(another).map(|voter| voter.directory_id)
    }

    /// A connection was closed. When it is the one that the node that leads was heard over last, that node has probably
    /// died.
    pub fn connection_closed(&self, connection: u64) {
        let gone = self.shared.speakers.lock().closed(connection);
        if let Some((node, _)) = gone {
            self.lost(node);
        }
    }

    /// News: a node's process ended, or it cannot be reached. If it leads, the voters look for another leader at once.
    pub fn lost(&self, node: NodeId) {
        if self.status.borrow().leader == Some(node) {
            self.tell(Event::Lost(node));
        }
    }

    /// Messages to a member (raft's name) were not delivered.
    pub fn unreachable(&self, to: u64) {
        self.tell(Event::Unreachable(to));
    }

    /// A snapshot was handed to a member (raft's name), or could not be.
    pub fn snapshot_sent(&self, to: u64, delivered: bool) {
        self.tell(Event::SnapshotSent(to, delivered));
    }

    fn tell(&self, event: Event<M>) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("News for the metadata quorum were dropped: the queue is full");
        }
    }

    /// Asks for a snapshot of what is committed.
    pub fn snapshot(&self) -> Result<(), SubmitError> {
        self.events.try_send(Event::Snapshot).map_err(|_| SubmitError::Busy)
    }

    /// The quorum as this node sees it: read it, or wait for changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Raft's name of this member.
    #[must_use]
    pub fn name(&self) -> u64 {
        self.name
    }

    /// One who is no member asked for the metadata log from `offset` on, at `now` (wall clock).
    pub fn observer_fetched(&self, id: NodeId, directory_id: Uuid, offset: Offset, now: Millis) {
        if id < 0 {
            return;
        }
        let end = self.status.borrow().high_watermark;
        let mut observers = self.shared.observers.lock();
        if observers.len() >= OBSERVERS && !observers.contains_key(&(id, directory_id)) {
            observers.retain(|_, observer| now.since(observer.fetched) < OBSERVER_MS);
        }
        if observers.len() >= OBSERVERS {
            return;
        }
        let before = observers.get(&(id, directory_id));
        let caught_up = match before {
            _ if offset >= end => now,
            // It has all there was when it asked before.
            Some(before) if offset >= before.end_then => before.fetched.max(before.caught_up),
            Some(before) => before.caught_up,
            None => Millis(-1),
        };
        let observer = Observer { log_end: offset, fetched: now, end_then: end, caught_up };
        observers.insert((id, directory_id), observer);
    }

    /// Who votes and who follows, how far, and when they were last heard. Whole on the leader only.
    #[must_use]
    pub fn quorum(&self) -> QuorumView {
        let mut view = QuorumView::clone(&self.shared.view.lock());
        {
            let status = self.status.borrow();
            (view.leader, view.epoch) = (status.leader, status.epoch);
            view.high_watermark = status.high_watermark;
            // The view may be a moment old, and on a lone voter, which nothing wakes, older than that.
            let leader =
                view.voters.iter_mut().find(|voter| status.in_office && Some(voter.id) == status.leader);
            if let Some(leader) = leader {
                leader.log_end = leader.log_end.max(status.high_watermark);
            }
        }
        let observers = self.shared.observers.lock();
        let newest = observers.values().map(|observer| observer.fetched).max().unwrap_or(Millis(-1));
        for ((id, directory_id), observer) in &*observers {
            let known = |replica: &ReplicaView| (replica.id, replica.directory_id) == (*id, *directory_id);
            let stale = newest.since(observer.fetched) > OBSERVER_MS;
            if stale || view.voters.iter().any(known) || view.observers.iter().any(known) {
                continue;
            }
            view.observers.push(ReplicaView {
                id: *id,
                directory_id: *directory_id,
                log_end: observer.log_end,
                last_fetch: observer.fetched,
                last_caught_up: observer.caught_up,
                endpoints: Vec::new(),
            });
        }
        view.observers.sort_by_key(|replica| replica.id);
        view
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use ottla_controller::Controller;

    use super::*;

    const LEADER: NodeId = 2;

    fn handle() -> (Handle<Controller>, Receiver<Event<Controller>>) {
        let (events, queue) = sync_channel(100);
        let status = Status { leader: Some(LEADER), ..Status::default() };
        let (_, status) = watch::channel(status);
        (Handle { events, status, shared: Arc::default(), name: 1 }, queue)
    }

    fn seen(directory: u128) -> Seen {
        Seen { id: LEADER, directory_id: Uuid::from_u128(directory), endpoints: Vec::new() }
    }

    fn lost(queue: &Receiver<Event<Controller>>) -> usize {
        queue.try_iter().filter(|event| matches!(event, Event::Lost(LEADER))).count()
    }

    #[test]
    fn the_leader_is_lost_with_the_connection_it_spoke_over_last() {
        let (handle, queue) = handle();
        for connection in [1, 2] {
            handle.deliver(connection, seen(7), None, Vec::new()).expect("it is nobody else");
        }
        handle.connection_closed(3);
        assert_eq!(lost(&queue), 0);
        handle.connection_closed(2);
        assert_eq!(lost(&queue), 1);
        handle.connection_closed(1);
        assert_eq!(lost(&queue), 0);
    }

    #[test]
    fn another_directory_does_not_speak_for_the_voter() {
        let (mut handle, queue) = handle();
        let status = Status { kraft_version: 1, ..handle.status.borrow().clone() };
        handle.status = watch::channel(status).1;
        let voter = ReplicaView {
            id: LEADER,
            directory_id: Uuid::from_u128(7),
            log_end: 0,
            last_fetch: Millis(-1),
            last_caught_up: Millis(-1),
            endpoints: Vec::new(),
        };
        handle.shared.show(QuorumView { voters: vec![voter], ..QuorumView::default() });
        handle.deliver(1, seen(7), None, Vec::new()).expect("the voter");
        handle.deliver(2, seen(8), None, Vec::new()).expect("its other directory");
        handle.connection_closed(2);
        assert_eq!(lost(&queue), 0);
        handle.connection_closed(1);
        assert_eq!(lost(&queue), 1);
    }
}
