//! ControllerRegistration (70), version 0 (KIP-919).
//!
//! A controller starts and tells where it listens and what it can do.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct ControllerRegistration {
    controller: Arc<dyn Ask>,
}

impl ControllerRegistration {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for ControllerRegistration {
    type Request = ControllerRegistrationRequest;
    type Response = ControllerRegistrationResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: ControllerRegistrationRequest,
    ) -> Reply<ControllerRegistrationResponse> {
        let asked = self.controller.ask(ctx, Command::RegisterController(request));
        relay(asked, pick!(RegisterController), |error| {
            ControllerRegistrationResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &ControllerRegistrationResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
