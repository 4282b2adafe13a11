//! Kafka's checkpoint files: a snapshot of the state as record batches, named by where the log goes on (KIP-630).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ottla_records::{Batch, batches};
use ottla_types::{LeaderEpoch, Millis, Offset};

use crate::{Fault, Membership};

/// Which part of the log a snapshot stands for: all records before `end_offset`, the last of them of `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The first offset that is not in it.
    pub end_offset: Offset,
    /// Leader epoch of the last record in it.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The id of the bootstrap snapshot that formatting writes: it stands for no record of the log.
    pub const BOOTSTRAP: Self = Self { end_offset: 0, epoch: 0 };

    /// Where its file is in a directory.
    #[must_use]
    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{:010}.checkpoint", self.end_offset, self.epoch))
    }

    fn parse(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        let all_digits = |s: &str, len| s.len() == len && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(offset, 20) || !all_digits(epoch, 10) {
            return None;
        }
        Some(Self { end_offset: offset.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

fn fault(path: &Path) -> impl FnOnce(io::Error) -> Fault {
    let path = path.to_owned();
    move |source| Fault::File { path, source }
}

/// The newest snapshot in the directory, the bootstrap snapshot aside.
///
/// # Errors
/// When the directory cannot be listed.
pub fn newest(dir: &Path) -> Result<Option<SnapshotId>, Fault> {
    Ok(list(dir)?.pop())
}

/// All snapshots in the directory, oldest first, the bootstrap snapshot aside.
pub(crate) fn list(dir: &Path) -> Result<Vec<SnapshotId>, Fault> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(fault(dir))?.file_name();
        found.extend(name.to_str().and_then(SnapshotId::parse).filter(|id| id.end_offset > 0));
    }
    found.sort_unstable();
    Ok(found)
}

/// The batches of a snapshot, checked.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn read(dir: &Path, id: SnapshotId) -> Result<Vec<Batch>, Fault> {
    parse(bytes(dir, id)?)
}

/// The bytes of a snapshot.
pub(crate) fn bytes(dir: &Path, id: SnapshotId) -> Result<Bytes, Fault> {
    let path = id.path(dir);
    fs::read(&path).map(Bytes::from).map_err(fault(&path))
}

/// Size of a snapshot, in bytes.
pub(crate) fn size(dir: &Path, id: SnapshotId) -> Result<u64, Fault> {
    let path = id.path(dir);
    fs::metadata(&path).map(|metadata| metadata.len()).map_err(fault(&path))
}

/// Deletes a snapshot.
pub(crate) fn remove(dir: &Path, id: SnapshotId) -> Result<(), Fault> {
    let path = id.path(dir);
    fs::remove_file(&path).map_err(fault(&path))
}

/// Splits a snapshot into its batches and checks each.
///
/// # Errors
/// When it is damaged.
pub fn parse(bytes: Bytes) -> Result<Vec<Batch>, Fault> {
    batches(bytes)
        .map(|batch| {
            let bad = |why: &dyn std::fmt::Display| Fault::BadFacts { offset: 0, why: why.to_string() };
            let batch = batch.map_err(|e| bad(&e))?;
            batch.verify_crc().map_err(|e| bad(&e))?;
            Ok(batch)
        })
        .collect()
}

/// A snapshot of batches of facts, each with base offset 0: a header that names the quorum, the facts, a footer. `last`
/// is when the last of them was appended, `at` is now.
#[must_use]
pub fn assemble(
    quorum: &Membership,
    facts: impl IntoIterator<Item = Bytes>,
    last: Millis,
    at: Millis,
) -> Vec<Bytes> {
    crate::core::assemble(quorum, facts, last, at)
}

/// Writes a snapshot so that it is there whole or not at all, and removes older ones.
///
/// # Errors
/// When it cannot be written.
pub fn write(dir: &Path, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
    add(dir, id, batches)?;
    for older in list(dir)?.into_iter().filter(|other| *other < id) {
        if let Err(error) = remove(dir, older) {
            tracing::warn!("Could not delete an old snapshot: {error}");
        }
    }
    Ok(())
}

/// Writes a snapshot so that it is there whole or not at all.
pub(crate) fn add(dir: &Path, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
    let path = id.path(dir);
    // Kafka's own name for a checkpoint that is being written; it deletes such files at start.
    let part = path.with_extension("checkpoint.part");
    let mut file = File::create(&part).map_err(fault(&part))?;
    for batch in batches {
        file.write_all(batch).map_err(fault(&part))?;
    }
    file.sync_all().map_err(fault(&part))?;
    fs::rename(&part, &path).map_err(fault(&path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end_offset: 42, epoch: 7 };
        let path = id.path(Path::new("d"));
        assert_eq!(path, Path::new("d/00000000000000000042-0000000007.checkpoint"));
        assert_eq!(SnapshotId::parse("00000000000000000042-0000000007.checkpoint"), Some(id));
        assert_eq!(SnapshotId::parse("00000000000000000042-0000000007.checkpoint.part"), None);
        assert_eq!(SnapshotId::parse("+0000000000000000042-0000000007.checkpoint"), None);
    }

    #[test]
    fn snapshots_are_listed_and_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let ids = [(0, 0), (9, 1), (5, 1)].map(|(end_offset, epoch)| SnapshotId { end_offset, epoch });
        for id in ids {
            add(dir.path(), id, &[Bytes::from_static(b"abc")]).expect("written");
        }
        assert_eq!(list(dir.path()).expect("read"), [ids[2], ids[1]], "the bootstrap snapshot aside");
        assert_eq!(size(dir.path(), ids[1]).expect("there"), 3);
        remove(dir.path(), ids[2]).expect("deleted");
        assert_eq!(list(dir.path()).expect("read"), [ids[1]]);
        let newer = SnapshotId { end_offset: 10, epoch: 2 };
        write(dir.path(), newer, &[]).expect("written");
        assert_eq!(list(dir.path()).expect("read"), [newer]);
        assert_eq!(newest(dir.path()).expect("read"), Some(newer));
        assert!(SnapshotId::BOOTSTRAP.path(dir.path()).exists(), "the bootstrap snapshot stays");
        assert_eq!(list(&dir.path().join("none")).expect("no directory is no snapshot"), []);
    }
}
