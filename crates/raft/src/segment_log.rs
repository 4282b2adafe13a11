//! The Kafka-format log on disk: `__cluster_metadata-0` of a log dir.

use ottla_records::{Batch, Stamped};
use ottla_storage::{Collect, Loader, Log, LogConfig, LogDir, METADATA_TOPIC, ReadError};
use ottla_types::{Offset, TopicId, TopicPartition};

use crate::{FactLog, Fault};

/// The metadata log in a log dir.
#[derive(Debug)]
pub struct SegmentLog {
    log: Log,
}

impl SegmentLog {
    /// Opens the log, or creates it. `config` holds `metadata.log.segment.bytes` and `.ms`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(dir: &LogDir, config: LogConfig) -> Result<Self, Fault> {
        let partition = TopicPartition::new(METADATA_TOPIC, 0);
        let collect = Collect::new(config);
        let loader = collect.begin(&partition, TopicId::METADATA);
        dir.open_log(&partition, TopicId::METADATA, loader)?;
        let log = collect.into_logs().pop().expect("one log was opened");
        Ok(Self { log })
    }

    /// The log's directory, where checkpoints and `quorum-state` live too.
    #[must_use]
    pub fn path(&self) -> std::path::PathBuf {
        self.log.reader().path()
    }

    /// The side that readers share: whoever serves Fetch of the metadata log.
    #[must_use]
    pub fn reader(&self) -> std::sync::Arc<ottla_storage::LogReader> {
        self.log.reader()
    }
}

impl FactLog for SegmentLog {
    fn start(&self) -> Offset {
        self.log.log_start()
    }

    fn end(&self) -> Offset {
        self.log.log_end()
    }

    fn append(&mut self, batches: &[Stamped]) -> Result<(), Fault> {
        self.log.append(batches)?;
        self.log.set_high_watermark(self.log.log_end());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.log.flush()?;
        Ok(())
    }

    fn read(&self, from: Offset, each: &mut dyn FnMut(Batch) -> Result<(), Fault>) -> Result<(), Fault> {
        if from >= self.log.log_end() {
            return Ok(());
        }
        let mut next = from;
        for batch in self.log.reader().batches_from(from) {
            let batch = batch.map_err(|error| match error {
                ReadError::Fault(ottla_storage::Fault::Segment { what, .. }) => {
                    Fault::Damaged { offset: next, why: what.into() }
                }
                error => Fault::Log(error.to_string()),
            })?;
            next = batch.header.next_offset();
            each(batch)?;
        }
        Ok(())
    }

    fn truncate(&mut self, end: Offset) -> Result<(), Fault> {
        Ok(self.log.truncate_to(end)?)
    }

    fn reset(&mut self, start: Offset) -> Result<(), Fault> {
        Ok(self.log.truncate_fully_and_start_at(start)?)
    }

    fn advance_start(&mut self, start: Offset) -> Result<(), Fault> {
        self.log.advance_log_start(start)?;
        // Records before the start are in a snapshot: whole segments of them go from the disk.
        self.log.delete_below_start()?;
        Ok(())
    }

    fn size(&self) -> u64 {
        self.log.reader().size()
    }
}
