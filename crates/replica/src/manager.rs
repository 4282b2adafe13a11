//! All partitions of this broker, and how they are found.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicI64, AtomicU64},
    },
};

use arc_swap::ArcSwap;
use ottla_metadata::Image;
use ottla_partition::{Brokers, Event, FollowerFetch, IsrAnswer, IsrProposal};
use ottla_storage::{Fault, Log, LogDir};
use ottla_types::{Clock, LeaderEpoch, NodeId, TopicId, TopicPartition, TopicPartitionId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{
    DirSettings, LeadershipListener, Replica, ReplicaOptions, TopicSettings,
    assignments::Assignments,
    dirs::Dir,
    fetcher::Replication,
    followed::Followed,
    load::{Finder, Found, Loaded},
    moves::Moves,
    throttle::Throttles,
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
    /// Copies found at the start, whose logs no image has claimed yet or are in a dir that is offline.
    pub(crate) futures: HashMap<TopicPartition, (Arc<Dir>, Log)>,
    /// Partitions that could not be created for want of file descriptors: tried again.
    pub(crate) refused: HashSet<TopicPartition>,
    /// Numbers of the dirs where replicas are to go that are not here yet (AlterReplicaLogDirs).
    pub(crate) preferred: HashMap<TopicPartition, usize>,
    /// Replicas are being closed, or have been: what the metadata says now is for the next start.
    pub(crate) closed: bool,
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
    pub(crate) dir_settings: ArcSwap<DirSettings>,
    /// How many dirs are offline, once that has had its effect.
    pub(crate) failures: watch::Sender<usize>,
    pub(crate) moves: Arc<Moves>,
    pub(crate) throttles: Throttles,
    pub(crate) assignments: Assignments,
    pub(crate) me: Weak<Self>,
    pub(crate) registry: ArcSwap<Registry>,
    pub(crate) hosting: Mutex<Hosting>,
    pub(crate) upkeep: Arc<Upkeep>,
    /// Leaders that other brokers follow: the only ones whose time passes.
    pub(crate) with_followers: Followed<Replica>,
    pub(crate) listeners: RwLock<Vec<LeadershipListener>>,
    /// Partitions whose in-sync set the controller is to be asked to change; into what, they say themselves by then.
    pub(crate) proposals: Mutex<HashSet<TopicPartitionId>>,
    /// Epoch of this broker's registration; -1 before.
    pub(crate) broker_epoch: AtomicI64,
    /// Counts changes that no replica's view shows.
    pub(crate) generation: AtomicU64,
    /// What fetches from leaders and asks the controller, once there is a network.
    pub(crate) replication: OnceLock<Replication>,
}

impl ReplicaManager {
    /// Opens every log of `dirs`, several at a time, and starts the threads that sync and keep up. No partition is
    /// served before [`apply_image`](Self::apply_image) has claimed it; one whose log is damaged is not served at all. A
    /// dir that cannot be loaded is offline from the start, while another one works.
    ///
    /// # Errors
    /// When no dir can be loaded; [`Fault::Duplicate`] for a partition that is in two of them.
    pub fn open(
        options: ReplicaOptions,
        dirs: Vec<LogDir>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Fault> {
        let upkeep = Arc::new(Upkeep::default());
        let (dirs, logs) = load(dirs, &options, &upkeep, &*clock)?;
        let hosting = Hosting {
            image: Arc::new(Image::new()),
            unclaimed: logs.unclaimed,
            damaged: logs.damaged,
            futures: logs.futures,
            refused: HashSet::new(),
            preferred: HashMap::new(),
            closed: false,
            first: true,
            defaults: options.defaults.clone(),
            brokers: Brokers::default(),
        };
        let manager = Arc::new_cyclic(|me| Self {
            dir_settings: ArcSwap::from_pointee(options.dirs.clone()),
            failures: watch::Sender::new(options.offline_dirs.len()),
            throttles: Throttles::new(&options.replication, options.throttle_window),
            options,
            clock,
            dirs,
            moves: Arc::default(),
            assignments: Assignments::default(),
            me: Weak::clone(me),
            registry: ArcSwap::default(),
            hosting: Mutex::new(hosting),
            upkeep,
            with_followers: Followed::default(),
            listeners: RwLock::default(),
            proposals: Mutex::default(),
            broker_epoch: AtomicI64::new(-1),
            generation: AtomicU64::new(0),
            replication: OnceLock::new(),
        });
        Upkeep::start(&manager).map_err(thread_fault(&manager.dirs))?;
        Ok(manager)
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

    /// A follower fetched `replica` from `fetch.offset` on, so it has all before, as the log was in the term `epoch`: that of
    /// the view by which it was answered. One that comes late, when this broker has led anew and may have cut its log
    /// meanwhile, changes nothing; nor does one that [`Replica::check_follower`] turns away.
    pub fn follower_fetched(&self, replica: &Replica, epoch: LeaderEpoch, fetch: FollowerFetch) {
        if replica.on_in_term(epoch, &*self.clock, Event::FollowerFetched(fetch)) {
            self.propose(replica.id());
        }
    }

    /// What the controller is to be asked (AlterPartition), of leaders that still wait for an answer. Whoever sends it
    /// reports with [`isr_answered`](Self::isr_answered).
    #[must_use]
    pub fn take_isr_proposals(&self) -> Vec<(TopicPartitionId, IsrProposal)> {
        let waiting = std::mem::take(&mut *self.proposals.lock());
        let pending = |id| self.by_id(id)?.with(|owned| owned.partition.pending_isr().cloned());
        waiting.into_iter().filter_map(|id| Some((id, pending(id)?))).collect()
    }

    /// The controller answered a proposal.
    pub fn isr_answered(&self, id: TopicPartitionId, asked: IsrProposal, answer: IsrAnswer) {
        if let Some(replica) = self.by_id(id) {
            replica.on(&*self.clock, Event::IsrAnswered { asked, answer });
        }
    }

    /// The leader has something to propose, or still has. Not what: whoever comes here is no longer under its lock, and
    /// may be late with something that was overtaken.
    pub(crate) fn propose(&self, id: TopicPartitionId) {
        self.proposals.lock().insert(id);
        if let Some(replication) = self.replication.get() {
            replication.proposals_came();
        }
    }

    /// Leaders that others follow; those that do not lead any more are let go.
    pub(crate) fn followed_leaders(&self) -> Vec<Arc<Replica>> {
        self.with_followers.those_that(|replica| replica.view().is_leader)
    }

    /// Serves what still waits for the disk, closes every log and marks the dirs clean, with this epoch unless a replica
    /// that the cluster counts on is damaged. Appends and reads from here on find no leader.
    ///
    /// # Errors
    /// The first fault; the other dirs are closed all the same.
    pub fn close(&self, broker_epoch: i64) -> Result<(), Fault> {
        self.halt();
        let broker_epoch = {
            let mut hosting = self.hosting.lock();
            hosting.closed = true;
            self.epoch_of_end(&hosting, broker_epoch)
        };
        let mut result = Ok(());
        let registry = self.registry.swap(Arc::default());
        for replica in registry.by_id.values().flat_map(|topic| topic.replicas()) {
            snapshot(replica);
            let high_watermark = replica.view().high_watermark;
            let (offline, future) = (replica.is_offline(), replica.with(|owned| owned.future.take()));
            if let Some(log) = self.retire(replica)
                && !offline
            {
                log.set_high_watermark(high_watermark);
                result = result.and(log.close());
            }
            if let Some(future) = future
                && !future.dir.is_offline()
                && let Some(log) = future.take()
            {
                result = result.and(log.close());
            }
        }
        let (unclaimed, futures) = {
            let mut hosting = self.hosting.lock();
            (std::mem::take(&mut hosting.unclaimed), std::mem::take(&mut hosting.futures))
        };
        let unclaimed = unclaimed.into_values().map(|(dir, found)| (dir, found.log));
        for (_, log) in unclaimed.chain(futures.into_values()).filter(|(dir, _)| !dir.is_offline()) {
            result = result.and(log.close());
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
        self.moves.stop();
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
}

impl Drop for ReplicaManager {
    fn drop(&mut self) {
        if let Some(replication) = self.replication.get() {
            replication.stop();
        }
        self.moves.stop();
        self.upkeep.stop();
    }
}

impl std::fmt::Debug for ReplicaManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaManager").field("node", &self.options.node).finish_non_exhaustive()
    }
}

/// What was found in all dirs.
#[derive(Default)]
struct Logs {
    unclaimed: HashMap<TopicPartition, (Arc<Dir>, Found)>,
    futures: HashMap<TopicPartition, (Arc<Dir>, Log)>,
    damaged: HashSet<TopicPartition>,
}

fn load(
    dirs: Vec<LogDir>,
    options: &ReplicaOptions,
    upkeep: &Arc<Upkeep>,
    clock: &dyn Clock,
) -> Result<(Vec<Arc<Dir>>, Logs), Fault> {
    let (mut hosted, mut logs, mut places) = (Vec::new(), Logs::default(), HashMap::new());
    let (count, mut failed) = (dirs.len(), 0);
    for (number, dir) in dirs.into_iter().enumerate() {
        let dir = Arc::new(Dir::open(number, dir, options, upkeep)?);
        hosted.push(Arc::clone(&dir));
        let finder = Finder::new(Arc::clone(&options.defaults.log), clock.wall());
        if let Err(fault) = dir.dir.load(&finder) {
            failed += 1;
            if failed == count || fault.is_want_of_files() {
                return Err(fault);
            }
            dir.fail(&fault);
            continue;
        }
        let Loaded { found, futures, damaged } = finder.into_loaded();
        for name in found.iter().map(|found| found.log.partition()).chain(&damaged) {
            let second = dir.dir.path().join(name.to_string());
            if let Some(first) = places.insert(name.clone(), second.clone()) {
                return Err(Fault::Duplicate { first, second });
            }
        }
        logs.damaged.extend(damaged);
        logs.unclaimed.extend(
            found.into_iter().map(|found| (found.log.partition().clone(), (Arc::clone(&dir), found))),
        );
        for Found { log, .. } in futures {
            if logs.futures.contains_key(log.partition()) {
                tracing::warn!(
                    "A second copy of {} is removed: {}",
                    log.partition(),
                    log.reader().path().display()
                );
                dir.dir.remove_log(log)?;
            } else {
                logs.futures.insert(log.partition().clone(), (Arc::clone(&dir), log));
            }
        }
    }
    Ok((hosted, logs))
}

fn thread_fault(dirs: &[Arc<Dir>]) -> impl FnOnce(std::io::Error) -> Fault {
    let path = dirs.first().map(|dir| dir.dir.path().to_path_buf()).unwrap_or_default();
    move |source| Fault::Io { op: "start the upkeep thread for", path, source }
}
