//! Appends: where a batch goes, how it gets there, and how readers come to see it.

use std::sync::{Arc, atomic::Ordering};

use ottla_records::Stamped;
use ottla_types::Offset;

use crate::{
    fault::Fault,
    files::SealedIndex,
    index,
    log::Log,
    pin::Pin,
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

impl Log {
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
                None => {
                    Appended { base_offset: now[0].header.base_offset, last_offset, position, bytes, rolled }
                }
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
            size <= u64::from(self.config.segment_bytes) && holds(base, batch)
        });
        fits.count().max(1)
    }

    /// Begins a new segment if the active one cannot or should not take `batch`.
    fn roll_if_due(&mut self, batch: &Stamped) -> Result<bool, Fault> {
        if self.reader.state.read().active().size == 0 {
            self.move_empty_segment(batch)?;
            return Ok(false);
        }
        let config = &self.config;
        let mut state = self.reader.state.write();
        let active = state.active();
        let waited = if active.first_timestamp == NONE {
            self.reader.shared.clock.wall().0.saturating_sub(active.created)
        } else {
            batch.header.max_timestamp.saturating_sub(active.first_timestamp)
        };
        let kafka_entries = active.size / u64::from(config.index_interval_bytes.max(1));
        let due = active.size + batch.size_in_bytes() as u64 > u64::from(config.segment_bytes)
            || waited > config.segment_ms.saturating_sub(config.segment_jitter_ms)
            || kafka_entries > u64::from(config.segment_index_bytes / 12)
            || !holds(active.base, batch);
        if due {
            let now = self.reader.shared.clock.wall().0;
            self.seal(&mut state, batch, now);
        }
        drop(state);
        if due {
            self.release_reserve()?;
            self.reader.mark_dirty();
        }
        Ok(due)
    }

    /// Begins the active segment, which is empty, at `batch` if it cannot hold it where it begins now.
    fn move_empty_segment(&self, batch: &Stamped) -> Result<(), Fault> {
        let (handle, created) = {
            let state = self.reader.state.read();
            (Arc::clone(&state.active().handle), state.active().created)
        };
        let first = batch.header.base_offset;
        if holds(handle.base, batch) {
            return Ok(());
        }
        handle.close();
        if handle.base > first {
            // It was begun for a batch that could not be written. Its file would be taken to lie behind this one.
            let path = self.reader.segment_path(handle.base);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Fault::io("remove", path)(e));
                }
                _ => {}
            }
        }
        let mut state = self.reader.state.write();
        *state.segments.last_mut().expect("a log has a segment") = Segment::new(first, created);
        Ok(())
    }

    /// Gives back what `preallocate` reserved for the segment that was just sealed.
    fn release_reserve(&self) -> Result<(), Fault> {
        if !self.config.preallocate {
            return Ok(());
        }
        let sealed = self.reader.views().iter().rev().nth(1).cloned();
        let Some(sealed) = sealed else { return Ok(()) };
        let file = self.reader.open_segment(&sealed.handle)?;
        // The size it has anyway: what lies behind it is freed.
        file.set_len(sealed.size).map_err(|e| self.broken("truncate", e))
    }

    /// Ends the active segment; its index stays in memory until the next checkpoint has put it into the store. The next
    /// one begins at the log's end, unless `batch` lies so far behind it that it could not be held there.
    fn seal(&self, state: &mut State, batch: &Stamped, now: i64) {
        let mut index = std::mem::take(&mut state.index);
        index.shrink();
        let active = state.active();
        *active.handle.index.lock() = SealedIndex::Held(Arc::new(index));
        let base = if holds(state.log_end, batch) { state.log_end } else { batch.header.base_offset };
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
        if shared.dont_cache.load(Ordering::Relaxed) {
            self.cached.appended(&file, position + bytes as u64, bytes);
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
}

/// True when a segment that begins at `base` can hold the offsets of `batch`.
fn holds(base: Offset, batch: &Stamped) -> bool {
    let header = &batch.header;
    header.base_offset >= base && index::relative(base, header.last_offset()).is_some()
}
