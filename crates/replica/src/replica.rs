//! One hosted partition.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use ottla_partition::{Effects, EpochEnd, Event, Partition, ProducerState, Role};
use ottla_records::Batch;
use ottla_storage::{Log, LogReader, ReadError};
use ottla_types::{
    Clock, ErrorCode, LeaderEpoch, Millis, NodeId, Offset, ProducerId, TopicId, TopicPartition,
    TopicPartitionId,
};
use parking_lot::{Mutex, MutexGuard};

use crate::{AckFsync, TopicSettings, dirs::Dir, moves::Future, poll::Waiters, ticket::Pending};

/// What readers may know of a partition, consistent in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// First offset that is there.
    pub log_start: Offset,
    /// What read_committed consumers may read below.
    pub last_stable_offset: Offset,
    /// What consumers may read below.
    pub high_watermark: Offset,
    /// Offset of the next record: what followers may read below.
    pub log_end: Offset,
    /// Who leads; -1 when nobody does.
    pub leader: NodeId,
    /// Counts leaders; -1 before the first.
    pub leader_epoch: LeaderEpoch,
    /// First offset of the newest epoch in the log; 0 when there is none.
    pub epoch_start: Offset,
    /// This broker leads.
    pub is_leader: bool,
    /// There are aborted transactions in the log.
    pub has_aborted: bool,
}

/// Whom a change concerns that waits.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "somebody may wait for it"]
pub(crate) struct Woken {
    /// Bytes that followers may fetch now.
    replicable: Option<usize>,
    /// Bytes that consumers may read now.
    readable: Option<usize>,
    everybody: bool,
    /// The view is another.
    moved: bool,
}

/// What the lock guards.
pub(crate) struct Owned {
    pub(crate) partition: Partition,
    /// Gone when the partition was removed from this broker.
    pub(crate) log: Option<Log>,
    /// The copy in another log dir that is to take the log's place.
    pub(crate) future: Option<Arc<Future>>,
    /// Acknowledgements that wait for the high watermark to reach an offset, in order.
    pub(crate) waiting: VecDeque<(Offset, Arc<Pending>)>,
    /// Bytes appended that the high watermark has not passed.
    pub(crate) unseen_bytes: usize,
    /// Bytes appended that followers have not been woken for.
    pub(crate) unsent_bytes: usize,
    /// Records appended since the last flush that `flush.messages` or `flush.ms` asked for.
    pub(crate) unflushed: i64,
}

/// Where the log of a replica is.
pub(crate) struct Place {
    pub(crate) dir: Arc<Dir>,
    pub(crate) reader: Arc<LogReader>,
}

/// One partition on this broker.
pub struct Replica {
    pub(crate) name: TopicPartition,
    pub(crate) topic_id: TopicId,
    /// Where its log is: another place once it was moved.
    place: ArcSwap<Place>,
    pub(crate) settings: ArcSwap<TopicSettings>,
    pub(crate) waiters: Waiters,
    /// The high watermark moved since Kafka's checkpoint files were written.
    pub(crate) moved: AtomicBool,
    /// In the upkeep's list of logs to be flushed.
    pub(crate) flush_planned: AtomicBool,
    owned: Mutex<Owned>,
    view: Mutex<View>,
}

impl Replica {
    pub(crate) fn new(
        topic_id: TopicId,
        dir: Arc<Dir>,
        log: Log,
        partition: Partition,
        settings: Arc<TopicSettings>,
    ) -> Arc<Self> {
        let view = view_of(&partition);
        Arc::new(Self {
            name: log.partition().clone(),
            topic_id,
            place: ArcSwap::from_pointee(Place { dir, reader: log.reader() }),
            settings: ArcSwap::new(settings),
            waiters: Waiters::default(),
            moved: AtomicBool::new(false),
            flush_planned: AtomicBool::new(false),
            owned: Mutex::new(Owned {
                partition,
                log: Some(log),
                future: None,
                waiting: VecDeque::new(),
                unseen_bytes: 0,
                unsent_bytes: 0,
                unflushed: 0,
            }),
            view: Mutex::new(view),
        })
    }

