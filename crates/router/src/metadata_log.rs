//! The metadata log as those see it who serve it to others.

use std::io;

use bytes::Bytes;
use ottla_net::Part;
use ottla_raft::SnapshotId;
use ottla_types::{LeaderEpoch, Offset};
use smallvec::SmallVec;

/// A piece of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Size of the whole file, in bytes.
    pub size: u64,
    /// The bytes from the position that was asked for; none when that is not in the file.
    pub bytes: Bytes,
}

/// `__cluster_metadata-0` and its snapshots on this node, to be read. Everything in the log is committed.
pub trait MetadataLogView: Send + Sync + 'static {
    /// The first offset that is there.
    fn start(&self) -> Offset;

    /// The offset the next record will get: the high watermark, too.
    fn end(&self) -> Offset;

    /// The epochs of the log with the offset each begins at, oldest first.
    fn epochs(&self) -> Vec<(LeaderEpoch, Offset)>;

    /// Whole batches from the one that holds `from`, of at most `max_bytes`, but the first in any case. Nothing from the
    /// end on.
    ///
    /// # Errors
    /// When the disk fails, or `from` is not in the log.
    fn read(&self, from: Offset, max_bytes: usize) -> io::Result<SmallVec<[Part; 2]>>;

    /// The newest snapshot; the bootstrap snapshot is none.
    fn latest_snapshot(&self) -> Option<SnapshotId>;

    /// At most `max_bytes` of a snapshot from `position` on; `None` when there is no such snapshot.
    ///
    /// # Errors
    /// When the disk fails.
    fn snapshot(&self, id: SnapshotId, position: u64, max_bytes: usize) -> io::Result<Option<SnapshotPiece>>;
}
