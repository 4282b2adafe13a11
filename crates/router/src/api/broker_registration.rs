//! BrokerRegistration (62), versions 0–4 (KIP-631, KIP-858, KIP-903).
//!
//! A broker starts. It gets the epoch that fences its earlier lives. Versions: 2 log dirs; 3 and 4 the epoch it had when it
//! stopped cleanly.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct BrokerRegistration {
    controller: Arc<dyn Ask>,
}

impl BrokerRegistration {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for BrokerRegistration {
    type Request = BrokerRegistrationRequest;
    type Response = BrokerRegistrationResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: BrokerRegistrationRequest,
    ) -> Reply<BrokerRegistrationResponse> {
        let asked = self.controller.ask(ctx, Command::RegisterBroker(request));
        relay(asked, pick!(RegisterBroker), |error| {
            BrokerRegistrationResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &BrokerRegistrationResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
