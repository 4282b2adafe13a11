//! A log dir.
use std::{path::{Path, PathBuf}, sync::Arc};
use ottla_types::{Clock, TopicId, TopicPartition};
use crate::{config::{DirOptions, LogConfig}, fault::Fault, load::{LoadReport, Loader, PartitionLoader}, log::Log, meta::MetaProperties, pin::Pin, reader::LogReader, store::Store};

/// One of `log.dirs`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogDir {}

/// What a checkpoint wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Logs that had changed.
    pub logs: usize,
    /// Bytes given to the store.
    pub bytes: usize,
}

impl LogDir {
    /// Opens and locks.
    pub fn open(_path: impl Into<PathBuf>, _options: DirOptions, _clock: Arc<dyn Clock>) -> Result<Self, Fault> { todo!() }
    /// Where it is.
    pub fn path(&self) -> &Path { todo!() }
    /// Whose it is.
    pub fn meta(&self) -> &MetaProperties { todo!() }
    /// The store of the dir (raft's log lives in `Family::Raft` of the metadata log dir's).
    pub fn store(&self) -> &Store { todo!() }
    /// Opens every log of the dir but the metadata log's.
    pub fn load(&self, _loader: &dyn Loader) -> Result<LoadReport, Fault> { todo!() }
    /// Opens one log, or creates it.
    pub fn open_log(&self, _partition: &TopicPartition, _topic_id: TopicId, _loader: Box<dyn PartitionLoader>) -> Result<LoadReport, Fault> { todo!() }
    /// Creates a log. 
    pub fn create_log(&self, _partition: &TopicPartition, _topic_id: TopicId, _config: Arc<LogConfig>) -> Result<Log, Fault> { todo!() }
    /// Removes a log: its directory is renamed at once and deleted in the background.
    pub fn remove_log(&self, _log: Log) -> Result<(), Fault> { todo!() }
    /// Logs changed since the last checkpoint: set their producer snapshots, then call `checkpoint`.
    pub fn dirty(&self) -> Vec<Arc<LogReader>> { todo!() }
    /// Writes what changed to the store, as one batch.
    pub fn checkpoint(&self) -> Result<CheckpointReport, Fault> { todo!() }
    /// Writes Kafka's own checkpoint files (recovery points, log start offsets, high watermarks).
    pub fn write_kafka_checkpoints(&self) -> Result<(), Fault> { todo!() }
    /// The broker epoch in the clean shutdown marker that was found, if the last run ended cleanly (KIP-966).
    pub fn previous_broker_epoch(&self) -> Option<i64> { todo!() }
    /// A buffer of `bytes` whose slices will be appended.
    pub fn pin(&self, _bytes: usize) -> Pin { todo!() }
    /// After every log was closed: checkpoints, and marks the shutdown clean.
    pub fn close(self, _broker_epoch: i64) -> Result<(), Fault> { todo!() }
}
