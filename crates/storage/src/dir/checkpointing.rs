//! What changed goes to the store and, for Kafka, into its text files.

use std::sync::{Arc, Weak};

use ottla_types::{Offset, TopicPartition};

use super::{
    LogDir,
    shared::{Line, Registered},
};
use crate::{METADATA_TOPIC, checkpoint, fault::Fault, names, reader::LogReader, text};

/// What a checkpoint wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Logs that had changed.
    pub logs: usize,
    /// Bytes given to the store.
    pub bytes: usize,
}

impl LogDir {
    /// Logs changed since the last checkpoint. Their owners may set producer snapshots, then call
    /// [`LogDir::checkpoint`].
    #[must_use]
    pub fn dirty(&self) -> Vec<Arc<LogReader>> {
        self.shared.dirty.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Writes what changed to the store, as one batch: how far each log is known to be sound, new index entries,
    /// producer snapshots. Costs nothing for logs that did not change. A restart after a kill checks what came after.
    ///
    /// # Errors
    /// When the store fails, or the first of the files of epochs that cannot be written; what was to be written stays to be
    /// written.
    pub fn checkpoint(&self) -> Result<CheckpointReport, Fault> {
        let _one_at_a_time = self.shared.checkpointing.lock();
        let dirty: Vec<Arc<LogReader>> =
            std::mem::take(&mut *self.shared.dirty.lock()).iter().filter_map(Weak::upgrade).collect();
        if dirty.is_empty() {
            return Ok(CheckpointReport::default());
        }
        let mut changes = self.shared.store.changes();
        let mut described = Vec::with_capacity(dirty.len());
        for reader in &dirty {
            reader.clear_dirty();
            if !reader.is_removed() {
                described.push((reader, checkpoint::describe(reader, &reader.state.read(), &mut changes)));
            }
        }
        let report = CheckpointReport { logs: described.len(), bytes: changes.size_in_bytes() };
        if let Err(fault) = changes.commit() {
            dirty.iter().for_each(LogReader::mark_dirty);
            return Err(fault);
        }
        let mut done = Ok(());
        for (reader, written) in described {
            checkpoint::written(reader, written);
            // One that fails is not to cost the others theirs: they are on the list no more.
            let epochs = checkpoint::write_epochs(reader).inspect_err(|_| reader.mark_dirty());
            done = done.and(epochs);
        }
        done.map(|()| report)
    }

    /// Writes Kafka's own checkpoint files: recovery points, log start offsets and high watermarks. Kafka does so
    /// once a minute (`log.flush.offset.checkpoint.interval.ms` and its like); they serve a Kafka that takes the
    /// directory back, and a start without the store.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_kafka_checkpoints(&self) -> Result<(), Fault> {
        let lines: Vec<(TopicPartition, Line)> = {
            let logs = self.shared.logs.lock();
            let line = |registered: &Registered| match registered.reader.upgrade() {
                Some(reader) => Some(Line::of(&reader)),
                None => registered.closed,
            };
            let known = |(partition, registered)| Some((TopicPartition::clone(partition), line(registered)?));
            logs.iter()
                .filter(|(partition, _)| &*partition.topic != METADATA_TOPIC)
                .filter_map(known)
                .collect()
        };
        let write = |name: &str, keep: &dyn Fn(&Line) -> Option<Offset>| {
            let kept: Vec<_> = lines.iter().filter_map(|(p, line)| Some((p, keep(line)?))).collect();
            text::replace(&self.shared.path.join(name), text::offsets_text(kept.into_iter()).as_bytes(), true)
        };
        write(names::RECOVERY_POINTS, &|line| Some(line.recovery_point))?;
        write(names::LOG_STARTS, &|line| (line.log_start > line.first_base).then_some(line.log_start))?;
        write(names::HIGH_WATERMARKS, &|line| (line.high_watermark >= 0).then_some(line.high_watermark))
    }
}
