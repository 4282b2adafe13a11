//! Kafka's checkpoint files: a snapshot of the state as record batches, named by where the log goes on (KIP-630).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ottla_records::{Batch, batches};
use ottla_types::{LeaderEpoch, Offset};

use crate::Fault;

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

    fn path(self, dir: &Path) -> PathBuf {
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
pub(crate) fn newest(dir: &Path) -> Result<Option<SnapshotId>, Fault> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(dir)(error)),
    };
    let mut newest = None;
    for entry in entries {
        let name = entry.map_err(fault(dir))?.file_name();
        let id = name.to_str().and_then(SnapshotId::parse).filter(|id| id.end_offset > 0);
        newest = newest.max(id);
    }
    Ok(newest)
}

/// The batches of a snapshot, checked.
pub(crate) fn read(dir: &Path, id: SnapshotId) -> Result<Vec<Batch>, Fault> {
    let path = id.path(dir);
    let bytes = Bytes::from(fs::read(&path).map_err(fault(&path))?);
    parse(bytes)
}

/// Splits a snapshot into its batches and checks each.
pub(crate) fn parse(bytes: Bytes) -> Result<Vec<Batch>, Fault> {
    batches(bytes)
        .map(|batch| {
            let bad = |why: &dyn std::fmt::Display| Fault::BadFacts { offset: 0, why: why.to_string() };
            let batch = batch.map_err(|e| bad(&e))?;
            batch.verify_crc().map_err(|e| bad(&e))?;
            Ok(batch)
        })
        .collect()
}

/// Writes a snapshot so that it is there whole or not at all, and removes older ones.
pub(crate) fn write(dir: &Path, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
    let path = id.path(dir);
    // Kafka's own name for a checkpoint that is being written; it deletes such files at start.
    let part = path.with_extension("checkpoint.part");
    let mut file = File::create(&part).map_err(fault(&part))?;
    for batch in batches {
        file.write_all(batch).map_err(fault(&part))?;
    }
    file.sync_all().map_err(fault(&part))?;
    fs::rename(&part, &path).map_err(fault(&path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault(dir))?;
    remove_older(dir, id);
    Ok(())
}

fn remove_older(dir: &Path, than: SnapshotId) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let id = entry.file_name().to_str().and_then(SnapshotId::parse);
        if id.is_some_and(|id| id < than && id != SnapshotId::BOOTSTRAP)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!("Could not delete the old snapshot {}: {error}", entry.path().display());
        }
    }
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
    fn the_newest_is_found_and_older_ones_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let ids = [(0, 0), (5, 1), (9, 1)].map(|(end_offset, epoch)| SnapshotId { end_offset, epoch });
        for id in ids {
            write(dir.path(), id, &[]).expect("written");
        }
        assert_eq!(newest(dir.path()).expect("read"), Some(ids[2]));
        let left: Vec<_> = fs::read_dir(dir.path()).expect("listed").flatten().collect();
        assert_eq!(left.len(), 2, "the bootstrap snapshot stays");
        assert_eq!(newest(&dir.path().join("none")).expect("no directory is no snapshot"), None);
    }
}
