//! One connection: read, hand over, answer in order. Idle, it is one small future without buffers.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::ready, stream::FuturesOrdered};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use crate::{
    FrameService, Limits, Outcome,
    intake::{Arrived, Intake, IntakeError, Memory, SLOW_AFTER},
    outbox::{Answer, Answers, Outbox, Ready, send_ready},
    transport::Transport,
};

/// Answers of one connection that are ready while an earlier one is not: with more, its requests are not read on.
const READY_MAX: usize = 8 << 20;
/// A request that waits for its answer holds at least this much.
const HELD_MIN: usize = 1 << 10;
/// How often is looked whether who sends no more requests is still there.
const LEFT_LOOK: Duration = Duration::from_secs(2);

/// Why a connection ended.
pub(crate) enum End {
    Peer,
    Idle,
    Refused,
    Stalled,
    Drained,
    Failed(IntakeError),
}

impl From<IntakeError> for End {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Closed => Self::Peer,
            IntakeError::Scarce => Self::Stalled,
            error => Self::Failed(error),
        }
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What all connections of a listener share.
pub(crate) struct Shared<S> {
    pub(crate) service: Arc<S>,
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    pub(crate) draining: watch::Receiver<bool>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S: FrameService>(
    shared: Arc<Shared<S>>,
    transport: Transport,
    mut session: S::Session,
) -> End {
    let mut draining = shared.draining.clone();
    loop {
        tokio::select! {
            biased;
            idle = timeout(shared.limits.idle, transport.readable()) => match idle {
                Err(_) => return End::Idle,
                Ok(Err(e)) => return e.into(),
                Ok(Ok(())) => {}
            },
            () = drain_begins(&mut draining) => return End::Drained,
        }
        // Boxed, so that the idle connection does not carry the room that the busy one needs.
        let busy = Busy::new(&shared, &transport).run(&mut session, &mut draining).boxed();
        if let Err(end) = busy.await {
            return end;
        }
    }
}

/// A connection from the first byte of a request until nothing is in flight.
struct Busy<'a, S> {
    shared: &'a Shared<S>,
    transport: &'a Transport,
    intake: Intake,
    arrived: VecDeque<Arrived>,
    answers: Answers,
    /// Bytes of those answers that are ready. Made when the first of them is not.
    ready: Option<Arc<AtomicUsize>>,
    /// When something last came or went.
    active: Instant,
    /// No more requests are read: the service refused one, or the process is shutting down.
    closing: bool,
}

impl<'a, S: FrameService> Busy<'a, S> {
    fn new(shared: &'a Shared<S>, transport: &'a Transport) -> Self {
        Self {
            shared,
            transport,
            intake: Intake::default(),
            arrived: VecDeque::new(),
            answers: FuturesOrdered::new(),
            ready: None,
            active: Instant::now(),
            closing: false,
        }
    }

    async fn run(
        mut self,
        session: &mut S::Session,
        draining: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let mut read_now = true;
        loop {
            if read_now {
                self.read().await?;
            }
            self.dispatch(session).await?;
            if self.answers.is_empty() && (self.closing || self.intake.is_empty()) {
                return if self.closing { Err(End::Refused) } else { Ok(()) };
            }
            read_now = self.wait(draining).await?;
        }
    }

    async fn read(&mut self) -> Result<(), End> {
        let (intake, limits) = (&mut self.intake, &self.shared.limits);
        let read =
            intake.read(self.transport, &self.shared.memory, limits.request_max_bytes, &mut self.arrived);
        if self.answers.is_empty() {
            return Ok(read.await?);
        }
        // Answers must not wait for the memory of the next request: theirs is what it may be waiting for.
        tokio::pin!(read);
        loop {
            tokio::select! {
                biased;
                done = &mut read => return Ok(done?),
                Some(answer) = self.answers.next() =>
                    send_ready(self.shared, self.transport, &mut self.answers, answer).await?,
            }
        }
    }

    /// True when one more request may be served. Always when no answer is due.
    fn has_room(&self) -> bool {
        let ready = self.ready.as_ref().map_or(0, |ready| ready.load(Ordering::Relaxed));
        self.answers.len() < self.shared.limits.in_flight_max.max(1) && ready < READY_MAX
    }

