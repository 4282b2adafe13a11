//! RemoveRaftVoter (81), version 0 (KIP-853).
//!
//! Takes the vote from a controller.
//!
//! Not done: authorization.

use std::ops::RangeInclusive;

use ottla_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use ottla_raft::VoterChange;
use ottla_types::{ApiError, ErrorCode};

use super::voters::{Voters, is_elsewhere, told};
use crate::{Handler, Reply, RequestContext, ask::AboutQuorum};

/// Serves it from this node's own member of the quorum; brokers pass it on to the active controller.
pub(crate) struct RemoveRaftVoter(pub(crate) Voters);

impl RemoveRaftVoter {
    fn change(&self, request: &RemoveRaftVoterRequest) -> Result<VoterChange, ApiError> {
        self.0.check_cluster(request.cluster_id.as_ref())?;
        Voters::check_name("Remove", request.voter_id, request.voter_directory_id)?;
        Ok(VoterChange::Remove { id: request.voter_id, directory_id: request.voter_directory_id })
    }
}

impl Handler for RemoveRaftVoter {
    type Request = RemoveRaftVoterRequest;
    type Response = RemoveRaftVoterResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(&self, _: &RequestContext, request: RemoveRaftVoterRequest) -> Reply<RemoveRaftVoterResponse> {
        let changing = self.0.change(self.change(&request));
        Reply::later(async move {
            let (code, message) = told(changing.await);
            RemoveRaftVoterResponse::default().with_error_code(code).with_error_message(message)
        })
    }

    fn says_not_controller(answer: &RemoveRaftVoterResponse) -> bool {
        is_elsewhere(answer.error_code)
    }
}

impl AboutQuorum for RemoveRaftVoter {
    fn is_elsewhere(answer: &RemoveRaftVoterResponse) -> bool {
        is_elsewhere(answer.error_code)
    }

    fn refuse(_: &RemoveRaftVoterRequest, code: ErrorCode) -> RemoveRaftVoterResponse {
        RemoveRaftVoterResponse::default().with_error_code(code.0)
    }
}
