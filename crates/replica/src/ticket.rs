//! What an acknowledgement waits for.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU8, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::task::AtomicWaker;
use ottla_types::ErrorCode;

const PENDING: i32 = i32::MIN;

/// One append that is not yet acknowledged. Completed from whatever thread finds that it is done.
#[derive(Debug)]
pub(crate) struct Pending {
    /// [`PENDING`], or the error code to answer with.
    result: AtomicI32,
    /// How many things are still to happen.
    remaining: AtomicU8,
    waker: AtomicWaker,
}

impl Pending {
    pub(crate) fn new(remaining: u8) -> Arc<Self> {
        Arc::new(Self {
            result: AtomicI32::new(PENDING),
            remaining: AtomicU8::new(remaining),
            waker: AtomicWaker::new(),
        })
    }

    /// One of the things has happened; after the last one the ticket is good.
    pub(crate) fn step(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish(ErrorCode::NONE);
        }
    }

    /// The ticket will not become good any more.
    pub(crate) fn fail(&self, code: ErrorCode) {
        self.finish(code);
    }

    fn finish(&self, code: ErrorCode) {
        let done =
            self.result.compare_exchange(PENDING, i32::from(code.0), Ordering::AcqRel, Ordering::Acquire);
        if done.is_ok() {
            self.waker.wake();
        }
    }

    fn result(&self) -> Option<ErrorCode> {
        match self.result.load(Ordering::Acquire) {
            PENDING => None,
            code => Some(ErrorCode(code as i16)),
        }
    }
}

/// Tells when an append may be acknowledged.
#[derive(Debug)]
#[must_use = "acks=all is not done before its ticket says so"]
pub struct Ticket(pub(crate) Option<Arc<Pending>>);

impl Ticket {
    /// Nothing to wait for.
    pub const DONE: Self = Self(None);

    /// The result, if it is there: [`ErrorCode::NONE`] or why not.
    #[must_use]
    pub fn ready(&self) -> Option<ErrorCode> {
        self.0.as_ref().map_or(Some(ErrorCode::NONE), |pending| pending.result())
    }

    /// Waits without limit. Dropping the future loses nothing.
    pub async fn done(&self) -> ErrorCode {
        let Some(pending) = &self.0 else { return ErrorCode::NONE };
        poll_fn(|cx| {
            if let Some(code) = pending.result() {
                return Poll::Ready(code);
            }
            pending.waker.register(cx.waker());
            // Asked again: it may have been completed before the waker was there.
            pending.result().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits for all `tickets` until `timeout` has passed, and gives their results: `REQUEST_TIMED_OUT` for those
    /// that are still open then.
    ///
    /// The last ticket is awaited first: what is done in order is woken for once.
    pub async fn wait_all(tickets: &[Self], timeout: Duration) -> Vec<ErrorCode> {
        if tickets.iter().any(|ticket| ticket.ready().is_none()) {
            let all = async {
                for ticket in tickets.iter().rev() {
                    ticket.done().await;
                }
            };
            // Whether it was in time is read from each ticket.
            let _ = tokio::time::timeout(timeout, all).await;
        }
        tickets.iter().map(|ticket| ticket.ready().unwrap_or(ErrorCode::REQUEST_TIMED_OUT)).collect()
    }
}
