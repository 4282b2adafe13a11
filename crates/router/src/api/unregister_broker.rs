//! UnregisterBroker (64), version 0 (KIP-631).
//!
//! An operator takes a broker out of the cluster.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use ottla_types::ErrorCode;

use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct UnregisterBroker {
    controller: Arc<dyn Ask>,
}

impl UnregisterBroker {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for UnregisterBroker {
    type Request = UnregisterBrokerRequest;
    type Response = UnregisterBrokerResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: UnregisterBrokerRequest,
    ) -> Reply<UnregisterBrokerResponse> {
        let asked = self.controller.ask(ctx, Command::UnregisterBroker(request));
        relay(asked, pick!(UnregisterBroker), |error| {
            UnregisterBrokerResponse::default().with_error_code(error.code.0).with_error_message(said(&error))
        })
    }

    fn says_not_controller(answer: &UnregisterBrokerResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
