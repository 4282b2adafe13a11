//! IncrementalAlterConfigs (44), versions 0–1 (KIP-339, KIP-226, KIP-412).
//!
//! Versions: 1 is flexible; nothing else differs. What is said to a broker resource is checked here for being about this
//! broker and something it can take, as Kafka's brokers do; the rest is the controller's. Controllers that are asked directly
//! refuse values that no broker would take, where Kafka's store them for brokers to ignore.
//!
//! Not done: loggers whose level can be set, authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::{Answer, Command};
use ottla_metadata::ResourceType;
use ottla_protocol::{
    StrBytes,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::AlterConfigsResource,
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
};
use ottla_types::{ApiError, ErrorCode, NodeId};

use super::broker_changes::OwnConfig;
use crate::{Handler, Reply, RequestContext, ask::Ask};

pub(crate) struct IncrementalAlterConfigs {
    controller: Arc<dyn Ask>,
    node_id: NodeId,
    /// A broker changes its own settings only; a controller, which has `None`, those of any.
    own: Option<OwnConfig>,
}

impl IncrementalAlterConfigs {
    pub(crate) fn on_broker(controller: Arc<dyn Ask>, node_id: NodeId, own: OwnConfig) -> Self {
        Self { controller, node_id, own: Some(own) }
    }

    pub(crate) fn on_controller(controller: Arc<dyn Ask>, node_id: NodeId) -> Self {
        Self { controller, node_id, own: None }
    }

    /// What this node itself has to say against a resource.
    fn check(&self, resource: &AlterConfigsResource) -> Result<(), ApiError> {
        let name = resource.resource_name.as_str();
        let invalid = |message: String| Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
        match (ResourceType(resource.resource_type), name.parse::<NodeId>()) {
            (ResourceType::BROKER, _) => self.own.as_ref().map_or(Ok(()), |own| own.check_changes(resource)),
            (ResourceType::BROKER_LOGGER, Ok(id)) if id == self.node_id => match resource.configs.first() {
                Some(config) => {
                    let message = format!("Logger {} does not exist!", config.name.as_str());
                    Err(ApiError::new(ErrorCode::INVALID_CONFIG, message))
                }
                None => Ok(()),
            },
            (ResourceType::BROKER_LOGGER, Ok(_)) => {
                invalid(format!("Unexpected node id. Expected {}, but received {name}", self.node_id))
            }
            (ResourceType::BROKER_LOGGER, Err(_)) => {
                invalid(format!("Node id must be an integer, but it is: {name}"))
            }
            _ => Ok(()),
        }
    }
}

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    type Response = IncrementalAlterConfigsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: IncrementalAlterConfigsRequest,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let IncrementalAlterConfigsRequest { resources, validate_only, .. } = request;
        let mut refused = Vec::new();
        let mut asked = Vec::new();
        for resource in resources {
            match self.check(&resource) {
                Err(error) => refused.push(answer(&resource, error)),
                // A logger resource without changes: nothing to do.
                Ok(()) if ResourceType(resource.resource_type) == ResourceType::BROKER_LOGGER => {
                    refused.push(answer(&resource, ErrorCode::NONE.into()));
                }
                Ok(()) => asked.push(resource),
            }
        }
        if asked.is_empty() {
            return Reply::Now(IncrementalAlterConfigsResponse::default().with_responses(refused));
        }
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(asked.clone())
            .with_validate_only(validate_only);
        let answered = self.controller.ask(ctx, Command::IncrementalAlterConfigs(request));
        Reply::later(async move {
            let mut response = match answered.await {
                Ok(Answer::IncrementalAlterConfigs(response)) => response,
                Ok(_) => unreachable!("an answer is of its command's kind"),
                Err(error) => {
                    let failed = asked.iter().map(|resource| answer(resource, error.clone()));
                    IncrementalAlterConfigsResponse::default().with_responses(failed.collect())
                }
            };
            response.responses.splice(0..0, refused);
            response
        })
    }

    fn says_not_controller(answer: &IncrementalAlterConfigsResponse) -> bool {
        answer.responses.iter().any(|r| ErrorCode(r.error_code) == ErrorCode::NOT_CONTROLLER)
    }
}

fn answer(resource: &AlterConfigsResource, error: ApiError) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_error_code(error.code.0)
        .with_error_message(error.message.map(|message| StrBytes::from_string(message.into_owned())))
}
