//! AllocateProducerIds (67), version 0 (KIP-730).
//!
//! A broker has used up its block of producer ids and asks for another.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct AllocateProducerIds {
    controller: Arc<dyn Ask>,
}

impl AllocateProducerIds {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for AllocateProducerIds {
    type Request = AllocateProducerIdsRequest;
    type Response = AllocateProducerIdsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: AllocateProducerIdsRequest,
    ) -> Reply<AllocateProducerIdsResponse> {
        let asked = self.controller.ask(ctx, Command::AllocateProducerIds(request));
        relay(asked, pick!(AllocateProducerIds), |error| {
            AllocateProducerIdsResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &AllocateProducerIdsResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
