//! UpdateRaftVoter (82), version 0 (KIP-853): a voter tells the leader where it listens now.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::ImageCell;
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, UpdateRaftVoterRequest, UpdateRaftVoterResponse, update_raft_voter_response::CurrentLeader,
    },
};
use ottla_raft::{Voter, VoterChange};
use ottla_types::{ApiError, ErrorCode};

use super::{
    controller::leader::{QuorumLeader, check_leader},
    voters::{Voters, endpoint, told},
};
use crate::{Handler, Reply, RequestContext};

pub(crate) struct UpdateRaftVoter {
    voters: Voters,
    leader: QuorumLeader,
}

impl UpdateRaftVoter {
    pub(crate) fn new(voters: Voters, image: Arc<ImageCell>) -> Self {
        let leader = QuorumLeader { quorum: voters.quorum.clone(), image };
        Self { voters, leader }
    }

    fn change(&self, request: &UpdateRaftVoterRequest) -> Result<VoterChange, ApiError> {
        self.voters.check_cluster(request.cluster_id.as_ref())?;
        check_leader(&self.voters.quorum.status().borrow(), request.current_leader_epoch)
            .map_err(ApiError::from)?;
        Voters::check_name("Update", request.voter_id, request.voter_directory_id)?;
        let endpoints = request.listeners.iter().map(|it| endpoint(&it.name, &it.host, it.port));
        let voter = Voter {
            id: request.voter_id,
            directory_id: request.voter_directory_id,
            endpoints: endpoints.collect(),
        };
        self.voters.check_endpoints("Update", &voter)?;
        let versions = &request.k_raft_version_feature;
        if versions.min_supported_version < 0
            || versions.max_supported_version < versions.min_supported_version
        {
            return Err(ErrorCode::INVALID_REQUEST.into());
        }
        Ok(VoterChange::Update { voter })
    }
}

impl Handler for UpdateRaftVoter {
    type Request = UpdateRaftVoterRequest;
    type Response = UpdateRaftVoterResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: UpdateRaftVoterRequest,
    ) -> Reply<UpdateRaftVoterResponse> {
        let changing = self.voters.change(self.change(&request));
        let (leader, listener) = (self.leader.clone(), ctx.listener.clone());
        Reply::later(async move {
            let (code, _) = told(changing.await);
            let (id, epoch) = leader.now();
            let mut current = CurrentLeader::default().with_leader_id(BrokerId(id)).with_leader_epoch(epoch);
            if let Some(endpoint) = leader.endpoint(id, &listener) {
                current.host = StrBytes::from_string(endpoint.host.to_string());
                current.port = endpoint.port;
            }
            UpdateRaftVoterResponse::default().with_error_code(code).with_current_leader(current)
        })
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{api, messages::update_raft_voter_request::Listener};
    use uuid::Uuid;

    use super::*;
    use crate::api::testing::{FakeQuorum, ask, body, image};

    fn node(in_office: bool) -> (UpdateRaftVoter, Arc<FakeQuorum>) {
        let quorum = FakeQuorum::new(in_office);
        quorum.status.send_modify(|status| (status.leader, status.epoch) = (Some(2), 17));
        let voters = Voters { quorum: quorum.clone(), cluster_id: "c".into(), listener: "CONTROLLER".into() };
        (UpdateRaftVoter::new(voters, image()), quorum)
    }

    fn request(epoch: i32) -> UpdateRaftVoterRequest {
        let listener = Listener::default().with_name("CONTROLLER".into()).with_host("h".into()).with_port(1);
        UpdateRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_current_leader_epoch(epoch)
            .with_voter_id(9)
            .with_voter_directory_id(Uuid::from_u128(7))
            .with_listeners(vec![listener])
    }

    async fn said(node: &UpdateRaftVoter, request: UpdateRaftVoterRequest) -> String {
        body(api::UPDATE_RAFT_VOTER, 0, ask(node, 0, request).await)
    }

    #[tokio::test]
    async fn refusals_name_the_leader_as_kafka_does() {
        let (node, quorum) = node(true);
        let leader = "01001700000002000000110a3132372e302e302e3100005e1d00";
        assert_eq!(said(&node, request(1)).await, format!("00000000004a{leader}"));
        let elsewhere = request(17).with_cluster_id(Some("xx".into()));
        assert_eq!(said(&node, elsewhere).await, format!("000000000068{leader}"));
        assert_eq!(ask(&node, 0, request(17).with_voter_directory_id(Uuid::nil())).await.error_code, 42);
        assert_eq!(ask(&node, 0, request(17).with_listeners(vec![])).await.error_code, 42);
        assert!(quorum.changes.lock().is_empty());
    }

    #[tokio::test]
    async fn the_leader_takes_the_new_endpoints() {
        let (leader, quorum) = node(true);
        assert_eq!(ask(&leader, 0, request(17)).await.error_code, 0);
        assert!(matches!(&quorum.changes.lock()[..], [VoterChange::Update { voter }] if voter.id == 9));
        let (follower, _) = node(false);
        let code = ask(&follower, 0, request(17)).await.error_code;
        assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
    }
}
