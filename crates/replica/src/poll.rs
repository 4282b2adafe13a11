//! Long polls: a Fetch that waits for bytes on some partitions until its deadline.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering, fence},
    },
    task::Poll,
};

use futures::task::AtomicWaker;
use ottla_types::Offset;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Replica, changes::Watchers};

/// Who waits. `missing` at or below 0 means woken; far below, that nobody waits any more.
#[derive(Debug)]
pub(crate) struct Waiter {
    missing: AtomicI64,
    waker: AtomicWaker,
}

impl Waiter {
    fn is_done(&self) -> bool {
        self.missing.load(Ordering::Acquire) <= 0
    }

    fn add(&self, bytes: i64) {
        if self.is_done() {
            return;
        }
        let before = self.missing.fetch_sub(bytes, Ordering::AcqRel);
        if before > 0 && before <= bytes {
            self.waker.wake();
        }
    }
}

/// Who waits on a partition: followers for appends, consumers for the high watermark.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pub(crate) followers: Waiting,
    pub(crate) consumers: Waiting,
    /// Followers' sessions.
    pub(crate) watchers: Watchers,
}

impl Waiters {
    /// Something else than bytes happened (the leader changed, the partition is gone): everybody looks again.
    pub(crate) fn wake_all(&self) {
        self.followers.notify(usize::MAX);
        self.consumers.notify(usize::MAX);
    }
}

/// Long polls on one partition. Empty and without memory while nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    list: Mutex<Vec<Arc<Waiter>>>,
    /// Length of the list, to be looked at without the lock.
    count: AtomicUsize,
}

impl Waiting {
    /// `bytes` more are readable. Call after the view that shows them was published.
    pub(crate) fn notify(&self, bytes: usize) {
        // Pairs with the fence in `LongPoll::watch`: either we see the waiter or it sees the view.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 4);
        let mut list = self.list.lock();
        list.retain(|waiter| {
            waiter.add(bytes);
            !waiter.is_done()
        });
        self.count.store(list.len(), Ordering::Relaxed);
    }

    pub(crate) fn register(&self, waiter: &Arc<Waiter>) {
        let mut list = self.list.lock();
        // Polls that ended leave their entries behind; they are swept when the list would grow.
        if list.len() == list.capacity() {
            list.retain(|held| !held.is_done());
        }
        list.push(Arc::clone(waiter));
        self.count.store(list.len(), Ordering::Relaxed);
    }
}

/// One waiting Fetch.
#[derive(Debug)]
pub struct LongPoll {
    waiter: Arc<Waiter>,
}

impl LongPoll {
    /// Waits for `missing` more bytes; at least for one.
    #[must_use]
    pub fn new(missing: usize) -> Self {
        let missing = i64::try_from(missing).unwrap_or(i64::MAX / 4).max(1);
        Self { waiter: Arc::new(Waiter { missing: AtomicI64::new(missing), waker: AtomicWaker::new() }) }
    }

    /// Counts what becomes readable in `replica` beyond `seen`, the high watermark (for a follower the log end) that
    /// the caller found. False when it has moved already: then read again rather than wait.
    #[must_use]
    pub fn watch(&self, replica: &Replica, seen: Offset, follower: bool) -> bool {
        let waiters = &replica.waiters;
        (if follower { &waiters.followers } else { &waiters.consumers }).register(&self.waiter);
        fence(Ordering::SeqCst);
        let view = replica.view();
        (if follower { view.log_end } else { view.high_watermark }) == seen
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    /// Waits until the bytes are there or the deadline has come. True when they are.
    pub async fn until(&self, deadline: Instant) -> bool {
        let woken = poll_fn(|cx| {
            if self.waiter.is_done() {
                return Poll::Ready(());
            }
            self.waiter.waker.register(cx.waker());
            if self.waiter.is_done() { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout_at(deadline, woken).await.is_ok()
    }
}

impl Drop for LongPoll {
    fn drop(&mut self) {
        // Whoever holds the waiter in its list drops it at the next look.
        self.waiter.missing.store(i64::MIN / 2, Ordering::Release);
    }
}
