//! Truncation: what a follower does to agree with its leader.

use std::{fs::File, path::PathBuf, sync::Arc};

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
    /// When the disk fails; the log then takes no more writes. Where there are no file descriptors left nothing has
    /// changed.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), Fault> {
        self.check_sound()?;
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
        // What needs a descriptor comes first: from where the state changes on there is no way back.
        let (file, leftovers) = self.before_cut(&cut, offset)?;
        let (dropped, lower_start, synced) = {
            let mut state = self.reader.state.write();
            let dropped = state.segments.split_off(cut.segment + 1);
            let active = state.segments.last_mut().expect("a log has a segment");
            active.size = cut.position;
            active.max_timestamp = cut.max_timestamp;
            if cut.position == 0 {
                active.first_timestamp = NONE;
            }
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
            (dropped, lower_start, synced)
        };
        self.or_broken(|| {
            // A start that is told to be higher after a power cut would empty the log.
            self.write_cut(lower_start, synced || lower_start)?;
            self.remove_segments(&dropped, false)?;
            if let Some(file) = &file {
                file.set_len(cut.position).map_err(Fault::io("truncate a segment of", self.reader.path()))?;
            }
            names::remove_all(leftovers)
        })
    }

    /// What a cut needs descriptors for: the file that is cut, if there is one, and what Kafka left that is to go.
    fn before_cut(&self, cut: &Cut, offset: Offset) -> Result<(Option<Arc<File>>, Vec<PathBuf>), Fault> {
        let handle = Arc::clone(&self.reader.state.read().segments[cut.segment].handle);
        let leftovers = self.leftovers(Some(handle.base), offset)?;
        let there = cut.position > 0 || self.reader.segment_path(handle.base).exists();
        let file = if there { Some(self.reader.open_segment(&handle)?) } else { None };
        Ok((file, leftovers))
    }

    /// Empties the log. Its next record gets `offset`, which is also its start.
    ///
    /// # Errors
    /// As [`Log::truncate_to`].
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> Result<(), Fault> {
        self.check_sound()?;
        let shared = Arc::clone(&self.reader.shared);
        let _checkpoint = shared.checkpointing.lock();
        let _sync = self.reader.syncing.lock();
        let leftovers = self.leftovers(Some(Offset::MIN), offset)?;
        let dropped = {
            let mut state = self.reader.state.write();
            let truncations = state.truncations.wrapping_add(1);
            let epochs_changed = !state.epochs.is_empty() || state.epochs_changed;
            let fresh = State::empty(offset, shared.clock.wall().0);
            let old = std::mem::replace(&mut *state, fresh);
            state.truncations = truncations;
            state.epochs_changed = epochs_changed;
            old.segments
        };
        self.or_broken(|| {
            self.write_cut(true, true)?;
            self.remove_segments(&dropped, true)?;
            names::remove_all(leftovers)?;
            if offset == 0 {
                return Ok(());
            }
            // An empty file tells where the log begins, also without the store.
            let handle = Arc::clone(&self.reader.state.read().active().handle);
            let made = shared.files.get(&handle, true, || self.reader.segment_path(offset));
            // With the store it can wait for the first append.
            made.map(drop).or_else(unless_for_want_of_files)
        })
    }

    /// Takes the cut to the store, which has the epochs, too: Kafka's file may follow at the next checkpoint.
    fn write_cut(&self, log_start: bool, synced: bool) -> Result<(), Fault> {
        checkpoint::write_one(&self.reader, log_start, synced).or_else(|fault| {
            self.reader.mark_dirty();
            unless_for_want_of_files(fault)
        })
    }

    /// Makes the files follow a state that has changed. If that ends early they hold batches behind the log's end, which
    /// would be taken to follow what is written over the first of them: so nothing is.
    fn or_broken(&self, follow: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        follow().inspect_err(|_| self.reader.state.write().broken = true)
    }

    fn check_sound(&self) -> Result<(), Fault> {
        if self.reader.state.read().broken { Err(Fault::Broken { path: self.reader.path() }) } else { Ok(()) }
    }

    fn leftovers(&self, last_segment: Option<Offset>, log_end: Offset) -> Result<Vec<PathBuf>, Fault> {
        let dir = self.reader.path();
        self.reader.shared.files.with_room(|| names::kafka_leftovers(&dir, last_segment, log_end))
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
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Fault::io("remove", path)(e));
                }
                _ => {}
            }
        }
        if whole_log || !dropped.is_empty() {
            self.reader.state.write().names_unsynced = true;
        }
        Ok(())
    }
}

/// A want of descriptors passes, and what comes later does what was not done for it.
fn unless_for_want_of_files(fault: Fault) -> Result<(), Fault> {
    if fault.is_want_of_files() { Ok(()) } else { Err(fault) }
}
