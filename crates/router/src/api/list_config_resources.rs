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
    ResourceType::GROUP,
    ResourceType::CLIENT_METRICS,
    ResourceType::BROKER_LOGGER,
    ResourceType::BROKER,
    ResourceType::TOPIC,
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

#[cfg(test)]
mod tests {
    use ottla_metadata::{BrokerRegistration, Endpoint, Fact};
    use ottla_protocol::{
        api,
        persisted::metadata::{ConfigRecord, TopicRecord},
    };
    use uuid::Uuid;

    use super::*;
    use crate::api::testing::{ask, body};

    /// The recorded cluster: three brokers, a topic, a group and a client metrics subscription with something set.
    fn image() -> Arc<ImageCell> {
        let mut image = Image::new();
        let facts = [
            Fact::at_level(
                TopicRecord { name: "foo".into(), topic_id: Uuid::from_u128(7), ..Default::default() },
                33,
            ),
            config(32, "g1", "consumer.session.timeout.ms"),
            config(16, "cm", "interval.ms"),
        ];
        facts.iter().for_each(|fact| image.apply(fact));
        image.brokers = Arc::new((1..=3).map(|id| (id, Arc::new(broker(id)))).collect());
        Arc::new(ImageCell::new(Arc::new(image)))
    }

    fn config(kind: i8, resource: &'static str, name: &'static str) -> Fact {
        let record = ConfigRecord {
            resource_type: kind,
            resource_name: resource.into(),
            name: name.into(),
            value: Some("5000".into()),
            ..Default::default()
        };
        Fact::at_level(record, 33)
    }

    fn broker(id: i32) -> BrokerRegistration {
        let listener =
            Endpoint { name: "CONTROLLER".into(), host: "h".into(), port: 1, security_protocol: 0 };
        BrokerRegistration {
            id,
            epoch: 1,
            incarnation_id: Uuid::nil(),
            listeners: vec![listener],
            features: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: Vec::new(),
            cordoned_log_dirs: None,
        }
    }

    #[tokio::test]
    async fn resources_are_listed_as_kafka_lists_them() {
        let handler = ListConfigResources::new(image());
        for (version, types, recorded) in [
            (0, vec![], "0000000000000203636d0000"),
            (
                1,
                vec![],
                "0000000000000a036731200003636d100002310800023208000233080002310400023204000233040004666f6f020000",
            ),
            (1, vec![4, 8], "0000000000000702310800023208000233080002310400023204000233040000"),
            (1, vec![99], "0000000000230100"),
        ] {
            let request = ListConfigResourcesRequest::default().with_resource_types(types);
            let answer = ask(&handler, version, request).await;
            assert_eq!(body(api::LIST_CONFIG_RESOURCES, version, answer), recorded);
        }
    }
}
