//! Finds batches by offset and cuts reads at batch boundaries.

use std::{fs::File, sync::Arc};

use ottla_records::BatchHeader;
use ottla_types::Offset;
use smallvec::SmallVec;

use crate::{
    fault::{Fault, ReadError},
    files::{Handle, SealedIndex},
    index::{self, Index},
    names,
    read::{Part, Slice},
    reader::LogReader,
    scan::{At, HEADERS, Scanner},
    state::{NONE, State},
    store::Family,
    truncate::Cut,
};

/// Batches of the tail that one read gives at most: each may be two slices of the socket's vectored write.
const TAIL_BATCHES: usize = 256;

/// A segment as it was a moment ago.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) handle: Arc<Handle>,
    pub(crate) size: u64,
    /// The offset the following segment begins at, or the log's end.
    pub(crate) end: Offset,
    pub(crate) max_timestamp: i64,
    /// Its place among the segments.
    pub(crate) place: usize,
}

/// A batch in a segment.
struct Located {
    view: View,
    position: u64,
    offset: Offset,
}

impl State {
    pub(crate) fn view(&self, place: usize) -> Option<View> {
        let segment = self.segments.get(place)?;
        Some(View {
            handle: Arc::clone(&segment.handle),
            size: segment.size,
            end: self.segments.get(place + 1).map_or(self.log_end, |next| next.base),
            max_timestamp: segment.max_timestamp,
            place,
        })
    }
}

