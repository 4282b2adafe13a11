//! The leader's view of the other replicas, and the in-sync set (KIP-497, KIP-841, KIP-903, KIP-966).

use ottla_types::{LeaderEpoch, Millis, NodeId, Offset};

/// What the controller says about the partition when this broker leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderTerm {
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes of the partition's record: what an AlterPartition must name.
    pub partition_epoch: i32,
    /// All replicas, this broker among them.
    pub replicas: Vec<NodeId>,
    /// The in-sync ones.
    pub isr: Vec<NodeId>,
}

/// A change of the in-sync set that the controller is to decide on (AlterPartition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The state this is based on.
    pub partition_epoch: i32,
    /// The in-sync set wanted.
    pub isr: Vec<NodeId>,
}

/// What came of an [`IsrProposal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsrAnswer {
    /// Decided: this is the in-sync set now.
    Decided {
        /// The epoch after the change.
        partition_epoch: i32,
        /// The in-sync set.
        isr: Vec<NodeId>,
    },
    /// Not taken; may be proposed again when the reason for it still holds.
    Refused,
}

/// Another replica, as its fetches show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteReplica {
    /// Its broker.
    pub broker: NodeId,
    /// It has everything before this offset; -1 while unknown.
    pub log_end: Offset,
    /// It had all the leader had at this time.
    pub last_caught_up: Millis,
    last_fetch: Millis,
    leader_end_at_last_fetch: Offset,
}

impl RemoteReplica {
    fn new(broker: NodeId, last_caught_up: Millis) -> Self {
        Self { broker, log_end: -1, last_caught_up, last_fetch: Millis(0), leader_end_at_last_fetch: 0 }
    }

    fn fetched(&mut self, now: Millis, offset: Offset, leader_end: Offset) {
        if offset >= leader_end {
            self.last_caught_up = self.last_caught_up.max(now);
        } else if offset >= self.leader_end_at_last_fetch {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.log_end = offset;
        self.last_fetch = now;
        self.leader_end_at_last_fetch = leader_end;
    }

    fn is_caught_up(&self, leader_end: Offset, now: Millis, lag_max_ms: i64) -> bool {
        self.log_end == leader_end || now.since(self.last_caught_up) <= lag_max_ms
    }
}

/// A term as leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: i32,
    pub(crate) isr: Vec<NodeId>,
    pub(crate) remotes: Vec<RemoteReplica>,
    /// First offset of this term: a follower joins the in-sync set only from here on.
    term_start: Offset,
    /// The proposal under way. Until it is answered the larger of both sets counts.
    pending: Option<IsrProposal>,
    next_check: Millis,
}

impl Leader {
    pub(crate) fn new(
        node: NodeId,
        term: LeaderTerm,
        term_start: Offset,
        now: Millis,
        lag_max_ms: i64,
    ) -> Self {
        let remotes = term.replicas.iter().filter(|broker| **broker != node);
        let remotes = remotes
            .map(|broker| {
                // In-sync replicas get a whole lag time to show themselves.
                RemoteReplica::new(
                    *broker,
                    if term.isr.contains(broker) { now } else { Millis(i64::MIN / 2) },
                )
            })
            .collect();
        Self {
            leader_epoch: term.leader_epoch,
            partition_epoch: term.partition_epoch,
            isr: term.isr,
            remotes,
            term_start,
            pending: None,
            next_check: now.plus(lag_max_ms / 2),
        }
    }

    /// The same term with another in-sync set or other replicas, as the controller published it.
    pub(crate) fn renew(&mut self, node: NodeId, term: LeaderTerm, now: Millis) {
        if term.partition_epoch < self.partition_epoch {
            return;
        }
        self.partition_epoch = term.partition_epoch;
        self.remotes.retain(|remote| term.replicas.contains(&remote.broker));
        for broker in term.replicas {
            if broker != node && !self.remotes.iter().any(|remote| remote.broker == broker) {
                self.remotes.push(RemoteReplica::new(broker, now));
            }
        }
        self.isr = term.isr;
        self.pending = None;
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.isr.len() <= 1 && self.pending.is_none()
    }

    fn counts(&self, broker: NodeId) -> bool {
        self.isr.contains(&broker) || self.pending.as_ref().is_some_and(|asked| asked.isr.contains(&broker))
    }

    /// The offset that every replica which counts has reached.
    pub(crate) fn replicated_to(&self, leader_end: Offset, now: Millis, lag_max_ms: i64) -> Offset {
        let holds_back = |remote: &&RemoteReplica| {
            // Who is about to join is waited for, or it would never catch up with the high watermark.
            self.counts(remote.broker) || remote.is_caught_up(leader_end, now, lag_max_ms)
        };
        self.remotes
            .iter()
            .filter(holds_back)
            .map(|remote| remote.log_end.max(0))
            .fold(leader_end, Offset::min)
    }

    /// Notes a follower's fetch at `offset`. False when that broker is no replica of the partition.
    pub(crate) fn fetched(
        &mut self,
        now: Millis,
        broker: NodeId,
        offset: Offset,
        leader_end: Offset,
    ) -> bool {
        let Some(remote) = self.remotes.iter_mut().find(|remote| remote.broker == broker) else {
            return false;
        };
        remote.fetched(now, offset, leader_end);
        true
    }

    /// Whether the replica that just fetched belongs into the in-sync set: then the proposal to make.
    pub(crate) fn expand(&mut self, broker: NodeId, high_watermark: Offset) -> Option<IsrProposal> {
        if self.pending.is_some() || self.isr.contains(&broker) {
            return None;
        }
        let remote = self.remotes.iter().find(|remote| remote.broker == broker)?;
        if remote.log_end < high_watermark || remote.log_end < self.term_start {
            return None;
        }
        let mut isr = self.isr.clone();
        isr.push(broker);
        Some(self.propose(isr))
    }

    /// When [`shrink`](Self::shrink) wants to be called: never when nobody else holds a replica.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        (!self.remotes.is_empty()).then_some(self.next_check)
    }

    /// Looks for in-sync replicas that have fallen behind.
    pub(crate) fn shrink(&mut self, leader_end: Offset, now: Millis, lag_max_ms: i64) -> Option<IsrProposal> {
        self.next_check = now.plus((lag_max_ms / 2).max(1));
        if self.pending.is_some() {
            return None;
        }
        let behind = |broker: &NodeId| {
            self.remotes
                .iter()
                .any(|remote| remote.broker == *broker && !remote.is_caught_up(leader_end, now, lag_max_ms))
        };
        let isr: Vec<_> = self.isr.iter().copied().filter(|broker| !behind(broker)).collect();
        (isr.len() < self.isr.len()).then(|| self.propose(isr))
    }

    fn propose(&mut self, isr: Vec<NodeId>) -> IsrProposal {
        let asked =
            IsrProposal { leader_epoch: self.leader_epoch, partition_epoch: self.partition_epoch, isr };
        self.pending = Some(asked.clone());
        asked
    }

    pub(crate) fn answered(&mut self, answer: IsrAnswer) {
        match answer {
            IsrAnswer::Decided { partition_epoch, isr } if partition_epoch >= self.partition_epoch => {
                self.partition_epoch = partition_epoch;
                self.isr = isr;
                self.pending = None;
            }
            IsrAnswer::Decided { .. } => {}
            IsrAnswer::Refused => self.pending = None,
        }
    }
}
