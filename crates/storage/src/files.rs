//! Open segment files: as few as needed, however many partitions there are.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use ottla_types::Offset;
use parking_lot::Mutex;

use crate::{fault::Fault, index::Index};

/// How many files are closed at a time where the system has no descriptors left.
const MADE_ROOM: usize = 8;

/// What readers and the writer share about one segment: its file when it is open, its index when it is in memory.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) base: Offset,
    file: Mutex<Option<Arc<File>>>,
    used: AtomicBool,
    /// The index, once the segment is sealed.
    pub(crate) index: Mutex<SealedIndex>,
}

/// Where a sealed segment's index is.
#[derive(Clone, Debug)]
pub(crate) enum SealedIndex {
    /// In memory and not yet in the store.
    Held(Arc<Index>),
    /// In the store, and in memory for as long as it is used.
    Stored(Weak<Index>),
}

impl Handle {
    pub(crate) fn new(base: Offset) -> Arc<Self> {
        Arc::new(Self {
            base,
            file: Mutex::new(None),
            used: AtomicBool::new(false),
            index: Mutex::new(SealedIndex::Stored(Weak::new())),
        })
    }

    /// Closes the file, for whoever does not hold it already.
    pub(crate) fn close(&self) {
        *self.file.lock() = None;
    }
}

/// A bounded set of open files.
#[derive(Debug)]
pub(crate) struct Files {
    max_open: usize,
    open: Mutex<VecDeque<Weak<Handle>>>,
}

impl Files {
    pub(crate) fn new(max_open: usize) -> Self {
        Self { max_open: max_open.max(1), open: Mutex::default() }
    }

    /// The file of a segment, opened if it is not. `create` makes one that is not there.
    pub(crate) fn get(
        &self,
        handle: &Arc<Handle>,
        create: bool,
        path: impl FnOnce() -> std::path::PathBuf,
    ) -> Result<Arc<File>, Fault> {
        let file = {
            let mut slot = handle.file.lock();
            if let Some(file) = &*slot {
                if !handle.used.load(Ordering::Relaxed) {
                    handle.used.store(true, Ordering::Relaxed);
                }
                return Ok(Arc::clone(file));
            }
            let path = path();
            let file = self.with_room(|| open(&path, create).map_err(Fault::io("open", &path)))?;
            let file = Arc::new(file);
            *slot = Some(Arc::clone(&file));
            file
        };
        self.remember(handle);
        Ok(file)
    }

    /// Does what needs a file descriptor; where the system has none left, some of those kept open here are closed for
    /// it, and it is tried once more.
    pub(crate) fn with_room<T>(&self, mut work: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        match work() {
            Err(fault) if fault.is_want_of_files() && self.close_some() => work(),
            done => done,
        }
    }

    /// Closes a few files that nobody uses at the moment. False when there were none.
    fn close_some(&self) -> bool {
        let mut open = self.open.lock();
        let mut closed = 0;
        open.retain(|handle| {
            let Some(handle) = handle.upgrade() else { return false };
            if closed == MADE_ROOM {
                return true;
            }
            // One that is locked is in use, by the very thread that asks perhaps.
            let Some(mut slot) = handle.file.try_lock() else { return true };
            // A reader's clone keeps the descriptor: closing ours would free nothing.
            if slot.as_ref().is_some_and(|file| Arc::strong_count(file) == 1) {
                *slot = None;
                closed += 1;
                return false;
            }
            slot.is_some()
        });
        closed > 0
    }

    /// Counts a newly opened file and closes others that were not used lately (second chance).
    fn remember(&self, handle: &Arc<Handle>) {
        let mut open = self.open.lock();
        open.push_back(Arc::downgrade(handle));
        let mut tries = open.len().saturating_mul(2);
        while open.len() > self.max_open && tries > 0 {
            tries -= 1;
            let Some(oldest) = open.pop_front() else { break };
            let Some(victim) = oldest.upgrade() else { continue };
            if victim.used.swap(false, Ordering::Relaxed) || Arc::ptr_eq(&victim, handle) {
                open.push_back(oldest);
                continue;
            }
            // Whoever has the slot locked is using it: let it be.
            match victim.file.try_lock() {
                Some(mut slot) => *slot = None,
                None => open.push_back(oldest),
            };
        }
    }

    #[cfg(test)]
    pub(crate) fn open_count(&self) -> usize {
        self.open
            .lock()
            .iter()
            .filter(|handle| handle.upgrade().is_some_and(|h| h.file.lock().is_some()))
            .count()
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    File::options().read(true).write(true).create(create).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_files_are_open_than_allowed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(3);
        let handles: Vec<_> = (0..10).map(Handle::new).collect();
        for round in 0..3 {
            for handle in &handles {
                let path = || dir.path().join(handle.base.to_string());
                files.get(handle, round == 0, path).expect("opens");
                assert!(files.open_count() <= 3);
            }
        }
        let mut calls = 0;
        let full = || Err::<(), _>(Fault::os("open", "here")(rustix::io::Errno::MFILE));
        let once = files.with_room(|| {
            calls += 1;
            if calls == 1 { full() } else { Ok(()) }
        });
        assert!(once.is_ok() && files.open_count() == 0);
        // Nothing is left to close: it is not tried again.
        calls = 0;
        let refused = files.with_room(|| {
            calls += 1;
            full()
        });
        assert!(refused.is_err() && calls == 1);
        let missing = Handle::new(99);
        assert!(files.get(&missing, false, || dir.path().join("99")).is_err());
    }
}
