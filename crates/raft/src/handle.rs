//! What the rest of the process holds of the driver.

use std::sync::mpsc::{SyncSender, TrySendError};

use ottla_machine::Machine;
use ottla_types::{LeaderEpoch, NodeId, Offset};
use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};

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
    /// Why the driver stopped, when a fault stopped it.
    pub fault: Option<String>,
}

pub(crate) type Reply<M> = oneshot::Sender<Result<<M as Machine>::Answer, SubmitError>>;

pub(crate) enum Event<M: Machine> {
    Command(M::Command, Reply<M>),
    Step(Box<Message>),
    Snapshot,
    Stop,
}

/// Hands commands to the driver. Cheap to clone.
pub struct Handle<M: Machine> {
    pub(crate) events: SyncSender<Event<M>>,
    pub(crate) status: watch::Receiver<Status>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone(), status: self.status.clone() }
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

    /// Hands in a message from another voter. A full queue drops it, which raft bears.
    pub fn step(&self, message: Message) {
        if self.events.try_send(Event::Step(Box::new(message))).is_err() {
            tracing::debug!("A raft message was dropped: the queue is full");
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
}
