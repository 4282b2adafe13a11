//! One partition's log, as its single owner sees it.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use parking_lot::RwLock;

use crate::{
    checkpoint, config::LogConfig, dir::Shared, epochs, fault::Fault, names, reader::LogReader, state::State,
    text, write::Cached,
};

/// A log, open for writing. There is one per partition; dropping it leaves the log as a kill of the process would,
/// [`Log::close`] leaves it clean.
#[derive(Debug)]
pub struct Log {
    pub(crate) reader: Arc<LogReader>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) cached: Cached,
}

impl Log {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        partition: &TopicPartition,
        topic_id: TopicId,
        (state, future): (State, Option<String>),
        config: Arc<LogConfig>,
    ) -> Self {
        let reader = Arc::new(LogReader::new(shared, partition, topic_id, (RwLock::new(state), future)));
        shared.register(&reader);
        Self { reader, config, cached: Cached::default() }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        self.reader.partition()
    }

    /// The topic's id; [`TopicId::ZERO`] when the log's `partition.metadata` was missing, until [`Log::adopt`].
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.reader.topic_id()
    }

    /// Makes a log whose topic is not known one of this topic: writes `partition.metadata` anew, synced. Any other
    /// log stays what it is.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn adopt(&mut self, topic_id: TopicId) -> Result<(), Fault> {
        if self.topic_id() != TopicId::ZERO {
            return Ok(());
        }
        let path = self.reader.path().join(names::PARTITION_METADATA);
        text::replace(&path, text::partition_metadata_text(topic_id).as_bytes(), true)?;
        self.reader.set_topic_id(topic_id);
        checkpoint::write_log_start(&self.reader, self.log_start())?;
        self.reader.mark_dirty();
        Ok(())
    }

    /// The shared side: everything that reads and syncs.
    #[must_use]
    pub fn reader(&self) -> Arc<LogReader> {
        Arc::clone(&self.reader)
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.reader.log_start()
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.reader.log_end()
    }

    /// Settings in force.
    #[must_use]
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Changes the settings, from the next append on.
    pub fn update_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// A failure that leaves the files in an unknown state: no more writes.
    pub(crate) fn broken(&self, op: &'static str, source: std::io::Error) -> Fault {
        self.reader.state.write().broken = true;
        Fault::io(op, self.reader.path())(source)
    }

    /// Moves the log start to `offset`; synced when it returns. Lower offsets than the start are ignored, higher ones
    /// than the end refused.
    ///
    /// # Errors
    /// [`Fault::OutOfOrder`] beyond the end; when the store fails.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<(), Fault> {
        {
            let state = self.reader.state.read();
            if offset <= state.log_start {
                return Ok(());
            }
            if offset > state.log_end {
                let (path, log_end) = (self.reader.path(), state.log_end);
                return Err(Fault::OutOfOrder { path, given: offset, log_end });
            }
        }
        checkpoint::write_log_start(&self.reader, offset)?;
        let mut state = self.reader.state.write();
        state.log_start = offset;
        state.epochs_changed |= epochs::truncate_from_start(&mut state.epochs, offset);
        drop(state);
        self.reader.mark_dirty();
        Ok(())
    }

    /// Syncs everything that is not synced. Gives the recovery point: the log's end.
    ///
    /// # Errors
    /// When the disk fails; the log then takes no more writes.
    pub fn flush(&mut self) -> Result<Offset, Fault> {
        self.reader.sync_up_to(self.log_end())
    }

    /// Leader epochs and the offsets they began at, both growing (KIP-101).
    #[must_use]
    pub fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.reader.epochs()
    }

    /// Takes note that `epoch` begins at `start`; what contradicts it is forgotten. An append does the same for the
    /// epochs of its batches. The file follows at the next checkpoint.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        let mut state = self.reader.state.write();
        if epochs::assign(&mut state.epochs, epoch, start) {
            state.epochs_changed = true;
            drop(state);
            self.reader.mark_dirty();
        }
    }

    /// Hands over the owner's producers as they are after every batch before `offset`, to be given back when the log
    /// is loaded. Written at the next checkpoint. Needed only while producers with ids write: while none does, an
    /// older snapshot is known to hold.
    pub fn set_producer_snapshot(&mut self, offset: Offset, snapshot: Bytes) {
        let mut state = self.reader.state.write();
        let (log_end, recovery_point) = (state.log_end, state.recovery_point);
        state.snapshots.set(offset.min(log_end), snapshot, log_end, recovery_point);
        drop(state);
        self.reader.mark_dirty();
    }

    /// The newest snapshot of the producers that still holds after a truncation, with the offset whose batches it does
    /// not know; `None` when the log has to be read from its start.
    #[must_use]
    pub fn producer_snapshot(&self) -> Option<(Offset, Bytes)> {
        self.reader.state.read().snapshots.latest.clone()
    }

    /// The high watermark, for `replication-offset-checkpoint`. Costs a store, no write.
    pub fn set_high_watermark(&self, offset: Offset) {
        self.reader.high_watermark.store(offset, Ordering::Relaxed);
    }

    /// The high watermark the last run wrote to `replication-offset-checkpoint`; may lag, and `None` when unknown.
    #[must_use]
    pub fn checkpointed_high_watermark(&self) -> Option<Offset> {
        let offset = self.reader.high_watermark.load(Ordering::Relaxed);
        (offset >= 0).then_some(offset)
    }

    /// Syncs, checkpoints and closes the log.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn close(mut self) -> Result<(), Fault> {
        self.flush()?;
        let shared = Arc::clone(&self.reader.shared);
        {
            let _checkpoint = shared.checkpointing.lock();
            checkpoint::write_one(&self.reader, false, false)?;
        }
        checkpoint::leave_kafka_snapshot(&self.reader)?;
        shared.unregister(&self.reader);
        for segment in &self.reader.state.read().segments {
            segment.handle.close();
        }
        Ok(())
    }
}
