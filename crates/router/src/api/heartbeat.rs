//! Heartbeat (12), versions 0–4.
//!
//! Versions: 3 static members (KIP-345).

use std::{ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Outcome,
    groups::{Answer, Command, Heartbeat as Beat},
};
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use ottla_types::ErrorCode;

use super::text::shared;
use crate::{Handler, Reply, RequestContext, api::pending};

pub(crate) struct Heartbeat {
    coordinators: Arc<Coordinators>,
}

impl Heartbeat {
    pub(crate) fn new(coordinators: Arc<Coordinators>) -> Self {
        Self { coordinators }
    }
}

impl Handler for Heartbeat {
    type Request = HeartbeatRequest;
    type Response = HeartbeatResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(&self, _: &RequestContext, request: HeartbeatRequest) -> Reply<HeartbeatResponse> {
        let command = Command::Heartbeat(Beat {
            group_id: shared(&request.group_id),
            generation_id: request.generation_id,
            member_id: shared(&request.member_id),
            group_instance_id: request.group_instance_id.as_ref().map(shared),
        });
        pending::reply(self.coordinators.submit(request.group_id.as_str(), command), response)
    }
}

fn response(outcome: Outcome) -> HeartbeatResponse {
    let (Ok(Answer::Heartbeat(error)) | Err(error)) = outcome else {
        unreachable!("a heartbeat is answered with a heartbeat")
    };
    // Nothing is known of the member yet, so nothing is wrong with it: clients take any other answer for a loss (Kafka).
    let error = if error == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS { ErrorCode::NONE } else { error };
    HeartbeatResponse::default().with_error_code(error.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::recorded;

    /// What Kafka 4.4 answered to a member of a group that does not exist.
    const UNKNOWN_MEMBER: [(i16, &str); 5] =
        [(0, "0019"), (1, "000000000019"), (2, "000000000019"), (3, "000000000019"), (4, "00000000001900")];

    #[test]
    fn refusals_are_kafkas_in_every_version() {
        for (version, body) in UNKNOWN_MEMBER {
            recorded::check(12, version, &response(Err(ErrorCode::UNKNOWN_MEMBER_ID)), body);
        }
    }

    #[test]
    fn all_is_well_as_far_as_is_known_while_the_group_is_loaded() {
        assert_eq!(response(Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)).error_code, 0);
    }
}
