//! What becomes of a partition when something about it changes: old partition and intent in, change record out
//! (KIP-455, KIP-704, KIP-858, KIP-966).

use ottla_metadata::{LeaderRecoveryState, Partition};
use ottla_protocol::persisted::metadata::PartitionChangeRecord;
use ottla_types::{NO_LEADER, NodeId, TopicId};
use uuid::Uuid;

use crate::directories::MIGRATING;

/// What a change record carries where the leader stays.
const SAME_LEADER: NodeId = -2;
/// Below this level of `metadata.version` (3.6-IV0) brokers need a new leader epoch when an in-sync set shrinks.
const SHRINKS_KEEP_EPOCH: i16 = 12;
/// From this level (3.7-IV2) on partitions say which log dirs hold them.
pub(crate) const DIRECTORIES: i16 = 17;

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// Whoever leads now if it may, else the first replica that may.
    Online,
    /// The preferred replica if it may, else as [`Self::Online`].
    Preferred,
    /// As [`Self::Online`], and where nobody may, any replica that is up: records may be lost.
    Unclean,
}

/// What the rules need of the cluster's and the topic's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// `min.insync.replicas` of the topic, at most its replicas.
    pub(crate) min_isr: usize,
    /// `unclean.leader.election.enable` of the topic.
    pub(crate) unclean_election: bool,
    /// Whether eligible leader replicas are on.
    pub(crate) elr_enabled: bool,
    /// The finalized `metadata.version`.
    pub(crate) level: i16,
}

impl Rules {
    /// The election where nobody asked for one in particular.
    pub(crate) fn election(&self) -> Election {
        if self.unclean_election { Election::Unclean } else { Election::Online }
    }
}

/// A change in the making. [`Change::new`] changes nothing; callers set what they want different.
pub(crate) struct Change<'a> {
    old: &'a Partition,
    rules: Rules,
    /// Whether a broker may lead this partition: it is up, and so is the log dir that holds its replica.
    may_lead: &'a dyn Fn(NodeId) -> bool,
    /// The log dir of a replica that has none yet.
    new_dir: &'a dyn Fn(NodeId) -> Uuid,
    /// How a leader is found.
    pub(crate) election: Election,
    /// The in-sync set that is wanted.
    pub(crate) isr: Vec<NodeId>,
    /// The replicas that are wanted.
    pub(crate) replicas: Vec<NodeId>,
    /// The replicas that a reassignment adds.
    pub(crate) adding: Vec<NodeId>,
    /// The replicas that a reassignment takes away.
    pub(crate) removing: Vec<NodeId>,
    /// A replica that may have lost records: not eligible.
    pub(crate) unclean: Option<NodeId>,
    /// The recovery state a leader reports.
    pub(crate) recovery: LeaderRecoveryState,
    /// A replica's log dir.
    pub(crate) directory: Option<(NodeId, Uuid)>,
}

impl<'a> Change<'a> {
    /// A change that changes nothing yet.
    pub(crate) fn new(
        old: &'a Partition,
        rules: Rules,
        may_lead: &'a dyn Fn(NodeId) -> bool,
        new_dir: &'a dyn Fn(NodeId) -> Uuid,
    ) -> Self {
        Self {
            old,
            rules,
            may_lead,
            new_dir,
            election: rules.election(),
            isr: old.isr.clone(),
            replicas: old.replicas.clone(),
            adding: old.adding_replicas.clone(),
            removing: old.removing_replicas.clone(),
            unclean: None,
            recovery: old.leader_recovery_state,
            directory: None,
        }
    }

    /// The record that makes the change; `None` when nothing changes.
    pub(crate) fn record(mut self, topic: TopicId, index: i32) -> Option<PartitionChangeRecord> {
        let old = self.old;
        let mut record = PartitionChangeRecord {
            partition_id: index,
            topic_id: topic.0,
            leader: SAME_LEADER,
            leader_recovery_state: -1,
            ..Default::default()
        };
        let untouched = record.clone();
        self.complete_reassignment();
        let mut elr = self.eligible();
        self.elect(&mut elr, &mut record);
        if !self.rules.elr_enabled && !self.isr.is_empty() {
            elr.clear();
        }
        if record.leader == SAME_LEADER && old.replicas.iter().any(|node| !self.replicas.contains(node)) {
            // A replica that is taken away must not go on as one: all see a new leader epoch.
            record.leader = old.leader;
        }
        if elr != old.elr {
            record.eligible_leader_replicas = Some(elr);
        }
        // Without eligible replicas the in-sync set never goes empty: its last members are who may come back.
        if (!self.isr.is_empty() || self.rules.elr_enabled) && self.isr != old.isr {
            record.isr = Some(self.isr.clone());
        }
        self.bump_epoch_on_shrink(&mut record);
        self.remember_last_leader(&mut record);
        self.assign(&mut record);
        if self.recovery != old.leader_recovery_state {
            record.leader_recovery_state = self.recovery.value();
        }
        (record != untouched).then_some(record)
    }

