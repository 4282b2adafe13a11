//! ListConfigResources (74), versions 0–1 (KIP-714, KIP-1142): which resources can be configured.
//!
//! Topics and brokers are listed whether or not anything is set on them; groups and client metrics subscriptions exist
//! only by what is set. Versions: 0 lists client metrics subscriptions; 1 says which types, all of them when it names none.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::{Image, ImageCell, ResourceType};
use ottla_protocol::{
    StrBytes,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
};
use ottla_types::ErrorCode;

use crate::{Handler, Reply, RequestContext};

/// The types that version 1 knows, in the order they are listed.
const TYPES: [ResourceType; 5] = [
    ResourceType::TOPIC,
    ResourceType::BROKER,
    ResourceType::BROKER_LOGGER,
    ResourceType::CLIENT_METRICS,
    ResourceType::GROUP,
];

pub(crate) struct ListConfigResources {
    image: Arc<ImageCell>,
}

impl ListConfigResources {
    pub(crate) fn new(image: Arc<ImageCell>) -> Self {
        Self { image }
    }
}

impl Handler for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    type Response = ListConfigResourcesResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: ListConfigResourcesRequest,
    ) -> Reply<ListConfigResourcesResponse> {
        let asked = if !names_types(ctx.api_version) {
            vec![ResourceType::CLIENT_METRICS]
        } else if request.resource_types.is_empty() {
            TYPES.to_vec()
        } else {
            request.resource_types.iter().map(|kind| ResourceType(*kind)).collect()
        };
        if asked.iter().any(|kind| !TYPES.contains(kind)) {
            let code = ErrorCode::UNSUPPORTED_VERSION.0;
            return Reply::Now(ListConfigResourcesResponse::default().with_error_code(code));
        }
        let image = self.image.load();
        let listed =
            TYPES.iter().filter(|kind| asked.contains(kind)).flat_map(|kind| list(&image, ctx, *kind));
        Reply::Now(ListConfigResourcesResponse::default().with_config_resources(listed.collect()))
    }
}

fn list(image: &Image, ctx: &RequestContext, kind: ResourceType) -> Vec<ConfigResource> {
    let resource = |name: String| {
        ConfigResource::default().with_resource_name(StrBytes::from_string(name)).with_resource_type(kind.0)
    };
    match kind {
        ResourceType::TOPIC => image.topics.iter().map(|topic| resource(topic.name.to_string())).collect(),
        ResourceType::BROKER | ResourceType::BROKER_LOGGER => {
            let alive = image.alive_brokers().filter(|broker| broker.listener(&ctx.listener).is_some());
            alive.map(|broker| resource(broker.id.to_string())).collect()
        }
        _ => {
            let set = image.configs.iter().filter(|(held, _)| held.kind == kind);
            set.map(|(held, _)| resource(held.name.to_string())).collect()
        }
    }
}

/// Version 1 names the types it wants.
fn names_types(version: i16) -> bool {
    version >= 1
}
