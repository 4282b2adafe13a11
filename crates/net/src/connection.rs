//! One connection: read, hand over, answer in order. Idle, it is one small future without buffers.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::FuturesOrdered,
};
use tokio::{sync::watch, time::timeout};
use tracing::debug;

use crate::{
    Frame, FrameService, Limits, Outcome,
    intake::{Arrived, Intake, IntakeError, Memory},
    transport::Transport,
};

/// A frame that has begun to arrive must go on within this while memory is scarce.
const STALL: Duration = Duration::from_secs(5);

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

/// An answer on its way, and what is given back when it has been sent.
struct Answer {
    frame: Option<Frame>,
    last: bool,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

/// A connection from the first byte of a request until nothing is in flight.
struct Busy<'a, S> {
    shared: &'a Shared<S>,
    transport: &'a Transport,
    intake: Intake,
    arrived: Vec<Arrived>,
    answers: FuturesOrdered<BoxFuture<'static, Answer>>,
    /// No more requests are read: the service refused one, or the process is shutting down.
    closing: bool,
}

impl<'a, S: FrameService> Busy<'a, S> {
    fn new(shared: &'a Shared<S>, transport: &'a Transport) -> Self {
        Self {
            shared,
            transport,
            intake: Intake::default(),
            arrived: Vec::new(),
            answers: FuturesOrdered::new(),
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
                self.dispatch(session).await?;
            }
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
                Some(answer) = self.answers.next() => send(self.transport, answer).await?,
            }
        }
    }

    async fn dispatch(&mut self, session: &mut S::Session) -> Result<(), End> {
        for Arrived { frame, permit } in self.arrived.drain(..) {
            let (frame, last) = match self.shared.service.call(session, frame) {
                Outcome::Now(frame) => (Some(frame), false),
                Outcome::Silent => (None, false),
                Outcome::Close => (None, true),
                Outcome::Later(later) => {
                    let answer = later.map(|frame| Answer { frame, last: false, _permit: permit });
                    self.answers.push_back(answer.boxed());
                    continue;
                }
            };
            let answer = Answer { frame, last, _permit: permit };
            if self.answers.is_empty() {
                send(self.transport, answer).await?;
            } else {
                self.answers.push_back(ready(answer).boxed());
            }
            if last {
                self.closing = true;
                break;
            }
        }
        if self.closing && self.answers.is_empty() {
            return Err(End::Refused);
        }
        Ok(())
    }

    /// Waits for an answer or for more requests; true when there is something to read.
    async fn wait(&mut self, draining: &mut watch::Receiver<bool>) -> Result<bool, End> {
        let limits = &self.shared.limits;
        let may_read = !self.closing && self.answers.len() < limits.in_flight_max;
        tokio::select! {
            biased;
            Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                send(self.transport, answer).await?;
                Ok(false)
            }
            readable = self.transport.readable(), if may_read => {
                readable?;
                Ok(true)
            }
            () = tokio::time::sleep(STALL), if may_read && !self.intake.is_empty() => {
                if self.answers.is_empty() && self.shared.memory.scarce() {
                    return Err(End::Stalled);
                }
                Ok(false)
            }
            () = drain_begins(draining), if !self.closing => {
                self.closing = true;
                if self.answers.is_empty() { Err(End::Drained) } else { Ok(false) }
            }
            else => Err(End::Drained),
        }
    }
}

async fn send(transport: &Transport, answer: Answer) -> Result<(), End> {
    if let Some(frame) = answer.frame {
        transport.write(frame).await?;
    }
    if answer.last { Err(End::Refused) } else { Ok(()) }
}

/// Says why a connection ended, to those who look.
pub(crate) fn log(end: &End, peer: std::net::SocketAddr) {
    match end {
        End::Peer => debug!("Connection with {peer} closed by the peer"),
        End::Idle => debug!("Connection with {peer} closed: idle longer than connections.max.idle.ms"),
        End::Refused => debug!("Connection with {peer} closed: a request could not be served"),
        End::Stalled => {
            debug!("Connection with {peer} closed: half a request, no progress, and memory is short")
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
