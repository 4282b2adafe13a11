//! AlterConfigs (33), versions 0–2 (KIP-133). IncrementalAlterConfigs has taken its place.
//!
//! Sets all that a resource says of itself: what the request does not name falls back to its default. Versions: 2 is
//! flexible; nothing else differs.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_response::AlterConfigsResourceResponse,
};
use ottla_types::ErrorCode;

use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct AlterConfigs {
    controller: Arc<dyn Ask>,
}

impl AlterConfigs {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    type Response = AlterConfigsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(&self, ctx: &RequestContext, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let named = request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone()));
        let named: Vec<_> = named.collect();
        let asked = self.controller.ask(ctx, Command::AlterConfigs(request));
        relay(asked, pick!(AlterConfigs), move |error| {
            let failed = named.into_iter().map(|(kind, name)| {
                AlterConfigsResourceResponse::default()
                    .with_resource_type(kind)
                    .with_resource_name(name)
                    .with_error_code(error.code.0)
                    .with_error_message(said(&error))
            });
            AlterConfigsResponse::default().with_responses(failed.collect())
        })
    }

    fn says_not_controller(answer: &AlterConfigsResponse) -> bool {
        answer.responses.iter().any(|r| ErrorCode(r.error_code) == ErrorCode::NOT_CONTROLLER)
    }
}