    /// Where its log is at the moment.
    pub(crate) fn place(&self) -> Guard<Arc<Place>> {
        self.place.load()
    }

    /// Its log is here from now on. Only under the lock.
    pub(crate) fn moved_to(&self, place: Place) {
        self.place.store(Arc::new(place));
    }

    /// The same once a move that is being completed has been.
    fn place_after_moving(&self) -> Arc<Place> {
        // Whoever moves it holds the lock until its new place is known.
        self.with(|_| ());
        self.place.load_full()
    }

    /// Asks the log. A dir that fails at it goes offline; but a log that was moved meanwhile is asked where it is now.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR`; `NOT_LEADER_OR_FOLLOWER` when the log was removed; `OFFSET_OUT_OF_RANGE` as the log says.
    pub(crate) fn ask_log<T>(
        &self,
        mut ask: impl FnMut(&Arc<LogReader>) -> Result<T, ReadError>,
    ) -> Result<T, ErrorCode> {
        loop {
            let place = self.place.load_full();
            let fault = match ask(&place.reader) {
                Ok(answer) => return Ok(answer),
                Err(ReadError::OutOfRange { .. }) => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
                Err(ReadError::Fault(fault)) => fault,
            };
            if !place.reader.is_removed() {
                place.dir.fail(&fault);
                return Err(ErrorCode::KAFKA_STORAGE_ERROR);
            }
            // A move that failed at its end leaves it where it was.
            if Arc::ptr_eq(&place, &self.place_after_moving()) && place.reader.is_removed() {
                return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
        }
    }

    /// Topic name and partition number.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// Topic id and partition number.
    #[must_use]
    pub fn id(&self) -> TopicPartitionId {
        TopicPartitionId { topic: self.topic_id, partition: self.name.partition }
    }

    /// Offsets and leader as last published.
    #[must_use]
    pub fn view(&self) -> View {
        *self.view.lock()
    }

    /// The topic's settings.
    #[must_use]
    pub fn settings(&self) -> Arc<TopicSettings> {
        self.settings.load_full()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.place().reader.size()
    }

    /// Whole batches from the one that holds `from` up to the log's end as it is now, for coordinators that load: a new
    /// leader has what was acknowledged before it has heard how far that is. Memory is bounded by the largest batch and
    /// the reader's chunk.
    pub fn batches(self: &Arc<Self>, from: Offset) -> impl Iterator<Item = Result<Batch, ReadError>> + use<> {
        let (end, replica, mut place) = (self.view().log_end, Arc::clone(self), self.place.load_full());
        let (mut next, mut batches) = (from, place.reader.batches_from(from));
        std::iter::from_fn(move || {
            loop {
                match batches.next()? {
                    Ok(batch) if batch.header.base_offset >= end => return None,
                    Ok(batch) => {
                        next = batch.header.next_offset();
                        return Some(Ok(batch));
                    }
                    Err(error) => {
                        let now = replica.place_after_moving();
                        if !place.reader.is_removed() || Arc::ptr_eq(&now, &place) {
                            return Some(Err(error));
                        }
                        place = now;
                        batches = place.reader.batches_from(next);
                    }
                }
            }
        })
    }

    /// Whether a follower's fetch is to be answered. `names_epoch`: it names the leader epoch it believes in, and that
    /// one was checked.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when another broker leads or the follower has been started anew since (KIP-903);
    /// `UNKNOWN_LEADER_EPOCH` for a follower that has heard of its replica before we have.
    pub fn check_follower(
        &self,
        broker: NodeId,
        broker_epoch: i64,
        names_epoch: bool,
    ) -> Result<(), ErrorCode> {
        self.owned.lock().partition.check_follower(broker, broker_epoch, names_epoch)
    }

    /// OffsetForLeaderEpoch: the largest epoch not after `epoch`, and where it ends.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> EpochEnd {
        let owned = self.owned.lock();
        owned.partition.epochs().end_of(epoch, owned.partition.log_end())
    }

