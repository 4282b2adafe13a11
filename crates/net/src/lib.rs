//! Listeners, connections, frames, back-pressure: moves size-prefixed frames between sockets and a service.
//!
//! The listening side does not know which APIs exist. It reads frames within limits that are checked before memory is
//! taken, hands each to a [`FrameService`], keeps many requests of one connection in flight, and writes the answers in
//! the order of the requests. An idle connection owns no buffer.
//!
//! [`peer`] is the other direction: requests to other nodes.

mod admission;
mod connection;
mod frame;
mod intake;
mod listener;
mod outbox;
mod pacing;
pub mod peer;
mod pool;
mod service;
mod transport;

pub use admission::{Admission, ConnectionLimits};
pub use frame::{Frame, Part};
pub use listener::{Bound, ListenError, Listener, Shutdown, bind, serve};
pub use pool::BufferPool;
pub use service::{ConnectionInfo, FrameService, Limits, Outcome};
pub use transport::SecurityProtocol;

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod tests;
