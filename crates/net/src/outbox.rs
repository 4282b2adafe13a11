//! Answers on their way out: in order, and several in one write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use smallvec::SmallVec;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    Frame,
    connection::{End, Shared},
    transport::{Patience, Transport},
};

/// Answers are gathered up to this many bytes before they are written: those to what arrived in one read cost one system
/// call, and wake the client once.
const GATHERED: usize = 64 << 10;
/// While memory is scarce, nobody leaves answers unread for longer than this.
const UNREAD_SCARCE: Duration = Duration::from_secs(10);

/// An answer on its way, and what is given back when it has been sent.
pub(crate) struct Answer {
    pub(crate) frame: Option<Frame>,
    /// The connection ends with it.
    pub(crate) last: bool,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) ready: Option<Ready>,
}

/// Answers that go out in one write, in their order.
#[derive(Default)]
pub(crate) struct Outbox {
    frame: Frame,
    bytes: usize,
    last: bool,
    /// Given back when they are written.
    held: SmallVec<[(OwnedSemaphorePermit, Option<Ready>); 4]>,
}

impl Outbox {
    pub(crate) fn push(&mut self, answer: Answer) {
        let Answer { frame, last, permit, ready } = answer;
        if let Some(frame) = frame {
            self.bytes += frame.len();
            self.frame.0.extend(frame.0);
        }
        self.last |= last;
        self.held.push((permit, ready));
    }

    /// Nothing more should be added before it is written.
    pub(crate) fn is_full(&self) -> bool {
        self.last || self.bytes >= GATHERED
    }

    pub(crate) async fn send<S>(self, shared: &Shared<S>, transport: &Transport) -> Result<(), End> {
        if !self.frame.is_empty() {
            let patience =
                Patience { idle: shared.limits.idle, scarce: UNREAD_SCARCE, memory: &shared.memory };
            transport.write(self.frame, patience).await?;
        }
        if self.last { Err(End::Refused) } else { Ok(()) }
    }
}

pub(crate) type Answers = FuturesOrdered<BoxFuture<'static, Answer>>;

/// Sends an answer, and those behind it that are ready too.
pub(crate) async fn send_ready<S>(
    shared: &Shared<S>,
    transport: &Transport,
    answers: &mut Answers,
    first: Answer,
) -> Result<(), End> {
    let mut outbox = Outbox::default();
    outbox.push(first);
    // Whoever calls this polls them again before it sleeps.
    while !outbox.is_full()
        && let Some(Some(next)) = answers.next().now_or_never()
    {
        outbox.push(next);
    }
    outbox.send(shared, transport).await
}

/// Bytes of an answer that is ready, counted until it is sent.
pub(crate) struct Ready {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Ready {
    pub(crate) fn count(frame: Option<&Frame>, all: Arc<AtomicUsize>) -> Self {
        let bytes = frame.map_or(0, Frame::len);
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, all }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
