//! AlterPartition (56), versions 2–3 (KIP-497, KIP-704, KIP-903).
//!
//! A leader reports a changed in-sync set. Version 3 names members with the epochs of their brokers.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct AlterPartition {
    controller: Arc<dyn Ask>,
}

impl AlterPartition {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for AlterPartition {
    type Request = AlterPartitionRequest;
    type Response = AlterPartitionResponse;
    const VERSIONS: RangeInclusive<i16> = 2..=3;

    fn handle(&self, ctx: &RequestContext, request: AlterPartitionRequest) -> Reply<AlterPartitionResponse> {
        let asked = self.controller.ask(ctx, Command::AlterPartition(request));
        relay(asked, pick!(AlterPartition), |error| {
            AlterPartitionResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &AlterPartitionResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
