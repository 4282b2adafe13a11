//! How the last run ended, and how this one begins and ends.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, fcntl_lock, flock},
    io::Errno,
};

use crate::{
    codec::{Reader, put_count},
    fault::Fault,
    names,
    store::{Family, Store},
    text,
};

/// What may be believed of the checkpoints in the store. Which boot of the machine it was written in, each of them tells
/// for itself: a start after a power cut may have died before it had looked at every log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// What holds in this boot, which is everything for the logs that were closed: the last run was ours and ended cleanly.
    Clean,
    /// What holds in this boot: the last run was ours and did not end cleanly.
    Killed,
    /// Nothing, but segments are sound: Kafka wrote here and ended cleanly.
    ForeignClean,
    /// Nothing: Kafka was here and did not end cleanly, or the store is new.
    ForeignUnclean,
}

impl Start {
    /// True when the store was written by the run that ended last.
    pub(crate) fn ours(self) -> bool {
        matches!(self, Self::Clean | Self::Killed)
    }
}

/// The dir's record in the store.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    boot_id: String,
    /// Inode and time of the marker of the clean shutdown; `None` while running.
    marker: Option<(u64, i64)>,
}

impl Run {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![1, u8::from(self.marker.is_some())];
        let (inode, time) = self.marker.unwrap_or_default();
        out.extend_from_slice(&inode.to_le_bytes());
        out.extend_from_slice(&time.to_le_bytes());
        put_count(&mut out, self.boot_id.len());
        out.extend_from_slice(self.boot_id.as_bytes());
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        (reader.u8()? == 1).then_some(())?;
        let clean = reader.u8()? == 1;
        let marker = (reader.u64()?, reader.i64()?);
        let len = reader.count(1)?;
        let boot_id = String::from_utf8(reader.bytes(len)?.to_vec()).ok()?;
        Some(Self { boot_id, marker: clean.then_some(marker) })
    }
}

/// Locks the directory: `flock` against our own processes, a POSIX lock against Kafka's.
pub(crate) fn lock(dir: &Path) -> Result<File, Fault> {
    let path = dir.join(names::LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Fault::io("open", &path))?;
    let taken = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .and_then(|()| fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive));
    match taken {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(Fault::Locked { path: dir.to_path_buf() }),
        Err(errno) => Err(Fault::os("lock", &path)(errno)),
    }
}

/// How a run begins.
pub(crate) struct Begun {
    pub(crate) start: Start,
    /// The boot of the machine; empty where it is not known.
    pub(crate) boot: String,
    /// In the marker of a clean shutdown.
    pub(crate) broker_epoch: Option<i64>,
}

/// Finds out how the last run ended, notes that one is under way, and removes the marker of a clean shutdown.
pub(crate) fn begin(dir: &Path, store: &Store, assume_power_cut: bool) -> Result<Begun, Fault> {
    let path = dir.join(names::CLEAN_SHUTDOWN);
    let marker = marker_of(&path)?;
    let broker_epoch = match text::read_optional(&path)? {
        Some(text) => parse_marker(&text),
        None => None,
    };
    let last = store.get(Family::Index, names::DIR_KEY)?.and_then(|bytes| Run::from_bytes(&bytes));
    let boot = boot_after(&boot_id(), last.as_ref(), assume_power_cut);
    let start = match (last, marker) {
        (Some(Run { marker: Some(ours), .. }), Some(found)) if ours == found => Start::Clean,
        (_, Some(_)) => Start::ForeignClean,
        (Some(Run { marker: None, .. }), None) => Start::Killed,
        (_, None) => Start::ForeignUnclean,
    };
    let mut changes = store.changes();
    changes.put(Family::Index, names::DIR_KEY, &Run { boot_id: boot.clone(), marker: None }.to_bytes());
    if !start.ours() {
        // They tell of files that others have changed since; were they left, a kill would bring them back.
        changes.delete_range(Family::Index, names::CHECKPOINTS.0, names::CHECKPOINTS.1);
    }
    if marker.is_some() {
        // Synced, or a power cut could bring "ended cleanly" back for a dir that was written to.
        changes.commit_synced()?;
        fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
        text::sync_path(dir)?;
    } else {
        changes.commit()?;
    }
    Ok(Begun { start, boot, broker_epoch })
}

/// Writes the marker of a clean shutdown, and remembers that it is ours.
pub(crate) fn end(dir: &Path, store: &Store, boot: &str, broker_epoch: i64) -> Result<(), Fault> {
    let path = dir.join(names::CLEAN_SHUTDOWN);
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    text::replace(&path, text.as_bytes(), true)?;
    let marker = marker_of(&path)?;
    let mut changes = store.changes();
    changes.put(Family::Index, names::DIR_KEY, &Run { boot_id: boot.to_owned(), marker }.to_bytes());
    changes.commit_synced()
}

fn marker_of(path: &Path) -> Result<Option<(u64, i64)>, Fault> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((
            found.ino(),
            found.mtime().wrapping_mul(1_000_000_000).wrapping_add(found.mtime_nsec()),
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fault::io("look at", path)(e)),
    }
}

/// The number after `"brokerEpoch":`.
fn parse_marker(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("\"brokerEpoch\"")?;
    let number = rest.trim_start_matches([':', ' ']);
    number.split([',', '}', ' ']).next()?.parse().ok()
}

/// Names this run of the machine: while it is the same, what was written is still in the page cache.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The boot this is: what the machine says, and behind a `+` the number of power cuts that were assumed in it.
fn boot_after(machine: &str, last: Option<&Run>, assume_power_cut: bool) -> String {
    let assumed =
        last.and_then(|run| run.boot_id.strip_prefix(machine)?.strip_prefix('+')?.parse::<u32>().ok());
    match assumed.unwrap_or(0).saturating_add(u32::from(assume_power_cut)) {
        _ if machine.is_empty() => String::new(),
        0 => machine.to_owned(),
        cuts => format!("{machine}+{cuts}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumed_power_cut_begins_a_boot_that_lasts() {
        let run = |boot_id: &str| Some(Run { boot_id: boot_id.into(), marker: None });
        let boot = |last: &Option<Run>, cut| boot_after("abc", last.as_ref(), cut);
        assert_eq!((boot(&None, false), boot(&run("xyz+4"), false)), ("abc".into(), "abc".into()));
        assert_eq!((boot(&run("abc"), true), boot(&run("abc+1"), true)), ("abc+1".into(), "abc+2".into()));
        assert_eq!(boot(&run("abc+2"), false), "abc+2");
        assert_eq!(boot_after("", run("abc").as_ref(), true), "", "not known");
    }

    #[test]
    fn a_run_comes_back_and_the_marker_is_read() {
        for run in [
            Run { boot_id: "abc".into(), marker: None },
            Run { boot_id: String::new(), marker: Some((7, -5)) },
        ] {
            assert_eq!(Run::from_bytes(&run.to_bytes()), Some(run));
        }
        assert_eq!(Run::from_bytes(&[1, 0]), None);
        assert_eq!(parse_marker("{\"version\":0,\"brokerEpoch\":17}"), Some(17));
        assert_eq!(parse_marker(""), None);
    }

    #[test]
    fn a_second_opener_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = lock(dir.path()).expect("locks");
        assert!(matches!(lock(dir.path()), Err(Fault::Locked { .. })));
        drop(first);
        lock(dir.path()).expect("locks again");
    }
}
