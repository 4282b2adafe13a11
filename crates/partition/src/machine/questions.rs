//! What can be asked of a partition. Nothing here changes it.

use ottla_types::{ErrorCode, NodeId, Offset};

use super::{Office, Partition, Role};
use crate::{IsrProposal, LeaderEpochs, ProducerTable, RemoteReplica, replication::FollowerCheck};

impl Partition {
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
}
