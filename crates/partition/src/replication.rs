//! The leader's view of the other replicas, and the in-sync set (KIP-497, KIP-841, KIP-903, KIP-966).

use std::{collections::BTreeMap, sync::Arc};

use ottla_types::{LeaderEpoch, Millis, NodeId, Offset};

use crate::Rules;

/// How a broker stands with the controller, as far as the leader has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerStanding {
    /// Of its registration: new with every start of the broker.
    pub epoch: i64,
    /// Neither fenced nor shutting down.
    pub active: bool,
}

/// The registered brokers: who may join an in-sync set (KIP-841, KIP-903). The default knows nothing and lets
/// everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers(Option<Arc<BTreeMap<NodeId, BrokerStanding>>>);

impl Brokers {
    /// Those that are registered; others may not join.
    #[must_use]
    pub fn new(registered: impl IntoIterator<Item = (NodeId, BrokerStanding)>) -> Self {
        Self(Some(Arc::new(registered.into_iter().collect())))
    }

    /// Whether a request of `broker` with this epoch comes from an incarnation that is gone; -1 for no epoch.
    fn is_stale(&self, broker: NodeId, epoch: i64) -> bool {
        let known = self.0.as_ref().and_then(|brokers| brokers.get(&broker));
        epoch != NO_BROKER_EPOCH && known.is_some_and(|known| known.epoch > epoch)
    }

    /// Whether the broker that fetched with this epoch may be in sync; `None` when it has not fetched.
    fn may_join(&self, broker: NodeId, fetched_with: Option<i64>) -> bool {
        let Some(brokers) = &self.0 else { return true };
        brokers.get(&broker).is_some_and(|known| {
            known.active && fetched_with.is_some_and(|with| with == NO_BROKER_EPOCH || with == known.epoch)
        })
    }
}

/// A request says no broker epoch: its version has none.
pub const NO_BROKER_EPOCH: i64 = -1;

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
    /// The leader was elected uncleanly and has not reported yet that it has taken over (KIP-704).
    pub recovering: bool,
    /// How the brokers stand; replaced by [`Event::Brokers`](crate::Event::Brokers).
    pub brokers: Brokers,
    /// The settings as of the same moment. With others the in-sync set would mean something else.
    pub rules: Rules,
}

/// A change of the in-sync set that the controller is to decide on (AlterPartition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The state this is based on.
    pub partition_epoch: i32,
    /// The in-sync set wanted. The leader is recovered, whatever it was before.
    pub isr: Vec<NodeId>,
    /// For each of them the broker epoch it fetched with; -1 where that is not known, and for the leader itself
    /// (whoever sends the proposal knows that one).
    pub broker_epochs: Vec<i64>,
}

/// What came of an [`IsrProposal`]. An answer that leaves open what is in force now is none: the proposal stays, and
/// the larger set counts, until the controller publishes the partition anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsrAnswer {
    /// Decided: this is the in-sync set now. One that leaves somebody out is taken only when the controller publishes it:
    /// it may have decided with a `min.insync.replicas` that this broker has not heard of, and made those eligible leaders
    /// who are left out, because nothing can be committed without them.
    Decided {
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The epoch after the change.
        partition_epoch: i32,
        /// The in-sync set.
        isr: Vec<NodeId>,
    },
    /// Certainly not taken, now or later, and the state it is based on is still in force (`INELIGIBLE_REPLICA`,
    /// `OPERATION_NOT_ATTEMPTED`). May be proposed again when the reason for it still holds.
    Refused,
}

/// What a follower's Fetch tells the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Whose it is.
    pub broker: NodeId,
    /// The broker's epoch; [`NO_BROKER_EPOCH`] when it does not say (KIP-903).
    pub broker_epoch: i64,
    /// Where it fetches: it has all before.
    pub offset: Offset,
    /// Where its log starts; -1 when it does not say.
    pub log_start: Offset,
}

