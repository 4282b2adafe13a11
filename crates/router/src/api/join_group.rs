//! JoinGroup (11), versions 0–9.
//!
//! Answered when the join phase of the group completes; other requests of the connection are not held up by it.
//!
//! Versions: 0 has no rebalance timeout (it is the session timeout); 4 members are given their id first (KIP-394); 5 static
//! members (KIP-345); 7 protocol type and a protocol that may be null; 8 a reason, which is of no use here; 9 skip
//! assignment (KIP-814).

use std::{ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Outcome,
    groups::{Answer, Command, JoinAnswer, JoinGroup as Join, JoinedMember, Protocol},
};
use ottla_protocol::messages::{
    JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember,
};

use super::text::{owned, shared, wire, wire_option};
use crate::{Handler, Reply, RequestContext, api::pending};

pub(crate) struct JoinGroup {
    coordinators: Arc<Coordinators>,
}

impl JoinGroup {
    pub(crate) fn new(coordinators: Arc<Coordinators>) -> Self {
        Self { coordinators }
    }
}

impl Handler for JoinGroup {
    type Request = JoinGroupRequest;
    type Response = JoinGroupResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=9;

    fn handle(&self, ctx: &RequestContext, request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let version = ctx.api_version;
        let member_id = shared(&request.member_id);
        let command = Command::JoinGroup(command(ctx, &request));
        let outcome = self.coordinators.submit(request.group_id.as_str(), command);
        // The coordinator has copies.
        pending::reply(outcome, move |outcome| response(version, &member_id, outcome)).holding(0)
    }
}

fn command(ctx: &RequestContext, request: &JoinGroupRequest) -> Join {
    let version = ctx.api_version;
    let protocol = |name: &_, metadata: &_| Protocol { name: shared(name), metadata: owned(metadata) };
    Join {
        group_id: shared(&request.group_id),
        member_id: shared(&request.member_id),
        group_instance_id: request.group_instance_id.as_ref().map(shared),
        client_id: ctx.client_id().into(),
        client_host: ctx.client_host().into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if has_rebalance_timeout(version) {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        protocol_type: shared(&request.protocol_type),
        protocols: request.protocols.iter().map(|offer| protocol(&offer.name, &offer.metadata)).collect(),
        requires_known_member_id: requires_known_member_id(version),
        supports_skipping_assignment: can_skip_assignment(version),
    }
}

fn has_rebalance_timeout(version: i16) -> bool {
    version >= 1
}

fn requires_known_member_id(version: i16) -> bool {
    version >= 4
}

fn can_skip_assignment(version: i16) -> bool {
    version >= 9
}

/// Versions that cannot say that there is no protocol say that it has no name.
fn may_lack_protocol(version: i16) -> bool {
    version >= 7
}

fn response(version: i16, member_id: &Arc<str>, outcome: Outcome) -> JoinGroupResponse {
    let join = match outcome {
        Ok(Answer::Join(join)) => join,
        Ok(_) => unreachable!("a join is answered with a join"),
        Err(error) => JoinAnswer::refusal(member_id, error),
    };
    let member = |member: &JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(wire_option(member.group_instance_id.as_ref()))
            .with_metadata(member.metadata.clone())
    };
    let protocol = wire_option(join.protocol_name.as_ref());
    JoinGroupResponse::default()
        .with_error_code(join.error.0)
        .with_generation_id(join.generation_id)
        .with_protocol_type(wire_option(join.protocol_type.as_ref()))
        .with_protocol_name(if may_lack_protocol(version) {
            protocol
        } else {
            Some(protocol.unwrap_or_default())
        })
        .with_leader(wire(&join.leader))
        .with_skip_assignment(join.skip_assignment)
        .with_member_id(wire(&join.member_id))
        .with_members(join.members.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use ottla_types::ErrorCode;

    use super::*;
    use crate::api::recorded;

    /// What Kafka 4.4 answered to a member of a group that does not exist.
    const UNKNOWN_MEMBER: [(i16, &str); 10] = [
        (0, "0019ffffffff0000000000017800000000"),
        (1, "0019ffffffff0000000000017800000000"),
        (2, "000000000019ffffffff0000000000017800000000"),
        (3, "000000000019ffffffff0000000000017800000000"),
        (4, "000000000019ffffffff0000000000017800000000"),
        (5, "000000000019ffffffff0000000000017800000000"),
        (6, "000000000019ffffffff010102780100"),
        (7, "000000000019ffffffff00000102780100"),
        (8, "000000000019ffffffff00000102780100"),
        (9, "000000000019ffffffff0000010002780100"),
    ];

    #[test]
    fn refusals_are_kafkas_in_every_version() {
        for (version, body) in UNKNOWN_MEMBER {
            let ours = response(version, &"x".into(), Err(ErrorCode::UNKNOWN_MEMBER_ID));
            recorded::check(11, version, &ours, body);
        }
    }
}
