//! Looking at groups: DescribeGroups and ListGroups.

use bytes::Bytes;

use crate::{
    DescribedGroup, DescribedMember, ListGroups, ListedGroup, Member, State, classic::ClassicGroup,
    groups::Group,
};

/// The type of all groups here.
const CLASSIC: &str = "classic";

impl ClassicGroup {
    /// The group as tools show it. Subscriptions mean something only when it is stable; who has
    /// which partitions is told during a rebalance too, as far as it is not decided anew.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.state == State::Stable;
        let member = |member: &Member| DescribedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { self.subscription(member) } else { Bytes::new() },
            assignment: member.assignment.clone(),
        };
        DescribedGroup {
            group_id: self.id.clone(),
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().filter(|_| stable).unwrap_or_default(),
            members: self.members.values().map(member).collect(),
        }
    }
}

/// The groups that the filters let through.
pub(crate) fn list<'a>(groups: impl Iterator<Item = &'a Group>, filter: &ListGroups) -> Vec<ListedGroup> {
    let matches = |wanted: &[std::sync::Arc<str>], name: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    if !matches(&filter.types, CLASSIC) {
        return Vec::new();
    }
    let mut listed: Vec<ListedGroup> = groups
        .map(|group| &group.classic)
        .filter(|group| matches(&filter.states, group.state.name()))
        .map(|group| ListedGroup {
            group_id: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
            group_type: CLASSIC,
        })
        .collect();
    listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    listed
}
