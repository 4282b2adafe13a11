//! ListGroups (16), versions 0–5.
//!
//! The groups that this broker coordinates. While some of them are loaded the answer says so, and has the others.
//!
//! Versions: 4 states, asked for and told (KIP-518); 5 types (KIP-848).

use std::{ops::RangeInclusive, sync::Arc};

use ottla_coordinator::{
    Coordinators, Listing,
    groups::{ListGroups as Filter, ListedGroup as Listed},
};
use ottla_protocol::messages::{
    GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup,
};

use super::text::{shared, wire};
use crate::{Handler, Reply, RequestContext};

pub(crate) struct ListGroups {
    coordinators: Arc<Coordinators>,
}

impl ListGroups {
    pub(crate) fn new(coordinators: Arc<Coordinators>) -> Self {
        Self { coordinators }
    }
}

impl Handler for ListGroups {
    type Request = ListGroupsRequest;
    type Response = ListGroupsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(&self, _: &RequestContext, request: ListGroupsRequest) -> Reply<ListGroupsResponse> {
        let filter = Filter {
            states: request.states_filter.iter().map(shared).collect(),
            types: request.types_filter.iter().map(shared).collect(),
        };
        let coordinators = self.coordinators.clone();
        Reply::later(async move { response(&coordinators.list(&filter).await) })
    }
}

fn response(listing: &Listing) -> ListGroupsResponse {
    let group = |group: &Listed| {
        ListedGroup::default()
            .with_group_id(GroupId(wire(&group.group_id)))
            .with_protocol_type(wire(&group.protocol_type))
            .with_group_state(wire(group.state.name()))
            .with_group_type(wire(group.group_type))
    };
    ListGroupsResponse::default()
        .with_error_code(listing.error.0)
        .with_groups(listing.groups.iter().map(group).collect())
}
