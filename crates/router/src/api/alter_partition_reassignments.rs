//! AlterPartitionReassignments (45), versions 0–1 (KIP-455, KIP-860).
//!
//! Moves partitions to other brokers, or gives up moving them. Version 1 may forbid that the number of replicas changes.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct AlterPartitionReassignments {
    controller: Arc<dyn Ask>,
}

impl AlterPartitionReassignments {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    type Response = AlterPartitionReassignmentsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: AlterPartitionReassignmentsRequest,
    ) -> Reply<AlterPartitionReassignmentsResponse> {
        let asked = self.controller.ask(ctx, Command::AlterPartitionReassignments(request));
        relay(asked, pick!(AlterPartitionReassignments), |code| {
            AlterPartitionReassignmentsResponse::default().with_error_code(code.0)
        })
    }

    fn says_not_controller(answer: &AlterPartitionReassignmentsResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
