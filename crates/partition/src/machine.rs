//! One replica: who leads, what may be appended, how far it is replicated and readable.

use ottla_types::{ErrorCode, LeaderEpoch, Millis, NO_LEADER, NodeId, Offset, ProducerId};

use crate::{
    BatchFacts, Brokers, EpochEnd, FollowerFetch, IsrAnswer, IsrProposal, LeaderEpochs, LeaderTerm, Origin,
    ProducerRefusal, ProducerState, ProducerTable, RemoteReplica, TransactionEnd, Verdict,
    replication::{FollowerCheck, Leader},
};

/// Settings that the rules depend on; may change while running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `min.insync.replicas`; capped by the number of replicas.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { min_insync_replicas: 1, replica_lag_time_max_ms: 30_000 }
    }
}

/// What happened to the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller made this broker the leader, or changed something while it is.
    Lead(LeaderTerm),
    /// The controller made another broker the leader; [`NO_LEADER`] when there is none.
    Follow {
        /// Who leads.
        leader: NodeId,
        /// Counts leaders.
        leader_epoch: LeaderEpoch,
    },
    /// The settings changed. [`Event::Lead`] brings its own.
    RulesChanged(Rules),
    /// How brokers stand with the controller changed.
    Brokers(Brokers),
    /// A follower asked for records.
    FollowerFetched(FollowerFetch),
    /// The controller answered an [`IsrProposal`].
    IsrAnswered {
        /// What it was asked.
        asked: IsrProposal,
        /// What it said.
        answer: IsrAnswer,
    },
    /// The leader said in a Fetch response how far all is replicated and where its log starts.
    LeaderSaid {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The leader said that histories differ from the end of this epoch on.
    Diverged(EpochEnd),
    /// The leader's log does not hold the offset after our log's end.
    OutOfRange {
        /// Where the leader's log starts.
        leader_start: Offset,
        /// Where it ends.
        leader_end: Offset,
    },
    /// The log was cut to end at `end`; `producers` is what the remaining log says.
    Truncated {
        /// The new log end.
        end: Offset,
        /// Rebuilt from a snapshot and the log.
        producers: Box<ProducerTable>,
    },
    /// The log was emptied; its next record gets this offset.
    StartedOver {
        /// Its start and end now.
        at: Offset,
    },
    /// Records before `to` are gone (retention, DeleteRecords).
    LogStartMoved {
        /// The new log start.
        to: Offset,
    },
}

/// What the driver has to do, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Cut the log to end here, then report [`Event::Truncated`].
    pub truncate_to: Option<Offset>,
    /// Empty the log and let it start here, then report [`Event::StartedOver`].
    pub start_over_at: Option<Offset>,
    /// Write this start of a leader epoch to the log's checkpoint.
    pub assign_epoch: Option<(LeaderEpoch, Offset)>,
    /// Advance the log start to this offset.
    pub advance_log_start: Option<Offset>,
    /// Ask the controller for another in-sync set.
    pub propose_isr: Option<IsrProposal>,
    /// Offsets or role changed: publish the view, wake who waits for it.
    pub moved: bool,
    /// This broker no longer leads: fail what waits for replication.
    pub resigned: bool,
}

/// Whether this broker leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads, in this epoch.
    Leader(LeaderEpoch),
    /// Another does ([`NO_LEADER`]: nobody).
    Follower {
        /// Who leads.
        leader: NodeId,
        /// Counts leaders; -1 before the first.
        leader_epoch: LeaderEpoch,
    },
}

/// A batch that may be appended, or that already has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Write it with this base offset and leader epoch, then call [`Partition::appended`].
    Append {
        /// Offset of its first record.
        base_offset: Offset,
        /// To be stamped into the batch.
        leader_epoch: LeaderEpoch,
    },
    /// It is in the log already.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its largest timestamp.
        timestamp: Millis,
    },
}

/// Why a batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// Another broker leads.
    #[error("this broker is not the leader of the partition")]
    NotLeader,
    /// acks=all, and fewer replicas are in sync than `min.insync.replicas` asks for.
    #[error(
        "The size of the current ISR {in_sync} is insufficient to satisfy the min.isr requirement of {required}"
    )]
    NotEnoughReplicas {
        /// How many are in sync.
        in_sync: usize,
        /// How many there must be.
        required: usize,
    },
    /// The producer rules say no.
    #[error(transparent)]
    Producer(#[from] ProducerRefusal),
}

impl AppendRefusal {
    /// Kafka's code on Produce.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
            Self::Producer(refusal) => refusal.code(),
        }
    }
}

#[derive(Clone, Debug)]
enum Office {
    Leader(Leader),
    Follower { leader: NodeId, leader_epoch: LeaderEpoch },
}