    /// What is known of the idempotent producers (DescribeProducers).
    #[must_use]
    pub fn producers(&self) -> Vec<(ProducerId, ProducerState)> {
        self.owned.lock().partition.producers().iter().map(|(id, state)| (id, state.clone())).collect()
    }

    /// Kafka's check of the leader epoch a client believes in (KIP-320); a negative one (none) always passes but for
    /// one below -1 where the caller wants that.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`.
    pub fn check_epoch(view: &View, current: LeaderEpoch) -> Result<(), ErrorCode> {
        if current < 0 || current == view.leader_epoch {
            Ok(())
        } else if current < view.leader_epoch {
            Err(ErrorCode::FENCED_LEADER_EPOCH)
        } else {
            Err(ErrorCode::UNKNOWN_LEADER_EPOCH)
        }
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Owned) -> T) -> T {
        f(&mut self.owned.lock())
    }

    /// Lets the machine take an event and performs what comes out. True when it proposes an in-sync set.
    pub(crate) fn on(&self, clock: &dyn Clock, event: Event) -> bool {
        self.take(self.owned.lock(), clock, event)
    }

    /// The same, but only in this term as leader: what was found out in another one may not hold any more.
    pub(crate) fn on_in_term(&self, epoch: LeaderEpoch, clock: &dyn Clock, event: Event) -> bool {
        let owned = self.owned.lock();
        owned.partition.role() == Role::Leader(epoch) && self.take(owned, clock, event)
    }

    fn take(&self, mut owned: MutexGuard<'_, Owned>, clock: &dyn Clock, event: Event) -> bool {
        let mut effects = Effects::default();
        owned.partition.on(clock.ticks(), event, &mut effects);
        self.perform(&mut owned, &mut effects);
        let woken = self.publish(&mut owned, &effects);
        drop(owned);
        self.wake(woken);
        effects.propose_isr.is_some()
    }

    /// True when it proposes an in-sync set.
    pub(crate) fn on_deadline(&self, now: Millis) -> bool {
        let mut owned = self.owned.lock();
        if owned.partition.deadline().is_none_or(|at| at > now) {
            return false;
        }
        let mut effects = Effects::default();
        owned.partition.on_deadline(now, &mut effects);
        let woken = self.publish(&mut owned, &effects);
        drop(owned);
        self.wake(woken);
        effects.propose_isr.is_some()
    }

    /// Does to the log what the machine decided, and tells it.
    pub(crate) fn perform(&self, owned: &mut Owned, effects: &mut Effects) {
        let Some(log) = &mut owned.log else { return };
        let future = owned.future.as_deref();
        if let Some(end) = effects.truncate_to {
            let (before, high_watermark) = (owned.partition.log_end(), owned.partition.high_watermark());
            tracing::info!("{}: truncated from {before} to {end}: the leader's history differs", self.name);
            if end < high_watermark {
                tracing::warn!("{}: truncated below the high watermark {high_watermark}", self.name);
            }
            match log.truncate_to(end) {
                Ok(()) => {
                    let blank = owned.partition.producers().is_blank();
                    let producers = if blank { Default::default() } else { crate::load::replay(log) };
                    let event = Event::Truncated { end, producers: Box::new(producers) };
                    owned.partition.on(Millis(0), event, effects);
                }
                Err(fault) => self.place().dir.fail(&fault),
            }
            if let Some(future) = future {
                future.truncate_to(end);
            }
        }
        if let Some(at) = effects.start_over_at {
            tracing::info!("{}: starts over at {at}, where the leader's log starts", self.name);
            if let Some(future) = future {
                future.truncate_to(0);
            }
            match log.truncate_fully_and_start_at(at) {
                Ok(()) => owned.partition.on(Millis(0), Event::StartedOver { at }, effects),
                Err(fault) => self.place().dir.fail(&fault),
            }
        }
        if let Some((epoch, start)) = effects.assign_epoch {
            log.assign_epoch(epoch, start);
        }
        if let Some(to) = effects.advance_log_start {
            match log.advance_log_start(to) {
                Ok(()) => owned.partition.on(Millis(0), Event::LogStartMoved { to }, effects),
                Err(fault) => self.place().dir.fail(&fault),
            }
        }
    }

    /// Makes what changed visible and finishes acknowledgements that waited for it. Call [`wake`](Self::wake) with what
    /// it returns once the lock is released.
    pub(crate) fn publish(&self, owned: &mut Owned, effects: &Effects) -> Woken {
        if !effects.moved {
            return Woken::default();
        }
        let view = view_of(&owned.partition);
        let before = std::mem::replace(&mut *self.view.lock(), view);
        if view.high_watermark != before.high_watermark {
            self.moved.store(true, Ordering::Relaxed);
        }
        if effects.resigned {
            for (_, pending) in owned.waiting.drain(..) {
                pending.fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
        }
        self.acknowledge(owned, view.high_watermark);
        let mut woken = Woken { everybody: effects.resigned, moved: view != before, ..Woken::default() };
        if view.log_end > before.log_end {
            woken.replicable = Some(std::mem::take(&mut owned.unsent_bytes));
        }
        if view.high_watermark > before.high_watermark {
            woken.readable = Some(owned.unseen_bytes);
        }
        if view.high_watermark >= view.log_end {
            owned.unseen_bytes = 0;
        }
        woken
    }

    pub(crate) fn wake(&self, woken: Woken) {
        if woken.everybody {
            self.waiters.watchers.changed(self.id(), Some(usize::MAX));
            return self.waiters.wake_all();
        }
        if woken.moved {
            self.waiters.watchers.changed(self.id(), woken.replicable.map(|bytes| bytes.max(1)));
        }
        // At least one: what was there before the start has no count.
        if let Some(bytes) = woken.replicable {
            self.waiters.followers.notify(bytes.max(1));
        }
        if let Some(bytes) = woken.readable {
            self.waiters.consumers.notify(bytes.max(1));
        }
    }

    fn acknowledge(&self, owned: &mut Owned, high_watermark: Offset) {
        while let Some((end, _)) = owned.waiting.front()
            && *end <= high_watermark
        {
            let (end, pending) = owned.waiting.pop_front().expect("there is a first");
            // It moves only while enough are in sync (KIP-966), and whoever waits hears of it under the same lock: what in
            // Kafka is a race, and told as NOT_ENOUGH_REPLICAS_AFTER_APPEND, cannot come up.
            debug_assert!(owned.partition.has_min_isr(), "the high watermark of {} moved", self.name);
            if owned.partition.is_alone() && self.place().dir.acks_all_fsync == AckFsync::Alone {
                // Everybody else left the in-sync set meanwhile.
                self.place().dir.syncer.sync(Arc::clone(&self.place().reader), end, pending);
            } else {
                pending.step();
            }
        }
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("name", &self.name)
            .field("view", &self.view())
            .finish_non_exhaustive()
    }
}

fn view_of(partition: &Partition) -> View {
    let (leader, leader_epoch, is_leader) = match partition.role() {
        Role::Leader(epoch) => (partition.node(), epoch, true),
        Role::Follower { leader, leader_epoch } => (leader, leader_epoch, false),
    };
    View {
        log_start: partition.log_start(),
        last_stable_offset: partition.last_stable_offset(),
        high_watermark: partition.high_watermark(),
        log_end: partition.log_end(),
        leader,
        leader_epoch,
        epoch_start: partition.epochs().latest().map_or(0, |(_, start)| start),
        is_leader,
        has_aborted: partition.producers().has_aborted(),
    }
}
