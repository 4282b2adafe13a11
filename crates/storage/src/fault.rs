//! What can go wrong on disk, and what can be wrong with a read.

use std::{
    io,
    path::{Path, PathBuf},
};

use ottla_types::Offset;

/// A log dir or a log can not go on. Says where and what to do; the owner decides (usually: the dir goes offline).
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The operating system refused.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("log dir {} is in use by another process (it holds .lock): stop that process, or give this one another log.dirs", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is no `meta.properties`.
    #[error("log dir {} is not formatted (no meta.properties): run `ottla storage format` on it", path.display())]
    NotFormatted {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was formatted before.
    #[error("log dir {} is already formatted", path.display())]
    AlreadyFormatted {
        /// The directory.
        path: PathBuf,
    },
    /// A small file of the directory does not read as what it should be.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// A segment holds what this broker does not read.
    #[error("{} at byte {position}: {what}", path.display())]
    Segment {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong and what to do.
        what: &'static str,
    },
    /// The index store failed.
    #[error("index store {}: {source}", path.display())]
    Store {
        /// The store's directory.
        path: PathBuf,
        /// RocksDB's words.
        source: rocksdb::Error,
    },
    /// Offsets given to an append do not continue the log.
    #[error("append to {} at offset {given}, but its log ends at {log_end}", path.display())]
    OutOfOrder {
        /// The partition's directory.
        path: PathBuf,
        /// The first offset that does not fit.
        given: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
    /// An earlier write or sync of this log failed: what is on disk is not known any more.
    #[error("log {} failed before and takes no more writes: restart the broker to recover it", path.display())]
    Broken {
        /// The partition's directory.
        path: PathBuf,
    },
    /// The same partition is in two log dirs: which of them is the right one, nobody here can tell.
    #[error("Duplicate log directories found: {} and {}: move the one that is not wanted out of log.dirs", first.display(), second.display())]
    Duplicate {
        /// One directory of the partition.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The partition's directory is already there.
    #[error("{} exists already", path.display())]
    Exists {
        /// The partition's directory.
        path: PathBuf,
    },
}

impl Fault {
    /// True when what is on the disk is damaged in this one place, so that other logs of the dir may be sound.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        const DAMAGED: [rustix::io::Errno; 3] =
            [rustix::io::Errno::IO, rustix::io::Errno::BADMSG, rustix::io::Errno::UCLEAN];
        match self {
            Self::Damaged { .. } | Self::Segment { .. } => true,
            Self::Io { source, .. } => {
                source.kind() == io::ErrorKind::UnexpectedEof
                    || DAMAGED.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
            }
            _ => false,
        }
    }

    /// True when too many files are open, in this process or on the machine: that passes, and says nothing of the disk.
    #[must_use]
    pub fn is_want_of_files(&self) -> bool {
        const FULL: [rustix::io::Errno; 2] = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
        matches!(self, Self::Io { source, .. }
            if FULL.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error())))
    }

    /// Wraps an error of the operating system: `.map_err(Fault::io("open", &path))`.
    pub(crate) fn io(op: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { op, path: path.as_ref().to_path_buf(), source }
    }

    /// The same for errors that come as numbers.
    pub(crate) fn os(op: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Io { op, path: path.as_ref().to_path_buf(), source: errno.into() }
    }
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log: `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is outside the log ({log_start} to {log_end})")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset there is.
        log_start: Offset,
        /// The offset the next record gets.
        log_end: Offset,
    },
    /// The disk failed, or holds what cannot be.
    #[error(transparent)]
    Fault(#[from] Fault),
}
