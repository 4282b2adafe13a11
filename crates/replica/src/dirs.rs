//! Log dirs: which of them work, where a new replica goes, what becomes of the replicas in one that failed.
//!
//! A dir that fails takes its replicas out of service and nothing else; the broker goes on as long as one works. It is
//! never created anew what may be in a dir that is offline (KIP-112, KIP-858).

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use ottla_metadata::{Image, directory, feature};
use ottla_storage::{Fault, LogDir};
use ottla_types::{TopicPartition, TopicPartitionId};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    AckFsync, DirSettings, ReplicaManager, ReplicaOptions, manager::Hosting, sync::Syncer, upkeep::Upkeep,
};

/// A log dir with the thread that syncs it.
pub(crate) struct Dir {
    pub(crate) number: usize,
    pub(crate) dir: LogDir,
    pub(crate) syncer: Syncer,
    pub(crate) acks_all_fsync: AckFsync,
    health: Arc<Health>,
}

/// Whether a dir works. Shared with its sync thread.
struct Health {
    offline: AtomicBool,
    /// What follows from it was done.
    mourned: AtomicBool,
    path: PathBuf,
    upkeep: Arc<Upkeep>,
}

impl Dir {
    pub(crate) fn open(
        number: usize,
        dir: LogDir,
        options: &ReplicaOptions,
        upkeep: &Arc<Upkeep>,
    ) -> Result<Self, Fault> {
        let path = dir.path().to_path_buf();
        let health = Arc::new(Health {
            offline: AtomicBool::new(false),
            mourned: AtomicBool::new(false),
            path: path.clone(),
            upkeep: Arc::clone(upkeep),
        });
        let told = Arc::clone(&health);
        let syncer = Syncer::start(&format!("log-sync-{number}"), move |fault| told.fail(fault))
            .map_err(|source| Fault::Io { op: "start the sync thread for", path, source })?;
        Ok(Self { number, dir, syncer, acks_all_fsync: options.acks_all_fsync, health })
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.health.offline.load(Ordering::Acquire)
    }

    /// The disk refused: nothing more is written here, and what cannot be known is not acknowledged. Not so when the
    /// system is out of file descriptors: then only what was asked for just now is refused.
    pub(crate) fn fail(&self, fault: &Fault) {
        self.health.fail(fault);
    }

    /// Its `directory.id`.
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.dir.meta().directory_id
    }
}

impl Health {
    fn fail(&self, fault: &Fault) {
        if fault.is_want_of_files() {
            return refused_for_want_of_files(fault);
        }
        if !self.offline.swap(true, Ordering::AcqRel) {
            tracing::error!("Log dir {} goes offline: {fault}", self.path.display());
            self.upkeep.wake();
        }
    }
}

/// Whoever asks again at once is refused again: the log gets a line when their number has doubled.
fn refused_for_want_of_files(fault: &Fault) {
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    let refused = REFUSED.fetch_add(1, Ordering::Relaxed) + 1;
    if refused.is_power_of_two() {
        tracing::warn!("Requests refused for want of file descriptors: {refused} so far; {fault}");
    }
}

/// Whether partitions say which log dirs hold them.
pub(crate) fn knows_dirs(image: &Image) -> bool {
    image.feature_level(feature::METADATA_VERSION) >= directory::LEVEL
}

impl ReplicaManager {
    /// Log dirs that are offline: those that could not be opened, and those that failed since.
    #[must_use]
    pub fn failed_dirs(&self) -> usize {
        self.options.offline_dirs.len() + self.dirs.iter().filter(|dir| dir.is_offline()).count()
    }

    /// How many log dirs are offline, and when that changes. By then their replicas are out of service.
    #[must_use]
    pub fn watch_failed_dirs(&self) -> watch::Receiver<usize> {
        self.failures.subscribe()
    }

    /// Whether the log dir with this path is offline.
    #[must_use]
    pub fn is_dir_offline(&self, path: &Path) -> bool {
        self.options.offline_dirs.iter().any(|dir| dir == path)
            || self.dirs.iter().any(|dir| dir.dir.path() == path && dir.is_offline())
    }

