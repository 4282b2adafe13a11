//! One of `log.dirs`: its lock, its identity, its store, its logs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
};

use ottla_types::{Clock, TopicId};
use parking_lot::Mutex;

pub use self::checkpointing::CheckpointReport;
pub(crate) use self::shared::Shared;
use crate::{
    METADATA_TOPIC,
    config::{DirOptions, WriteMode},
    damaged,
    delete::Deleter,
    fault::Fault,
    files::Files,
    load::{LoadReport, Loader},
    meta::MetaProperties,
    names::{self, Aside},
    pin::Pin,
    reader::LogReader,
    recover::{self, Place},
    start::{self, Begun, Start},
    store::Store,
    tail::TailCache,
};

mod checkpointing;
mod logs;
mod shared;

/// One of `log.dirs`. Cheap to clone; the directory's lock is held until the last clone and the last log are gone.
#[derive(Clone, Debug)]
pub struct LogDir {
    shared: Arc<Shared>,
}

impl LogDir {
    /// Opens a formatted directory and locks it, against other processes of ours and of Kafka's.
    ///
    /// # Errors
    /// [`Fault::NotFormatted`], [`Fault::Locked`], or what the disk says.
    pub fn open(path: impl Into<PathBuf>, options: DirOptions, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let path = path.into();
        let meta = MetaProperties::read(&path)?.ok_or_else(|| Fault::NotFormatted { path: path.clone() })?;
        let lock = start::lock(&path)?;
        let store = damaged::open_or_begin_anew(&path, clock.wall().0)?;
        let Begun { start, boot, broker_epoch } = start::begin(&path, &store, options.assume_power_cut)?;
        let shared = Shared {
            texts: shared::read_texts(&path)?,
            path,
            meta,
            store,
            clock,
            files: Files::new(options.max_open_files),
            tail: TailCache::new(options.tail_bytes),
            dont_cache: AtomicBool::new(options.write_mode == WriteMode::DontCache),
            dirty: Mutex::default(),
            checkpointing: Mutex::default(),
            start,
            boot,
            recovery_threads: options.recovery_threads,
            previous_broker_epoch: broker_epoch,
            logs: Mutex::default(),
            sealed: Mutex::default(),
            forgotten_unsynced: Mutex::new(true),
            deleter: Deleter::default(),
            names: AtomicU32::new(0),
            _lock: lock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Bytes of the volume that it is in, and how many of them may still be written.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn space(&self) -> Result<(u64, u64), Fault> {
        let path = &self.shared.path;
        let found = rustix::fs::statvfs(path).map_err(Fault::os("look at the volume of", path))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok((bytes(found.f_blocks), bytes(found.f_bavail)))
    }

    /// Whose it is.
    #[must_use]
    pub fn meta(&self) -> &MetaProperties {
        &self.shared.meta
    }

    /// The dir's store. Raft's log lives in [`Family::Raft`](crate::Family::Raft) of the metadata log dir's.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// True when the last run of this broker, or of Kafka, ended cleanly.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        matches!(self.shared.start, Start::Clean | Start::ForeignClean)
    }

    /// The broker epoch in the marker of a clean shutdown, if the last run ended with one (KIP-966).
    #[must_use]
    pub fn previous_broker_epoch(&self) -> Option<i64> {
        self.shared.previous_broker_epoch
    }

    /// Opens every log but the metadata log, on several threads, and hands each to `loader`. Directories of removed
    /// logs are deleted in the background, strays are left alone, and what a creation that did not end has left goes.
    ///
    /// # Errors
    /// The first fault; the dir is of no use then.
    pub fn load(&self, loader: &dyn Loader) -> Result<LoadReport, Fault> {
        let mut places = Vec::new();
        let path = &self.shared.path;
        for entry in fs::read_dir(path).map_err(Fault::io("list", path))? {
            let name = entry.map_err(Fault::io("list", path))?.file_name();
            if names::is_deleted(Path::new(&name)) {
                self.shared.deleter.delete(path.join(&name));
                continue;
            }
            let Some(name) = name.to_str() else { continue };
            let partition = names::parse_partition(name).filter(|partition| partition.to_string() == name);
            let place = match (partition, names::parse_future(name)) {
                (Some(partition), _) => Place { partition, future: None },
                (None, Some(partition)) => Place { partition, future: Some(name.to_owned()) },
                (None, None) => continue,
            };
            if &*place.partition.topic != METADATA_TOPIC {
                places.push(place);
            }
        }
        self.drop_second_copies(&mut places)?;
        recover::load_all(&self.shared, &places, loader, self.shared.recovery_threads)
    }

    /// What the store knows is known of one log per partition: a copy beside the partition's own log, or beside another
    /// copy, is of no use.
    fn drop_second_copies(&self, places: &mut Vec<Place>) -> Result<(), Fault> {
        places.sort_by(|a, b| (&a.partition, &a.future).cmp(&(&b.partition, &b.future)));
        let mut kept: Vec<Place> = Vec::with_capacity(places.len());
        for place in places.drain(..) {
            match (kept.last(), &place.future) {
                (Some(first), Some(future)) if first.partition == place.partition => {
                    let from = self.shared.path.join(future);
                    tracing::warn!(path = %from.display(), "a second copy of the partition in this log dir is removed");
                    let unique = self.shared.unique(TopicId::ZERO);
                    let to = self.shared.path.join(names::aside(&place.partition, unique, Aside::Delete));
                    fs::rename(&from, &to).map_err(Fault::io("rename", &from))?;
                    self.shared.deleter.delete(to);
                }
                _ => kept.push(place),
            }
        }
        *places = kept;
        Ok(())
    }

    /// Stands for a buffer of `bytes` bytes whose slices will be appended by [`Log::append_pinned`](crate::Log::append_pinned).
    #[must_use]
    pub fn pin(&self, bytes: usize) -> Pin {
        self.shared.tail.pin(bytes)
    }

    /// Marks the shutdown clean, for this broker and for Kafka. Every log should have been closed; those that were
    /// not are synced here. The directory is free when the last clone is dropped.
    ///
    /// # Errors
    /// When the disk or the store fails; the next start then recovers.
    pub fn close(self, broker_epoch: i64) -> Result<(), Fault> {
        let open: Vec<Arc<LogReader>> =
            self.shared.logs.lock().values().filter_map(|registered| registered.reader.upgrade()).collect();
        for reader in &open {
            reader.sync_up_to(reader.log_end())?;
            reader.mark_dirty();
        }
        self.checkpoint()?;
        self.write_kafka_checkpoints()?;
        self.shared.deleter.finish();
        start::end(&self.shared.path, &self.shared.store, &self.shared.boot, broker_epoch)?;
        self.shared.store.quiesce();
        Ok(())
    }
}
