//! What the logs of a dir share.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use ottla_types::{Clock, Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use crate::{
    delete::Deleter,
    fault::Fault,
    files::Files,
    index::Index,
    meta::MetaProperties,
    names,
    reader::LogReader,
    start::Start,
    store::{Changes, Family, Store},
    tail::TailCache,
    text,
};

/// Indexes of sealed segments kept in memory, 64 KiB each at most.
const SEALED_INDEXES: usize = 32;

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
    /// The boot of the machine, as checkpoints note it; empty where it is not known.
    pub(crate) boot: String,
    /// Read from Kafka's text files when the dir was opened.
    pub(crate) texts: Texts,
    pub(super) recovery_threads: usize,
    pub(super) previous_broker_epoch: Option<i64>,
    pub(super) logs: Mutex<BTreeMap<TopicPartition, Registered>>,
    pub(super) sealed: Mutex<VecDeque<Arc<Index>>>,
    /// What was forgotten may not be so on the device yet, by this run or by one that was killed.
    pub(super) forgotten_unsynced: Mutex<bool>,
    pub(super) deleter: Deleter,
    /// Counts names that were made unique.
    pub(super) names: AtomicU32,
    pub(super) _lock: File,
}

/// Kafka's offset checkpoints as they were found.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) recovery_points: HashMap<TopicPartition, Offset>,
    pub(crate) log_starts: HashMap<TopicPartition, Offset>,
    pub(crate) high_watermarks: HashMap<TopicPartition, Offset>,
}

/// A log the dir knows, open or closed.
pub(super) struct Registered {
    pub(super) reader: Weak<LogReader>,
    pub(super) closed: Option<Line>,
}

/// What Kafka's text files say about a log.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) recovery_point: Offset,
    pub(super) log_start: Offset,
    pub(super) first_base: Offset,
    pub(super) high_watermark: Offset,
}

impl Line {
    pub(super) fn of(reader: &LogReader) -> Self {
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
    pub(super) fn is_open(&self, partition: &TopicPartition) -> bool {
        self.logs.lock().get(partition).is_some_and(|known| known.reader.strong_count() > 0)
    }

    /// Forgets everything the store knows about a log that is gone.
    pub(super) fn forget(&self, partition: &TopicPartition) -> Result<(), Fault> {
        self.forget_unsynced(self.forgetting(partition))
    }

    /// Forgets a log's checkpoint, which is not to be believed.
    pub(crate) fn forget_checkpoint(&self, partition: &TopicPartition) -> Result<(), Fault> {
        let mut changes = self.store.changes();
        changes.delete(Family::Index, &names::checkpoint_key(partition));
        self.forget_unsynced(changes)
    }

    fn forget_unsynced(&self, changes: Changes<'_>) -> Result<(), Fault> {
        changes.commit()?;
        *self.forgotten_unsynced.lock() = true;
        Ok(())
    }

    /// Forgets what is known under a name whose log was made only now: it is of another one, whose removal a crash cut
    /// short (a move to another dir, say). Synced, as what was forgotten before has to be: a power cut could bring it back
    /// over the new one's records. One sync is for all names, so that as a rule a new one costs two look-ups.
    pub(super) fn forget_another(&self, partition: &TopicPartition) -> Result<(), Fault> {
        // Held until it is synced: another new log is not to have records before.
        let mut unsynced = self.forgotten_unsynced.lock();
        if *unsynced || self.is_known(partition)? {
            self.forgetting(partition).commit_synced()?;
            *unsynced = false;
        }
        Ok(())
    }

    fn is_known(&self, partition: &TopicPartition) -> Result<bool, Fault> {
        for key in [names::checkpoint_key(partition), names::log_start_key(partition)] {
            if self.store.get(Family::Index, &key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn forgetting(&self, partition: &TopicPartition) -> Changes<'_> {
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
        changes
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

pub(super) fn read_texts(path: &Path) -> Result<Texts, Fault> {
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