/// One replica of a partition.
#[derive(Clone, Debug)]
pub struct Partition {
    node: NodeId,
    rules: Rules,
    office: Office,
    log_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
    epochs: LeaderEpochs,
    producers: ProducerTable,
}

impl Partition {
    /// A replica on `node`, led by nobody, as its log was found. `high_watermark` is what the checkpoint says.
    #[must_use]
    pub fn new(
        node: NodeId,
        rules: Rules,
        (log_start, log_end): (Offset, Offset),
        high_watermark: Offset,
        epochs: LeaderEpochs,
        producers: ProducerTable,
    ) -> Self {
        let high_watermark = high_watermark.clamp(log_start, log_end);
        let office = Office::Follower { leader: NO_LEADER, leader_epoch: -1 };
        let mut partition =
            Self { node, rules, office, log_start, log_end, high_watermark, epochs, producers };
        partition.producers.high_watermark_moved(high_watermark);
        partition
    }

    /// The broker that hosts it.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// First offset that is there.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Offset of the next record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Every in-sync replica has all before this offset.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// All transactions with records before this offset are decided, and replicated so.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.producers.first_unstable().map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// Whether this broker leads.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.office {
            Office::Leader(leader) => Role::Leader(leader.leader_epoch),
            Office::Follower { leader, leader_epoch } => {
                Role::Follower { leader: *leader, leader_epoch: *leader_epoch }
            }
        }
    }

    /// The epochs of the log.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The idempotent producers.
    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// The idempotent producers, to expire some.
    pub fn producers_mut(&mut self) -> &mut ProducerTable {
        &mut self.producers
    }

    /// The in-sync set, as the leader knows it; empty on followers.
    #[must_use]
    pub fn isr(&self) -> &[NodeId] {
        match &self.office {
            Office::Leader(leader) => &leader.isr,
            Office::Follower { .. } => &[],
        }
    }

    /// The other replicas, as the leader knows them; empty on followers.
    #[must_use]
    pub fn remotes(&self) -> &[RemoteReplica] {
        match &self.office {
            Office::Leader(leader) => &leader.remotes,
            Office::Follower { .. } => &[],
        }
    }

    /// This broker leads and nobody else is in sync, nor about to be: its own disk is all there is.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        matches!(&self.office, Office::Leader(leader) if leader.is_alone())
    }

    /// The proposal that waits for the controller's answer.
    #[must_use]
    pub fn pending_isr(&self) -> Option<&IsrProposal> {
        match &self.office {
            Office::Leader(leader) => leader.pending(),
            Office::Follower { .. } => None,
        }
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
        let Office::Leader(leader) = &self.office else { return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
        match leader.check(broker, broker_epoch) {
            FollowerCheck::Welcome => Ok(()),
            FollowerCheck::NoReplica if names_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            FollowerCheck::NoReplica | FollowerCheck::Stale => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// Whether fetches of this follower have nothing to tell the leader until something is appended: it is in sync, has
    /// everything, and no change of the in-sync set is under way. Never on a broker that does not lead.
    #[must_use]
    pub fn is_settled(&self, broker: NodeId) -> bool {
        matches!(&self.office, Office::Leader(leader) if leader.is_settled(broker, self.log_end))
    }

    /// Enough replicas are in sync for acks=all. The high watermark moves only then (KIP-966).
    #[must_use]
    pub fn has_min_isr(&self) -> bool {
        match &self.office {
            Office::Leader(leader) => leader.isr.len() >= self.required(leader),
            Office::Follower { .. } => false,
        }
    }

    /// Decides about one batch. Changes nothing; of `batch` the base offset is not looked at.
    ///
    /// # Errors
    /// [`AppendRefusal`] carries Kafka's code: 6, 19, 45, 47, 48, 59.
    pub fn admit(
        &self,
        batch: &BatchFacts,
        origin: Origin,
        all_acks: bool,
    ) -> Result<Admitted, AppendRefusal> {
        let Office::Leader(leader) = &self.office else { return Err(AppendRefusal::NotLeader) };
        let (in_sync, required) = (leader.isr.len(), self.required(leader));
        if all_acks && in_sync < required {
            return Err(AppendRefusal::NotEnoughReplicas { in_sync, required });
        }
        let placed = BatchFacts { base_offset: self.log_end, ..*batch };
        Ok(match self.producers.check(&placed, origin)? {
            Verdict::Append => {
                Admitted::Append { base_offset: self.log_end, leader_epoch: leader.leader_epoch }
            }
            Verdict::Duplicate { base_offset, last_offset, timestamp } => {
                Admitted::Duplicate { base_offset, last_offset, timestamp }
            }
        })
    }

    /// The epoch of this leader, if it has taken nothing of the producer itself: all that there is of it, other leaders may
    /// have written or refused. None where nobody else ever could.
    #[must_use]
    pub fn inherited(&self, producer: ProducerId) -> Option<LeaderEpoch> {
        let Office::Leader(leader) = &self.office else { return None };
        let last = self.producers.get(producer).and_then(ProducerState::last_offset);
        let (epoch, start) = self.epochs.latest()?;
        let led_by_others = epoch == leader.leader_epoch && epoch > 0 && !leader.remotes.is_empty();
        (led_by_others && last.is_none_or(|last| last < start)).then_some(epoch)
    }

    /// A batch is in the log, as `batch` says; `end` when it is the end of a transaction. `wall` is the wall clock.
    pub fn appended(
        &mut self,
        (now, wall): (Millis, Millis),
        batch: &BatchFacts,
        end: Option<TransactionEnd>,
        out: &mut Effects,
    ) {
        assert!(batch.base_offset >= self.log_end, "offsets only grow");
        match end {
            Some(end) => {
                self.producers.record_end(batch, end, wall);
            }
            None => self.producers.record(batch, wall),
        }
        self.log_end = batch.last_offset + 1;
        self.advance(now);
        out.moved = true;
    }

    /// A batch that the leader appended in `epoch` is in our log, too. `wall` is the wall clock.
    pub fn replicated(
        &mut self,
        wall: Millis,
        batch: &BatchFacts,
        epoch: LeaderEpoch,
        end: Option<TransactionEnd>,
        out: &mut Effects,
    ) {
        assert!(matches!(self.office, Office::Follower { .. }), "a leader decides itself what it appends");
        self.epochs.assign(epoch, batch.base_offset);
        self.appended((Millis(0), wall), batch, end, out);
    }

    /// Something else happened.
    pub fn on(&mut self, now: Millis, event: Event, out: &mut Effects) {
        match event {
            Event::Lead(term) => self.lead(now, term, out),
            Event::Follow { leader, leader_epoch } => self.follow(leader, leader_epoch, out),
            Event::RulesChanged(rules) => {
                self.rules = rules;
                self.publish_if_advanced(now, out);
            }
            Event::Brokers(brokers) => {
                if let Office::Leader(leader) = &mut self.office {
                    leader.brokers_changed(brokers);
                    self.publish_if_advanced(now, out);
                }
            }
            Event::FollowerFetched(fetch) => self.follower_fetched(now, &fetch, out),
            Event::IsrAnswered { asked, answer } => {
                if let Office::Leader(leader) = &mut self.office {
                    leader.answered(&asked, answer);
                    self.publish_if_advanced(now, out);
                }
            }
            Event::LeaderSaid { high_watermark, log_start } => {
                self.leader_said(high_watermark, log_start, out)
            }
            Event::Diverged(end) => self.diverged(end, out),
            Event::OutOfRange { leader_start, leader_end } => {
                self.out_of_range(leader_start, leader_end, out)
            }
            Event::Truncated { end, producers } => self.truncated(end, *producers, out),
            Event::StartedOver { at } => self.started_over(at, out),
            Event::LogStartMoved { to } => self.log_start_moved(to, out),
        }
    }

    /// When [`on_deadline`](Self::on_deadline) wants to be called. `None` while this is the only replica.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        match &self.office {
            Office::Leader(leader) => leader.deadline(),
            Office::Follower { .. } => None,
        }
    }

    /// Time passed: replicas that lag are proposed for removal from the in-sync set.
    pub fn on_deadline(&mut self, now: Millis, out: &mut Effects) {
        if let Office::Leader(leader) = &mut self.office
            && leader.deadline().is_some_and(|at| at <= now)
        {
            out.propose_isr = leader.shrink(self.log_end, now, self.rules.replica_lag_time_max_ms);
            self.publish_if_advanced(now, out);
        }
    }

    fn required(&self, leader: &Leader) -> usize {
        self.rules.min_insync_replicas.min(leader.remotes.len() + 1)
    }

    fn lead(&mut self, now: Millis, term: LeaderTerm, out: &mut Effects) {
        let recovering = term.recovering;
        self.rules = term.rules;
        match &mut self.office {
            Office::Leader(leader) if leader.leader_epoch > term.leader_epoch => return,
            Office::Leader(leader) if leader.leader_epoch == term.leader_epoch => {
                leader.renew(self.node, term, now)
            }
            office => {
                let leader_epoch = term.leader_epoch;
                let lag = self.rules.replica_lag_time_max_ms;
                // Across a gap somebody else may have led, under whom followers have cut their logs.
                let before = match office {
                    Office::Leader(leader) if leader.leader_epoch + 1 == leader_epoch => Some(&*leader),
                    _ => None,
                };
                let leader = Leader::new(self.node, term, self.log_end, before, (now, lag));
                self.office = Office::Leader(leader);
                if self.epochs.assign(leader_epoch, self.log_end) {
                    out.assign_epoch = Some((leader_epoch, self.log_end));
                }
            }
        }
        if recovering && let Office::Leader(leader) = &mut self.office {
            out.propose_isr = leader.recovered();
        }
        self.advance(now);
        out.moved = true;
    }

    fn follow(&mut self, leader: NodeId, leader_epoch: LeaderEpoch, out: &mut Effects) {
        out.resigned = matches!(self.office, Office::Leader(_));
        out.moved = true;
        self.office = Office::Follower { leader, leader_epoch };
        if self.epochs.entries().is_empty() && self.log_end > self.high_watermark {
            // Without epochs histories cannot be compared: only what is known to be replicated stays.
            out.truncate_to = Some(self.high_watermark);
        }
    }

    fn follower_fetched(&mut self, now: Millis, fetch: &FollowerFetch, out: &mut Effects) {
        let Office::Leader(leader) = &mut self.office else { return };
        if leader.fetched(now, fetch, self.log_end) {
            out.propose_isr = leader.expand(fetch.broker, self.high_watermark);
            self.publish_if_advanced(now, out);
        }
    }

    fn leader_said(&mut self, high_watermark: Offset, log_start: Offset, out: &mut Effects) {
        if matches!(self.office, Office::Leader(_)) {
            return;
        }
        let reached = high_watermark.clamp(self.log_start, self.log_end);
        if reached > self.high_watermark {
            self.high_watermark = reached;
            self.producers.high_watermark_moved(reached);
            out.moved = true;
        }
        if log_start > self.log_start && log_start <= self.log_end {
            out.advance_log_start = Some(log_start);
        }
    }

    /// KIP-279: cut back to where the two histories still agree.
    fn diverged(&mut self, leaders: EpochEnd, out: &mut Effects) {
        if matches!(self.office, Office::Leader(_)) {
            return;
        }
        let ours = self.epochs.end_of(leaders.epoch, self.log_end);
        let agreed = if ours == EpochEnd::UNKNOWN {
            leaders.end_offset
        } else {
            ours.end_offset.min(leaders.end_offset)
        };
        out.truncate_to = Some(agreed.clamp(self.log_start, self.log_end));
    }

    /// Either the leader has less than we (it was elected uncleanly), or it no longer has what we lack.
    fn out_of_range(&mut self, leader_start: Offset, leader_end: Offset, out: &mut Effects) {
        if matches!(self.office, Office::Leader(_)) {
            return;
        }
        if leader_end < self.log_start {
            // Nothing of ours is in the leader's log.
            out.start_over_at = Some(leader_end.max(0));
        } else if leader_end < self.log_end {
            out.truncate_to = Some(leader_end);
        } else if leader_start > self.log_end {
            out.start_over_at = Some(leader_start);
        }
    }

    fn started_over(&mut self, at: Offset, out: &mut Effects) {
        self.log_start = at;
        self.log_end = at;
        self.high_watermark = at;
        self.epochs = LeaderEpochs::default();
        self.producers = ProducerTable::default();
        self.producers.high_watermark_moved(at);
        out.moved = true;
    }

    fn truncated(&mut self, end: Offset, producers: ProducerTable, out: &mut Effects) {
        self.log_end = end;
        self.log_start = self.log_start.min(end);
        self.high_watermark = self.high_watermark.min(end);
        self.epochs.truncate_to(end);
        self.producers = producers;
        self.producers.high_watermark_moved(self.high_watermark);
        out.moved = true;
    }

    fn log_start_moved(&mut self, to: Offset, out: &mut Effects) {
        if to <= self.log_start {
            return;
        }
        self.log_start = to;
        self.log_end = self.log_end.max(to);
        self.high_watermark = self.high_watermark.max(to);
        self.epochs.advance_start(to);
        self.producers.log_start_moved(to);
        out.moved = true;
    }

    fn publish_if_advanced(&mut self, now: Millis, out: &mut Effects) {
        out.moved |= self.advance(now);
    }

    /// Moves the high watermark to what the replicas have. It never goes back, and stands still while fewer are in
    /// sync than must be (KIP-966).
    fn advance(&mut self, now: Millis) -> bool {
        let Office::Leader(leader) = &self.office else { return false };
        if leader.isr.len() < self.required(leader) {
            return false;
        }
        let reached = leader.replicated_to(self.log_end, now, self.rules.replica_lag_time_max_ms);
        if reached <= self.high_watermark {
            return false;
        }
        self.high_watermark = reached;
        self.producers.high_watermark_moved(reached);
        true
    }
}
