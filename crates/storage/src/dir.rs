//! One of `log.dirs`: its lock, its identity, its store, its logs.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use ottla_types::{Clock, Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use crate::{
    METADATA_TOPIC, checkpoint,
    config::{DirOptions, LogConfig, WriteMode},
    damaged,
    delete::Deleter,
    fault::Fault,
    files::Files,
    index::Index,
    leftovers,
    load::{LoadReport, Loader, PartitionLoader},
    log::Log,
    meta::MetaProperties,
    names::{self, Aside},
    pin::Pin,
    reader::LogReader,
    recover::{self, Place},
    start::{self, Start},
    state::State,
    store::{Family, Store},
    tail::TailCache,
    text,
};

/// Indexes of sealed segments kept in memory, 64 KiB each at most.
const SEALED_INDEXES: usize = 32;

/// One of `log.dirs`. Cheap to clone; the directory's lock is held until the last clone and the last log are gone.
#[derive(Clone, Debug)]
pub struct LogDir {
    shared: Arc<Shared>,
}

/// What a checkpoint wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Logs that had changed.
    pub logs: usize,
    /// Bytes given to the store.
    pub bytes: usize,
}

/// What the logs of a dir share.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) meta: MetaProperties,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Files,
    pub(crate) tail: TailCache,
    pub(crate) dont_cache: AtomicBool,
    /// Logs that changed since their last checkpoint.
    pub(crate) dirty: Mutex<Vec<Weak<LogReader>>>,
    /// Held while a checkpoint is described and committed, and by whatever makes an older one wrong.
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) start: Start,
    /// Read from Kafka's text files when the dir was opened.
    pub(crate) texts: Texts,
    recovery_threads: usize,
    previous_broker_epoch: Option<i64>,
    logs: Mutex<BTreeMap<TopicPartition, Registered>>,
    sealed: Mutex<VecDeque<Arc<Index>>>,
    deleter: Deleter,
    /// Counts names that were made unique.
    names: AtomicU32,
    _lock: File,
}

/// Kafka's offset checkpoints as they were found.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) recovery_points: HashMap<TopicPartition, Offset>,
    pub(crate) log_starts: HashMap<TopicPartition, Offset>,
    pub(crate) high_watermarks: HashMap<TopicPartition, Offset>,
}

/// A log the dir knows, open or closed.
struct Registered {
    reader: Weak<LogReader>,
    closed: Option<Line>,
}

/// What Kafka's text files say about a log.
#[derive(Clone, Copy)]
struct Line {
    recovery_point: Offset,
    log_start: Offset,
    first_base: Offset,
    high_watermark: Offset,
}

