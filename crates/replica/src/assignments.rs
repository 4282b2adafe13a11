//! What the controller is to be told of replicas' log dirs (KIP-858).

use std::{collections::HashMap, sync::atomic::Ordering};

use ottla_metadata::Image;
use ottla_types::TopicPartitionId;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{ReplicaManager, dirs::knows_dirs};

/// Kafka puts no more than so many into a request.
pub(crate) const MOST: usize = 2_250;

/// A dir for each of some replicas.
pub(crate) type Dirs = HashMap<TopicPartitionId, Uuid>;

/// What was not told yet, and what is being told.
pub(crate) struct Assignments {
    inner: Mutex<Inner>,
    /// How many the controller has not taken.
    left: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    wanted: Dirs,
    asked: Dirs,
}

impl Default for Assignments {
    fn default() -> Self {
        Self { inner: Mutex::default(), left: watch::Sender::new(0) }
    }
}

impl Assignments {
    /// False when the same is on its way already.
    fn want(&self, id: TopicPartitionId, dir: Uuid) -> bool {
        let mut inner = self.inner.lock();
        if inner.wanted.get(&id).or(inner.asked.get(&id)) == Some(&dir) {
            return false;
        }
        inner.wanted.insert(id, dir);
        self.count(&inner);
        true
    }

    /// Takes some to be told.
    pub(crate) fn take(&self) -> Dirs {
        let mut inner = self.inner.lock();
        let ids: Vec<_> = inner.wanted.keys().take(MOST).copied().collect();
        let taken = ids.into_iter().filter_map(|id| Some((id, inner.wanted.remove(&id)?)));
        let taken: Dirs = taken.collect();
        inner.asked.clone_from(&taken);
        taken
    }

    /// Of what was taken, the controller is asked for these only: the rest is as if it had not been wanted.
    fn asks(&self, asked: &Dirs) {
        let mut inner = self.inner.lock();
        inner.asked.clone_from(asked);
        self.count(&inner);
    }

    /// What was taken was told, but for `again`; what was wanted meanwhile is newer.
    pub(crate) fn told(&self, again: Dirs) {
        let mut inner = self.inner.lock();
        inner.asked.clear();
        for (id, dir) in again {
            inner.wanted.entry(id).or_insert(dir);
        }
        self.count(&inner);
    }

    fn count(&self, inner: &Inner) {
        self.left.send_replace(inner.wanted.len() + inner.asked.len());
    }
}

impl ReplicaManager {
    /// Tells the controller that this broker's replica is in `dir`; later, if it cannot be now.
    pub(crate) fn assign(&self, image: &Image, id: TopicPartitionId, dir: Uuid) {
        if !knows_dirs(image) || !self.assignments.want(id, dir) {
            return;
        }
        if let Some(replication) = self.replication.get() {
            replication.assignments_came();
        }
    }

    /// Returns when the controller knows the log dirs of all replicas here.
    pub async fn dirs_assigned(&self) {
        // It fails only when there is no sender any more, which is here.
        let _ = self.assignments.left.subscribe().wait_for(|left| *left == 0).await;
    }

    /// Takes what is to be told now: not what the cluster knows, nor what is no affair of this broker any more.
    pub(crate) fn take_assignments(&self) -> Dirs {
        if self.broker_epoch.load(Ordering::Acquire) < 0 {
            return Dirs::new();
        }
        // Held all the time: the next image must not find on its way what is left out because this one has it.
        let hosting = self.hosting.lock();
        loop {
            let taken = self.assignments.take();
            if taken.is_empty() {
                return taken;
            }
            let (known, unknown): (Dirs, Dirs) = taken
                .iter()
                .filter_map(|(id, dir)| Some((*id, *dir, self.assigned_dir(&hosting.image, *id)?)))
                .map(|(id, dir, assigned)| ((id, dir), dir == assigned))
                .fold(Default::default(), |(mut known, mut unknown), (one, is_known)| {
                    if is_known { &mut known } else { &mut unknown }.extend([one]);
                    (known, unknown)
                });
            self.assignments.asks(&unknown);
            for (id, dir) in known {
                self.dir_taken(id, dir);
            }
            if !unknown.is_empty() {
                return unknown;
            }
        }
    }

    /// The controller knows now where the replica is, or goes.
    pub(crate) fn dir_taken(&self, id: TopicPartitionId, dir: Uuid) {
        let Some(replica) = self.by_id(id) else { return };
        replica.with(|owned| {
            if let Some(future) = owned.future.as_ref().filter(|future| future.dir.id() == Some(dir)) {
                future.assigned.store(true, Ordering::Release);
            }
        });
        self.moves.wake();
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::TopicId;

    use super::*;

    #[test]
    fn what_is_on_its_way_is_not_wanted_twice_and_what_is_not_asked_for_can_be_wanted_again() {
        let id = |partition| TopicPartitionId { topic: TopicId::METADATA, partition };
        let (assignments, a, b) = (Assignments::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(assignments.want(id(0), a) && assignments.want(id(1), a));
        assert!(!assignments.want(id(0), a));
        assert_eq!(assignments.take().len(), 2);
        // The cluster knows of one of them.
        assignments.asks(&Dirs::from([(id(1), a)]));
        assert_eq!(*assignments.left.borrow(), 1);
        assert!(!assignments.want(id(1), a));
        assert!(assignments.want(id(0), a), "the next image says something else");
        assert!(assignments.want(id(1), b));
        // The controller could not be asked: what was wanted meanwhile is newer.
        assignments.told(Dirs::from([(id(1), a)]));
        assert_eq!(assignments.take(), Dirs::from([(id(0), a), (id(1), b)]));
    }
}
