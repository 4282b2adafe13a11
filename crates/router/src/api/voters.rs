//! What AddRaftVoter, RemoveRaftVoter and UpdateRaftVoter have in common (KIP-853).

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use ottla_config::BrokerConfig;
use ottla_protocol::StrBytes;
use ottla_raft::{Voter, VoterChange, VoterEndpoint};
use ottla_types::{ApiError, ErrorCode, NodeId};
use uuid::Uuid;

use super::text::shared;
use crate::Quorum;

/// Changes the voters of the quorum that this node is a member of.
#[derive(Clone)]
pub(crate) struct Voters {
    pub(crate) quorum: Arc<dyn Quorum>,
    pub(crate) cluster_id: Arc<str>,
    /// The listener that voters use among each other: the first of `controller.listener.names`.
    pub(crate) listener: Arc<str>,
}

/// What came of a change, to be waited for.
pub(crate) type Changing = BoxFuture<'static, Result<(), ApiError>>;

impl Voters {
    /// Those of this cluster; `config` says which listener they use.
    pub(crate) fn new(quorum: Arc<dyn Quorum>, cluster_id: &Arc<str>, config: &BrokerConfig) -> Self {
        let listener = config.listeners.controllers.first().map_or("", String::as_str).into();
        Self { quorum, cluster_id: cluster_id.clone(), listener }
    }

    /// Refuses requests for another cluster.
    pub(crate) fn check_cluster(&self, asked: Option<&StrBytes>) -> Result<(), ApiError> {
        match asked {
            Some(id) if id.as_str() != &*self.cluster_id => Err(ApiError::new(
                ErrorCode::INCONSISTENT_CLUSTER_ID,
                format!(
                    "The given id \"{}\" doesn't match the cluster id \"{}\"",
                    id.as_str(),
                    self.cluster_id
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses voters that are not named whole. `what` is Kafka's name for the request.
    pub(crate) fn check_name(what: &str, id: NodeId, directory: Uuid) -> Result<(), ApiError> {
        if id >= 0 && !directory.is_nil() {
            return Ok(());
        }
        let message = format!("{what} voter request didn't include a valid voter");
        Err(ApiError::new(ErrorCode::INVALID_REQUEST, message))
    }

    /// Refuses voters that the others could not reach.
    pub(crate) fn check_endpoints(&self, what: &str, voter: &Voter) -> Result<(), ApiError> {
        if voter.endpoints.iter().any(|endpoint| endpoint.name == self.listener) {
            return Ok(());
        }
        let names: Vec<&str> = voter.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
        let message = format!(
            "{what} voter request didn't include the endpoint ({}) for the default listener {}",
            names.join(", "),
            self.listener
        );
        Err(ApiError::new(ErrorCode::INVALID_REQUEST, message))
    }

    /// Hands the change over, or says why not.
    pub(crate) fn change(&self, change: Result<VoterChange, ApiError>) -> Changing {
        match change {
            Ok(change) => self.quorum.change_voters(change),
            Err(refusal) => async move { Err(refusal) }.boxed(),
        }
    }
}

/// A listener as the requests name it.
pub(crate) fn endpoint(name: &StrBytes, host: &StrBytes, port: u16) -> VoterEndpoint {
    VoterEndpoint { name: shared(name), host: shared(host), port }
}

/// What a broker passes on is refused by whoever does not lead.
pub(crate) fn is_elsewhere(code: i16) -> bool {
    let code = ErrorCode(code);
    code == ErrorCode::NOT_LEADER_OR_FOLLOWER || code == ErrorCode::NOT_CONTROLLER
}

/// The code of a change, and what to say about it.
pub(crate) fn told(changed: Result<(), ApiError>) -> (i16, Option<StrBytes>) {
    match changed {
        Ok(()) => (ErrorCode::NONE.0, None),
        // Whoever asked asks another node; Kafka has no words for it.
        Err(error) if is_elsewhere(error.code.0) => (error.code.0, Some(StrBytes::default())),
        Err(error) => (error.code.0, error.message.map(|text| StrBytes::from_string(text.into_owned()))),
    }
}
