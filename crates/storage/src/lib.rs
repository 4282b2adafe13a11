//! Log segments on disk, RocksDB indexes, recovery.
//!
//! A [`LogDir`] is one of Kafka's `log.dirs`: a directory of partitions in Kafka's own format, which Kafka's
//! tools read and a Kafka broker can take over. A [`Log`] is one partition's log with a single owner that writes;
//! any number of threads read through its [`LogReader`]. Everything is synchronous: whoever calls decides on which
//! thread it may wait for the disk.
//!
//! Segment files are the truth. RocksDB ([`Store`]) holds what can be rebuilt from them (indexes, producer
//! snapshots, how far the log is known to be sound) and is written at checkpoints only, never by an append.
//! The one fact segments cannot tell, the log start offset, is synced before [`Log::advance_log_start`] returns.

mod append;
mod checkpoint;
mod codec;
mod config;
mod damaged;
mod delete;
mod demand;
mod dir;
mod epochs;
mod fault;
mod files;
mod head;
mod index;
mod leftovers;
mod load;
mod log;
mod meta;
mod names;
mod pin;
mod producers;
mod read;
mod reader;
mod rebuild;
mod recover;
mod scan;
mod seek;
mod start;
mod state;
mod store;
mod sync;
mod tail;
mod text;
mod time;
mod truncate;
mod write;

pub use append::Appended;
pub use config::{DirOptions, LogConfig, WriteMode};
pub use dir::{CheckpointReport, LogDir};
pub use fault::{Fault, ReadError};
pub use head::HeadDeletion;
pub use load::{Collect, LoadReport, Loader, PartitionLoader};
pub use log::Log;
pub use meta::MetaProperties;
pub use pin::Pin;
pub use read::{Part, Slice};
pub use reader::{Batches, LogReader, SegmentInfo, TimestampHit};
pub use store::{Changes, Family, Pair, Store};

/// The log of the cluster's metadata: opened by [`LogDir::open_log`], never by [`LogDir::load`].
pub const METADATA_TOPIC: &str = "__cluster_metadata";
