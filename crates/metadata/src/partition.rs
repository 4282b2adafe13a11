//! One partition as the controller sees it.

use ottla_types::{LeaderEpoch, NO_LEADER, NodeId};
use uuid::Uuid;

/// Whether the leader was elected out of the in-sync set or is still recovering from an unclean election (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    /// The leader came from the in-sync replicas.
    #[default]
    Recovered,
    /// The leader was elected uncleanly and has not yet said that it is done.
    Recovering,
}

impl LeaderRecoveryState {
    /// What records and requests carry: 0 or 1.
    #[must_use]
    pub fn value(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// Reads what a record carries; anything but 1 is "recovered".
    #[must_use]
    pub fn from_value(value: i8) -> Self {
        if value == 1 { Self::Recovering } else { Self::Recovered }
    }
}

/// A partition's registration. `replicas` and `directories` run in parallel; the first replica is the preferred leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Assigned brokers, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// For each replica the id of the log dir that holds it (KIP-858); zero while it is not known.
    pub directories: Vec<Uuid>,
    /// In-sync replicas: a subset of `replicas`.
    pub isr: Vec<NodeId>,
    /// Replicas being taken away by a reassignment.
    pub removing_replicas: Vec<NodeId>,
    /// Replicas being added by a reassignment.
    pub adding_replicas: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    /// The eligible leader replicas last known before the set went empty (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    /// The leader, or [`NO_LEADER`].
    pub leader: NodeId,
    /// Recovering from an unclean election, or not.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Rises with every change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change of anything here.
    pub partition_epoch: i32,
}

impl Partition {
    /// The broker that should lead when all are well.
    #[must_use]
    pub fn preferred_replica(&self) -> NodeId {
        self.replicas.first().copied().unwrap_or(NO_LEADER)
    }

    /// Whether someone leads.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    /// Whether `node` holds a replica.
    #[must_use]
    pub fn is_replica(&self, node: NodeId) -> bool {
        self.replicas.contains(&node)
    }

    /// Whether `node` is in the in-sync set.
    #[must_use]
    pub fn is_in_sync(&self, node: NodeId) -> bool {
        self.isr.contains(&node)
    }

    /// The log dir that holds `node`'s replica; `None` when it holds none.
    #[must_use]
    pub fn directory_of(&self, node: NodeId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == node)?;
        Some(self.directories.get(at).copied().unwrap_or_default())
    }
}