    /// Ids of the log dirs that work.
    #[must_use]
    pub fn online_dir_ids(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| !dir.is_offline()).filter_map(|dir| dir.id()).collect()
    }

    /// Ids of the log dirs that failed since the start.
    #[must_use]
    pub fn offline_dir_ids(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_offline()).filter_map(|dir| dir.id()).collect()
    }

    /// Ids of the log dirs that take no new replicas (KIP-1066).
    #[must_use]
    pub fn cordoned_dir_ids(&self) -> Vec<Uuid> {
        let settings = self.dir_settings.load();
        self.dirs
            .iter()
            .filter(|dir| settings.is_cordoned(dir.dir.path()))
            .filter_map(|dir| dir.id())
            .collect()
    }

    /// Takes over what was set on brokers.
    pub(crate) fn follow_dir_settings(&self, image: &Image) {
        let Some(of) = &self.options.dirs_of else { return };
        let settings: DirSettings = (of.0)(image);
        if settings != **self.dir_settings.load() {
            self.dir_settings.store(Arc::new(settings));
            self.moves.wake();
        }
    }

    /// Where a replica goes that has no log here: the dir that the cluster has assigned it to, or that was asked for, or
    /// the one with the fewest logs. `None` while its log may be in a dir that is offline.
    pub(crate) fn choose_dir(
        &self,
        hosting: &mut Hosting,
        name: &TopicPartition,
        assigned: Uuid,
        counts: &mut [usize],
    ) -> Option<Arc<Dir>> {
        let online = || self.dirs.iter().filter(|dir| !dir.is_offline());
        let mut chosen = online().find(|dir| dir.id() == Some(assigned));
        if chosen.is_none() && assigned != directory::UNASSIGNED && self.failed_dirs() > 0 {
            tracing::warn!("{name} is not created: its log may be in a log dir that is offline");
            return None;
        }
        let preferred = hosting.preferred.remove(name);
        let settings = self.dir_settings.load();
        let open = |dir: &&Arc<Dir>| !settings.is_cordoned(dir.dir.path());
        chosen = chosen.or_else(|| online().find(|dir| Some(dir.number) == preferred));
        chosen = chosen.or_else(|| online().filter(open).min_by_key(|dir| counts[dir.number]));
        let chosen = chosen.or_else(|| online().min_by_key(|dir| counts[dir.number]))?;
        counts[chosen.number] += 1;
        Some(Arc::clone(chosen))
    }

    /// What follows from dirs that failed since the last look: their copies are given up, the controller is told of
    /// replicas in them of which it knows no dir, and then whoever watches.
    pub(crate) fn mourn_failed_dirs(&self) {
        let mut failed = HashSet::new();
        for dir in self.dirs.iter().filter(|dir| dir.is_offline()) {
            if !dir.health.mourned.swap(true, Ordering::AcqRel) {
                failed.insert(dir.number);
            }
        }
        if failed.is_empty() {
            return;
        }
        let image = Arc::clone(&self.hosting.lock().image);
        let mut count = 0;
        self.each(|replica| {
            let place = replica.place();
            if !failed.contains(&place.dir.number) {
                return;
            }
            count += 1;
            let id = replica.id();
            let assigned = self.assigned_dir(&image, id);
            if assigned.is_some_and(|dir| Some(dir) != place.dir.id()) {
                self.assign(&image, id, directory::LOST);
            }
        });
        self.next_generation();
        self.moves.wake();
        tracing::error!("Replicas out of service because their log dirs have failed: {count}");
        self.failures.send_replace(self.failed_dirs());
    }

    /// The epoch to mark the dirs clean with: the next start says by it that nothing was lost. It may not say so when the
    /// cluster still counts on a log that is damaged: moved out of the way, it is created anew, empty, and could be
    /// elected. -1 then: it is not eligible any more, nor is any other replica here.
    pub(crate) fn epoch_of_end(&self, hosting: &Hosting, broker_epoch: i64) -> i64 {
        let counted_on = |name: &TopicPartition| {
            let topic = hosting.image.topic(&name.topic);
            let partition = topic.and_then(|topic| topic.partition(name.partition));
            let node = self.options.node;
            partition.is_some_and(|it| it.is_in_sync(node) || it.elr.contains(&node))
        };
        // What the controller went by when this broker registered is known from that place in its log on.
        let behind = hosting.image.position.offset < broker_epoch;
        let lost = !hosting.damaged.is_empty() && (behind || hosting.damaged.iter().any(counted_on));
        if lost { -1 } else { broker_epoch }
    }

    /// The dir that the cluster believes this broker's replica to be in.
    pub(crate) fn assigned_dir(&self, image: &Image, id: TopicPartitionId) -> Option<Uuid> {
        image.partition_by_id(id.topic, id.partition)?.directory_of(self.options.node)
    }
}
