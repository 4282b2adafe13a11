//! The metadata log of this controller as it is served to observers: the log's reader, and the snapshots beside it.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use ottla_net::Part;
use ottla_raft::{SnapshotId, checkpoint};
use ottla_router::{MetadataLogView, SnapshotPiece};
use ottla_storage::{LogReader, Part as Stored, ReadError};
use ottla_types::{LeaderEpoch, Offset};
use smallvec::SmallVec;

/// A log of which everything is committed.
pub(crate) struct MetadataView(pub(crate) Arc<LogReader>);

impl MetadataLogView for MetadataView {
    fn start(&self) -> Offset {
        self.0.log_start()
    }

    fn end(&self) -> Offset {
        self.0.log_end()
    }

    fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.0.epochs()
    }

    fn read(&self, from: Offset, max_bytes: usize) -> io::Result<SmallVec<[Part; 2]>> {
        let end = self.0.log_end();
        if from >= end {
            return Ok(SmallVec::new());
        }
        let read = self.0.read(from, max_bytes, end, true).map_err(|error| match error {
            ReadError::OutOfRange { .. } => {
                io::Error::new(ErrorKind::NotFound, "the offset is not in the log")
            }
            error => io::Error::other(error.to_string()),
        })?;
        Ok(read
            .parts
            .into_iter()
            .map(|part| match part {
                Stored::Memory(bytes) => Part::Bytes(bytes),
                Stored::File { file, offset, len } => Part::File { file, offset, len },
            })
            .collect())
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        checkpoint::newest(&self.0.path())
            .inspect_err(|fault| tracing::warn!("Looking for metadata snapshots: {fault}"))
            .ok()
            .flatten()
    }

    fn snapshot(&self, id: SnapshotId, position: u64, max_bytes: usize) -> io::Result<Option<SnapshotPiece>> {
        let file = match File::open(id.path(&self.0.path())) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let size = file.metadata()?.len();
        let left = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(max_bytes)];
        file.read_exact_at(&mut bytes, position)?;
        Ok(Some(SnapshotPiece { size, bytes: Bytes::from(bytes) }))
    }
}
