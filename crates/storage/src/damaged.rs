//! A store that cannot be opened any more: it is moved aside, and a new one is begun.
//!
//! Nothing in it is worth an outage. Indexes, producers and recovery points are found again from the segments, as for a
//! directory that comes from Kafka; log start offsets from Kafka's `log-start-offset-checkpoint`. Raft's log is gone
//! with it: whether a node may go on without is the quorum's to judge (docs/adr/0009).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rocksdb::ErrorKind;

use crate::{fault::Fault, names, store::Store};

/// Left in a store's directory when something in it turned out not to be readable: the next start moves it aside.
const MARK: &str = "DAMAGED";

/// Opens the store of the log dir `dir`; a damaged one is moved aside first. `wall` makes the name it gets unique.
pub(crate) fn open_or_begin_anew(dir: &Path, wall: i64) -> Result<Store, Fault> {
    let path = dir.join(names::STORE);
    let why = match what_is_wrong(&path)? {
        Some(why) => why,
        None => match Store::open(&path) {
            Err(Fault::Store { source, .. }) if is_damage(&source) => source.to_string(),
            Err(fault) => return Err(fault),
            // RocksDB opens without looking at its tables.
            Ok(store) => match store.lost_table()? {
                Some(table) => format!("{} is missing or cut", table.display()),
                None => return Ok(store),
            },
        },
    };
    let to = dir.join(names::damaged_store(wall));
    fs::rename(&path, &to).map_err(Fault::io("rename", &path))?;
    tracing::warn!(
        "The index store {} is damaged ({why}). It is kept as {} and may be deleted; a new one is begun: indexes and \
         producers are rebuilt from the segments, which makes this start slow; log start offsets are those of the last \
         {}",
        path.display(),
        to.display(),
        names::LOG_STARTS
    );
    Store::open(&path)
}

/// Notes that the store is not to be opened again.
pub(crate) fn mark(store: &Path) {
    // Where not even this can be written, the next start finds out for itself.
    let _ = fs::write(store.join(MARK), b"");
}

/// Whether the error tells of the store's files, and not of the system: a want of memory or rights comes and goes.
pub(crate) fn is_damage(error: &rocksdb::Error) -> bool {
    match error.kind() {
        // "Invalid argument": families or a comparator that were never ours, so the manifest is not what was written.
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => true,
        ErrorKind::IOError => error.to_string().contains("No such file or directory"),
        _ => false,
    }
}

/// What RocksDB would not complain about: without `CURRENT` it begins anew amid the old files, and removes them.
fn what_is_wrong(store: &Path) -> Result<Option<String>, Fault> {
    if is_file(&store.join(MARK)) {
        return Ok(Some("something in it could not be read in an earlier run".into()));
    }
    if is_file(&store.join("CURRENT")) {
        return Ok(None);
    }
    let entries = match fs::read_dir(store) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Fault::io("list", store)(e)),
    };
    for entry in entries {
        let name = entry.map_err(Fault::io("list", store))?.file_name();
        // The manifest comes before CURRENT when a store is founded; tables come after.
        if Path::new(&name).extension().is_some_and(|kind| kind == "sst" || kind == "log") {
            return Ok(Some("it has files and no CURRENT".into()));
        }
    }
    Ok(None)
}

fn is_file(path: &PathBuf) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}