impl Line {
    fn of(reader: &LogReader) -> Self {
        let state = reader.state.read();
        Self {
            recovery_point: state.recovery_point,
            log_start: state.log_start,
            first_base: state.segments[0].base,
            high_watermark: reader.high_watermark.load(Ordering::Relaxed),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn register(&self, reader: &Arc<LogReader>) {
        if let Some(&offset) = self.texts.high_watermarks.get(reader.partition()) {
            reader.high_watermark.store(offset.min(reader.log_end()), Ordering::Relaxed);
        }
        let registered = Registered { reader: Arc::downgrade(reader), closed: None };
        self.logs.lock().insert(reader.partition().clone(), registered);
    }

    /// The log was closed; its offsets stay known for Kafka's text files.
    pub(crate) fn unregister(&self, reader: &LogReader) {
        let registered = Registered { reader: Weak::new(), closed: Some(Line::of(reader)) };
        self.logs.lock().insert(reader.partition().clone(), registered);
    }

    /// Makes the name of a directory unique.
    pub(crate) fn unique(&self, topic_id: TopicId) -> u128 {
        let wall = u128::from(self.clock.wall().0.unsigned_abs());
        let turn = u128::from(self.names.fetch_add(1, Ordering::Relaxed));
        topic_id.0.as_u128() ^ (wall << 32) ^ turn
    }

    /// Whether there is a log of the partition in use.
    fn is_open(&self, partition: &TopicPartition) -> bool {
        self.logs.lock().get(partition).is_some_and(|known| known.reader.strong_count() > 0)
    }

    /// Forgets everything the store knows about a log.
    fn forget(&self, partition: &TopicPartition) -> Result<(), Fault> {
        let mut changes = self.store.changes();
        changes.delete(Family::Index, &names::checkpoint_key(partition));
        changes.delete(Family::Index, &names::log_start_key(partition));
        for slot in [0, 1] {
            changes.delete(Family::Index, &names::snapshot_key(partition, slot));
        }
        for family in [b'a', b's'] {
            let (from, to) = names::all_of(family, partition);
            changes.delete_range(Family::Index, &from, &to);
        }
        changes.commit()
    }

    /// Keeps a sealed segment's index in memory for a while.
    pub(crate) fn keep_index(&self, index: &Arc<Index>) {
        let mut sealed = self.sealed.lock();
        if sealed.len() >= SEALED_INDEXES {
            sealed.pop_front();
        }
        sealed.push_back(Arc::clone(index));
    }
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
        let (start, previous_broker_epoch) = start::begin(&path, &store, options.assume_power_cut)?;
        let shared = Shared {
            texts: read_texts(&path)?,
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
            recovery_threads: options.recovery_threads,
            previous_broker_epoch,
            logs: Mutex::default(),
            sealed: Mutex::default(),
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

    /// The dir's store. Raft's log lives in [`Family::Raft`] of the metadata log dir's.
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

    /// Opens one log, or creates it: how the metadata log is opened. `loader` is given the log at once.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        loader: Box<dyn PartitionLoader>,
    ) -> Result<LoadReport, Fault> {
        if self.shared.path.join(partition.to_string()).is_dir() {
            recover::load_one(&self.shared, &Place::of(partition), loader, topic_id)
        } else {
            let config = loader.config();
            loader.done(self.create_log(partition, topic_id, config)?);
            Ok(LoadReport { logs: 1, ..LoadReport::default() })
        }
    }

    /// Creates a log: a directory and its `partition.metadata`, neither synced: that comes with the first sync of the
    /// log. Its first segment comes with the first append. A directory that a creation left unfinished is used.
    ///
    /// # Errors
    /// [`Fault::Exists`]; when the disk fails.
    pub fn create_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
    ) -> Result<Log, Fault> {
        let path = self.shared.path.join(partition.to_string());
        match fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                if recover::identity(&self.shared, &Place::of(partition))?.is_some() {
                    return Err(Fault::Exists { path });
                }
                leftovers::clear(&path)?;
                self.shared.forget(partition)?;
            }
            created => created.map_err(Fault::io("create", &path))?,
        }
        self.begin_log(&path, partition, topic_id, config, None)
    }

    /// Creates a log that is to take the place of the partition's log in another dir, beside it: see
    /// [`promote`](Self::promote). Its directory is named as Kafka names it.
    ///
    /// # Errors
    /// [`Fault::Exists`] when the partition has a log here; when the disk fails.
    pub fn create_future(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
    ) -> Result<Log, Fault> {
        let own = self.shared.path.join(partition.to_string());
        if self.shared.is_open(partition) || own.exists() {
            return Err(Fault::Exists { path: own });
        }
        let future = names::future(partition, self.shared.unique(topic_id));
        let path = self.shared.path.join(&future);
        fs::create_dir(&path).map_err(Fault::io("create", &path))?;
        self.shared.forget(partition)?;
        self.begin_log(&path, partition, topic_id, config, Some(future))
    }

    fn begin_log(
        &self,
        path: &Path,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        future: Option<String>,
    ) -> Result<Log, Fault> {
        let file = path.join(names::PARTITION_METADATA);
        let text = text::partition_metadata_text(topic_id);
        self.shared.files.with_room(|| text::replace(&file, text.as_bytes(), false))?;
        let state = State::empty(0, self.shared.clock.wall().0);
        let log = Log::new(&self.shared, partition, topic_id, (state, future), config);
        log.reader().mark_dirty();
        Ok(log)
    }

    /// Makes a log of [`create_future`](Self::create_future) the partition's own: its directory gets the partition's
    /// name, durably. What is in it should have been synced.
    ///
    /// # Errors
    /// [`Fault::Exists`] when the partition has a log here; when the disk fails.
    pub fn promote(&self, log: &Log) -> Result<(), Fault> {
        let reader = log.reader();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        if !reader.is_future() {
            return Ok(());
        }
        let (from, to) = (reader.path(), self.shared.path.join(reader.partition().to_string()));
        if to.exists() {
            return Err(Fault::Exists { path: to });
        }
        fs::rename(&from, &to).map_err(Fault::io("rename", &from))?;
        if let Err(fault) = text::sync_path(&self.shared.path) {
            // As far as anybody can tell it is a copy still, and the log is elsewhere.
            let _ = fs::rename(&to, &from);
            return Err(fault);
        }
        reader.promoted();
        reader.mark_dirty();
        Ok(())
    }

    /// Removes a log: its directory is renamed at once, so that one of the same name can be created, and deleted in
    /// the background. Readers that hold parts of it can finish.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn remove_log(&self, log: Log) -> Result<(), Fault> {
        let to = self.set_aside(&log, Aside::Delete)?;
        self.shared.deleter.delete(to);
        Ok(())
    }

    /// Takes a log out of the way of another that takes its place in another dir, durably: its directory is renamed so that
    /// the next start deletes it. Until [`put_back`](Self::put_back) it counts as removed. Gives its new path.
    ///
    /// # Errors
    /// When the disk fails; the log is where it was then, as far as anybody can tell.
    pub fn put_aside(&self, log: &Log) -> Result<PathBuf, Fault> {
        let reader = log.reader();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        let name = names::aside(reader.partition(), self.shared.unique(reader.topic_id()), Aside::Delete);
        let (from, to) = (reader.path(), self.shared.path.join(name));
        reader.set_removed(true);
        let renamed = fs::rename(&from, &to).map_err(Fault::io("rename", &from));
        if let Err(fault) = renamed.and_then(|()| text::sync_path(&self.shared.path)) {
            let _ = fs::rename(&to, &from);
            reader.set_removed(false);
            return Err(fault);
        }
        Ok(to)
    }

    /// Takes [`put_aside`](Self::put_aside) back: nothing took the log's place.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_back(&self, log: &Log, aside: &Path) -> Result<(), Fault> {
        let reader = log.reader();
        fs::rename(aside, reader.path()).map_err(Fault::io("rename", aside))?;
        reader.set_removed(false);
        text::sync_path(&self.shared.path)
    }

    /// Removes a log that was [`put_aside`](Self::put_aside): what is known of it is forgotten, and its directory is
    /// deleted in the background. Readers that hold parts of it can finish.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_aside(&self, log: Log, aside: PathBuf) -> Result<(), Fault> {
        let reader = log.reader();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        self.shared.logs.lock().remove(reader.partition());
        reader.remove();
        self.shared.deleter.delete(aside);
        self.shared.forget(reader.partition())
    }

    /// Takes a log that the cluster does not know out of the way, as Kafka does: its directory is renamed to
    /// `<topic>-<partition>.<unique>-stray`, which no start opens, and everything in it is kept. Gives its new path.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn stray_log(&self, log: Log) -> Result<PathBuf, Fault> {
        self.set_aside(&log, Aside::Stray)
    }

    fn set_aside(&self, log: &Log, why: Aside) -> Result<PathBuf, Fault> {
        let reader = log.reader();
        let partition = reader.partition();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        let to = self.shared.path.join(names::aside(partition, self.shared.unique(reader.topic_id()), why));
        let from = reader.path();
        fs::rename(&from, &to).map_err(Fault::io("rename", &from))?;
        self.shared.logs.lock().remove(partition);
        self.shared.forget(partition)?;
        reader.remove();
        Ok(to)
    }

    /// Logs changed since the last checkpoint. Their owners may set producer snapshots, then call
    /// [`LogDir::checkpoint`].
    #[must_use]
    pub fn dirty(&self) -> Vec<Arc<LogReader>> {
        self.shared.dirty.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Writes what changed to the store, as one batch: how far each log is known to be sound, new index entries,
    /// producer snapshots. Costs nothing for logs that did not change. A restart after a kill checks what came after.
    ///
    /// # Errors
    /// When the store fails; what was to be written stays to be written.
    pub fn checkpoint(&self) -> Result<CheckpointReport, Fault> {
        let _one_at_a_time = self.shared.checkpointing.lock();
        let dirty: Vec<Arc<LogReader>> =
            std::mem::take(&mut *self.shared.dirty.lock()).iter().filter_map(Weak::upgrade).collect();
        if dirty.is_empty() {
            return Ok(CheckpointReport::default());
        }
        let mut changes = self.shared.store.changes();
        let mut described = Vec::with_capacity(dirty.len());
        for reader in &dirty {
            reader.clear_dirty();
            if !reader.is_removed() {
                described.push((reader, checkpoint::describe(reader, &reader.state.read(), &mut changes)));
            }
        }
        let report = CheckpointReport { logs: described.len(), bytes: changes.size_in_bytes() };
        if let Err(fault) = changes.commit() {
            dirty.iter().for_each(LogReader::mark_dirty);
            return Err(fault);
        }
        for (reader, written) in described {
            checkpoint::written(reader, written);
            checkpoint::write_epochs(reader)?;
        }
        Ok(report)
    }

    /// Writes Kafka's own checkpoint files: recovery points, log start offsets and high watermarks. Kafka does so
    /// once a minute (`log.flush.offset.checkpoint.interval.ms` and its like); they serve a Kafka that takes the
    /// directory back, and a start without the store.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_kafka_checkpoints(&self) -> Result<(), Fault> {
        let lines: Vec<(TopicPartition, Line)> = {
            let logs = self.shared.logs.lock();
            let line = |registered: &Registered| match registered.reader.upgrade() {
                Some(reader) => Some(Line::of(&reader)),
                None => registered.closed,
            };
            let known = |(partition, registered)| Some((TopicPartition::clone(partition), line(registered)?));
            logs.iter()
                .filter(|(partition, _)| &*partition.topic != METADATA_TOPIC)
                .filter_map(known)
                .collect()
        };
        let write = |name: &str, keep: &dyn Fn(&Line) -> Option<Offset>| {
            let kept: Vec<_> = lines.iter().filter_map(|(p, line)| Some((p, keep(line)?))).collect();
            text::replace(&self.shared.path.join(name), text::offsets_text(kept.into_iter()).as_bytes(), true)
        };
        write(names::RECOVERY_POINTS, &|line| Some(line.recovery_point))?;
        write(names::LOG_STARTS, &|line| (line.log_start > line.first_base).then_some(line.log_start))?;
        write(names::HIGH_WATERMARKS, &|line| (line.high_watermark >= 0).then_some(line.high_watermark))
    }

    /// Stands for a buffer of `bytes` bytes whose slices will be appended by [`Log::append_pinned`].
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
        start::end(&self.shared.path, &self.shared.store, broker_epoch)?;
        self.shared.store.quiesce();
        Ok(())
    }
}

fn read_texts(path: &Path) -> Result<Texts, Fault> {
    let read = |name: &str| -> Result<HashMap<TopicPartition, Offset>, Fault> {
        let Some(text) = text::read_optional(&path.join(name))? else { return Ok(HashMap::new()) };
        if text.is_empty() {
            return Ok(HashMap::new());
        }
        let entries = text::parse_offsets(&text).unwrap_or_else(|| {
            tracing::warn!(file = name, "does not parse and is ignored");
            Vec::new()
        });
        Ok(entries.into_iter().collect())
    };
    Ok(Texts {
        recovery_points: read(names::RECOVERY_POINTS)?,
        log_starts: read(names::LOG_STARTS)?,
        high_watermarks: read(names::HIGH_WATERMARKS)?,
    })
}
