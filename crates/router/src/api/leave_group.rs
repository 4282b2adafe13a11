//! LeaveGroup (13), versions 0–5.
//!
//! Versions: 3 several members at once, static ones by their instance id (KIP-345); before, one member, whose error is the
//! answer's; 5 a reason, which is of no use here.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Outcome,
    groups::{Answer, Command, LeaveAnswer, LeaveGroup as Leave, LeavingMember, LeftMember},
};
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse};

use super::text::{shared, wire, wire_option};
use crate::{Handler, Reply, RequestContext, api::pending};

pub(crate) struct LeaveGroup {
    coordinators: Arc<Coordinators>,
}

impl LeaveGroup {
    pub(crate) fn new(coordinators: Arc<Coordinators>) -> Self {
        Self { coordinators }
    }
}

impl Handler for LeaveGroup {
    type Request = LeaveGroupRequest;
    type Response = LeaveGroupResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(&self, ctx: &RequestContext, request: LeaveGroupRequest) -> Reply<LeaveGroupResponse> {
        let version = ctx.api_version;
        let members = if names_several(version) {
            let members = request.members.iter();
            let leaving = members.map(|member| LeavingMember {
                member_id: shared(&member.member_id),
                group_instance_id: member.group_instance_id.as_ref().map(shared),
            });
            leaving.collect()
        } else {
            vec![LeavingMember { member_id: shared(&request.member_id), group_instance_id: None }]
        };
        let command = Command::LeaveGroup(Leave { group_id: shared(&request.group_id), members });
        let outcome = self.coordinators.submit(request.group_id.as_str(), command);
        pending::reply(outcome, move |outcome| response(version, outcome))
    }
}

fn names_several(version: i16) -> bool {
    version >= 3
}

fn response(version: i16, outcome: Outcome) -> LeaveGroupResponse {
    let leave = match outcome {
        Ok(Answer::Leave(leave)) => leave,
        Ok(_) => unreachable!("a leave is answered with a leave"),
        Err(error) => LeaveAnswer { error, members: Vec::new() },
    };
    if !names_several(version) {
        let of_member = leave.members.first().map_or(leave.error, |member| member.error);
        return LeaveGroupResponse::default().with_error_code(of_member.0);
    }
    let member = |member: &LeftMember| {
        MemberResponse::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(wire_option(member.group_instance_id.as_ref()))
            .with_error_code(member.error.0)
    };
    LeaveGroupResponse::default()
        .with_error_code(leave.error.0)
        .with_members(leave.members.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use ottla_types::ErrorCode;

    use super::*;
    use crate::api::recorded;

    /// What Kafka 4.4 answered when a member left a group that does not exist.
    const UNKNOWN_MEMBER: [(i16, &str); 6] = [
        (0, "0019"),
        (1, "000000000019"),
        (2, "000000000019"),
        (3, "0000000000000000000100016dffff0019"),
        (4, "00000000000002026d0000190000"),
        (5, "00000000000002026d0000190000"),
    ];

    #[test]
    fn refusals_are_kafkas_in_every_version() {
        for (version, body) in UNKNOWN_MEMBER {
            let error = ErrorCode::UNKNOWN_MEMBER_ID;
            let members = vec![LeftMember { member_id: "m".into(), group_instance_id: None, error }];
            let answer = Answer::Leave(LeaveAnswer { error: ErrorCode::NONE, members });
            recorded::check(13, version, &response(version, Ok(answer)), body);
        }
    }
}
