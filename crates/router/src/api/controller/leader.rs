//! Who leads the metadata quorum, as answers on a controller's listener name it.

use std::sync::Arc;

use ottla_metadata::ImageCell;
use ottla_raft::Status;
use ottla_types::{ErrorCode, LeaderEpoch, NO_LEADER, NodeId};

use crate::{Quorum, api::leaders::LeaderEndpoint};

/// The quorum's leader as this node knows it.
#[derive(Clone)]
pub(crate) struct QuorumLeader {
    pub(crate) quorum: Arc<dyn Quorum>,
    pub(crate) image: Arc<ImageCell>,
}

impl QuorumLeader {
    /// Leader and epoch; -1 for no leader.
    pub(crate) fn now(&self) -> (NodeId, LeaderEpoch) {
        let status = self.quorum.status();
        let status = status.borrow();
        (status.leader.unwrap_or(NO_LEADER), status.epoch)
    }

    /// Where a controller is on a listener: its registration says, or, before it has registered, the voters do.
    pub(crate) fn endpoint(&self, leader: NodeId, listener: &str) -> Option<LeaderEndpoint> {
        let image = self.image.load();
        let registered = image.controllers.get(&leader).and_then(|controller| {
            let at = controller.listeners.iter().find(|endpoint| &*endpoint.name == listener)?;
            Some((Arc::clone(&at.host), at.port))
        });
        let (host, port) = registered.or_else(|| self.voter_endpoint(leader, listener))?;
        Some(LeaderEndpoint { node: leader, host, port: port.into(), rack: None })
    }

    fn voter_endpoint(&self, leader: NodeId, listener: &str) -> Option<(Arc<str>, u16)> {
        let view = self.quorum.view();
        let voter = view.voters.iter().find(|voter| voter.id == leader)?;
        let at = voter.endpoints.iter().find(|endpoint| &*endpoint.name == listener)?;
        Some((Arc::clone(&at.host), at.port))
    }
}

/// Why a request that only the leader serves is not served: its epoch is old or of the future, or we do not lead.
pub(crate) fn check_leader(status: &Status, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
    match epoch.cmp(&status.epoch) {
        std::cmp::Ordering::Less => Err(ErrorCode::FENCED_LEADER_EPOCH),
        std::cmp::Ordering::Greater => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        std::cmp::Ordering::Equal if !status.in_office => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        std::cmp::Ordering::Equal => Ok(()),
    }
}
