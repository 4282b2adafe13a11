//! Disks in memory that forget what was not synced: for simulations and tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use ottla_records::{Batch, Stamped};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::{
    Disk, FactLog, Fault, SnapshotId,
    disk::{Change, Files, Keys, Pair, Visit},
};

/// A log in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    start: Offset,
    batches: Vec<Batch>,
}

impl MemoryLog {
    /// All batches, in order.
    #[must_use]
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Loses the last `count` batches, as a crash may.
    pub fn forget_last(&mut self, count: usize) {
        self.batches.truncate(self.batches.len().saturating_sub(count));
    }
}

impl FactLog for MemoryLog {
    fn start(&self) -> Offset {
        self.start
    }

    fn end(&self) -> Offset {
        self.batches.last().map_or(self.start, |batch| batch.header.next_offset())
    }

    fn append(&mut self, batches: &[Stamped]) -> Result<(), Fault> {
        for stamped in batches {
            assert_eq!(stamped.header.base_offset, self.end(), "batches follow each other");
            self.batches.push(stamped.to_batch());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn read(&self, from: Offset, each: &mut dyn FnMut(Batch) -> Result<(), Fault>) -> Result<(), Fault> {
        self.batches.iter().filter(|batch| batch.header.next_offset() > from).cloned().try_for_each(each)
    }

    fn truncate(&mut self, end: Offset) -> Result<(), Fault> {
        self.batches.retain(|batch| batch.header.next_offset() <= end);
        Ok(())
    }

    fn reset(&mut self, start: Offset) -> Result<(), Fault> {
        *self = Self { start, batches: Vec::new() };
        Ok(())
    }

    fn advance_start(&mut self, start: Offset) -> Result<(), Fault> {
        self.start = self.start.max(start.min(self.end()));
        self.batches.retain(|batch| batch.header.next_offset() > start);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.batches.iter().map(|batch| batch.header.size_in_bytes() as u64).sum()
    }
}

/// What is written, and what of it would survive a power cut.
#[derive(Default)]
struct Contents {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    synced_keys: BTreeMap<Vec<u8>, Vec<u8>>,
    log: MemoryLog,
    synced_log: MemoryLog,
    files: BTreeMap<SnapshotId, Bytes>,
    noted: Option<LeaderEpoch>,
    syncs: u64,
    /// Writes that are still carried out; all are when this is not set.
    writes_left: Option<u64>,
}

impl Contents {
    /// One write more, if the disk still does that.
    fn write(&mut self) -> Result<(), Fault> {
        match &mut self.writes_left {
            Some(0) => Err(Fault::Log("the disk takes no more writes".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A disk that outlives whoever writes to it. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Contents>>);

impl MemoryDisk {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The disk, as a member takes it.
    #[must_use]
    pub fn open(&self) -> Disk {
        Disk { keys: Box::new(self.clone()), log: Box::new(self.clone()), files: Box::new(self.clone()) }
    }

    /// Forgets all that was not synced, as a power cut may.
    pub fn crash(&self) {
        let mut contents = self.contents();
        contents.keys = contents.synced_keys.clone();
        contents.log = contents.synced_log.clone();
        contents.writes_left = None;
    }

    /// Refuses every write after the next `writes`, as a process that is killed in between does them no more. Until
    /// [`crash`](Self::crash) or [`keep`](Self::keep).
    pub fn fail_after(&self, writes: u64) {
        self.contents().writes_left = Some(writes);
    }

    /// Takes writes again, and forgets nothing: the process was killed, the system went on.
    pub fn keep(&self) {
        self.contents().writes_left = None;
    }

    /// The log as it is.
    #[must_use]
    pub fn log(&self) -> MemoryLog {
        self.contents().log.clone()
    }

    /// How often something was synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.contents().syncs
    }
}

impl Keys for MemoryDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.contents().keys.get(key).cloned())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, Fault> {
        let contents = self.contents();
        let pair = contents.keys.range(from.to_vec()..to.to_vec()).next_back();
        Ok(pair.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        let contents = self.contents();
        let _ =
            contents.keys.range(from.to_vec()..to.to_vec()).try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn write(&mut self, changes: Vec<Change>, sync: bool) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    contents.keys.insert(key, value);
                }
                Change::DeleteRange(from, to) => {
                    contents.keys.retain(|key, _| *key < from || *key >= to);
                }
            }
        }
        if sync {
            contents.synced_keys = contents.keys.clone();
            contents.syncs += 1;
        }
        Ok(())
    }
}

impl FactLog for MemoryDisk {
    fn start(&self) -> Offset {
        self.contents().log.start()
    }

    fn end(&self) -> Offset {
        self.contents().log.end()
    }

    fn append(&mut self, batches: &[Stamped]) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        contents.log.append(batches)
    }

    fn sync(&mut self) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        contents.synced_log = contents.log.clone();
        contents.syncs += 1;
        Ok(())
    }

    fn read(&self, from: Offset, each: &mut dyn FnMut(Batch) -> Result<(), Fault>) -> Result<(), Fault> {
        let log = self.log();
        log.read(from, each)
    }

    fn truncate(&mut self, end: Offset) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        contents.log.truncate(end)
    }

    fn reset(&mut self, start: Offset) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        contents.log.reset(start)
    }

    fn advance_start(&mut self, start: Offset) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        contents.log.advance_start(start)?;
        contents.synced_log.advance_start(start)
    }

    fn size(&self) -> u64 {
        self.contents().log.size()
    }
}

impl Files for MemoryDisk {
    fn snapshots(&self) -> Result<Vec<SnapshotId>, Fault> {
        Ok(self.contents().files.keys().copied().filter(|id| *id != SnapshotId::BOOTSTRAP).collect())
    }

    fn read(&self, id: SnapshotId) -> Result<Bytes, Fault> {
        self.contents().files.get(&id).cloned().ok_or_else(|| missing(id))
    }

    fn size(&self, id: SnapshotId) -> Result<u64, Fault> {
        Files::read(self, id).map(|bytes| bytes.len() as u64)
    }

    fn write(&mut self, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.write()?;
        contents.files.insert(id, batches.concat().into());
        Ok(())
    }

    fn remove(&mut self, id: SnapshotId) -> Result<(), Fault> {
        self.contents().files.remove(&id).map(drop).ok_or_else(|| missing(id))
    }

    fn note_leader(&mut self, _: NodeId, epoch: LeaderEpoch) -> Result<(), Fault> {
        self.contents().noted = Some(epoch);
        Ok(())
    }

    fn noted_epoch(&self) -> Result<Option<LeaderEpoch>, Fault> {
        Ok(self.contents().noted)
    }
}

fn missing(id: SnapshotId) -> Fault {
    Fault::Log(format!("there is no snapshot {id:?}"))
}
