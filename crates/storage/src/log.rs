//! One partition's log, as its single owner sees it.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use ottla_records::Stamped;
use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use parking_lot::RwLock;

use crate::{
    checkpoint,
    config::LogConfig,
    dir::Shared,
    epochs,
    fault::Fault,
    files::SealedIndex,
    index::{self, Index},
    names,
    pin::Pin,
    reader::LogReader,
    state::{NONE, Segment, State},
    write::write_batches,
};

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Base offset of the first batch.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Where the first batch begins in its segment file.
    pub position: u64,
    /// Bytes written.
    pub bytes: usize,
    /// True when a new segment was begun.
    pub rolled: bool,
}

/// A log, open for writing. There is one per partition; dropping it leaves the log as a kill of the process would,
/// [`Log::close`] leaves it clean.
#[derive(Debug)]
pub struct Log {
    reader: Arc<LogReader>,
    config: Arc<LogConfig>,
}

impl Log {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        partition: &TopicPartition,
        topic_id: TopicId,
        state: State,
        config: Arc<LogConfig>,
    ) -> Self {
        let reader = Arc::new(LogReader::new(shared, partition, topic_id, RwLock::new(state)));
        shared.register(&reader);
        Self { reader, config }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        self.reader.partition()
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.reader.topic_id()
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

    /// Writes batches at the log's end, in one vectored write unless they need more than one segment. When it returns
    /// they have left the process and readers see them. Offsets must continue the log; gaps are allowed, as a follower
    /// of a compacted log needs them. `batches` must not be empty.
    ///
    /// # Errors
    /// Nothing of `batches` is in the log when the disk is full or fails at the first segment.
    pub fn append(&mut self, batches: &[Stamped]) -> Result<Appended, Fault> {
        self.append_all(batches, None)
    }

    /// As [`Log::append`]; `pin` stands for the buffer that the batches are slices of.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_pinned(&mut self, batches: &[Stamped], pin: &Pin) -> Result<Appended, Fault> {
        self.append_all(batches, Some(pin))
    }

    fn append_all(&mut self, batches: &[Stamped], pin: Option<&Pin>) -> Result<Appended, Fault> {
        assert!(!batches.is_empty(), "an append has a batch");
        self.check_order(batches)?;
        let mut left = batches;
        let mut all: Option<Appended> = None;
        while !left.is_empty() {
            let rolled = self.roll_if_due(&left[0])?;
            let (now, later) = left.split_at(self.fitting(left));
            let (position, bytes) = self.append_group(now, pin)?;
            let last_offset = now.last().map_or(NONE, |batch| batch.header.last_offset());
            all = Some(match all {
                None => Appended { base_offset: now[0].header.base_offset, last_offset, position, bytes, rolled },
                Some(a) => Appended { last_offset, bytes: a.bytes + bytes, rolled: a.rolled | rolled, ..a },
            });
            left = later;
        }
        Ok(all.expect("there was a batch"))
    }

    fn check_order(&self, batches: &[Stamped]) -> Result<(), Fault> {
        let state = self.reader.state.read();
        if state.broken {
            return Err(Fault::Broken { path: self.reader.path() });
        }
        let mut log_end = state.log_end;
        for batch in batches {
            let given = batch.header.base_offset;
            if given < log_end || batch.header.last_offset_delta < 0 {
                return Err(Fault::OutOfOrder { path: self.reader.path(), given, log_end });
            }
            log_end = batch.header.next_offset();
        }
        Ok(())
    }

    /// How many of `batches` the active segment takes: one at least.
    fn fitting(&self, batches: &[Stamped]) -> usize {
        if batches.len() == 1 {
            return 1;
        }
        let (base, mut size) = {
            let state = self.reader.state.read();
            (state.active().base, state.active().size)
        };
        let fits = batches.iter().take_while(|batch| {
            size += batch.size_in_bytes() as u64;
            size <= u64::from(self.config.segment_bytes)
                && index::relative(base, batch.header.last_offset()).is_some()
        });
        fits.count().max(1)
    }

    /// Begins a new segment if the active one cannot or should not take `batch`.
    fn roll_if_due(&mut self, batch: &Stamped) -> Result<bool, Fault> {
        let config = &self.config;
        let mut state = self.reader.state.write();
        let active = state.active();
        if active.size == 0 {
            if index::relative(active.base, batch.header.last_offset()).is_none() {
                let created = active.created;
                let handle = Arc::clone(&active.handle);
                handle.close();
                *state.segments.last_mut().expect("a log has a segment") =
                    Segment::new(batch.header.base_offset, created);
            }
            return Ok(false);
        }
        let waited = if active.first_timestamp == NONE {
            self.reader.shared.clock.wall().0.saturating_sub(active.created)
        } else {
            batch.header.max_timestamp.saturating_sub(active.first_timestamp)
        };
        let kafka_entries = active.size / u64::from(config.index_interval_bytes.max(1));
        let due = active.size + batch.size_in_bytes() as u64 > u64::from(config.segment_bytes)
            || waited > config.segment_ms.saturating_sub(config.segment_jitter_ms)
            || kafka_entries > u64::from(config.segment_index_bytes / 12)
            || index::relative(active.base, batch.header.last_offset()).is_none();
        if due {
            let now = self.reader.shared.clock.wall().0;
            self.seal(&mut state, now);
        }
        drop(state);
        if due {
            self.reader.mark_dirty();
        }
        Ok(due)
    }

    /// Ends the active segment; its index stays in memory until the next checkpoint has put it into the store.
    fn seal(&self, state: &mut State, now: i64) {
        let mut index = std::mem::take(&mut state.index);
        index.shrink();
        let active = state.active();
        *active.handle.index.lock() = SealedIndex::Held(Arc::new(index));
        let base = state.log_end;
        state.segments.push(Segment::new(base, now));
        state.stored = None;
    }

    fn append_group(&mut self, batches: &[Stamped], pin: Option<&Pin>) -> Result<(u64, usize), Fault> {
        let shared = &self.reader.shared;
        let bytes: usize = batches.iter().map(Stamped::size_in_bytes).sum();
        let (handle, position) = {
            let state = self.reader.state.read();
            (Arc::clone(&state.active().handle), state.active().size)
        };
        let file = shared.files.get(&handle, position == 0, || self.reader.segment_path(handle.base))?;
        if position == 0 {
            self.begin_file(&file)?;
        }
        if let Err(source) = write_batches(&file, position, batches, &shared.dont_cache) {
            // What was written of it must not be there for a later append to lie beside.
            if file.set_len(position).is_err() {
                self.reader.state.write().broken = true;
            }
            return Err(Fault::io("append to", self.reader.segment_path(handle.base))(source));
        }
        self.publish(batches, bytes, pin);
        Ok((position, bytes))
    }

    /// A segment's first append: whatever a crash may have left under the name goes.
    fn begin_file(&self, file: &std::fs::File) -> Result<(), Fault> {
        let path = || self.reader.path();
        file.set_len(0).map_err(|e| Fault::io("empty a segment of", path())(e))?;
        if self.config.preallocate {
            let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(file, flags, 0, u64::from(self.config.segment_bytes))
                .map_err(|e| Fault::os("reserve space for a segment of", path())(e))?;
        }
        self.reader.state.write().names_unsynced = true;
        Ok(())
    }

    /// Shows written batches to readers.
    fn publish(&self, batches: &[Stamped], bytes: usize, pin: Option<&Pin>) {
        let shared = &self.reader.shared;
        let kept = shared.tail.prepare(batches, bytes, pin);
        let mut own_bytes = None;
        let log_end = {
            let mut state = self.reader.state.write();
            for batch in batches {
                let noted = state.note(&batch.header, self.config.index_interval_bytes);
                assert!(noted, "the segment was rolled before an offset or position it cannot hold");
            }
            match kept {
                Some(kept) => {
                    own_bytes = Some(kept.own_bytes());
                    state.tail.extend(kept.batches);
                }
                None => state.tail.clear(),
            }
            state.log_end
        };
        if let Some(own_bytes) = own_bytes {
            shared.tail.settle(&self.reader, log_end, own_bytes);
        }
        self.reader.mark_dirty();
    }

    /// Removes every batch that holds `offset` or lies behind it; the next record gets `offset`, or what the log's end
    /// was if that is less.
    ///
    /// # Errors
    /// When the disk fails; the log then takes no more writes.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), Fault> {
        if offset >= self.log_end() {
            return Ok(());
        }
        if offset <= self.reader.state.read().segments[0].base {
            return self.truncate_fully_and_start_at(offset);
        }
        let cut = self.reader.cut_at(offset)?;
        let shared = Arc::clone(&self.reader.shared);
        let _checkpoint = shared.checkpointing.lock();
        let _sync = self.reader.syncing.lock();
        let (dropped, handle, lower_start, synced) = {
            let mut state = self.reader.state.write();
            let dropped = state.segments.split_off(cut.segment + 1);
            let active = state.segments.last_mut().expect("a log has a segment");
            active.size = cut.position;
            active.max_timestamp = cut.max_timestamp;
            if cut.position == 0 {
                active.first_timestamp = NONE;
            }
            let handle = Arc::clone(&active.handle);
            state.index = cut.index;
            state.stored = None;
            state.log_end = offset;
            while state.tail.back().is_some_and(|batch| batch.next > offset) {
                state.tail.pop_back();
            }
            if state.tail.back().is_some_and(|batch| batch.next != offset) {
                state.tail.clear();
            }
            state.epochs_changed |= epochs::truncate_from_end(&mut state.epochs, offset);
            state.snapshots.truncate(offset);
            let synced = state.recovery_point > offset;
            state.recovery_point = state.recovery_point.min(offset);
            let lower_start = state.log_start > offset;
            state.log_start = state.log_start.min(offset);
            state.truncations = state.truncations.wrapping_add(1);
            (dropped, handle, lower_start, synced)
        };
        checkpoint::write_one(&self.reader, lower_start, synced)?;
        self.remove_segments(&dropped, false)?;
        if cut.position > 0 || self.reader.segment_path(handle.base).exists() {
            let path = || self.reader.segment_path(handle.base);
            let file = shared.files.get(&handle, false, path)?;
            file.set_len(cut.position).map_err(|e| self.broken("truncate", e))?;
        }
        Ok(())
    }

    /// Empties the log. Its next record gets `offset`, which is also its start.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> Result<(), Fault> {
        let shared = Arc::clone(&self.reader.shared);
        let _checkpoint = shared.checkpointing.lock();
        let _sync = self.reader.syncing.lock();
        let dropped = {
            let mut state = self.reader.state.write();
            let truncations = state.truncations.wrapping_add(1);
            let (broken, epochs_changed) = (state.broken, !state.epochs.is_empty() || state.epochs_changed);
            let fresh = State::empty(offset, shared.clock.wall().0);
            let old = std::mem::replace(&mut *state, fresh);
            state.truncations = truncations;
            state.broken = broken;
            state.epochs_changed = epochs_changed;
            old.segments
        };
        checkpoint::write_one(&self.reader, true, true)?;
        self.remove_segments(&dropped, true)?;
        if offset > 0 {
            // An empty file tells where the log begins, also without the store.
            let handle = Arc::clone(&self.reader.state.read().active().handle);
            shared.files.get(&handle, true, || self.reader.segment_path(offset))?;
        }
        Ok(())
    }

    fn remove_segments(&self, dropped: &[Segment], whole_log: bool) -> Result<(), Fault> {
        let mut last_one_first: Vec<&Segment> = dropped.iter().collect();
        last_one_first.reverse();
        for segment in last_one_first {
            segment.handle.close();
            let path = self.reader.segment_path(segment.base);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(self.broken("remove", e)),
                _ => {}
            }
        }
        if whole_log || !dropped.is_empty() {
            self.reader.state.write().names_unsynced = true;
        }
        names::remove_kafka_leftovers(&self.reader.path(), self.log_end())
    }

    fn broken(&self, op: &'static str, source: std::io::Error) -> Fault {
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

/// Where a log is cut.
pub(crate) struct Cut {
    /// Place of the segment that stays the last one.
    pub(crate) segment: usize,
    /// Its new size.
    pub(crate) position: u64,
    /// Its index up to there.
    pub(crate) index: Index,
    /// Its greatest timestamp up to there.
    pub(crate) max_timestamp: i64,
}
