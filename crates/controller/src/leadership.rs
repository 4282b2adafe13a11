//! What becomes of a partition when its brokers change: old partition and intent in, change record out (KIP-966).

use ottla_metadata::{LeaderRecoveryState, Partition};
use ottla_protocol::persisted::metadata::PartitionChangeRecord;
use ottla_types::{NO_LEADER, NodeId, TopicId};

/// What a change record carries where nothing changes.
const SAME_LEADER: NodeId = -2;

/// The rules and the brokers that a change is made under.
pub(crate) struct Change<'a> {
    /// The partition before.
    pub(crate) partition: &'a Partition,
    /// The in-sync set that is wanted.
    pub(crate) target_isr: Vec<NodeId>,
    /// Replicas that may have lost data: not eligible.
    pub(crate) unclean: &'a [NodeId],
    /// Whether a broker may lead.
    pub(crate) may_lead: &'a dyn Fn(NodeId) -> bool,
    /// `min.insync.replicas` of the topic.
    pub(crate) min_isr: usize,
    /// Whether eligible leader replicas are on.
    pub(crate) elr_enabled: bool,
    /// `unclean.leader.election.enable` of the topic.
    pub(crate) unclean_election: bool,
    /// The recovery state a leader reports.
    pub(crate) recovery: Option<LeaderRecoveryState>,
}

struct Elected {
    leader: NodeId,
    unclean: bool,
}

impl Change<'_> {
    /// The record that makes the change; `None` when nothing changes.
    pub(crate) fn record(self, topic: TopicId, index: i32) -> Option<PartitionChangeRecord> {
        let old = self.partition;
        let mut record = PartitionChangeRecord {
            partition_id: index,
            topic_id: topic.0,
            leader: SAME_LEADER,
            leader_recovery_state: -1,
            ..Default::default()
        };
        let untouched = record.clone();
        let mut isr = self.target_isr.clone();
        let mut elr = self.eligible();
        let elected = self.elect(&isr, &elr);
        if elected.leader != old.leader {
            record.leader = elected.leader;
            if elected.unclean {
                isr = vec![elected.leader];
                if old.leader_recovery_state != LeaderRecoveryState::Recovering {
                    record.leader_recovery_state = LeaderRecoveryState::Recovering.value();
                }
            } else if elected.leader != NO_LEADER && !isr.contains(&elected.leader) {
                isr = vec![elected.leader];
                elr.retain(|node| *node != elected.leader);
            }
        }
        if elr != old.elr {
            record.eligible_leader_replicas = Some(elr);
        }
        // Without eligible replicas the in-sync set never goes empty: its last members are who may come back.
        if (!isr.is_empty() || self.elr_enabled) && isr != old.isr {
            record.isr = Some(isr);
        }
        self.remember_last_leader(&mut record);
        if let Some(recovery) = self.recovery
            && recovery != old.leader_recovery_state
        {
            record.leader_recovery_state = recovery.value();
        }
        (record != untouched).then_some(record)
    }

    /// The eligible replicas under the wanted in-sync set: none while it is large enough.
    fn eligible(&self) -> Vec<NodeId> {
        let old = self.partition;
        if !self.elr_enabled {
            return old.elr.clone();
        }
        if self.target_isr.len() >= self.min_isr.min(old.replicas.len()) {
            return Vec::new();
        }
        let mut candidates: Vec<NodeId> = old.elr.iter().chain(&old.isr).copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|node| !self.target_isr.contains(node) && !self.unclean.contains(node));
        candidates
    }

    fn elect(&self, isr: &[NodeId], elr: &[NodeId]) -> Elected {
        let old = self.partition;
        let clean = |leader| Elected { leader, unclean: false };
        let fit = |node: &NodeId| (self.may_lead)(*node);
        if isr.contains(&old.leader) && fit(&old.leader) {
            return clean(old.leader);
        }
        if let Some(leader) = old.replicas.iter().find(|node| isr.contains(node) && fit(node)) {
            return clean(*leader);
        }
        if let Some(leader) = elr.iter().find(|node| fit(node)) {
            return clean(*leader);
        }
        if self.elr_enabled
            && isr.is_empty()
            && elr.is_empty()
            && let [last] = old.last_known_elr[..]
            && fit(&last)
        {
            return Elected { leader: last, unclean: true };
        }
        if self.unclean_election
            && let Some(leader) = old.replicas.iter().find(|node| fit(node))
        {
            return Elected { leader: *leader, unclean: true };
        }
        clean(NO_LEADER)
    }

    /// Who led last is remembered while nobody leads and nobody is in sync: it is the best one to come back.
    fn remember_last_leader(&self, record: &mut PartitionChangeRecord) {
        let old = self.partition;
        if !self.elr_enabled {
            return;
        }
        let leads_on = old.leader != NO_LEADER && record.leader != NO_LEADER;
        let nobody_left = record.isr.as_ref().is_some_and(Vec::is_empty);
        if nobody_left && old.leader != NO_LEADER && old.last_known_elr != [old.leader] {
            record.last_known_elr = Some(vec![old.leader]);
        } else if (record.leader >= 0 || leads_on) && !old.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }
}
