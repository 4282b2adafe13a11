//! One vectored write per append.

use std::{
    fs::File,
    io::{self, IoSlice},
    sync::atomic::{AtomicBool, Ordering},
};

use ottla_records::Stamped;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use smallvec::SmallVec;

/// `RWF_DONTCACHE`, Linux 6.14.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// Appends smaller than this go through the page cache also in that mode: pages that are written back at once and then
/// written to again cost three times as much.
const DONTCACHE_FROM: usize = 64 << 10;
/// Slices the kernel takes in one call.
const IOV_MAX: usize = 1024;

/// Writes the batches one after the other from `position` on. `dont_cache` asks for `RWF_DONTCACHE` for large ones, and is taken back
/// for good when the kernel or the file system does not have it.
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
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let mut flags = ReadWriteFlags::empty();
        flags.set(DONTCACHE, bytes >= DONTCACHE_FROM && dont_cache.load(Ordering::Relaxed));
        match pwritev2(file, &left[..left.len().min(IOV_MAX)], position, flags) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::INVAL) if !flags.is_empty() => {
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
