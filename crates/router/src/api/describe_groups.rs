//! DescribeGroups (15), versions 0–6.
//!
//! Versions: 3 authorized operations (KIP-430); 4 instance ids; 6 tells that a group does not exist (KIP-1043), which
//! before was a dead group and no error.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Outcome,
    groups::{Answer, Command, DescribedGroup as Group, DescribedMember as Member},
};
use ottla_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    describe_groups_response::{DescribedGroup, DescribedGroupMember},
};
use ottla_types::ErrorCode;

use super::{
    operations,
    text::{shared, wire, wire_option},
};
use crate::{Handler, Reply, RequestContext, api::pending};

pub(crate) struct DescribeGroups {
    coordinators: Arc<Coordinators>,
}

impl DescribeGroups {
    pub(crate) fn new(coordinators: Arc<Coordinators>) -> Self {
        Self { coordinators }
    }
}

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;
    type Response = DescribeGroupsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(&self, ctx: &RequestContext, request: DescribeGroupsRequest) -> Reply<DescribeGroupsResponse> {
        let version = ctx.api_version;
        let operations =
            if request.include_authorized_operations { operations::GROUP } else { operations::OMITTED };
        let ask = |id: &GroupId| self.coordinators.submit(id.as_str(), Command::DescribeGroup(shared(id)));
        // Each once: an answer is never longer than what there is to tell.
        let mut seen = HashSet::with_capacity(request.groups.len());
        let groups: Vec<GroupId> =
            request.groups.iter().filter(|id| seen.insert(id.as_str())).cloned().collect();
        let pending = groups.iter().map(ask).collect();
        pending::reply_all(pending, move |outcomes| {
            let groups = groups.iter().zip(outcomes);
            let groups = groups.map(|(id, outcome)| describe(version, id, outcome, operations));
            DescribeGroupsResponse::default().with_groups(groups.collect())
        })
    }
}

fn tells_unknown_group(version: i16) -> bool {
    version >= 6
}

fn describe(version: i16, id: &GroupId, outcome: Outcome, operations: i32) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(id.clone());
    match outcome {
        Err(error) => described.with_error_code(error.0),
        Ok(Answer::Describe(Some(group))) => found(described, &group).with_authorized_operations(operations),
        Ok(Answer::Describe(None)) if tells_unknown_group(version) => described
            .with_group_state(wire(DEAD))
            .with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
            .with_error_message(Some(wire(&format!("Group {} not found.", id.as_str())))),
        Ok(Answer::Describe(None)) => {
            described.with_group_state(wire(DEAD)).with_authorized_operations(operations)
        }
        Ok(_) => unreachable!("a describe is answered with a description"),
    }
}

/// The state of a group that does not exist.
const DEAD: &str = "Dead";

fn found(described: DescribedGroup, group: &Group) -> DescribedGroup {
    let member = |member: &Member| {
        DescribedGroupMember::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(wire_option(member.group_instance_id.as_ref()))
            .with_client_id(wire(&member.client_id))
            .with_client_host(wire(&member.client_host))
            .with_member_metadata(member.metadata.clone())
            .with_member_assignment(member.assignment.clone())
    };
    described
        .with_group_state(wire(group.state.name()))
        .with_protocol_type(wire(&group.protocol_type))
        .with_protocol_data(wire(&group.protocol))
        .with_members(group.members.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use ottla_protocol::StrBytes;

    use super::*;
    use crate::api::recorded;

    /// What Kafka 4.4 said of two groups that do not exist, one without a name.
    const UNKNOWN_GROUPS: [(i16, &str); 7] = [
        (0, "00000002000000000004446561640000000000000000000000076e6f67726f75700004446561640000000000000000"),
        (
            1,
            "0000000000000002000000000004446561640000000000000000000000076e6f67726f75700004446561640000000000000000",
        ),
        (
            2,
            "0000000000000002000000000004446561640000000000000000000000076e6f67726f75700004446561640000000000000000",
        ),
        (
            3,
            "000000000000000200000000000444656164000000000000000000000d48000000076e6f67726f7570000444656164000000000000000000000d48",
        ),
        (
            4,
            "000000000000000200000000000444656164000000000000000000000d48000000076e6f67726f7570000444656164000000000000000000000d48",
        ),
        (5, "0000000003000001054465616401010100000d48000000086e6f67726f7570054465616401010100000d480000"),
        (
            6,
            "000000000300451247726f757020206e6f7420666f756e642e010544656164010101800000000000451947726f7570206e6f67726f7570206e6f7420666f756e642e086e6f67726f75700544656164010101800000000000",
        ),
    ];

    #[test]
    fn unknown_groups_are_kafkas_in_every_version() {
        for (version, body) in UNKNOWN_GROUPS {
            let operations = if version >= 3 { operations::GROUP } else { operations::OMITTED };
            let unknown = |id: &'static str| {
                let id = GroupId(StrBytes::from_static_str(id));
                describe(version, &id, Ok(Answer::Describe(None)), operations)
            };
            // Kafka answers in no particular order.
            let groups = vec![unknown(""), unknown("nogroup")];
            recorded::check(15, version, &DescribeGroupsResponse::default().with_groups(groups), body);
        }
    }
}
