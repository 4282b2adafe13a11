//! All partitions of this broker, and how they are found.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use ottla_metadata::Image;
use ottla_partition::{Brokers, Event, FollowerFetch, IsrAnswer, IsrProposal};
use ottla_storage::{Fault, LogDir};
use ottla_types::{Clock, NodeId, TopicId, TopicPartition, TopicPartitionId};
use parking_lot::{Mutex, RwLock};

use crate::{
    LeadershipListener, Replica, ReplicaOptions, TopicSettings,
    fetcher::Replication,
    load::{Finder, Found},
    replica::{Dir, report},
    sync::Syncer,
    upkeep::{Upkeep, snapshot},
};

/// A topic of which this broker holds replicas.
#[derive(Debug)]
pub struct HostedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// By partition number; `None` for those that other brokers hold.
    pub(crate) partitions: Vec<Option<Arc<Replica>>>,
}

impl HostedTopic {
    /// The replica of this partition, if this broker holds one.
    #[must_use]
    pub fn partition(&self, partition: i32) -> Option<&Arc<Replica>> {
        usize::try_from(partition).ok().and_then(|at| self.partitions.get(at)).and_then(Option::as_ref)
    }

    /// The replicas that this broker holds.
    pub fn replicas(&self) -> impl Iterator<Item = &Arc<Replica>> {
        self.partitions.iter().flatten()
    }
}

/// Topics by id and name. Replaced as a whole, read without a lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    pub(crate) by_id: HashMap<TopicId, Arc<HostedTopic>>,
    pub(crate) by_name: HashMap<Arc<str>, Arc<HostedTopic>>,
}

/// Everything that changes with the metadata image; one thread at a time.
pub(crate) struct Hosting {
    pub(crate) image: Arc<Image>,
    /// Logs found at the start that no image has claimed yet.
    pub(crate) unclaimed: HashMap<TopicPartition, (Arc<Dir>, Found)>,
    /// Partitions whose logs are damaged: not served, and not created anew, until somebody has looked at them.
    pub(crate) damaged: HashSet<TopicPartition>,
    pub(crate) first: bool,
    /// What a topic gets that says nothing.
    pub(crate) defaults: TopicSettings,
    /// How the brokers stand in the image.
    pub(crate) brokers: Brokers,
}

/// This broker's replicas.
pub struct ReplicaManager {
    pub(crate) options: ReplicaOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dirs: Vec<Arc<Dir>>,
    pub(crate) registry: ArcSwap<Registry>,
    pub(crate) hosting: Mutex<Hosting>,
    pub(crate) upkeep: Arc<Upkeep>,
    /// Leaders that other brokers follow: the only ones whose time passes.
    pub(crate) with_followers: Mutex<Vec<Weak<Replica>>>,
    pub(crate) listeners: RwLock<Vec<LeadershipListener>>,
    /// In-sync set changes to be asked of the controller: the newest per partition.
    pub(crate) proposals: Mutex<HashMap<TopicPartitionId, IsrProposal>>,
    /// Epoch of this broker's registration; -1 before.
    pub(crate) broker_epoch: AtomicI64,
    /// What fetches from leaders and asks the controller, once there is a network.
    pub(crate) replication: OnceLock<Replication>,
}

