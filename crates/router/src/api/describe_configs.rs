//! DescribeConfigs (32), versions 1–4 (KIP-133, KIP-226, KIP-569).
//!
//! Versions: 3 adds the type and the documentation; 4 is flexible. Fields older versions lack are dropped when the answer
//! is encoded.
//!
//! Not done: loggers (none can be set), authorization.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::RangeInclusive,
    sync::Arc,
};

use ottla_config::{
    ConfigEntry, ConfigSynonym, Layers, Settings, describe_broker, describe_broker_default,
    describe_client_metrics, describe_group, describe_topic,
};
use ottla_controller::check_topic_name;
use ottla_metadata::{ConfigResource, Image, ImageCell, ResourceType};
use ottla_protocol::{
    StrBytes,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
};
use ottla_types::{ApiError, ErrorCode, NodeId};

use crate::{Handler, Reply, RequestContext};

pub(crate) struct DescribeConfigs {
    image: Arc<ImageCell>,
    started_with: Arc<Settings>,
    node_id: NodeId,
}

impl DescribeConfigs {
    /// `started_with` is what the process was started with: file, environment, arguments.
    pub(crate) fn new(image: Arc<ImageCell>, started_with: Arc<Settings>, node_id: NodeId) -> Self {
        Self { image, started_with, node_id }
    }

    fn entries(
        &self,
        image: &Image,
        layers: &Layers,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<ConfigEntry>, ApiError> {
        let name = resource.resource_name.as_str();
        let invalid = |message: String| Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
        let kind = ResourceType(resource.resource_type);
        let own = || image.configs.get(&ConfigResource { kind, name: name.into() });
        match kind {
            ResourceType::TOPIC => {
                let bad = |message| ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message);
                check_topic_name(name).map_err(bad)?;
                if image.topic(name).is_none() {
                    return Err(ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ""));
                }
                Ok(describe_topic(own(), layers))
            }
            ResourceType::BROKER if name.is_empty() => Ok(describe_broker_default(layers)),
            ResourceType::BROKER => match name.parse::<NodeId>() {
                Ok(id) if id == self.node_id => Ok(describe_broker(layers)),
                Ok(_) => {
                    let own = self.node_id;
                    invalid(format!(
                        "Unexpected broker id, expected {own} or empty string, but received {name}"
                    ))
                }
                Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
            },
            ResourceType::BROKER_LOGGER => match name.parse::<NodeId>() {
                _ if name.is_empty() => invalid("Broker id must not be empty".into()),
                Ok(id) if id == self.node_id => Ok(Vec::new()),
                Ok(_) => {
                    invalid(format!("Unexpected broker id, expected {} but received {name}", self.node_id))
                }
                Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
            },
            ResourceType::CLIENT_METRICS if name.is_empty() => {
                invalid("Client metrics subscription name must not be empty".into())
            }
            ResourceType::CLIENT_METRICS => Ok(describe_client_metrics(own())),
            ResourceType::GROUP if name.is_empty() => invalid("Group name must not be empty".into()),
            ResourceType::GROUP => Ok(describe_group(own(), layers)),
            ResourceType(other) => invalid(format!("Unsupported resource type {other}")),
        }
    }
}

impl Handler for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    type Response = DescribeConfigsResponse;
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    fn handle(&self, _: &RequestContext, request: DescribeConfigsRequest) -> Reply<DescribeConfigsResponse> {
        let image = self.image.get();
        let configs = &image.configs;
        let cluster = configs.broker_default().as_ref().clone();
        let layers =
            Layers::new(self.started_with.clone(), cluster, configs.broker(self.node_id).as_ref().clone());
        let resources = each_once(&request.resources);
        let results = resources.iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_message(Some(StrBytes::default()));
            match self.entries(&image, &layers, resource) {
                Ok(entries) => result.with_configs(shown(entries, resource, &request)),
                Err(error) => {
                    let message = error.message.map(|message| StrBytes::from_string(message.into_owned()));
                    result.with_error_code(error.code.0).with_error_message(message)
                }
            }
        });
        Reply::Now(DescribeConfigsResponse::default().with_results(results.collect()))
    }
}

/// Each resource once, with all keys that are asked for: an answer is never longer than what there is to tell. A broker
/// may be written in more than one way (`1`, `01`).
fn each_once(asked: &[DescribeConfigsResource]) -> Vec<DescribeConfigsResource> {
    let mut places = HashMap::with_capacity(asked.len());
    let mut kept: Vec<DescribeConfigsResource> = Vec::with_capacity(asked.len());
    for resource in asked {
        let (kind, name) = (resource.resource_type, &resource.resource_name);
        let is_broker = matches!(ResourceType(kind), ResourceType::BROKER | ResourceType::BROKER_LOGGER);
        let number = name.parse::<NodeId>().ok().filter(|_| is_broker);
        let name = number.is_none().then(|| name.clone());
        match places.entry((kind, number, name)) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(resource.clone());
            }
            Entry::Occupied(place) => {
                let first = &mut kept[*place.get()].configuration_keys;
                let more = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
                match (first.as_mut().filter(|keys| !keys.is_empty()), more) {
                    (Some(keys), Some(more)) => keys.extend(more.iter().cloned()),
                    _ => *first = None,
                }
            }
        }
    }
    kept
}

/// The entries asked for; no keys and an empty list of keys both mean all.
fn shown(
    entries: Vec<ConfigEntry>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Vec<DescribeConfigsResourceResult> {
    let keys: HashSet<&str> = resource.configuration_keys.iter().flatten().map(StrBytes::as_str).collect();
    let wanted = |entry: &ConfigEntry| keys.is_empty() || keys.contains(entry.name.as_str());
    entries.into_iter().filter(wanted).map(|entry| result(entry, request)).collect()
}

fn result(entry: ConfigEntry, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonym = |synonym: ConfigSynonym| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(synonym.name))
            .with_value(synonym.value.map(StrBytes::from_string))
            .with_source(synonym.source as i8)
    };
    let synonyms = if request.include_synonyms { entry.synonyms } else { Vec::new() };
    let documentation = entry.documentation.filter(|_| request.include_documentation);
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source as i8)
        .with_is_sensitive(entry.is_sensitive)
        .with_synonyms(synonyms.into_iter().map(synonym).collect())
        .with_config_type(entry.kind.wire())
        .with_documentation(documentation.map(StrBytes::from_static_str))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{api, encode_response};

    use super::*;

    #[test]
    fn every_version_can_say_every_answer() {
        let layers = Layers::fixed_only(Settings::default());
        let request =
            DescribeConfigsRequest::default().with_include_synonyms(true).with_include_documentation(true);
        let resource = DescribeConfigsResource::default().with_configuration_keys(None);
        let configs = shown(describe_topic(&Default::default(), &layers), &resource, &request);
        assert_eq!(configs.len(), 37);
        let response = DescribeConfigsResponse::default()
            .with_results(vec![DescribeConfigsResult::default().with_configs(configs)]);
        for version in DescribeConfigs::VERSIONS {
            encode_response(api::DESCRIBE_CONFIGS, version, 1, &response).expect("encodes");
        }
    }
}
