//! What a member keeps, as the core sees it: raft's keys, the Kafka-format log, and the files beside it.
//!
//! When a synced write returns, what was written survives a power cut. What was not synced may be lost from any point
//! on, but never in part of one write, and never something before something that stays.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ottla_storage::{Family, Store};
use ottla_types::{LeaderEpoch, NodeId};

use crate::{FactLog, Fault, SnapshotId, checkpoint, quorum_state};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Is handed keys and values until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// One change to the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes every key from the first on, before the second.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Ordered keys: raft's entries, hard state and configuration.
pub trait Keys: Send + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;
    /// The pair with the greatest key in `from <= key < to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, Fault>;
    /// Hands every pair with `from <= key < to` to `visit`, in order, until it breaks.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault>;
    /// Carries out all changes, in order, or none of them.
    fn write(&mut self, changes: Vec<Change>, sync: bool) -> Result<(), Fault>;
}

/// Snapshots, and the note of who led last.
pub trait Files: Send + 'static {
    /// All snapshots, oldest first; the bootstrap snapshot is not among them.
    fn snapshots(&self) -> Result<Vec<SnapshotId>, Fault>;
    /// The bytes of a snapshot.
    fn read(&self, id: SnapshotId) -> Result<Bytes, Fault>;
    /// Size of a snapshot, in bytes.
    fn size(&self, id: SnapshotId) -> Result<u64, Fault>;
    /// Writes a snapshot: synced when this returns, and there whole or not at all.
    fn write(&mut self, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault>;
    /// Deletes a snapshot.
    fn remove(&mut self, id: SnapshotId) -> Result<(), Fault>;
    /// Notes who leads, for a Kafka controller that takes the directory over.
    fn note_leader(&mut self, leader: NodeId, epoch: LeaderEpoch) -> Result<(), Fault>;
    /// The epoch of that note.
    fn noted_epoch(&self) -> Result<Option<LeaderEpoch>, Fault>;
}

/// All that a member keeps.
pub struct Disk {
    /// Raft's keys.
    pub keys: Box<dyn Keys>,
    /// Where committed batches go.
    pub log: Box<dyn FactLog>,
    /// Snapshots.
    pub files: Box<dyn Files>,
}

impl Disk {
    /// The family of raft in a log dir's store, a log, and the directory of the metadata log.
    #[must_use]
    pub fn new(store: Store, log: impl FactLog, dir: PathBuf) -> Self {
        Self { keys: Box::new(StoreKeys(store)), log: Box::new(log), files: Box::new(DirFiles(dir)) }
    }
}

/// The family of raft in a RocksDB.
struct StoreKeys(Store);

impl Keys for StoreKeys {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(Family::Raft, key)?)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, Fault> {
        Ok(self.0.last(Family::Raft, from, to)?)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        Ok(self.0.scan(Family::Raft, from, to, visit)?)
    }

    fn write(&mut self, changes: Vec<Change>, sync: bool) -> Result<(), Fault> {
        let mut batch = self.0.changes();
        for change in &changes {
            match change {
                Change::Put(key, value) => batch.put(Family::Raft, key, value),
                Change::DeleteRange(from, to) => batch.delete_range(Family::Raft, from, to),
            }
        }
        Ok(if sync { batch.commit_synced() } else { batch.commit() }?)
    }
}

/// The directory of the metadata log.
struct DirFiles(PathBuf);

impl DirFiles {
    fn dir(&self) -> &Path {
        &self.0
    }
}

impl Files for DirFiles {
    fn snapshots(&self) -> Result<Vec<SnapshotId>, Fault> {
        checkpoint::list(self.dir())
    }

    fn read(&self, id: SnapshotId) -> Result<Bytes, Fault> {
        checkpoint::bytes(self.dir(), id)
    }

    fn size(&self, id: SnapshotId) -> Result<u64, Fault> {
        checkpoint::size(self.dir(), id)
    }

    fn write(&mut self, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
        checkpoint::add(self.dir(), id, batches)
    }

    fn remove(&mut self, id: SnapshotId) -> Result<(), Fault> {
        checkpoint::remove(self.dir(), id)
    }

    fn note_leader(&mut self, leader: NodeId, epoch: LeaderEpoch) -> Result<(), Fault> {
        quorum_state::write(self.dir(), leader, epoch)
    }

    fn noted_epoch(&self) -> Result<Option<LeaderEpoch>, Fault> {
        quorum_state::epoch(self.dir())
    }
}