impl ReplicaManager {
    /// Opens every log of `dirs`, several at a time, and starts the threads that sync and keep up. No partition is
    /// served before [`apply_image`](Self::apply_image) has claimed it; one whose log is damaged is not served at all.
    ///
    /// # Errors
    /// When a dir cannot be loaded; [`Fault::Duplicate`] for a partition that is in two of them.
    pub fn open(
        options: ReplicaOptions,
        dirs: Vec<LogDir>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Fault> {
        let mut hosted = Vec::new();
        let mut unclaimed = HashMap::new();
        let mut places = HashMap::new();
        let mut damaged = HashSet::new();
        for (number, dir) in dirs.into_iter().enumerate() {
            let finder = Finder::new(Arc::clone(&options.defaults.log), clock.wall());
            dir.load(&finder)?;
            let dir = Arc::new(Self::host(number, dir, &options)?);
            let (found, unopened) = finder.into_found();
            for name in found.iter().map(|found| found.log.partition()).chain(&unopened) {
                let second = dir.dir.path().join(name.to_string());
                if let Some(first) = places.insert(name.clone(), second.clone()) {
                    return Err(Fault::Duplicate { first, second });
                }
            }
            damaged.extend(unopened);
            for found in found {
                unclaimed.insert(found.log.partition().clone(), (Arc::clone(&dir), found));
            }
            hosted.push(dir);
        }
        let defaults = options.defaults.clone();
        let manager = Arc::new(Self {
            options,
            clock,
            dirs: hosted,
            registry: ArcSwap::default(),
            hosting: Mutex::new(Hosting {
                image: Arc::new(Image::new()),
                unclaimed,
                damaged,
                first: true,
                defaults,
                brokers: Brokers::default(),
            }),
            upkeep: Arc::default(),
            with_followers: Mutex::default(),
            listeners: RwLock::default(),
            proposals: Mutex::default(),
            broker_epoch: AtomicI64::new(-1),
            replication: OnceLock::new(),
        });
        Upkeep::start(&manager).map_err(thread_fault(&manager.dirs))?;
        Ok(manager)
    }

    fn host(number: usize, dir: LogDir, options: &ReplicaOptions) -> Result<Dir, Fault> {
        let offline = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&offline);
        let path = dir.path().to_path_buf();
        let syncer = Syncer::start(&format!("log-sync-{number}"), move |fault| report(&flag, fault))
            .map_err(|source| Fault::Io { op: "start the sync thread for", path, source })?;
        Ok(Dir { number, dir, syncer, offline, acks_all_fsync: options.acks_all_fsync })
    }