/// Another replica, as its fetches show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteReplica {
    /// Its broker.
    pub broker: NodeId,
    /// Its log starts here; -1 while unknown.
    pub log_start: Offset,
    /// It has everything before this offset; -1 while unknown.
    pub log_end: Offset,
    /// It had all the leader had at this time.
    pub last_caught_up: Millis,
    /// The broker epoch of its last fetch; `None` before the first.
    broker_epoch: Option<i64>,
    last_fetch: Millis,
    leader_end_at_last_fetch: Offset,
}

/// Before any time that comes up.
const LONG_AGO: Millis = Millis(i64::MIN / 2);

impl RemoteReplica {
    /// In-sync replicas get a whole lag time to show themselves.
    fn new(broker: NodeId, in_sync: bool, now: Millis) -> Self {
        Self {
            broker,
            log_start: -1,
            log_end: -1,
            last_caught_up: if in_sync { now } else { LONG_AGO },
            broker_epoch: None,
            last_fetch: LONG_AGO,
            leader_end_at_last_fetch: 0,
        }
    }

    /// The leader stays in office under a new epoch: what the follower has is still known.
    fn reelected(self, in_sync: bool, leader_end: Offset, now: Millis) -> Self {
        let since = if in_sync { now } else { LONG_AGO };
        Self { last_caught_up: since, last_fetch: since, leader_end_at_last_fetch: leader_end, ..self }
    }

