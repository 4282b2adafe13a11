//! Puts a log's segments together from its files and what a checkpoint tells about them.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_types::{Offset, TopicPartition};

use crate::{
    checkpoint::{Checkpoint, SegmentRecord},
    config::LogConfig,
    dir::Shared,
    epochs,
    fault::Fault,
    files::SealedIndex,
    index::{self, Index},
    leftovers::Listing,
    load::LoadReport,
    names,
    scan::{At, HEADERS, Scanner, WHOLE},
    start::Start,
    state::{NONE, Segment, State, Stored},
    store::Family,
};

/// A log under reconstruction.
pub(crate) struct Rebuild<'a> {
    shared: &'a Shared,
    partition: &'a TopicPartition,
    dir: &'a Path,
    config: &'a LogConfig,
    checkpoint: Option<&'a Checkpoint>,
    pub(crate) report: LoadReport,
    segments: Vec<Segment>,
    /// Of the last segment.
    index: Index,
    /// Entries of `index` that are in the store as they are.
    stored: Option<Stored>,
    log_end: Offset,
    epochs: Vec<(i32, Offset)>,
    /// Where the last batch of each epoch that was read begins.
    pub(crate) last_of: Vec<(i32, Offset)>,
    /// The checkpoint has been right about every segment so far.
    trusting: bool,
    /// The files deny what the checkpoint says of them, or it may not be believed so far in this boot.
    pub(crate) denied: bool,
    window: Vec<u8>,
}

/// Where checking a segment begins.
struct From {
    position: u64,
    expected: Offset,
    max_timestamp: i64,
    first_timestamp: i64,
    /// `None`: nothing is to be checked and nobody needs the index now.
    index: Option<Index>,
}

