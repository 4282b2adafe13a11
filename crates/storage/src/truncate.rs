//! Truncation: what a follower does to agree with its leader.

use std::sync::Arc;

use ottla_types::Offset;

use crate::{
    checkpoint, epochs,
    fault::Fault,
    index::Index,
    log::Log,
    names,
    state::{NONE, Segment, State},
};

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

impl Log {
    /// Removes every batch that holds `offset` or lies behind it; the next record gets `offset`, or what the log's end
    /// was if that is less.
    ///
    /// # Errors
    /// When the disk fails; the log then takes no more writes.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), Fault> {
        if offset >= self.log_end() {
            self.forget_epochs_from(offset);
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

    /// Epochs that began at the log's end and had no records: another leader may have written there.
    fn forget_epochs_from(&self, offset: Offset) {
        let mut state = self.reader.state.write();
        if epochs::truncate_from_end(&mut state.epochs, offset) {
            state.epochs_changed = true;
            drop(state);
            self.reader.mark_dirty();
        }
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
}