    fn fetched(&mut self, now: Millis, fetch: &FollowerFetch, leader_end: Offset) {
        if fetch.offset >= leader_end {
            self.last_caught_up = self.last_caught_up.max(now);
        } else if fetch.offset >= self.leader_end_at_last_fetch {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.log_start = fetch.log_start;
        self.log_end = fetch.offset;
        self.broker_epoch = Some(fetch.broker_epoch);
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
    brokers: Brokers,
    next_check: Millis,
}

impl Leader {
    /// A term that begins at `term_start`; `before` when this broker has led until now.
    pub(crate) fn new(
        node: NodeId,
        term: LeaderTerm,
        term_start: Offset,
        before: Option<&Self>,
        (now, lag_max_ms): (Millis, i64),
    ) -> Self {
        let known = |broker| before?.remotes.iter().find(|remote| remote.broker == broker);
        let others = term.replicas.iter().copied().filter(|broker| *broker != node);
        let remotes = others
            .map(|broker| {
                let in_sync = term.isr.contains(&broker);
                known(broker).map_or_else(
                    || RemoteReplica::new(broker, in_sync, now),
                    |remote| remote.reelected(in_sync, term_start, now),
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
            brokers: term.brokers,
            next_check: now.plus((lag_max_ms / 2).max(1)),
        }
    }

    /// The same term with another in-sync set or other replicas, as the controller published it. What was published
    /// before is known already, and says nothing about a proposal under way.
    pub(crate) fn renew(&mut self, node: NodeId, term: LeaderTerm, now: Millis) {
        self.brokers = term.brokers;
        let news = term.partition_epoch > self.partition_epoch;
        // The same epoch can still name replicas that an answer to a proposal did not.
        if term.partition_epoch < self.partition_epoch {
            return;
        }
        self.partition_epoch = term.partition_epoch;
        self.remotes.retain(|remote| term.replicas.contains(&remote.broker));
        for broker in term.replicas {
            if broker != node && !self.remotes.iter().any(|remote| remote.broker == broker) {
                self.remotes.push(RemoteReplica::new(broker, term.isr.contains(&broker), now));
            }
        }
        if news {
            self.isr = term.isr;
            self.pending = None;
        }
    }

    pub(crate) fn brokers_changed(&mut self, brokers: Brokers) {
        self.brokers = brokers;
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
            self.counts(remote.broker)
                || (remote.is_caught_up(leader_end, now, lag_max_ms)
                    && self.brokers.may_join(remote.broker, remote.broker_epoch))
        };
        self.remotes
            .iter()
            .filter(holds_back)
            .map(|remote| remote.log_end.max(0))
            .fold(leader_end, Offset::min)
    }

    /// Whether a fetch may be noted and answered.
    pub(crate) fn check(&self, broker: NodeId, broker_epoch: i64) -> FollowerCheck {
        if !self.remotes.iter().any(|remote| remote.broker == broker) {
            FollowerCheck::NoReplica
        } else if self.brokers.is_stale(broker, broker_epoch) {
            FollowerCheck::Stale
        } else {
            FollowerCheck::Welcome
        }
    }

    /// Whether the next fetch of this follower changes nothing as long as nothing is appended.
    pub(crate) fn is_settled(&self, broker: NodeId, leader_end: Offset) -> bool {
        let has_all = |remote: &RemoteReplica| remote.broker == broker && remote.log_end == leader_end;
        self.pending.is_none() && self.isr.contains(&broker) && self.remotes.iter().any(has_all)
    }

    /// Notes a follower's fetch. False when it changes nothing: that broker is no replica of the partition, or has
    /// been started anew since.
    pub(crate) fn fetched(&mut self, now: Millis, fetch: &FollowerFetch, leader_end: Offset) -> bool {
        if self.brokers.is_stale(fetch.broker, fetch.broker_epoch) {
            return false;
        }
        let Some(remote) = self.remotes.iter_mut().find(|remote| remote.broker == fetch.broker) else {
            return false;
        };
        remote.fetched(now, fetch, leader_end);
        true
    }

    /// Whether the replica that just fetched belongs into the in-sync set: then the proposal to make.
    pub(crate) fn expand(&mut self, broker: NodeId, high_watermark: Offset) -> Option<IsrProposal> {
        if self.pending.is_some() || self.isr.contains(&broker) {
            return None;
        }
        let remote = self.remotes.iter().find(|remote| remote.broker == broker)?;
        if remote.log_end < high_watermark
            || remote.log_end < self.term_start
            || !self.brokers.may_join(broker, remote.broker_epoch)
        {
            return None;
        }
        let mut isr = self.isr.clone();
        isr.push(broker);
        Some(self.propose(isr))
    }

    /// Reports that this leader, elected uncleanly, has taken over (KIP-704).
    pub(crate) fn recovered(&mut self) -> Option<IsrProposal> {
        self.pending.is_none().then(|| self.propose(self.isr.clone()))
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
        let epoch_of = |broker: &NodeId| {
            let remote = self.remotes.iter().find(|remote| remote.broker == *broker);
            remote.and_then(|remote| remote.broker_epoch).unwrap_or(NO_BROKER_EPOCH)
        };
        let asked = IsrProposal {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            broker_epochs: isr.iter().map(epoch_of).collect(),
            isr,
        };
        self.pending = Some(asked.clone());
        asked
    }

    pub(crate) fn pending(&self) -> Option<&IsrProposal> {
        self.pending.as_ref()
    }

    /// Takes the answer to `asked`. One to a proposal that was overtaken says nothing any more.
    pub(crate) fn answered(&mut self, asked: &IsrProposal, answer: IsrAnswer) {
        if self.pending.as_ref() != Some(asked) {
            return;
        }
        match answer {
            IsrAnswer::Decided { leader_epoch, partition_epoch, isr } => {
                let keeps_all = self.isr.iter().all(|member| isr.contains(member));
                let newer = leader_epoch == self.leader_epoch && partition_epoch >= self.partition_epoch;
                if keeps_all && newer {
                    self.partition_epoch = partition_epoch;
                    self.isr = isr;
                    self.pending = None;
                }
            }
            IsrAnswer::Refused => self.pending = None,
        }
    }
}

/// What a leader thinks of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowerCheck {
    Welcome,
    NoReplica,
    Stale,
}