impl LogReader {
    /// Whole batches from the one that holds `from` on (or the next one, where compaction left a gap), as many as
    /// `max_bytes` takes and all of them before `upper_bound`. With `at_least_one_batch` the first batch is given
    /// whatever its size. A read ends with its segment, so less than there is may come back; nothing only when there
    /// is nothing, or nothing that fits.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside of log start and log end; a fault when the disk fails.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
        at_least_one_batch: bool,
    ) -> Result<Slice, ReadError> {
        let wanted = Wanted { from, max_bytes, upper_bound, at_least_one_batch };
        loop {
            let truncations = {
                let state = self.state.read();
                if from < state.log_start || from > state.log_end {
                    let (log_start, log_end) = (state.log_start, state.log_end);
                    return Err(ReadError::OutOfRange { offset: from, log_start, log_end });
                }
                if from >= upper_bound.min(state.log_end) {
                    return Ok(Slice::default());
                }
                if let Some(slice) = self.read_tail(&state, &wanted) {
                    return Ok(slice);
                }
                state.truncations
            };
            let result = self.read_files(&wanted);
            // A truncation may have pulled the file from under the walk: only then look again.
            if self.state.read().truncations == truncations {
                return Ok(result?);
            }
        }
    }

    /// The same from memory, if the tail reaches back that far.
    fn read_tail(&self, state: &State, wanted: &Wanted) -> Option<Slice> {
        if state.tail.front()?.base > wanted.from {
            return None;
        }
        let first = state.tail.partition_point(|batch| batch.next <= wanted.from);
        if let Some(batch) = state.tail.get(first) {
            self.shared.tail.demand.read_at(batch.place);
        }
        let mut slice = Slice::default();
        for (batches, batch) in state.tail.range(first..).enumerate() {
            let fits = slice.bytes + batch.len() <= wanted.max_bytes
                || (slice.is_empty() && wanted.at_least_one_batch);
            if !fits || batch.next > wanted.upper_bound {
                break;
            }
            if batches == TAIL_BATCHES {
                // Many small batches are one range of a file; send that, where the page cache has it.
                if !self.shared.dont_cache.load(std::sync::atomic::Ordering::Relaxed) {
                    return None;
                }
                break;
            }
            if slice.is_empty() {
                slice.first_batch_offset = batch.base;
            }
            slice.bytes += batch.len();
            slice.parts.push(Part::Memory(batch.head.clone()));
            if !batch.rest.is_empty() {
                slice.parts.push(Part::Memory(batch.rest.clone()));
            }
        }
        Some(slice)
    }

    fn read_files(&self, wanted: &Wanted) -> Result<Slice, Fault> {
        let Some(found) = self.locate(wanted.from)? else { return Ok(Slice::default()) };
        if found.offset >= wanted.upper_bound {
            return Ok(Slice::default());
        }
        self.note_miss(&found);
        let file = self.open_segment(&found.view.handle)?;
        let end = if wanted.upper_bound >= found.view.end {
            found.view.size
        } else {
            self.end_before(&found.view, &file, found.position, wanted.upper_bound)?
        };
        let available = end - found.position;
        let len = if available <= wanted.max_bytes as u64 {
            available
        } else {
            self.cut_to(&found, &file, wanted, end)?
        };
        let mut slice = Slice::default();
        if let Some(len) = usize::try_from(len).ok().filter(|&len| len > 0) {
            slice.bytes = len;
            slice.first_batch_offset = found.offset;
            slice.parts.push(Part::File { file, offset: found.position, len });
        }
        Ok(slice)
    }

    /// Tells the tail cache of a read that it might have served.
    fn note_miss(&self, found: &Located) {
        let state = self.state.read();
        if Arc::ptr_eq(&state.active().handle, &found.view.handle) {
            self.shared.tail.demand.missed(state.active().size.saturating_sub(found.position));
        }
    }

    /// Bytes from `found` on that are whole batches and no more than wanted. Cuts at an index entry where there is
    /// one, which is also where the next read will begin without a search.
    fn cut_to(&self, found: &Located, file: &File, wanted: &Wanted, end: u64) -> Result<u64, Fault> {
        let last = (found.position + wanted.max_bytes as u64).min(end);
        if let Some(entry) = self.with_index(&found.view, |index| index.cut(found.position, last))? {
            return Ok(u64::from(entry.position) - found.position);
        }
        let mut window = Vec::new();
        let mut scanner = Scanner::new(file, end, HEADERS, &mut window);
        let mut at = found.position;
        while let Some(header) = self.header(&mut scanner, &found.view, at)? {
            let next = at + header.size_in_bytes() as u64;
            if next > last {
                if at == found.position && wanted.at_least_one_batch {
                    at = next;
                }
                break;
            }
            at = next;
        }
        Ok(at - found.position)
    }

    /// Where the batches that end at or before `bound` end, from `from` on.
    fn end_before(&self, view: &View, file: &File, from: u64, bound: Offset) -> Result<u64, Fault> {
        let start = self.start_for(view, bound)?.map_or(0, |(position, _)| position).max(from);
        let mut window = Vec::new();
        let mut scanner = Scanner::new(file, view.size, HEADERS, &mut window);
        let mut at = start;
        while let Some(header) = self.header(&mut scanner, view, at)? {
            if header.next_offset() > bound {
                break;
            }
            at += header.size_in_bytes() as u64;
        }
        Ok(at)
    }

    /// The first batch that ends after `offset`.
    fn locate(&self, offset: Offset) -> Result<Option<Located>, Fault> {
        let mut place = self.state.read().segment_of(offset);
        loop {
            let Some(view) = self.state.read().view(place) else { return Ok(None) };
            if view.size > 0
                && let Some(found) = self.locate_in(&view, offset)?
            {
                return Ok(Some(found));
            }
            place += 1;
        }
    }

    fn locate_in(&self, view: &View, offset: Offset) -> Result<Option<Located>, Fault> {
        let (start, first) = self.start_for(view, offset)?.unwrap_or((0, NONE));
        if first == offset {
            return Ok(Some(Located { view: view.clone(), position: start, offset }));
        }
        let file = self.open_segment(&view.handle)?;
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, view.size, HEADERS, &mut window);
        let mut at = start;
        while let Some(header) = self.header(&mut scanner, view, at)? {
            if header.next_offset() > offset {
                return Ok(Some(Located { view: view.clone(), position: at, offset: header.base_offset }));
            }
            at += header.size_in_bytes() as u64;
        }
        Ok(None)
    }

    /// The last indexed batch at or before `offset`: its position and its offset.
    pub(crate) fn start_for(&self, view: &View, offset: Offset) -> Result<Option<(u64, Offset)>, Fault> {
        let base = view.handle.base;
        let relative =
            u32::try_from(offset.saturating_sub(base).clamp(0, i64::from(u32::MAX))).unwrap_or(u32::MAX);
        let entry = self.with_index(view, |index| index.floor(relative))?;
        Ok(entry.map(|entry| (u64::from(entry.position), base + i64::from(entry.relative))))
    }

    /// The header at `at`; `None` at the segment's end. Anything else there is damage.
    pub(crate) fn header(
        &self,
        scanner: &mut Scanner<'_>,
        view: &View,
        at: u64,
    ) -> Result<Option<BatchHeader>, Fault> {
        let path = || self.segment_path(view.handle.base);
        let damage = |what| Err(Fault::Segment { path: path(), position: at, what });
        match scanner.at(at).map_err(|e| Fault::io("read", path())(e))? {
            At::Batch(header) => Ok(Some(header)),
            At::End => Ok(None),
            At::Torn(what) => damage(what),
            At::OldFormat => damage("a message of a format before 2: convert the topic with Kafka first"),
        }
    }

    pub(crate) fn open_segment(&self, handle: &Arc<Handle>) -> Result<Arc<File>, Fault> {
        self.shared.files.get(handle, false, || self.segment_path(handle.base))
    }

    /// Asks the index of a segment, wherever it is.
    pub(crate) fn with_index<R>(&self, view: &View, ask: impl Fn(&Index) -> R) -> Result<R, Fault> {
        {
            let state = self.state.read();
            if Arc::ptr_eq(&state.active().handle, &view.handle) {
                return Ok(ask(&state.index));
            }
        }
        Ok(ask(&*self.sealed_index(view)?))
    }

    /// The index of a sealed segment: from memory, from the store, or built anew from headers.
    pub(crate) fn sealed_index(&self, view: &View) -> Result<Arc<Index>, Fault> {
        let mut slot = view.handle.index.lock();
        match &*slot {
            SealedIndex::Held(index) => return Ok(Arc::clone(index)),
            SealedIndex::Stored(index) => {
                if let Some(index) = index.upgrade() {
                    return Ok(index);
                }
            }
        }
        let key = names::sealed_key(self.partition(), view.handle.base);
        let stored = self.shared.store.get(Family::Index, &key)?;
        match stored.and_then(|bytes| Index::from_bytes(&bytes)) {
            Some(index) => {
                let index = Arc::new(index);
                *slot = SealedIndex::Stored(Arc::downgrade(&index));
                self.shared.keep_index(&index);
                Ok(index)
            }
            None => {
                let index = Arc::new(self.rebuild_index(view)?);
                // Held, so that the next checkpoint of the log puts it back into the store.
                *slot = SealedIndex::Held(Arc::clone(&index));
                Ok(index)
            }
        }
    }

    fn rebuild_index(&self, view: &View) -> Result<Index, Fault> {
        let file = self.open_segment(&view.handle)?;
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, view.size, HEADERS, &mut window);
        let (mut index, mut at, mut max) = (Index::default(), 0, NONE);
        while let Some(header) = self.header(&mut scanner, view, at)? {
            if let (Some(relative), Ok(position)) =
                (index::relative(view.handle.base, header.base_offset), u32::try_from(at))
            {
                index.note(relative, position, max, 4096);
            }
            max = max.max(header.max_timestamp);
            at += header.size_in_bytes() as u64;
        }
        Ok(index)
    }

    /// Where to cut the log so that nothing at or behind `offset` is left. `offset` lies behind the first segment's
    /// base.
    pub(crate) fn cut_at(&self, offset: Offset) -> Result<Cut, Fault> {
        let found = self.locate(offset)?;
        let state = self.state.read();
        let place = state.segment_of(offset);
        let (view, position) = match found {
            Some(found) if found.view.place == place => (found.view, found.position),
            // What lies behind begins with a segment, whose name is an offset behind the cut: it goes as a whole.
            _ => {
                let view = state.view(place).expect("a log has a segment");
                let size = view.size;
                (view, size)
            }
        };
        drop(state);
        let mut index = {
            let state = self.state.read();
            let active = Arc::ptr_eq(&state.active().handle, &view.handle);
            active.then(|| state.index.clone())
        }
        .map_or_else(|| self.sealed_index(&view).map(|index| (*index).clone()), Ok)?;
        index.truncate(position);
        let max_timestamp = self.max_timestamp_before(&view, &index, position)?;
        Ok(Cut { segment: view.place, position, index, max_timestamp })
    }

    fn max_timestamp_before(&self, view: &View, index: &Index, position: u64) -> Result<i64, Fault> {
        let Some(entry) = index.floor(u32::MAX) else { return Ok(NONE) };
        let file = self.open_segment(&view.handle)?;
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, position, HEADERS, &mut window);
        let (mut at, mut max) = (u64::from(entry.position), entry.max_before);
        while let Some(header) = self.header(&mut scanner, view, at)? {
            max = max.max(header.max_timestamp);
            at += header.size_in_bytes() as u64;
        }
        Ok(max)
    }

    /// All segments, oldest first.
    pub(crate) fn views(&self) -> SmallVec<[View; 4]> {
        let state = self.state.read();
        (0..state.segments.len()).filter_map(|place| state.view(place)).collect()
    }
}

/// What a read asks for.
struct Wanted {
    from: Offset,
    max_bytes: usize,
    upper_bound: Offset,
    at_least_one_batch: bool,
}
