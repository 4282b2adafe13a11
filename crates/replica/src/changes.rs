//! What changed since a follower looked last: a poll costs what changed, not what its session holds.
//!
//! A fetch session of a follower holds thousands of partitions, of which few change between two polls. Every replica
//! knows the [`Changes`] of the sessions that hold it, and enters itself there after it has published another view.
//! What does not show in a view (who leads, which brokers there are, failed dirs) counts up
//! [`ReplicaManager::generation`]: then sessions look at everything once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    },
};

use ottla_types::{NodeId, TopicPartitionId};
use parking_lot::Mutex;

use crate::{LongPoll, Replica, ReplicaManager, poll::Waiting};

/// Full looks at a session come at least so often, whatever `replica.lag.time.max.ms` is.
const WALK_MAX_MS: i64 = 5_000;

/// The replicas of one session that changed since they were last taken.
#[derive(Debug, Default)]
pub struct Changes {
    changed: Mutex<HashSet<TopicPartitionId>>,
    /// Counts appends, and what else followers must hear of.
    appends: AtomicU64,
    waiting: Waiting,
}

/// How many appends had been seen when the changes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Changes {
    /// What changed since the last call. Look at the replicas after this, not before.
    #[must_use]
    pub fn take(&self) -> (HashSet<TopicPartitionId>, Mark) {
        let mark = Mark(self.appends.load(Ordering::Acquire));
        (std::mem::take(&mut *self.changed.lock()), mark)
    }

    /// Counts what is appended to any of the replicas from here on towards `poll`. False when something was since
    /// `mark`: then look again rather than wait.
    #[must_use]
    pub fn watch(&self, poll: &LongPoll, mark: Mark) -> bool {
        self.waiting.register(poll.waiter());
        fence(Ordering::SeqCst);
        self.appends.load(Ordering::Acquire) == mark.0
    }

    /// A replica changed. `bytes`: what followers may fetch that they could not before; `None` for news that nobody waits for.
    pub fn add(&self, id: TopicPartitionId, bytes: Option<usize>) {
        self.changed.lock().insert(id);
        if let Some(bytes) = bytes {
            self.appends.fetch_add(1, Ordering::AcqRel);
            self.waiting.notify(bytes);
        }
    }
}

/// The sessions that hold a replica. Empty and without memory while no follower has one.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    list: Mutex<Vec<Weak<Changes>>>,
    /// Length of the list, to be looked at without the lock.
    count: AtomicUsize,
}

impl Watchers {
    /// Call after the view that shows it was published.
    pub(crate) fn changed(&self, id: TopicPartitionId, bytes: Option<usize>) {
        // Pairs with the fence in `add`: either we see the session or it sees the view.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut list = self.list.lock();
        list.retain(|held| held.upgrade().inspect(|changes| changes.add(id, bytes)).is_some());
        self.count.store(list.len(), Ordering::Relaxed);
    }

    fn add(&self, changes: &Arc<Changes>) {
        let mut list = self.list.lock();
        if !list.iter().any(|held| std::ptr::eq(held.as_ptr(), Arc::as_ptr(changes))) {
            list.retain(|held| held.strong_count() > 0);
            list.reserve_exact(1);
            list.push(Arc::downgrade(changes));
            self.count.store(list.len(), Ordering::Relaxed);
        }
        drop(list);
        fence(Ordering::SeqCst);
    }
}

impl Replica {
    /// Enters itself into `changes` whenever it changes from here on: look at it after this, not before.
    pub fn report_to(&self, changes: &Arc<Changes>) {
        self.waiters.watchers.add(changes);
    }

    /// Whether a fetch of this follower from where it was last would change nothing until the view does: it is in
    /// sync, it has everything, and no change of the in-sync set is under way.
    #[must_use]
    pub fn is_settled(&self, broker: NodeId) -> bool {
        self.with(|owned| owned.partition.is_settled(broker))
    }
}

impl ReplicaManager {
    /// Another number after every change of what is not in the replicas' views.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// How often (ms) a follower's session is to be looked at as a whole: often enough that nobody who keeps asking
    /// seems to lag after a long time in which nothing was appended.
    #[must_use]
    pub fn walk_ms(&self) -> i64 {
        (self.options.replica_lag_time_max_ms / 4).clamp(1, WALK_MAX_MS)
    }
}
