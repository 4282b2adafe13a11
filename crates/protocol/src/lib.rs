//! Kafka's messages and persisted records as bytes, in every version Apache Kafka 4.4 speaks.
//!
//! What is where:
//! - [`messages`]: one namespace of request and response types for handlers;
//! - [`api`]: the table of API keys: names, versions, header versions, listeners;
//! - [`header`]: request heads (peek, parse) and response heads;
//! - [`guard`]: the walk over a body that comes before any decoding, so that no length on the wire is
//!   believed before the bytes behind it were seen;
//! - [`decode`] and [`encode_response`]: the two calls a router needs;
//! - [`persisted`]: the records Kafka keeps in its internal topics, its metadata log and its snapshots.
//!
//! The crate is pure: bytes in, values out.

pub mod api;
mod codec;
mod error;
mod generated;
pub mod guard;
pub mod header;
pub mod messages;
pub mod persisted;
mod private;
#[cfg(feature = "samples")]
pub mod samples;
mod wire;

pub use codec::{decode, decode_response, encode_request, encode_response};
pub use error::{DecodeError, EncodeError};
pub use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange,
};
pub use private::OTTLA_RAFT;
