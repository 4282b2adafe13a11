//! What is done from time to time, for all partitions by one thread: checkpoints, `flush.ms`, producer expiry, lag.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use ottla_types::Millis;
use parking_lot::{Condvar, Mutex};

use crate::{ProducerExpirationOf, Replica, ReplicaManager};

/// The longest sleep: what is not planned for a time (lag of replicas) is looked at so often.
const TICK_MS: i64 = 1_000;

struct Planned {
    at: Millis,
    replica: Weak<Replica>,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[derive(Default)]
struct Plan {
    flushes: BinaryHeap<Reverse<Planned>>,
    next_checkpoint: Millis,
    next_high_watermarks: Millis,
    next_expiry: Millis,
    stopped: bool,
    /// Something happened that is to be looked at now.
    urgent: bool,
}

/// The plan, and the thread that works on it.
#[derive(Default)]
pub(crate) struct Upkeep {
    plan: Mutex<Plan>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Bytes appended since the last checkpoint: what a restart after a kill would have to check.
    unchecked: AtomicU64,
}

impl Upkeep {
    /// Takes note of an append; wakes the thread when a checkpoint is due for the amount.
    pub(crate) fn appended(&self, bytes: usize, options: &crate::ReplicaOptions) {
        let before = self.unchecked.fetch_add(bytes as u64, Ordering::Relaxed);
        if before < options.checkpoint_bytes && before + bytes as u64 >= options.checkpoint_bytes {
            // Under the lock, or the thread could miss it between looking and sleeping.
            let _plan = self.plan.lock();
            self.changed.notify_one();
        }
    }

    /// There is something to look at now.
    pub(crate) fn wake(&self) {
        self.plan.lock().urgent = true;
        self.changed.notify_one();
    }

    /// Flushes `replica` at `at`, unless that is planned already.
    pub(crate) fn plan_flush(&self, replica: &Arc<Replica>, at: Millis) {
        if replica.flush_planned.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut plan = self.plan.lock();
        let sooner = plan.flushes.peek().is_none_or(|Reverse(first)| at < first.at);
        plan.flushes.push(Reverse(Planned { at, replica: Arc::downgrade(replica) }));
        drop(plan);
        if sooner {
            self.changed.notify_one();
        }
    }

    /// Starts the thread; it holds the manager weakly.
    pub(crate) fn start(manager: &Arc<ReplicaManager>) -> std::io::Result<()> {
        let now = manager.clock.ticks();
        {
            let mut plan = manager.upkeep.plan.lock();
            plan.next_checkpoint = now.plus(manager.options.checkpoint_ms);
            plan.next_high_watermarks = now.plus(manager.options.high_watermark_checkpoint_ms);
            plan.next_expiry = now.plus(manager.options.producer_id_expiration_check_ms);
        }
        let (weak, checkpoint_bytes) = (Arc::downgrade(manager), manager.options.checkpoint_bytes);
        let thread = std::thread::Builder::new().name("replica-upkeep".into()).spawn(move || {
            while let Some(manager) = weak.upgrade() {
                let wait = manager.upkeep(manager.clock.ticks());
                let upkeep = Arc::clone(&manager.upkeep);
                drop(manager);
                let mut plan = upkeep.plan.lock();
                if plan.stopped {
                    return;
                }
                // Asked again under the lock: what grew since is not waited over.
                let much = upkeep.unchecked.load(Ordering::Relaxed) >= checkpoint_bytes;
                if !much && !plan.urgent {
                    upkeep.changed.wait_for(&mut plan, wait);
                }
                plan.urgent = false;
                if plan.stopped {
                    return;
                }
            }
        })?;
        *manager.upkeep.thread.lock() = Some(thread);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.plan.lock().stopped = true;
        self.changed.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }

    /// Takes what is due: (logs to flush, checkpoint, high watermarks, expiry).
    fn due(&self, now: Millis, options: &crate::ReplicaOptions) -> (Vec<Arc<Replica>>, bool, bool, bool) {
        let mut plan = self.plan.lock();
        let mut flushes = Vec::new();
        while plan.flushes.peek().is_some_and(|Reverse(first)| first.at <= now) {
            let Reverse(first) = plan.flushes.pop().expect("peeked");
            flushes.extend(first.replica.upgrade());
        }
        let due = |at: &mut Millis, every: i64| {
            let due = *at <= now;
            if due {
                *at = now.plus(every.max(1));
            }
            due
        };
        let plan = &mut *plan;
        let much = self.unchecked.load(Ordering::Relaxed) >= options.checkpoint_bytes;
        if much {
            plan.next_checkpoint = now;
        }
        (
            flushes,
            due(&mut plan.next_checkpoint, options.checkpoint_ms),
            due(&mut plan.next_high_watermarks, options.high_watermark_checkpoint_ms),
            due(&mut plan.next_expiry, options.producer_id_expiration_check_ms),
        )
    }