    /// A reassignment is complete when all replicas that stay are in sync.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stays = |node: &&NodeId| !self.removing.contains(node);
        let isr: Vec<NodeId> = self.isr.iter().filter(stays).copied().collect();
        let replicas: Vec<NodeId> = self.replicas.iter().filter(stays).copied().collect();
        if isr.is_empty() || replicas.is_empty() || replicas.iter().any(|node| !isr.contains(node)) {
            return;
        }
        self.isr = isr;
        self.replicas = replicas;
        self.adding.clear();
        self.removing.clear();
    }

    /// The eligible replicas under the wanted in-sync set: none while it is large enough. Where they were turned off while
    /// nobody was in sync, those there are remain until one of them leads: nobody else has all that was committed, and
    /// nothing can have been since.
    fn eligible(&self) -> Vec<NodeId> {
        let left_over = self.old.isr.is_empty() && self.isr.is_empty();
        if (!self.rules.elr_enabled && !left_over) || self.isr.len() >= self.rules.min_isr {
            return Vec::new();
        }
        let mut candidates: Vec<NodeId> = self.old.elr.iter().chain(&self.old.isr).copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|node| {
            !self.isr.contains(node) && self.unclean != Some(*node) && self.replicas.contains(node)
        });
        candidates
    }

    fn elect(&mut self, elr: &mut Vec<NodeId>, record: &mut PartitionChangeRecord) {
        let old = self.old;
        if let Some(leader) = self.clean_leader(elr) {
            if elr.contains(&leader) {
                self.isr = vec![leader];
                elr.retain(|node| *node != leader);
            }
            if leader != old.leader {
                record.leader = leader;
            }
        } else if let Some(leader) = self.unclean_leader(elr) {
            record.leader = leader;
            self.isr = vec![leader];
            elr.clear();
            if self.recovery != LeaderRecoveryState::Recovering {
                self.recovery = LeaderRecoveryState::Recovering;
            }
        } else if old.leader != NO_LEADER {
            record.leader = NO_LEADER;
        }
    }

    /// A leader that has all that was committed.
    fn clean_leader(&self, elr: &[NodeId]) -> Option<NodeId> {
        let valid = |node: &NodeId| {
            (self.isr.contains(node) || (self.isr.is_empty() && elr.contains(node))) && (self.may_lead)(*node)
        };
        let preferred =
            (self.election == Election::Preferred).then(|| self.replicas.first().copied()).flatten();
        let first =
            preferred.into_iter().chain([self.old.leader]).find(|node| *node != NO_LEADER && valid(node));
        first.or_else(|| self.replicas.iter().copied().find(|node| valid(node)))
    }

    /// A leader that may lack records: who led last where nobody is left, any replica where that is allowed.
    fn unclean_leader(&self, elr: &[NodeId]) -> Option<NodeId> {
        let fit = |node: &NodeId| (self.may_lead)(*node);
        if self.rules.elr_enabled
            && self.isr.is_empty()
            && elr.is_empty()
            && let [last] = self.old.last_known_elr[..]
            && self.replicas.contains(&last)
            && fit(&last)
        {
            return Some(last);
        }
        let any = self.election == Election::Unclean;
        any.then(|| self.replicas.iter().copied().find(fit)).flatten()
    }

    fn bump_epoch_on_shrink(&self, record: &mut PartitionChangeRecord) {
        let shrinks = |isr: &Vec<NodeId>| self.old.isr.iter().any(|node| !isr.contains(node));
        if self.rules.level < SHRINKS_KEEP_EPOCH
            && record.leader == SAME_LEADER
            && record.isr.as_ref().is_some_and(shrinks)
        {
            record.leader = self.old.leader;
        }
    }

    /// Who led last is remembered while nobody leads: it is the best one to come back.
    fn remember_last_leader(&self, record: &mut PartitionChangeRecord) {
        let old = self.old;
        if !self.rules.elr_enabled {
            return;
        }
        if record.leader == NO_LEADER && old.leader != NO_LEADER && old.last_known_elr.is_empty() {
            record.last_known_elr = Some(vec![old.leader]);
        } else if record.leader >= 0 && !old.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn assign(&self, record: &mut PartitionChangeRecord) {
        let old = self.old;
        if self.rules.level >= DIRECTORIES && (self.directory.is_some() || self.replicas != old.replicas) {
            let directory = |node: &NodeId| match self.directory {
                Some((holder, dir)) if holder == *node => dir,
                _ => old.directory_of(*node).unwrap_or_else(|| (self.new_dir)(*node)),
            };
            let directories: Vec<Uuid> = self.replicas.iter().map(directory).collect();
            let before = old.replicas.iter().map(|node| old.directory_of(*node).unwrap_or(MIGRATING));
            if !before.eq(directories.iter().copied()) {
                record.directories = Some(directories);
            }
        }
        let differs = |new: &Vec<NodeId>, old: &Vec<NodeId>| (new != old).then(|| new.clone());
        record.replicas = differs(&self.replicas, &old.replicas);
        record.removing_replicas = differs(&self.removing, &old.removing_replicas);
        record.adding_replicas = differs(&self.adding, &old.adding_replicas);
    }
}

#[cfg(test)]
#[path = "leadership_tests.rs"]
mod tests;
