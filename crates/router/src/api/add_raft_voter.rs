//! AddRaftVoter (80), versions 0–1 (KIP-853).
//!
//! Lets a controller vote that has followed so far. Version 1 may be answered before the change is committed.
//!
//! Not done: authorization.

use std::ops::RangeInclusive;

use ottla_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};
use ottla_raft::{Voter, VoterChange};
use ottla_types::{ApiError, ErrorCode};

use super::voters::{Voters, endpoint, is_elsewhere, told};
use crate::{Handler, Reply, RequestContext, ask::AboutQuorum};

/// Serves it from this node's own member of the quorum; brokers pass it on to the active controller.
pub(crate) struct AddRaftVoter(pub(crate) Voters);

impl AddRaftVoter {
    fn change(&self, request: &AddRaftVoterRequest) -> Result<VoterChange, ApiError> {
        self.0.check_cluster(request.cluster_id.as_ref())?;
        Voters::check_name("Add", request.voter_id, request.voter_directory_id)?;
        let endpoints = request.listeners.iter().map(|it| endpoint(&it.name, &it.host, it.port));
        let voter = Voter {
            id: request.voter_id,
            directory_id: request.voter_directory_id,
            endpoints: endpoints.collect(),
        };
        self.0.check_endpoints("Add", &voter)?;
        let (wait, timeout_ms) = (request.ack_when_committed, request.timeout_ms.into());
        Ok(VoterChange::Add { voter, wait, timeout_ms })
    }
}

impl Handler for AddRaftVoter {
    type Request = AddRaftVoterRequest;
    type Response = AddRaftVoterResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(&self, _: &RequestContext, request: AddRaftVoterRequest) -> Reply<AddRaftVoterResponse> {
        let changing = self.0.change(self.change(&request));
        Reply::later(async move {
            let (code, message) = told(changing.await);
            AddRaftVoterResponse::default().with_error_code(code).with_error_message(message)
        })
    }

    fn says_not_controller(answer: &AddRaftVoterResponse) -> bool {
        is_elsewhere(answer.error_code)
    }
}

impl AboutQuorum for AddRaftVoter {
    fn is_elsewhere(answer: &AddRaftVoterResponse) -> bool {
        is_elsewhere(answer.error_code)
    }

    fn refuse(_: &AddRaftVoterRequest, code: ErrorCode) -> AddRaftVoterResponse {
        AddRaftVoterResponse::default().with_error_code(code.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_protocol::{api, messages::add_raft_voter_request::Listener};
    use uuid::Uuid;

    use super::*;
    use crate::api::testing::{FakeQuorum, ask, body};

    fn node() -> (AddRaftVoter, Arc<FakeQuorum>) {
        let quorum = FakeQuorum::new(true);
        let cluster_id = "FDKordlvRwas5H1N1sN4Kw".into();
        (AddRaftVoter(Voters { quorum: quorum.clone(), cluster_id, listener: "CONTROLLER".into() }), quorum)
    }

    fn request() -> AddRaftVoterRequest {
        let listener = Listener::default().with_name("CONTROLLER".into()).with_host("h".into()).with_port(1);
        AddRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_voter_id(9)
            .with_voter_directory_id(Uuid::from_u128(7))
            .with_timeout_ms(1000)
            .with_listeners(vec![listener])
    }

    async fn said(node: &AddRaftVoter, request: AddRaftVoterRequest) -> String {
        body(api::ADD_RAFT_VOTER, 1, ask(node, 1, request).await)
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_as_kafka_refuses_it() {
        let (node, quorum) = node();
        assert_eq!(
            said(&node, request().with_cluster_id(Some("xx".into()))).await,
            "0000000000684854686520676976656e206964202278782220646f65736e2774206d617463682074686520636c7573746572\
             206964202246444b6f72646c76527761733548314e31734e344b772200"
        );
        assert_eq!(
            said(&node, request().with_voter_directory_id(Uuid::nil())).await,
            "00000000002a2f41646420766f7465722072657175657374206469646e277420696e636c75646520612076616c696420766f\
             74657200"
        );
        let nowhere = ask(&node, 1, request().with_listeners(vec![])).await;
        assert_eq!(nowhere.error_code, ErrorCode::INVALID_REQUEST.0);
        assert!(quorum.changes.lock().is_empty());
    }

    #[tokio::test]
    async fn the_quorum_is_asked_and_its_word_passed_on() {
        let (node, quorum) = node();
        assert_eq!(ask(&node, 1, request()).await.error_code, 0);
        let changes = quorum.changes.lock().clone();
        assert!(
            matches!(&changes[..], [VoterChange::Add { voter, wait: true, timeout_ms: 1000 }] if voter.id == 9)
        );
        let message = "Cluster doesn't support adding voter because the kraft.version feature is 0";
        *quorum.refusal.lock() = Some(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, message));
        assert_eq!(
            said(&node, request()).await,
            "0000000000234c436c757374657220646f65736e277420737570706f727420616464696e6720766f74657220626563617573\
             6520746865206b726166742e76657273696f6e2066656174757265206973203000"
        );
    }
}
