//! What handlers ask of this node's member of the metadata quorum.

use futures::{FutureExt, future::BoxFuture};
use ottla_controller::{Answer, Command, Controller};
use ottla_raft::{Handle, Status, SubmitError};
use ottla_types::{ErrorCode, NodeId, Offset};
use tokio::sync::watch;
use uuid::Uuid;

/// A member of the metadata quorum, as the controller listener's handlers see it.
pub trait Quorum: Send + Sync + 'static {
    /// Hands a command over, in the order of the calls.
    fn submit(&self, command: Command) -> BoxFuture<'static, Result<Answer, SubmitError>>;

    /// Who leads, in which epoch; changes too whenever something was committed.
    fn status(&self) -> watch::Receiver<Status>;

    /// An observer, or a voter that reads as one does, fetched from `offset` on: it has all before that.
    fn observer_fetched(&self, replica: NodeId, directory: Uuid, offset: Offset) {
        let _ = (replica, directory, offset);
    }
}

impl Quorum for Handle<Controller> {
    fn submit(&self, command: Command) -> BoxFuture<'static, Result<Answer, SubmitError>> {
        Handle::submit(self, command).boxed()
    }

    fn status(&self) -> watch::Receiver<Status> {
        Handle::status(self)
    }
}

/// What is said of a command that was not carried out.
pub(crate) fn refusal(error: SubmitError) -> ErrorCode {
    match error {
        SubmitError::NotLeader { .. } | SubmitError::Lost | SubmitError::Stopped => ErrorCode::NOT_CONTROLLER,
        SubmitError::Busy => ErrorCode::REQUEST_TIMED_OUT,
    }
}
