//! Ids of log dirs that stand for no dir, and whether a dir works as far as is known (KIP-858).

use uuid::Uuid;

use crate::BrokerRegistration;

/// The broker has not said where it put the replica.
pub const UNASSIGNED: Uuid = Uuid::from_u128(1);
/// The replica is in a dir that is offline and whose id is not known, or cannot be served for another reason.
pub const LOST: Uuid = Uuid::from_u128(2);
/// The replica was there before dirs had ids.
pub const MIGRATING: Uuid = Uuid::nil();
/// From this level of `metadata.version` (3.7-IV2) on partitions say which log dirs hold them.
pub const LEVEL: i16 = 17;

impl BrokerRegistration {
    /// Whether a log dir of this broker works, as far as is known.
    #[must_use]
    pub fn has_online_dir(&self, dir: Uuid) -> bool {
        match dir {
            UNASSIGNED | MIGRATING => true,
            LOST => false,
            // A broker that named none is older than dirs with ids.
            dir => self.log_dirs.is_empty() || self.log_dirs.contains(&dir),
        }
    }
}
