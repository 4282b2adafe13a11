//! What handlers ask of this node's member of the metadata quorum.

use std::borrow::Cow;

use futures::{FutureExt, future::BoxFuture};
use ottla_controller::{Answer, Command, Controller};
use ottla_raft::{Handle, Message, QuorumView, Seen, Status, Stranger, SubmitError, VoterChange};
use ottla_types::{ApiError, ErrorCode, Millis, NodeId, Offset};
use tokio::sync::watch;
use uuid::Uuid;

/// A member of the metadata quorum, as the controller listener's handlers see it.
pub trait Quorum: Send + Sync + 'static {
    /// Hands a command over, in the order of the calls.
    fn submit(&self, command: Command) -> BoxFuture<'static, Result<Answer, SubmitError>>;

    /// Who leads, in which epoch; changes too whenever something was committed.
    fn status(&self) -> watch::Receiver<Status>;

    /// Who votes and who follows, how far, and when they were last heard. Whole on the leader only.
    fn view(&self) -> QuorumView;

    /// An observer fetched from `offset` on, at `now` (wall clock): it has all before that.
    fn observer_fetched(&self, replica: NodeId, directory: Uuid, offset: Offset, now: Millis);

    /// Changes who votes.
    fn change_voters(&self, change: VoterChange) -> BoxFuture<'static, Result<(), ApiError>>;

    /// Messages of another member, which says that it speaks in this raft name, came over a connection.
    ///
    /// # Errors
    /// It speaks for another.
    fn deliver(
        &self,
        connection: u64,
        sender: Seen,
        speaks_as: Option<u64>,
        messages: Vec<Message>,
    ) -> Result<(), Stranger>;
}

impl Quorum for Handle<Controller> {
    fn deliver(
        &self,
        connection: u64,
        sender: Seen,
        speaks_as: Option<u64>,
        messages: Vec<Message>,
    ) -> Result<(), Stranger> {
        Self::deliver(self, connection, sender, speaks_as, messages)
    }

    fn submit(&self, command: Command) -> BoxFuture<'static, Result<Answer, SubmitError>> {
        Self::submit(self, command).boxed()
    }

    fn status(&self) -> watch::Receiver<Status> {
        Self::status(self)
    }

    fn view(&self) -> QuorumView {
        Self::quorum(self)
    }

    fn observer_fetched(&self, replica: NodeId, directory: Uuid, offset: Offset, now: Millis) {
        Self::observer_fetched(self, replica, directory, offset, now);
    }

    fn change_voters(&self, change: VoterChange) -> BoxFuture<'static, Result<(), ApiError>> {
        Self::change_voters(self, change).boxed()
    }
}

/// What is said of a command that was not carried out.
pub(crate) fn refusal(error: SubmitError) -> ApiError {
    let leader = match error {
        SubmitError::Busy => return ErrorCode::REQUEST_TIMED_OUT.into(),
        SubmitError::NotLeader { leader } => leader,
        SubmitError::Lost | SubmitError::Stopped => None,
    };
    let message = match leader {
        Some(leader) => format!("The active controller appears to be node {leader}.").into(),
        None => Cow::Borrowed("No controller appears to be active."),
    };
    ApiError::new(ErrorCode::NOT_CONTROLLER, message)
}
