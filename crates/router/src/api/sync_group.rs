//! SyncGroup (14), versions 0–5.
//!
//! Followers are answered when the leader's assignment is known and durable, never by the passing of time.
//!
//! Versions: 3 static members (KIP-345); 5 protocol type and name, which must be there (KIP-559).

use std::{ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Outcome, Pending,
    groups::{Answer, Command, SyncAnswer, SyncGroup as Sync},
};
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use ottla_types::ErrorCode;

use super::text::{owned, shared, wire_option};
use crate::{Handler, Reply, RequestContext, api::pending};

pub(crate) struct SyncGroup {
    coordinators: Arc<Coordinators>,
}

impl SyncGroup {
    pub(crate) fn new(coordinators: Arc<Coordinators>) -> Self {
        Self { coordinators }
    }
}

impl Handler for SyncGroup {
    type Request = SyncGroupRequest;
    type Response = SyncGroupResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(&self, ctx: &RequestContext, request: SyncGroupRequest) -> Reply<SyncGroupResponse> {
        if must_name_protocol(ctx.api_version)
            && (request.protocol_type.is_none() || request.protocol_name.is_none())
        {
            return Reply::Now(response(Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)));
        }
        let assignments = request.assignments.iter();
        let command = Command::SyncGroup(Sync {
            group_id: shared(&request.group_id),
            generation_id: request.generation_id,
            member_id: shared(&request.member_id),
            group_instance_id: request.group_instance_id.as_ref().map(shared),
            protocol_type: request.protocol_type.as_ref().map(shared),
            protocol_name: request.protocol_name.as_ref().map(shared),
            assignments: assignments
                .map(|given| (shared(&given.member_id), owned(&given.assignment)))
                .collect(),
        });
        let outcome: Pending = self.coordinators.submit(request.group_id.as_str(), command);
        // The coordinator has copies.
        pending::reply(outcome, response).holding(0)
    }
}

fn must_name_protocol(version: i16) -> bool {
    version >= 5
}

fn response(outcome: Outcome) -> SyncGroupResponse {
    let sync = match outcome {
        Ok(Answer::Sync(sync)) => sync,
        Ok(_) => unreachable!("a sync is answered with a sync"),
        Err(error) => SyncAnswer::refusal(error),
    };
    SyncGroupResponse::default()
        .with_error_code(sync.error.0)
        .with_protocol_type(wire_option(sync.protocol_type.as_ref()))
        .with_protocol_name(wire_option(sync.protocol_name.as_ref()))
        .with_assignment(sync.assignment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::recorded;

    /// What Kafka 4.4 answered to a member of a group that does not exist.
    const UNKNOWN_MEMBER: [(i16, &str); 6] = [
        (0, "001900000000"),
        (1, "00000000001900000000"),
        (2, "00000000001900000000"),
        (3, "00000000001900000000"),
        (4, "0000000000190100"),
        (5, "00000000001900000100"),
    ];

    #[test]
    fn refusals_are_kafkas_in_every_version() {
        for (version, body) in UNKNOWN_MEMBER {
            recorded::check(14, version, &response(Err(ErrorCode::UNKNOWN_MEMBER_ID)), body);
        }
    }
}
