//! Where batches lie in a segment: a sparse list of (offset, position, time), in memory.
//!
//! One entry per interval of log at first. When a segment's list reaches [`MAX_ENTRIES`] every second entry goes and
//! the interval doubles, so a segment's index never takes more than 64 KiB, whatever its size. What lies between two
//! entries is found by walking batch headers.

use ottla_types::Offset;

use crate::codec::{self, Reader};

/// Entries of one segment at most.
pub(crate) const MAX_ENTRIES: usize = 4096;
/// Entries stored together for an active segment: what a checkpoint rewrites.
pub(crate) const CHUNK: usize = 128;
/// Bytes of a stored entry.
const WIDTH: usize = 16;

/// A batch and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The batch's base offset, relative to the segment's.
    pub(crate) relative: u32,
    /// Its first byte in the file.
    pub(crate) position: u32,
    /// The greatest timestamp of all batches of the segment before it; -1 for none.
    pub(crate) max_before: i64,
}

/// The index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    interval: u32,
    /// Changes whenever entries that were there are changed or removed.
    generation: u32,
}

impl Default for Index {
    fn default() -> Self {
        Self { entries: Vec::new(), interval: 1024, generation: 0 }
    }
}

impl Index {
    /// Takes note of the batch that begins at `position`; `interval` is the configured one.
    pub(crate) fn note(&mut self, relative: u32, position: u32, max_before: i64, interval: u32) {
        let due = match self.entries.last() {
            None => true,
            Some(last) => position.saturating_sub(last.position) >= self.interval.max(interval),
        };
        if !due {
            return;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.thin(interval);
        }
        self.entries.push(Entry { relative, position, max_before });
    }

    fn thin(&mut self, interval: u32) {
        let mut keep = false;
        self.entries.retain(|_| {
            keep = !keep;
            keep
        });
        self.interval = self.interval.max(interval).saturating_mul(2);
        self.generation = self.generation.wrapping_add(1);
    }

    /// The last entry whose batch begins at or before `relative`.
    pub(crate) fn floor(&self, relative: u32) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.relative <= relative);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// The last entry with `from < position <= to`.
    pub(crate) fn cut(&self, from: u64, to: u64) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| u64::from(entry.position) <= to);
        let entry = self.entries[after.checked_sub(1)?];
        (u64::from(entry.position) > from).then_some(entry)
    }

    /// The last entry before which every timestamp is earlier than `timestamp`: where a search by time begins.
    pub(crate) fn before_time(&self, timestamp: i64) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.max_before < timestamp);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// Forgets entries at `position` and behind.
    pub(crate) fn truncate(&mut self, position: u64) {
        let keep = self.entries.partition_point(|entry| u64::from(entry.position) < position);
        if keep < self.entries.len() {
            self.entries.truncate(keep);
            self.generation = self.generation.wrapping_add(1);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn interval(&self) -> u32 {
        self.interval
    }

    /// Gives back what the vector has reserved beyond its entries.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Piece `chunk` as bytes.
    pub(crate) fn chunk_bytes(&self, chunk: usize) -> Vec<u8> {
        let from = (chunk * CHUNK).min(self.entries.len());
        let to = (from + CHUNK).min(self.entries.len());
        let mut out = Vec::with_capacity((to - from) * WIDTH);
        put_entries(&mut out, &self.entries[from..to]);
        out
    }

    /// Puts an index together from pieces read in order. `None` when they are not `len` entries that only grow.
    pub(crate) fn from_chunks(interval: u32, len: usize, chunks: &[u8]) -> Option<Self> {
        let entries = read_entries(Reader(chunks), len)?;
        Some(Self { entries, interval, generation: 0 })
    }

    /// The whole index as one value.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.entries.len() * WIDTH);
        out.extend_from_slice(&self.interval.to_le_bytes());
        codec::put_count(&mut out, self.entries.len());
        put_entries(&mut out, &self.entries);
        out
    }

    /// Reads [`Index::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let interval = reader.u32()?;
        let len = reader.count(WIDTH)?;
        Some(Self { entries: read_entries(reader, len)?, interval, generation: 0 })
    }
}

fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    for entry in entries {
        out.extend_from_slice(&entry.relative.to_le_bytes());
        out.extend_from_slice(&entry.position.to_le_bytes());
        out.extend_from_slice(&entry.max_before.to_le_bytes());
    }
}

fn read_entries(mut reader: Reader<'_>, len: usize) -> Option<Vec<Entry>> {
    (len.checked_mul(WIDTH)? == reader.0.len()).then_some(())?;
    let mut entries: Vec<Entry> = Vec::with_capacity(len);
    for _ in 0..len {
        let entry = Entry { relative: reader.u32()?, position: reader.u32()?, max_before: reader.i64()? };
        let grows = entries.last().is_none_or(|last| {
            last.relative < entry.relative
                && last.position < entry.position
                && last.max_before <= entry.max_before
        });
        grows.then_some(())?;
        entries.push(entry);
    }
    Some(entries)
}

/// The offset relative to a segment's base, if the segment can hold it.
pub(crate) fn relative(base: Offset, offset: Offset) -> Option<u32> {
    let delta = offset.checked_sub(base)?;
    i32::try_from(delta).ok().and_then(|delta| u32::try_from(delta).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(batches: u32) -> Index {
        let mut index = Index::default();
        for i in 0..batches {
            index.note(i * 2, i * 5000, i64::from(i) - 1, 4096);
        }
        index
    }

    #[test]
    fn finds_the_entry_at_or_before() {
        let index = filled(10);
        assert_eq!(index.floor(7).map(|e| e.relative), Some(6));
        assert_eq!(index.floor(6).map(|e| e.relative), Some(6));
        assert_eq!(index.cut(5000, 14_999).map(|e| e.position), Some(10_000));
        assert_eq!(index.cut(5000, 9_999), None);
        assert_eq!(index.before_time(4).map(|e| e.max_before), Some(3));
        assert_eq!(Index::default().floor(3), None);
    }

    #[test]
    fn stays_small_by_thinning() {
        let index = filled(400_000);
        assert!(index.len() <= MAX_ENTRIES);
        assert!(index.len() >= MAX_ENTRIES / 2);
        assert_eq!(index.floor(0).map(|e| e.position), Some(0));
        assert!(index.generation() > 0);
    }

    #[test]
    fn comes_back_from_bytes() {
        let index = filled(300);
        assert_eq!(Index::from_bytes(&index.to_bytes()), Some(index.clone()));
        let chunks: Vec<u8> = (0..3).flat_map(|chunk| index.chunk_bytes(chunk)).collect();
        assert_eq!(Index::from_chunks(index.interval(), 300, &chunks), Some(index.clone()));
        assert_eq!(Index::from_chunks(index.interval(), 299, &chunks), None);
        let mut bytes = index.to_bytes();
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Index::from_bytes(&bytes), None);
        assert_eq!(Index::from_bytes(&[0xff; 12]), None);
    }

    #[test]
    fn truncation_forgets_what_is_behind() {
        let mut index = filled(10);
        index.truncate(10_000);
        assert_eq!(index.len(), 2);
        assert_eq!(index.generation(), 1);
        index.truncate(10_000);
        assert_eq!(index.generation(), 1);
    }
}
