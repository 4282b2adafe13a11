//! Runs one replicated machine on raft-rs: the real loop, of which one voter is the smallest case.
//!
//! What the machine decides becomes raft entries. An entry's data is one Kafka record batch (format 2) whose records are
//! the facts of one decision, so an entry is atomic. When it is committed the batch gets its base offset and the raft
//! term as leader epoch, is appended to a Kafka-format log ([`FactLog`]) and is applied to the machine's state. Raft's
//! own log lives in a column family of the log dir's RocksDB and is synced before it counts; the Kafka-format log is
//! what raft's log adds up to, and is made whole from it after a crash.
//!
//! [`Core`] is a member without thread, clock and disk; [`start`] runs one on a thread. Nothing here knows which machine
//! it runs: how its facts look as bytes is told by a [`Codec`].

pub mod checkpoint;
mod codec;
mod control;
mod core;
mod disk;
mod driver;
mod fault;
mod handle;
mod ids;
mod log;
mod logger;
mod membership;
mod memory;
mod quorum_state;
mod recover;
mod segment_log;
mod speakers;
mod store;
mod wire;

pub use checkpoint::SnapshotId;
pub use codec::{Codec, Decoded, Voter, VoterEndpoint};
pub use core::{Core, Options, Output, QuorumView, ReplicaView, Seen, Sink, VoterChange};
pub use disk::{Change, Disk, Files, Keys, Pair, Visit};
pub use driver::{Parts, Publish, Running, Transport, start};
pub use fault::Fault;
pub use handle::{Handle, Status, Stranger, SubmitError};
pub use ids::{node_of, raft_id};
pub use log::FactLog;
pub use membership::{Founding, Membership, write_bootstrap};
pub use memory::{MemoryDisk, MemoryLog};
pub use raft::eraftpb::{Message, MessageType};
pub use segment_log::SegmentLog;
pub use speakers::Speakers;
pub use wire::{decode_message, encode_message};
