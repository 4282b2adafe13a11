//! ListPartitionReassignments (46), version 0 (KIP-455).
//!
//! Tells which partitions are being moved.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct ListPartitionReassignments {
    controller: Arc<dyn Ask>,
}

impl ListPartitionReassignments {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    type Response = ListPartitionReassignmentsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: ListPartitionReassignmentsRequest,
    ) -> Reply<ListPartitionReassignmentsResponse> {
        let asked = self.controller.ask(ctx, Command::ListPartitionReassignments(request));
        relay(asked, pick!(ListPartitionReassignments), |error| {
            ListPartitionReassignmentsResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &ListPartitionReassignmentsResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
