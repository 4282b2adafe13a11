//! One replica on one broker: the partition core over a simulated log. Mirrors `ottla-replica`: append, read, perform the
//! effects, acknowledge.

use std::collections::VecDeque;

use ottla_partition::{
    Admitted, Effects, EpochEnd, Event, FollowerFetch, IsrProposal, Origin, Partition, Role, Rules,
};
use ottla_types::{ErrorCode, LeaderEpoch, Millis, NO_LEADER, NodeId, Offset, TopicPartitionId};

use crate::{
    Fault,
    env::{Addr, Env, Note},
    log::{Batch, Log},
    message::{FetchPartition, FetchedPartition, Reader},
};

/// Whom an acknowledgement goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    Produce {
        to: Addr,
        id: u64,
        base_offset: Offset,
    },
    /// A shard's facts, by a number that the shard gave.
    Facts(u64),
}

/// A finished ticket.
pub(crate) type Done = (TopicPartitionId, Ticket, ErrorCode);

/// A sync under way.
#[derive(Debug)]
struct Sync {
    due: Millis,
    up_to: Offset,
    tickets: Vec<Ticket>,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) tp: TopicPartitionId,
    pub(crate) partition: Partition,
    waiting: VecDeque<(Offset, Ticket)>,
    syncs: Vec<Sync>,
    seen_high_watermark: Offset,
}

impl Replica {
    pub(crate) fn open(node: NodeId, tp: TopicPartitionId, log: &Log, rules: Rules) -> Self {
        let partition = Partition::new(
            node,
            rules,
            (0, log.end()),
            log.high_watermark(),
            log.epochs().clone(),
            log.producers(),
        );
        let seen_high_watermark = partition.high_watermark();
        Self { tp, partition, waiting: VecDeque::new(), syncs: Vec::new(), seen_high_watermark }
    }

    pub(crate) fn leads(&self) -> Option<LeaderEpoch> {
        match self.partition.role() {
            Role::Leader(epoch) => Some(epoch),
            Role::Follower { .. } => None,
        }
    }

    /// The leader this replica is to fetch from, and its epoch.
    pub(crate) fn follows(&self) -> Option<(NodeId, LeaderEpoch)> {
        match self.partition.role() {
            Role::Follower { leader, leader_epoch } if leader != NO_LEADER => Some((leader, leader_epoch)),
            _ => None,
        }
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        match self.partition.role() {
            Role::Leader(epoch) | Role::Follower { leader_epoch: epoch, .. } => epoch,
        }
    }

    /// Lets the core take an event and performs what comes out: `Replica::on` of the real driver.
    pub(crate) fn on(
        &mut self,
        env: &mut Env<'_>,
        log: &mut Log,
        event: Event,
        done: &mut Vec<Done>,
    ) -> Option<IsrProposal> {
        let before = self.leads();
        let mut effects = Effects::default();
        self.partition.on(env.now, event, &mut effects);
        self.perform(env, log, &mut effects);
        if let Some(epoch) = self.leads()
            && before != Some(epoch)
        {
            if env.has(Fault::ForgetProducers) {
                let event = Event::Truncated { end: log.end(), producers: Box::default() };
                self.partition.on(env.now, event, &mut effects);
            }
            env.note(Note::Led { tp: self.tp, epoch });
        }
        self.publish(env, log, &effects, done);
        effects.propose_isr
    }

    fn perform(&mut self, env: &mut Env<'_>, log: &mut Log, effects: &mut Effects) {
        if let Some(end) = effects.truncate_to {
            let high_watermark = self.partition.high_watermark();
            env.note(Note::Truncated { tp: self.tp, to: end, high_watermark });
            log.truncate_to(end);
            let producers = Box::new(log.producers());
            self.partition.on(Millis(0), Event::Truncated { end, producers }, effects);
            self.seen_high_watermark = self.seen_high_watermark.min(self.partition.high_watermark());
        }
        if let Some(at) = effects.start_over_at {
            let high_watermark = self.partition.high_watermark();
            env.note(Note::Truncated { tp: self.tp, to: at, high_watermark });
            log.truncate_to(0);
            assert_eq!(at, 0, "logs of the simulation start at 0");
            self.partition.on(Millis(0), Event::StartedOver { at }, effects);
            self.seen_high_watermark = self.seen_high_watermark.min(at);
        }
        if let Some((epoch, start)) = effects.assign_epoch {
            log.assign_epoch(epoch, start);
        }
    }

