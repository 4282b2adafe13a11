//! What wakes and ends a task that tells the controller something.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Shared by a task and those that have something for it.
#[derive(Default)]
pub(super) struct Signal {
    came: Notify,
    stopped: AtomicBool,
}

impl Signal {
    /// There is something to do.
    pub(super) fn wake(&self) {
        self.came.notify_one();
    }

    /// The task ends after what it is doing.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.came.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends when there is something to do, or nothing any more.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }
}
