//! How the owner of the logs takes part in loading them.

use std::sync::Arc;

use ottla_records::{Batch, BatchHeader};
use ottla_types::{Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use crate::{config::LogConfig, fault::Fault, log::Log};

/// Receives the logs of a dir while [`crate::LogDir::load`] opens them on several threads.
pub trait Loader: Sync {
    /// A log was found. Called on a recovery thread, once per log.
    ///
    /// [`TopicId::ZERO`] stands for an id that is not known, because the log's `partition.metadata` is missing: see
    /// [`Log::adopt`].
    fn begin(&self, partition: &TopicPartition, topic_id: TopicId) -> Box<dyn PartitionLoader>;

    /// A log was found that is to take the place of the partition's log in another dir. `None` leaves it closed, as it
    /// is. One that cannot be opened for damage is kept as a stray: there is another copy.
    fn begin_future(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> Option<Box<dyn PartitionLoader>> {
        let _ = (partition, topic_id);
        None
    }

    /// A log cannot be opened. Its directory stays as it is, and loading goes on with the others.
    ///
    /// # Errors
    /// To end the loading instead, with this fault; so it is when this is left as it is.
    fn failed(&self, partition: &TopicPartition, fault: Fault) -> Result<(), Fault> {
        let _ = partition;
        Err(fault)
    }
}

/// Rebuilds what the owner keeps about one log: its producers.
///
/// First `restore`, if there is a snapshot, then `batch` for every batch from the snapshot's offset on, then
/// `done`. When `restore` is not called or answers false, every batch of the log is handed over.
pub trait PartitionLoader: Send {
    /// The log's settings; may be changed later by [`Log::update_config`].
    fn config(&self) -> Arc<LogConfig>;
    /// The owner's snapshot of everything before `offset`, as given to [`Log::set_producer_snapshot`]. An empty
    /// one means that no batch before `offset` came from a producer with an id. False: not understood.
    fn restore(&mut self, offset: Offset, snapshot: &[u8]) -> bool;
    /// A batch of the log. `control` is the whole batch when it is a control batch.
    fn batch(&mut self, header: &BatchHeader, control: Option<&Batch>);
    /// The log is open.
    fn done(self: Box<Self>, log: Log);
}

/// A loader that wants nothing but the logs.
#[derive(Debug, Default)]
pub struct Collect {
    config: Arc<LogConfig>,
    logs: Arc<Mutex<Vec<Log>>>,
}

impl Collect {
    /// Opens every log with `config`.
    #[must_use]
    pub fn new(config: LogConfig) -> Self {
        Self { config: Arc::new(config), logs: Arc::default() }
    }

    /// The logs, ordered by partition.
    #[must_use]
    pub fn into_logs(self) -> Vec<Log> {
        let mut logs = std::mem::take(&mut *self.logs.lock());
        logs.sort_by(|a, b| a.partition().cmp(b.partition()));
        logs
    }
}

impl Loader for Collect {
    fn begin(&self, _: &TopicPartition, _: TopicId) -> Box<dyn PartitionLoader> {
        Box::new(Self { config: Arc::clone(&self.config), logs: Arc::clone(&self.logs) })
    }
}

impl PartitionLoader for Collect {
    fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config)
    }

    fn restore(&mut self, _: Offset, _: &[u8]) -> bool {
        true
    }

    fn batch(&mut self, _: &BatchHeader, _: Option<&Batch>) {}

    fn done(self: Box<Self>, log: Log) {
        self.logs.lock().push(log);
    }
}

/// What loading a dir found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Logs opened.
    pub logs: usize,
    /// Logs whose end had to be checked because the last run did not end cleanly, or another broker wrote them.
    pub recovered: usize,
    /// Bytes whose checksums were checked.
    pub checked_bytes: u64,
    /// Bytes cut off torn tails.
    pub truncated_bytes: u64,
}

impl LoadReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.recovered += other.recovered;
        self.checked_bytes += other.checked_bytes;
        self.truncated_bytes += other.truncated_bytes;
    }
}