    /// This broker.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.options.node
    }

    /// The topic of this name, if this broker holds replicas of it.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<Arc<HostedTopic>> {
        self.registry.load().by_name.get(name).cloned()
    }

    /// The topic of this id, if this broker holds replicas of it.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<Arc<HostedTopic>> {
        self.registry.load().by_id.get(&id).cloned()
    }

    /// The replica of a partition.
    #[must_use]
    pub fn by_name(&self, name: &TopicPartition) -> Option<Arc<Replica>> {
        self.registry.load().by_name.get(&name.topic)?.partition(name.partition).cloned()
    }

    /// The replica of a partition.
    #[must_use]
    pub fn by_id(&self, id: TopicPartitionId) -> Option<Arc<Replica>> {
        self.registry.load().by_id.get(&id.topic)?.partition(id.partition).cloned()
    }

    /// Calls `f` with every replica.
    pub fn each(&self, mut f: impl FnMut(&Arc<Replica>)) {
        let registry = self.registry.load_full();
        registry.by_id.values().flat_map(|topic| topic.replicas()).for_each(&mut f);
    }

    /// A follower fetched `replica` from `fetch.offset` on, so it has all before. One that
    /// [`Replica::check_follower`] turns away changes nothing.
    pub fn follower_fetched(&self, replica: &Replica, fetch: FollowerFetch) {
        if let Some(proposal) = replica.on(&*self.clock, Event::FollowerFetched(fetch)) {
            self.propose(replica.id(), proposal);
        }
    }

    /// What the controller is to be asked (AlterPartition). Whoever sends it reports with
    /// [`isr_answered`](Self::isr_answered).
    #[must_use]
    pub fn take_isr_proposals(&self) -> Vec<(TopicPartitionId, IsrProposal)> {
        std::mem::take(&mut *self.proposals.lock()).into_iter().collect()
    }

    /// The controller answered a proposal.
    pub fn isr_answered(&self, id: TopicPartitionId, asked: IsrProposal, answer: IsrAnswer) {
        if let Some(replica) = self.by_id(id) {
            replica.on(&*self.clock, Event::IsrAnswered { asked, answer });
        }
    }

    pub(crate) fn propose(&self, id: TopicPartitionId, proposal: IsrProposal) {
        self.proposals.lock().insert(id, proposal);
        if let Some(replication) = self.replication.get() {
            replication.proposals_came();
        }
    }

    /// Leaders that others follow; those that do not lead any more are let go.
    pub(crate) fn followed_leaders(&self) -> Vec<Arc<Replica>> {
        let mut leaders = Vec::new();
        self.with_followers.lock().retain(|held| {
            let Some(replica) = held.upgrade() else { return false };
            if !replica.view().is_leader {
                replica.followed.store(false, Ordering::Release);
                return false;
            }
            leaders.push(replica);
            true
        });
        leaders
    }

    /// Log dirs that failed since the start.
    #[must_use]
    pub fn failed_dirs(&self) -> usize {
        self.dirs.iter().filter(|dir| dir.is_offline()).count()
    }

    /// Serves what still waits for the disk, closes every log and marks the dirs clean. Appends and reads from here
    /// on find no leader.
    ///
    /// # Errors
    /// The first fault; the other dirs are closed all the same.
    pub fn close(&self, broker_epoch: i64) -> Result<(), Fault> {
        self.halt();
        let mut result = Ok(());
        let registry = self.registry.swap(Arc::default());
        for replica in registry.by_id.values().flat_map(|topic| topic.replicas()) {
            snapshot(replica);
            let high_watermark = replica.view().high_watermark;
            if let Some(log) = self.retire(replica) {
                log.set_high_watermark(high_watermark);
                result = result.and(log.close());
            }
        }
        let unclaimed = std::mem::take(&mut self.hosting.lock().unclaimed);
        for (_, (_, found)) in unclaimed {
            result = result.and(found.log.close());
        }
        for dir in self.dirs.iter().filter(|dir| !dir.is_offline()) {
            result = result.and(dir.dir.clone().close(broker_epoch));
        }
        result
    }

    /// Ends this manager's threads and leaves the disk as it is: as after a crash.
    pub fn halt(&self) {
        if let Some(replication) = self.replication.get() {
            replication.stop();
        }
        self.upkeep.stop();
        for dir in &self.dirs {
            dir.syncer.stop();
        }
    }

    /// Takes the log away from a replica: whoever waits is told, whoever comes finds no leader.
    pub(crate) fn retire(&self, replica: &Replica) -> Option<ottla_storage::Log> {
        let epoch = replica.view().leader_epoch;
        replica.on(&*self.clock, Event::Follow { leader: ottla_types::NO_LEADER, leader_epoch: epoch });
        replica.with(|owned| owned.log.take())
    }

    /// The dir with the fewest replicas that still works.
    pub(crate) fn emptiest_dir(&self, counts: &mut [usize]) -> Option<Arc<Dir>> {
        let dirs = self.dirs.iter().filter(|dir| !dir.offline.load(Ordering::Acquire));
        let dir = dirs.min_by_key(|dir| counts[dir.number])?;
        counts[dir.number] += 1;
        Some(Arc::clone(dir))
    }
}

impl Drop for ReplicaManager {
    fn drop(&mut self) {
        if let Some(replication) = self.replication.get() {
            replication.stop();
        }
        self.upkeep.stop();
    }
}

impl std::fmt::Debug for ReplicaManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaManager").field("node", &self.options.node).finish_non_exhaustive()
    }
}

fn thread_fault(dirs: &[Arc<Dir>]) -> impl FnOnce(std::io::Error) -> Fault {
    let path = dirs.first().map(|dir| dir.dir.path().to_path_buf()).unwrap_or_default();
    move |source| Fault::Io { op: "start the upkeep thread for", path, source }
}
