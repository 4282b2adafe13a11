//! UnregisterController (94), version 0.
//!
//! An operator takes a controller that is gone out of the registered ones.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{UnregisterControllerRequest, UnregisterControllerResponse};
use ottla_types::ErrorCode;

use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct UnregisterController {
    controller: Arc<dyn Ask>,
}

impl UnregisterController {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for UnregisterController {
    type Request = UnregisterControllerRequest;
    type Response = UnregisterControllerResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: UnregisterControllerRequest,
    ) -> Reply<UnregisterControllerResponse> {
        let asked = self.controller.ask(ctx, Command::UnregisterController(request));
        relay(asked, pick!(UnregisterController), |error| {
            UnregisterControllerResponse::default()
                .with_error_code(error.code.0)
                .with_error_message(said(&error))
        })
    }

    fn says_not_controller(answer: &UnregisterControllerResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