    /// Serves what has arrived, as far as there is room for the answers.
    async fn dispatch(&mut self, session: &mut S::Session) -> Result<(), End> {
        let mut outbox = Outbox::default();
        while self.has_room() {
            let Some(Arrived { frame, mut permit }) = self.arrived.pop_front() else { break };
            let (frame, last) = match self.shared.service.call(session, frame) {
                Outcome::Now(frame) => (Some(frame), false),
                Outcome::Silent => (None, false),
                Outcome::Close => (None, true),
                Outcome::Later { answer, holds } => {
                    let spare =
                        holds.map_or(0, |bytes| permit.num_permits().saturating_sub(bytes.max(HELD_MIN)));
                    drop(permit.split(spare));
                    let all = self.ready.get_or_insert_default().clone();
                    let answer = answer.map(|frame| {
                        let ready = Ready::count(frame.as_ref(), all);
                        let last = frame.is_none();
                        Answer { frame, last, permit, ready: Some(ready) }
                    });
                    self.answers.push_back(answer.boxed());
                    continue;
                }
            };
            if self.answers.is_empty() {
                outbox.push(Answer { frame, last, permit, ready: None });
                if outbox.is_full() {
                    std::mem::take(&mut outbox).send(self.shared, self.transport).await?;
                }
                self.active = Instant::now();
            } else {
                let counted = Ready::count(frame.as_ref(), self.ready.get_or_insert_default().clone());
                let answer = Answer { frame, last, permit, ready: Some(counted) };
                self.answers.push_back(ready(answer).boxed());
            }
            if last {
                self.closing = true;
                self.arrived.clear();
            }
        }
        outbox.send(self.shared, self.transport).await?;
        if self.closing && self.answers.is_empty() {
            return Err(End::Refused);
        }
        Ok(())
    }

    /// Waits for an answer or for more requests; true when there is something to read.
    async fn wait(&mut self, draining: &mut watch::Receiver<bool>) -> Result<bool, End> {
        let idle = self.shared.limits.idle;
        let may_read = !self.closing && self.arrived.is_empty() && self.has_room();
        // The rest of a frame is waited for: one timer, for the two rules of those who do not send it.
        let unfinished = may_read && !self.intake.is_empty();
        let since = Instant::now();
        let (look, expiry) = (since + SLOW_AFTER, self.active + idle);
        let look = match may_read {
            true if self.answers.is_empty() => look.min(expiry),
            true => look,
            // Reading would tell.
            false => since + LEFT_LOOK,
        };
        let readable = tokio::select! {
            biased;
            Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                send_ready(self.shared, self.transport, &mut self.answers, answer).await?;
                self.active = Instant::now();
                return Ok(false);
            }
            readable = self.transport.readable(), if may_read => {
                readable?;
                true
            }
            () = sleep_until(look), if unfinished || !may_read => false,
            () = drain_begins(draining), if !self.closing => {
                self.closing = true;
                return if self.answers.is_empty() { Err(End::Drained) } else { Ok(false) };
            }
            else => return Err(End::Drained),
        };
        if !may_read && self.transport.has_left() {
            return Err(End::Peer);
        }
        let now = Instant::now();
        if unfinished {
            self.intake.waited(now - since);
            // Whatever came just now: a byte every now and then is not progress.
            if self.intake.slow() && self.shared.memory.scarce() {
                return Err(End::Stalled);
            }
        }
        if readable {
            self.active = now;
        } else if self.answers.is_empty() && now >= expiry {
            return Err(End::Idle);
        }
        Ok(readable)
    }
}

/// Says why a connection ended, to those who look.
pub(crate) fn log(end: &End, peer: std::net::SocketAddr) {
    match end {
        End::Peer => debug!("Connection with {peer} closed by the peer"),
        End::Idle => debug!("Connection with {peer} closed: idle longer than connections.max.idle.ms"),
        End::Refused => debug!("Connection with {peer} closed: a request could not be served"),
        End::Stalled => {
            debug!("Connection with {peer} closed: half a request, hardly any progress, and memory is short")
        }
        End::Drained => debug!("Connection with {peer} closed: shutting down"),
        End::Failed(IntakeError::Io(e)) => debug!("Connection with {peer} lost: {e}"),
        End::Failed(e) => tracing::warn!("Closing connection with {peer}: {e}"),
    }
}

/// Returns when the shutdown has begun.
pub(crate) async fn drain_begins(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}