    fn wait(&self, now: Millis) -> Duration {
        let plan = self.plan.lock();
        let flush = plan.flushes.peek().map_or(TICK_MS, |Reverse(first)| first.at.since(now));
        Duration::from_millis(flush.clamp(1, TICK_MS).unsigned_abs())
    }
}

impl ReplicaManager {
    fn producer_id_expiration_ms(&self) -> i64 {
        let Some(ProducerExpirationOf(of)) = &self.options.producer_id_expiration_of else {
            return self.options.producer_id_expiration_ms;
        };
        let image = Arc::clone(&self.hosting.lock().image);
        of(&image)
    }

    /// Does what is due at `now` (monotonic) and says how long nothing will be. The manager's own thread calls this;
    /// public for those that hold time in their hands.
    pub fn upkeep(&self, now: Millis) -> Duration {
        let (flushes, checkpoint, high_watermarks, expiry) = self.upkeep.due(now, &self.options);
        for replica in flushes {
            flush(&replica);
        }
        if expiry {
            let (wall, after_ms) = (self.clock.wall(), self.producer_id_expiration_ms());
            self.each(|replica| {
                replica.with(|owned| owned.partition.producers_mut().expire(wall, after_ms));
            });
        }
        self.mourn_failed_dirs();
        self.create_refused();
        self.check_lag(now);
        if checkpoint {
            self.checkpoint_stores();
        }
        if high_watermarks {
            self.checkpoint_high_watermarks();
        }
        self.upkeep.wait(now)
    }

    /// Writes indexes, producers, recovery points and Kafka's checkpoint files for every log that changed.
    pub fn checkpoint(&self) {
        self.checkpoint_stores();
        self.checkpoint_high_watermarks();
    }

    /// What a start needs: how far the logs are known to be sound. Kafka's files, each of them synced, are not for that.
    fn checkpoint_stores(&self) {
        self.upkeep.unchecked.store(0, Ordering::Relaxed);
        for dir in self.dirs.iter().filter(|dir| !dir.is_offline()) {
            for reader in dir.dir.dirty() {
                if let Some(replica) = self.by_name(reader.partition()) {
                    snapshot(&replica);
                }
            }
            if let Err(fault) = dir.dir.checkpoint() {
                dir.fail(&fault);
            }
        }
    }

    fn checkpoint_high_watermarks(&self) {
        let mut any = false;
        self.each(|replica| {
            if replica.moved.swap(false, Ordering::Relaxed) {
                any = true;
                let high_watermark = replica.view().high_watermark;
                replica.with(|owned| {
                    if let Some(log) = &owned.log {
                        log.set_high_watermark(high_watermark);
                    }
                });
            }
        });
        if !any {
            return;
        }
        for dir in self.dirs.iter().filter(|dir| !dir.is_offline()) {
            if let Err(fault) = dir.dir.write_kafka_checkpoints() {
                dir.fail(&fault);
            }
        }
    }

    fn check_lag(&self, now: Millis) {
        // Only leaders with other replicas have a deadline; a broker that is alone has none to visit.
        for replica in self.followed_leaders() {
            // Nobody knows what is in it: who is in sync is for the controller to say.
            if replica.is_offline() {
                continue;
            }
            if replica.on_deadline(now) {
                self.propose(replica.id());
            }
        }
    }
}

pub(crate) fn snapshot(replica: &Replica) {
    replica.with(|owned| {
        let producers = owned.partition.producers();
        let bytes = if producers.is_blank() { bytes::Bytes::new() } else { producers.snapshot() };
        let end = owned.partition.log_end();
        if let Some(log) = &mut owned.log {
            log.set_producer_snapshot(end, bytes);
        }
    });
}

fn flush(replica: &Replica) {
    // Cleared first: an append from here on plans the next one.
    replica.flush_planned.store(false, Ordering::Release);
    replica.with(|owned| owned.unflushed = 0);
    let place = replica.place();
    if let Err(fault) = place.reader.sync_up_to(place.reader.log_end()) {
        place.dir.fail(&fault);
    }
}
