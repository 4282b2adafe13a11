//! Finalized feature levels (KIP-584, KIP-1022).

use std::{collections::BTreeMap, sync::Arc};

/// Names of the features Kafka 4.4 knows.
pub mod feature {
    /// Which metadata records may be written, and which versions of inter-broker requests are used.
    pub const METADATA_VERSION: &str = "metadata.version";
    /// Dynamic voters (KIP-853); kept by raft, not by a feature record.
    pub const KRAFT_VERSION: &str = "kraft.version";
    /// Transactions version 2 (KIP-890).
    pub const TRANSACTION_VERSION: &str = "transaction.version";
    /// The consumer group protocol (KIP-848).
    pub const GROUP_VERSION: &str = "group.version";
    /// Eligible leader replicas (KIP-966).
    pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";
    /// Share groups (KIP-932).
    pub const SHARE_VERSION: &str = "share.version";
    /// Streams groups (KIP-1071).
    pub const STREAMS_VERSION: &str = "streams.version";
}

/// Finalized levels. A feature that is not there stands at 0: off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    levels: BTreeMap<Arc<str>, i16>,
}

impl Features {
    /// The finalized level; 0 when it is not finalized.
    #[must_use]
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// Finalized features with their levels, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i16)> {
        self.levels.iter().map(|(name, level)| (&**name, *level))
    }

    /// Whether nothing is finalized: the cluster has not been bootstrapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    pub(crate) fn set(&mut self, name: &str, level: i16) {
        if level == 0 {
            self.levels.remove(name);
        } else {
            self.levels.insert(name.into(), level);
        }
    }
}