    fn publish(&mut self, env: &mut Env<'_>, log: &Log, effects: &Effects, done: &mut Vec<Done>) {
        if !effects.moved {
            return;
        }
        let (from, to) = (self.seen_high_watermark, self.partition.high_watermark());
        if to > from {
            self.seen_high_watermark = to;
            let (epoch, leads) = (self.epoch(), self.leads().is_some());
            env.note(Note::HighWatermark { tp: self.tp, epoch, leads, from, to });
        }
        if effects.resigned {
            let tp = self.tp;
            done.extend(self.waiting.drain(..).map(|(_, it)| (tp, it, ErrorCode::NOT_LEADER_OR_FOLLOWER)));
        }
        self.acknowledge(env, log, done);
    }

    /// The replica goes: who waits is told so. `ReplicaManager::retire` of the real driver.
    pub(crate) fn retire(&mut self, env: &mut Env<'_>, log: &mut Log, done: &mut Vec<Done>) {
        let leader_epoch = self.epoch();
        self.on(env, log, Event::Follow { leader: NO_LEADER, leader_epoch }, done);
        let syncs = std::mem::take(&mut self.syncs).into_iter().flat_map(|sync| sync.tickets);
        done.extend(syncs.map(|ticket| (self.tp, ticket, ErrorCode::NOT_LEADER_OR_FOLLOWER)));
    }

    fn acknowledge(&mut self, env: &mut Env<'_>, log: &Log, done: &mut Vec<Done>) {
        while let Some((end, ticket)) = self.waiting.front().copied()
            && end <= self.partition.high_watermark()
        {
            self.waiting.pop_front();
            assert!(self.partition.has_min_isr(), "{:?} committed with too few in sync", self.tp);
            if self.partition.is_alone() && !env.has(Fault::NoSyncWhenAlone) && log.synced() < end {
                self.sync(env, end, ticket);
            } else {
                self.acknowledged(env, end, ticket, done);
            }
        }
    }

    fn acknowledged(&self, env: &mut Env<'_>, end: Offset, ticket: Ticket, done: &mut Vec<Done>) {
        env.note(Note::Durable { tp: self.tp, end, alone: self.partition.is_alone() });
        done.push((self.tp, ticket, ErrorCode::NONE));
    }

    fn sync(&mut self, env: &mut Env<'_>, up_to: Offset, ticket: Ticket) {
        let took = env.rng.between(1, 20);
        self.syncs.push(Sync { due: env.now.plus(took), up_to, tickets: vec![ticket] });
    }

    /// Appends as leader: `ReplicaManager::append` of the real driver. `Ok(Some)` when it need not be waited for.
    pub(crate) fn append(
        &mut self,
        env: &mut Env<'_>,
        log: &mut Log,
        mut batch: Batch,
        (origin, ticket): (Origin, impl FnOnce(Offset) -> Ticket),
        done: &mut Vec<Done>,
    ) -> Result<Offset, ErrorCode> {
        let origin = if env.has(Fault::SkipSequenceCheck) { Origin::Coordinator } else { origin };
        let admitted = self.partition.admit(&batch.facts, origin, true).map_err(|refusal| refusal.code())?;
        match admitted {
            Admitted::Append { base_offset, leader_epoch } => {
                batch.facts.last_offset += base_offset - batch.facts.base_offset;
                batch.facts.base_offset = base_offset;
                batch.leader_epoch = leader_epoch;
                let facts = batch.facts;
                log.append(batch);
                let mut effects = Effects::default();
                self.partition.appended((env.now, env.wall), &facts, None, &mut effects);
                self.publish(env, log, &effects, done);
                self.wait(env, log, facts.last_offset + 1, ticket(base_offset), done);
                Ok(base_offset)
            }
            Admitted::Duplicate { base_offset, last_offset, .. } => {
                self.wait(env, log, last_offset + 1, ticket(base_offset), done);
                Ok(base_offset)
            }
        }
    }

    /// What acks=all of everything before `end` waits for.
    fn wait(&mut self, env: &mut Env<'_>, log: &Log, end: Offset, ticket: Ticket, done: &mut Vec<Done>) {
        let replicated = self.partition.high_watermark() >= end;
        if env.has(Fault::AckBeforeReplication) {
            done.push((self.tp, ticket, ErrorCode::NONE));
        } else if !replicated {
            let at = self.waiting.partition_point(|(waits_for, _)| *waits_for <= end);
            self.waiting.insert(at, (end, ticket));
        } else if self.partition.is_alone() && log.synced() < end && !env.has(Fault::NoSyncWhenAlone) {
            self.sync(env, end, ticket);
        } else {
            self.acknowledged(env, end, ticket, done);
        }
    }

