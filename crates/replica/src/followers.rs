//! What a leader knows of those that follow it.

use ottla_partition::RemoteReplica;

use crate::Replica;

impl Replica {
    /// The followers that are in sync: those a consumer may be sent to (KIP-392). None on a follower.
    #[must_use]
    pub fn in_sync_followers(&self) -> Vec<RemoteReplica> {
        self.with(|owned| {
            let isr = owned.partition.isr();
            let remotes = owned.partition.remotes().iter();
            remotes.filter(|remote| isr.contains(&remote.broker)).copied().collect()
        })
    }
}
