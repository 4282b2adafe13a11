//! The seam to whoever understands the frames.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Frame, SecurityProtocol};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Counted up from 1 over all listeners of the process.
    pub id: u64,
    /// Name of the listener it came in on.
    pub listener: Arc<str>,
    /// How that listener protects the connection.
    pub protocol: SecurityProtocol,
    /// The client's address.
    pub peer: SocketAddr,
}

/// What becomes of one request.
pub enum Outcome {
    /// The answer is ready.
    Now(Frame),
    /// The answer comes later; what the request does to the order of things has happened. `None` closes the
    /// connection once earlier answers are out: there is none that could be given.
    Later {
        /// What is waited for.
        answer: BoxFuture<'static, Option<Frame>>,
        /// Bytes of memory that the request holds meanwhile; `None` for the whole frame.
        holds: Option<usize>,
    },
    /// Nothing is sent back (acks=0).
    Silent,
    /// The connection is closed once earlier answers are out.
    Close,
}

/// Understands frames. One value serves all connections.
pub trait FrameService: Send + Sync + 'static {
    /// What is kept for one connection.
    type Session: Send + 'static;

    /// A connection was accepted.
    fn open(&self, connection: ConnectionInfo) -> Self::Session;

    /// A whole frame arrived (without its length prefix). Called in the order of arrival, never concurrently for one
    /// session. Must not block but for local file writes.
    fn call(&self, session: &mut Self::Session, frame: Bytes) -> Outcome;
}

/// What one frame, one connection and the whole front end may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`: a longer frame closes the connection.
    pub request_max_bytes: usize,
    /// `queued.max.request.bytes`: memory of requests that are being read or served, over all connections. An eighth
    /// of it is for small requests only.
    pub queued_max_bytes: usize,
    /// Requests of one connection that may wait for their answers; more are not read meanwhile.
    pub in_flight_max: usize,
    /// `connections.max.idle.ms`: a connection without traffic and without requests in flight is closed, also when it
    /// has sent half a request, and one that takes nothing of an answer for as long.
    pub idle: Duration,
    /// How long requests in flight may take to finish when the process shuts down.
    pub drain: Duration,
    /// `socket.send.buffer.bytes`; `None` leaves it to the kernel.
    pub send_buffer: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the kernel.
    pub receive_buffer: Option<usize>,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_max_bytes: 100 << 20,
            queued_max_bytes: 256 << 20,
            in_flight_max: 64,
            idle: Duration::from_secs(600),
            drain: Duration::from_secs(2),
            send_buffer: None,
            receive_buffer: None,
            backlog: 512,
        }
    }
}
