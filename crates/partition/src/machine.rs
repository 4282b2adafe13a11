//! One replica: who leads, what may be appended, how far it is replicated and readable.

use ottla_types::{LeaderEpoch, Millis, NO_LEADER, NodeId, Offset, ProducerId};

pub use self::words::{Admitted, AppendRefusal, Effects, Event, Role, Rules};
use crate::{
    BatchFacts, EpochEnd, FollowerFetch, LeaderEpochs, LeaderTerm, Origin, ProducerState, ProducerTable,
    TransactionEnd, Verdict, replication::Leader,
};

mod questions;
mod words;

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