    /// When time has something to say here.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.syncs.iter().map(|sync| sync.due).chain(self.partition.deadline()).min()
    }

    /// Time passed: syncs end, replicas that lag are looked for.
    pub(crate) fn on_time(
        &mut self,
        env: &mut Env<'_>,
        log: &mut Log,
        done: &mut Vec<Done>,
    ) -> Option<IsrProposal> {
        let (due, later) = std::mem::take(&mut self.syncs).into_iter().partition(|sync| sync.due <= env.now);
        self.syncs = later;
        let due: Vec<Sync> = due;
        for sync in due {
            log.sync_to(sync.up_to);
            done.extend(sync.tickets.into_iter().map(|ticket| (self.tp, ticket, ErrorCode::NONE)));
        }
        if self.partition.deadline().is_none_or(|at| at > env.now) {
            return None;
        }
        let mut effects = Effects::default();
        self.partition.on_deadline(env.now, &mut effects);
        self.publish(env, log, &effects, done);
        effects.propose_isr
    }

    /// Reads for a Fetch: `Replica::read` of the real driver and what the handler does around it.
    pub(crate) fn read(
        &mut self,
        env: &mut Env<'_>,
        log: &mut Log,
        reader: Reader,
        asked: &FetchPartition,
        done: &mut Vec<Done>,
    ) -> (FetchedPartition, Option<IsrProposal>) {
        let mut found = FetchedPartition {
            tp: self.tp,
            error: ErrorCode::NONE,
            diverging: None,
            high_watermark: self.partition.high_watermark(),
            log_start: self.partition.log_start(),
            log_end: self.partition.log_end(),
            batches: Vec::new(),
        };
        match self.check(env, asked) {
            Ok(None) => {}
            Ok(Some(end)) => {
                found.diverging = Some(end);
                return (found, None);
            }
            Err(error) => {
                found.error = error;
                return (found, None);
            }
        }
        let mut proposal = None;
        let bound = match reader {
            Reader::Consumer => self.partition.high_watermark(),
            Reader::Follower { broker, broker_epoch } => {
                let broker_epoch = if env.has(Fault::IgnoreBrokerEpochs) { -1 } else { broker_epoch };
                let names_epoch = asked.current_leader_epoch >= 0;
                if let Err(error) = self.partition.check_follower(broker, broker_epoch, names_epoch) {
                    found.error = error;
                    return (found, None);
                }
                let early = env.has(Fault::HighWatermarkEarly);
                let offset = if early { self.partition.log_end() } else { asked.from };
                let fetch = FollowerFetch { broker, broker_epoch, offset, log_start: 0 };
                proposal = self.on(env, log, Event::FollowerFetched(fetch), done);
                self.partition.log_end()
            }
        };
        found.high_watermark = self.partition.high_watermark();
        found.batches = log.read(asked.from, bound, 4);
        (found, proposal)
    }

    fn check(&self, env: &Env<'_>, asked: &FetchPartition) -> Result<Option<EpochEnd>, ErrorCode> {
        let (current, mine) = (asked.current_leader_epoch, self.epoch());
        let blind = env.has(Fault::IgnoreLeaderEpochs);
        if current >= 0 && current != mine && !blind {
            let old = current < mine;
            return Err(if old { ErrorCode::FENCED_LEADER_EPOCH } else { ErrorCode::UNKNOWN_LEADER_EPOCH });
        }
        if self.leads().is_none() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let log_end = self.partition.log_end();
        if asked.last_fetched_epoch >= 0 && !blind {
            match self.partition.epochs().divergence(asked.last_fetched_epoch, asked.from, log_end) {
                Some(end) if end == EpochEnd::UNKNOWN => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
                Some(end) => return Ok(Some(end)),
                None => {}
            }
        }
        if asked.from < self.partition.log_start() || asked.from > log_end {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        Ok(None)
    }

    /// Takes over what the leader sent: `append_as_follower` of the real driver.
    pub(crate) fn append_as_follower(
        &mut self,
        env: &mut Env<'_>,
        log: &mut Log,
        batches: Vec<Batch>,
        done: &mut Vec<Done>,
    ) {
        for batch in batches {
            if batch.facts.base_offset < self.partition.log_end() {
                // A batch that the fetch offset lies in the middle of.
                continue;
            }
            let (facts, leader_epoch) = (batch.facts, batch.leader_epoch);
            log.append(batch);
            let mut effects = Effects::default();
            self.partition.replicated(env.wall, &facts, leader_epoch, None, &mut effects);
            self.publish(env, log, &effects, done);
        }
    }
}
