//! One vectored write per append, and pages that do not stay where nobody needs them.
//!
//! On many virtual machines a page that the kernel hands out for the first time costs more than everything else that is
//! done to it, so a log that fills the page cache pays for every byte twice. [`WriteMode::DontCache`] lets the pages of
//! written batches be used again: large writes carry `RWF_DONTCACHE`; small ones, which would be read back for the next
//! append to the same page, stay cached until a window of them is whole.
//!
//! [`WriteMode::DontCache`]: crate::WriteMode::DontCache

use std::{
    fs::File,
    io::{self, IoSlice},
    num::NonZeroU64,
    sync::atomic::{AtomicBool, Ordering},
};

use ottla_records::Stamped;
use rustix::{
    fs::{Advice, fadvise},
    io::{Errno, ReadWriteFlags, pwritev2},
};
use smallvec::SmallVec;

/// `RWF_DONTCACHE`, Linux 6.14.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// Appends smaller than this go through the page cache also in that mode: pages that are written back at once and then
/// written to again cost three times as much, and each append would be a request to the disk of its own, which virtual
/// machines pay for.
const DONTCACHE_FROM: usize = 256 << 10;
/// Slices the kernel takes in one call.
const IOV_MAX: usize = 1024;
/// The kernel's unit.
const PAGE: u64 = 4096;
/// Bytes of small appends that may stay in the page cache before they are let go, per log.
const WINDOW: u64 = 512 << 10;

/// Writes the batches one after the other from `position` on. `dont_cache` asks for `RWF_DONTCACHE` for large ones, and
/// is taken back for good when the kernel or the file system does not have it.
pub(crate) fn write_batches(
    file: &File,
    mut position: u64,
    batches: &[Stamped],
    dont_cache: &AtomicBool,
) -> io::Result<()> {
    let mut slices: SmallVec<[IoSlice<'_>; 16]> = SmallVec::new();
    let mut bytes = 0;
    for batch in batches {
        bytes += batch.size_in_bytes();
        slices.push(IoSlice::new(&batch.head));
        slices.push(IoSlice::new(&batch.rest));
    }
    // The last page is written to again by the next append: it stays.
    let let_go = if bytes >= DONTCACHE_FROM { (position + bytes as u64) / PAGE * PAGE } else { 0 };
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let uncached = position < let_go && dont_cache.load(Ordering::Relaxed);
        let written = if uncached {
            pwritev2(file, &up_to(left, let_go - position), position, DONTCACHE)
        } else {
            pwritev2(file, &left[..left.len().min(IOV_MAX)], position, ReadWriteFlags::empty())
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::INVAL) if uncached => {
                tracing::info!(
                    "RWF_DONTCACHE is not supported here: the log is written through the page cache"
                );
                dont_cache.store(false, Ordering::Relaxed);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The first `bytes` of the slices.
fn up_to<'a>(slices: &'a [IoSlice<'_>], bytes: u64) -> SmallVec<[IoSlice<'a>; 16]> {
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut cut = SmallVec::new();
    for slice in slices.iter().take(IOV_MAX) {
        if left == 0 {
            break;
        }
        let take = left.min(slice.len());
        cut.push(IoSlice::new(&slice[..take]));
        left -= take;
    }
    cut
}

/// What small appends have put into the page cache of the active segment.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    /// The range asked for last: written back by now, so it goes with the next.
    previous: u64,
    from: u64,
    /// Bytes of small appends since.
    bytes: u64,
}

impl Cached {
    /// Takes note of an append of `bytes` that ends at `end`. Once small ones fill a window, the kernel is asked to write
    /// it back, and to let go of the one before. Large ones have let go of their pages themselves.
    pub(crate) fn appended(&mut self, file: &File, end: u64, bytes: usize) {
        if end < self.from {
            *self = Self { previous: end, from: end, bytes: 0 };
        }
        if bytes >= DONTCACHE_FROM {
            return;
        }
        self.bytes += bytes as u64;
        if self.bytes < WINDOW {
            return;
        }
        let until = end / PAGE * PAGE;
        if let Some(len) = NonZeroU64::new(until.saturating_sub(self.previous)) {
            // Advice: what the kernel does not do costs memory, nothing else.
            let _ = fadvise(file, self.previous, Some(len), Advice::DontNeed);
        }
        *self = Self { previous: self.from, from: until, bytes: 0 };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use bytes::Bytes;
    use ottla_records::{Batch, BatchBuilder};

    use super::*;

    fn batch(bytes: usize) -> Stamped {
        let mut builder = BatchBuilder::new(0);
        builder.append(0, None, Some(&vec![7; bytes]), &[]);
        let built: Bytes = builder.build();
        Batch::parse(&built, 0).expect("it was just built").stamp(0, 0)
    }

    #[test]
    fn every_way_writes_the_same_bytes() {
        for (position, sizes) in
            [(0, vec![10]), (5, vec![300_000]), (4096, vec![70_000, 1, 200_000]), (4095, vec![131_072; 3])]
        {
            let batches: Vec<Stamped> = sizes.iter().map(|size| batch(*size)).collect();
            let expected: Vec<u8> =
                batches.iter().flat_map(|b| b.head.iter().chain(b.rest.iter())).copied().collect();
            for dont_cache in [false, true] {
                let file = tempfile::tempfile().expect("a file");
                write_batches(&file, position, &batches, &AtomicBool::new(dont_cache)).expect("written");
                let mut found = vec![0; expected.len()];
                file.read_exact_at(&mut found, position).expect("it is all there");
                assert!(found == expected, "{sizes:?} at {position}");
            }
        }
    }

    #[test]
    fn windows_are_of_small_appends_and_follow_the_file_also_back() {
        let file = tempfile::tempfile().expect("a file");
        let mut cached = Cached::default();
        let mut append = |end, bytes| {
            cached.appended(&file, end, bytes);
            (cached.previous, cached.from)
        };
        let small = DONTCACHE_FROM - 1;
        let fill = WINDOW / DONTCACHE_FROM as u64;
        for n in 1..=fill {
            assert_eq!(append(n * small as u64, small), (0, 0));
        }
        assert_eq!(append(WINDOW + 5000, small), (0, WINDOW + PAGE));
        // Large ones need no window.
        assert_eq!(append(9 * WINDOW, DONTCACHE_FROM), (0, WINDOW + PAGE));
        for n in 1..=fill {
            assert_eq!(append(9 * WINDOW + n * 10, small), (0, WINDOW + PAGE));
        }
        assert_eq!(append(10 * WINDOW, small), (WINDOW + PAGE, 10 * WINDOW));
        // Cut.
        assert_eq!(append(10, 10), (10, 10));
    }
}