impl<'a> Rebuild<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        (partition, dir): (&'a TopicPartition, &'a Path),
        config: &'a LogConfig,
        checkpoint: Option<&'a Checkpoint>,
    ) -> Self {
        Self {
            shared,
            partition,
            dir,
            config,
            checkpoint,
            report: LoadReport::default(),
            segments: Vec::new(),
            index: Index::default(),
            stored: None,
            log_end: 0,
            epochs: Vec::new(),
            last_of: Vec::new(),
            trusting: checkpoint.is_some(),
            denied: false,
            window: Vec::new(),
        }
    }

    /// Goes through the files, oldest first, up to the end or to the first damage, which ends the log.
    pub(crate) fn run(&mut self, listing: &Listing) -> Result<(), Fault> {
        // What the checkpoint knows to be before the log's first segment was deleted, and came back with a power cut.
        let first = self.checkpoint.map_or(Offset::MIN, |checkpoint| checkpoint.segments[0].base);
        for (place, &(base, size)) in listing.segments.iter().enumerate() {
            if base < first {
                self.remove(base, "it lies before the start of the log")?;
                continue;
            }
            let last = place + 1 == listing.segments.len();
            let next_base = listing.segments.get(place + 1).map(|&(base, _)| base);
            let torn = self.take(base, size, last, next_base)?;
            if torn {
                for &(later, size) in &listing.segments[place + 1..] {
                    self.remove(later, "it lies behind the end of the log")?;
                    self.report.truncated_bytes += size;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes one segment. True when the log ends in it, before the file does or before the next one begins.
    fn take(
        &mut self,
        base: Offset,
        size: u64,
        last: bool,
        next_base: Option<Offset>,
    ) -> Result<bool, Fault> {
        let mut from = self.from(base, size, last)?;
        let mut segment = Segment::new(base, self.created(base));
        segment.size = from.position;
        segment.max_timestamp = from.max_timestamp;
        segment.first_timestamp = from.first_timestamp;
        let Some(mut index) = from.index.take() else {
            self.log_end = from.expected;
            self.segments.push(segment);
            return Ok(false);
        };
        let unchecked = from.position < size;
        self.log_end = self.log_end.max(from.expected).max(base);
        let torn = unchecked && self.check(&mut segment, &mut index, size, next_base)?;
        if unchecked {
            self.report.recovered = 1;
        }
        if torn {
            let path = self.path(base);
            let cut = size - segment.size;
            tracing::warn!(path = %path.display(), position = segment.size, bytes = cut, "torn tail cut off");
            self.report.truncated_bytes += cut;
            let file = fs::File::options().write(true).open(&path).map_err(Fault::io("open", &path))?;
            file.set_len(segment.size).map_err(Fault::io("truncate", &path))?;
        }
        let ends = torn || self.is_short(base, size, next_base);
        if last || ends {
            self.index = index;
        } else {
            *segment.handle.index.lock() = SealedIndex::Held(Arc::new(index));
        }
        self.segments.push(segment);
        Ok(ends)
    }

    /// True when batches are missing between the end of a segment that was gone through and the next one: the checkpoint
    /// knew a longer file, with batches up to where the next one begins at the earliest. One that begins before that was
    /// begun after a truncation, which a power cut took out of the store. Where the checkpoint knows nothing of it, a gap
    /// in the offsets is a gap.
    fn is_short(&self, base: Offset, size: u64, next_base: Option<Offset>) -> bool {
        let (Some(next), Some((place, end))) = (next_base, self.known(base)) else { return false };
        let known = self.checkpoint.is_some_and(|checkpoint| size < checkpoint.segments[place].size);
        let short = known && self.log_end < end && end <= next;
        if short {
            let path = self.path(base);
            tracing::warn!(path = %path.display(), size, "the log ends here: the file was longer");
        }
        short
    }

    /// The place of a segment in the checkpoint, and where its batches end at the latest.
    fn known(&self, base: Offset) -> Option<(usize, Offset)> {
        let checkpoint = self.checkpoint?;
        let place = checkpoint.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        // Where an append failed after it had begun a segment, that one begins behind the log's end.
        let next = checkpoint.segments.get(place + 1).map_or(Offset::MAX, |next| next.base);
        Some((place, next.min(checkpoint.log_end)))
    }

    /// How much of a segment needs no check.
    fn from(&mut self, base: Offset, size: u64, last: bool) -> Result<From, Fault> {
        let everything = From {
            position: 0,
            expected: base,
            max_timestamp: NONE,
            first_timestamp: NONE,
            index: Some(Index::default()),
        };
        let Some(checkpoint) = self.checkpoint.filter(|_| self.trusting) else { return Ok(everything) };
        let Some((place, end)) = self.known(base) else {
            self.trusting = false;
            // Most often it was only begun since.
            self.denied |= base < checkpoint.log_end;
            return Ok(everything);
        };
        let record = checkpoint.segments[place];
        let active = place + 1 == checkpoint.segments.len();
        if size < record.size || (!active && size > record.size) {
            (self.trusting, self.denied) = (false, true);
            return Ok(everything);
        }
        let holds_to = checkpoint.holds_to(&self.shared.boot);
        let holds = end <= holds_to;
        let mut from = From {
            position: record.size,
            expected: end,
            max_timestamp: record.max_timestamp,
            first_timestamp: record.first_timestamp,
            index: None,
        };
        if holds && !active && !last {
            return Ok(from);
        }
        self.denied |= !holds;
        let Some(mut index) = self.stored_index(checkpoint, &record, active)? else {
            // Batches are as sound as the checkpoint says; their index has to be made anew, like everything's.
            return Ok(everything);
        };
        if holds {
            if active {
                let (entries, generation) = (index.len(), index.generation());
                self.stored = Some(Stored { base, entries, generation });
            }
            from.index = Some(index);
            return Ok(from);
        }
        self.trusting = false;
        let relative = index::relative(base, holds_to).unwrap_or(0);
        let Some(entry) = index.floor(relative) else { return Ok(everything) };
        index.truncate(u64::from(entry.position));
        from.position = entry.position.into();
        from.expected = base + i64::from(entry.relative);
        from.max_timestamp = entry.max_before;
        from.index = Some(index);
        Ok(from)
    }

    fn stored_index(
        &self,
        checkpoint: &Checkpoint,
        record: &SegmentRecord,
        active: bool,
    ) -> Result<Option<Index>, Fault> {
        let store = &self.shared.store;
        if !active {
            let bytes = store.get(Family::Index, &names::sealed_key(self.partition, record.base))?;
            return Ok(bytes.and_then(|bytes| Index::from_bytes(&bytes)));
        }
        if record.size == 0 {
            return Ok(Some(Index::default()));
        }
        let mut chunks = Vec::new();
        let from = names::chunk_key(self.partition, record.base, 0);
        let to = names::chunk_key(self.partition, record.base, u32::MAX);
        store.scan(Family::Index, &from, &to, |_, chunk| {
            chunks.extend_from_slice(chunk);
            ControlFlow::Continue(())
        })?;
        let within = |index: &Index| index.cut(record.size.saturating_sub(1), u64::MAX).is_none();
        Ok(Index::from_chunks(checkpoint.index_interval, checkpoint.index_entries, &chunks).filter(within))
    }

    /// Walks the batches from the segment's size on. True when something else than a batch is there.
    fn check(
        &mut self,
        segment: &mut Segment,
        index: &mut Index,
        size: u64,
        next_base: Option<Offset>,
    ) -> Result<bool, Fault> {
        let checksums = self.checksums(next_base);
        let path = self.path(segment.base);
        let file = fs::File::open(&path).map_err(Fault::io("open", &path))?;
        let mut window = std::mem::take(&mut self.window);
        let mut scanner = Scanner::new(&file, size, if checksums { WHOLE } else { HEADERS }, &mut window);
        let read = |e| Fault::io("read", &path)(e);
        let torn = loop {
            let position = segment.size;
            let header = match scanner.at(position).map_err(read)? {
                At::Batch(header) => header,
                At::End => break None,
                At::Torn(what) => break Some(what),
                At::OldFormat => {
                    let what = "a message of a format before 2: convert the topic with Kafka first";
                    return Err(Fault::Segment { path, position, what });
                }
            };
            if header.base_offset < self.log_end {
                break Some("offsets go back");
            }
            if checksums && !scanner.checksum_fits(position, &header).map_err(read)? {
                break Some("a checksum does not fit");
            }
            if !segment.note(index, &header, self.config.index_interval_bytes) {
                break Some("an offset the segment cannot hold");
            }
            if checksums {
                self.report.checked_bytes += header.size_in_bytes() as u64;
            }
            self.log_end = header.next_offset();
            let (epoch, base) = (header.partition_leader_epoch, header.base_offset);
            if self.epochs.last().is_none_or(|&(last, _)| epoch > last) {
                epochs::assign(&mut self.epochs, epoch, base);
            }
            epochs::note_last(&mut self.last_of, epoch, base);
        };
        self.window = window;
        if let Some(what) = torn {
            tracing::warn!(path = %path.display(), position = segment.size, "the log ends here: {what}");
        }
        Ok(torn.is_some())
    }

    /// True when batches of a segment have to be checked to the last byte.
    fn checksums(&self, next_base: Option<Offset>) -> bool {
        match self.shared.start {
            Start::ForeignClean => false,
            Start::ForeignUnclean => {
                let synced = self.shared.texts.recovery_points.get(self.partition).copied().unwrap_or(0);
                next_base.is_none_or(|end| end > synced)
            }
            Start::Clean | Start::Killed => true,
        }
    }

    fn created(&self, base: Offset) -> i64 {
        let known = self.checkpoint.and_then(|c| c.segments.iter().find(|segment| segment.base == base));
        known.map_or_else(|| self.shared.clock.wall().0, |segment| segment.created)
    }

    fn path(&self, base: Offset) -> PathBuf {
        self.dir.join(names::segment(base))
    }

    fn remove(&self, base: Offset, why: &str) -> Result<(), Fault> {
        let path = self.path(base);
        tracing::warn!(path = %path.display(), "removed: {why}");
        fs::remove_file(&path).map_err(Fault::io("remove", &path))
    }

    /// The log as it was put together. Log start and epochs are still to be settled.
    pub(crate) fn into_state(self, listing: &Listing) -> State {
        let now = self.shared.clock.wall().0;
        let Some(first) = self.segments.first() else {
            // No file yet: the checkpoint may know where the log begins.
            let base = self.checkpoint.filter(|c| c.segments.len() == 1 && c.segments[0].size == 0);
            return State::empty(base.map_or(0, |c| c.log_end), now);
        };
        let mut state = State::empty(first.base, now);
        // With the last file as it was, nothing but an offset skipped by a truncation can lie behind it.
        let whole = !self.denied && self.report.truncated_bytes == 0 && self.report.recovered == 0;
        let told = self.checkpoint.filter(|c| {
            whole
                && c.segments.last().map(|segment| segment.base)
                    == listing.segments.last().map(|&(base, _)| base)
        });
        state.log_end = told.map_or(self.log_end, |c| c.log_end.max(self.log_end));
        let synced = match self.checkpoint {
            Some(checkpoint) => checkpoint.recovery_point,
            // Kafka's file may tell of another log of that name, or of what was cut off since.
            None if self.shared.start.ours() => 0,
            None => self.shared.texts.recovery_points.get(self.partition).copied().unwrap_or(0),
        };
        state.recovery_point = synced.clamp(first.base.min(state.log_end), state.log_end);
        // Files that were removed come back where that is not synced.
        state.names_unsynced =
            state.recovery_point < state.log_end || self.report.truncated_bytes > 0 || self.denied;
        state.segments = self.segments;
        state.index = self.index;
        state.stored = self.stored;
        state.epochs = self.epochs;
        state
    }
}
