//! IncrementalAlterConfigs (KIP-339): changes of topics', brokers', groups' and client metrics' configuration.

use std::{collections::BTreeMap, sync::Arc};

use ottla_config::{
    BrokerResource, Kind, Layers, Scope, table, validate_broker_overrides, validate_topic_overrides,
};
use ottla_metadata::{ConfigResource, ConfigValues, Fact, ResourceType};
use ottla_protocol::{
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
    persisted::metadata::{ClearElrRecord, ConfigRecord},
};
use ottla_types::{ApiError, ErrorCode};

use crate::{State, Turn, bootstrap::MIN_ISR, text, topics::check_topic_name};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl Turn<'_, '_> {
    pub(crate) fn incremental_alter_configs(
        &mut self,
        request: &IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let layers = self.state.layers();
        let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for resource in &request.resources {
            *times.entry((resource.resource_type, resource.resource_name.as_str())).or_default() += 1;
        }
        let mut response = IncrementalAlterConfigsResponse::default();
        for resource in &request.resources {
            let twice = times[&(resource.resource_type, resource.resource_name.as_str())] > 1;
            let altered = if twice {
                Err(ApiError::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once."))
            } else {
                alter(self.state, resource, &layers)
            };
            let mut result = AlterConfigsResourceResponse::default()
                .with_error_message(None)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match altered {
                Ok(facts) if !request.validate_only => self.facts.extend(facts),
                Ok(_) => {}
                Err(error) => {
                    result.error_code = error.code.0;
                    result.error_message = error.message.as_deref().map(text);
                }
            }
            response.responses.push(result);
        }
        response
    }
}

fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::INVALID_REQUEST, message.into())
}

fn invalid_config(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::INVALID_CONFIG, message.into())
}

fn alter(state: &State, wanted: &AlterConfigsResource, layers: &Layers) -> Result<Vec<Fact>, ApiError> {
    let kind = ResourceType(wanted.resource_type);
    let scope = scope_of(kind).ok_or_else(|| invalid_request(format!("Unknown resource type {}", kind.0)))?;
    check_operations(wanted)?;
    let resource = ConfigResource { kind, name: wanted.resource_name.as_str().into() };
    check_resource(state, &resource)?;
    let current = state.image.configs.get(&resource);
    let mut changed = ConfigValues::clone(current);
    let mut facts = Vec::new();
    let mut minimum_changed = false;
    for config in &wanted.configs {
        let before = current.get(config.name.as_str()).map(|value| &**value);
        let after = operate(scope, config, before)?;
        let is_minimum = *config.name == *MIN_ISR;
        // The minimum is written even when it stays, as Kafka does: eligibility starts over with it.
        if after.as_deref() != before || is_minimum {
            facts.push(state.fact(record(&resource, config, after.as_deref())));
        }
        if is_minimum {
            check_minimum(state, &resource, after.is_none())?;
            minimum_changed = true;
        }
        let name: Arc<str> = config.name.as_str().into();
        match after {
            Some(after) => drop(changed.insert(name, after.into())),
            None => drop(changed.remove(&name)),
        }
    }
    check_values(scope, &resource, &changed, layers)?;
    if minimum_changed && state.elr_enabled() {
        // An empty name stands for all topics.
        let topic_name = wanted.resource_name.clone();
        facts.push(state.fact(ClearElrRecord { topic_name, ..Default::default() }));
    }
    Ok(facts)
}

fn scope_of(kind: ResourceType) -> Option<Scope> {
    Some(match kind {
        ResourceType::TOPIC => Scope::Topic,
        ResourceType::BROKER => Scope::Broker,
        ResourceType::CLIENT_METRICS => Scope::ClientMetrics,
        ResourceType::GROUP => Scope::Group,
        _ => return None,
    })
}

fn check_operations(wanted: &AlterConfigsResource) -> Result<(), ApiError> {
    let mut names: Vec<&str> = wanted.configs.iter().map(|config| config.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid_request("Error due to duplicate config keys"));
    }
    let without_value =
        |config: &&AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    let nulls: Vec<&str> =
        wanted.configs.iter().filter(without_value).map(|config| config.name.as_str()).collect();
    if !nulls.is_empty() {
        return Err(invalid_request(format!("Null value not supported for : {}", nulls.join(","))));
    }
    Ok(())
}

fn check_resource(state: &State, resource: &ConfigResource) -> Result<(), ApiError> {
    let name = &*resource.name;
    match resource.kind {
        ResourceType::TOPIC if name.is_empty() => {
            Err(invalid_request("Default topic resources are not allowed."))
        }
        ResourceType::GROUP if name.is_empty() => {
            Err(invalid_request("Default group resources are not allowed."))
        }
        ResourceType::TOPIC => {
            let invalid = |why| ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, why);
            check_topic_name(name).map_err(invalid)?;
            if state.image.topic(name).is_none() {
                let message = format!("The topic '{name}' does not exist.");
                return Err(ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
            }
            Ok(())
        }
        ResourceType::BROKER if !name.is_empty() && name.parse::<i32>().is_err() => {
            Err(invalid_request(format!("Node id must be an integer, but it is: {name}")))
        }
        _ => Ok(()),
    }
}

/// With eligible leader replicas all brokers must see the same minimum.
fn check_minimum(state: &State, resource: &ConfigResource, removed: bool) -> Result<(), ApiError> {
    if resource.kind != ResourceType::BROKER || !state.elr_enabled() {
        return Ok(());
    }
    if !resource.name.is_empty() {
        return Err(invalid_config(
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ));
    }
    if removed {
        return Err(invalid_config(
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        ));
    }
    Ok(())
}

/// The value after an operation.
fn operate(scope: Scope, config: &AlterableConfig, before: Option<&str>) -> Result<Option<String>, ApiError> {
    let value = config.value.as_deref().unwrap_or_default();
    let name = config.name.as_str();
    let what = match config.config_operation {
        SET => return Ok(Some(value.to_owned())),
        DELETE => return Ok(None),
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        _ => return Err(ApiError::from(ErrorCode::UNKNOWN_SERVER_ERROR)),
    };
    let key = if scope == Scope::Broker { table::find_broker(name) } else { table::find(scope, name) };
    if key.is_none_or(|key| key.kind != Kind::List) {
        return Err(invalid_config(format!("Can't {what} to key {name} because its type is not LIST.")));
    }
    let base = before.or_else(|| key.and_then(|key| key.default_text())).unwrap_or_default();
    let mut parts: Vec<&str> = base.split(',').filter(|part| !part.is_empty()).collect();
    let had = parts.len();
    for part in value.split(',').filter(|part| !part.is_empty()) {
        if what == "SUBTRACT" {
            parts.retain(|known| *known != part);
        } else if !parts.contains(&part) {
            parts.push(part);
        }
    }
    // What changes nothing does not turn a default into a value of the resource's own.
    Ok(if parts.len() == had { before.map(str::to_owned) } else { Some(parts.join(",")) })
}

fn check_values(
    scope: Scope,
    resource: &ConfigResource,
    values: &ConfigValues,
    layers: &Layers,
) -> Result<(), ApiError> {
    match scope {
        Scope::Topic => validate_topic_overrides(values, layers).map_err(invalid_config),
        Scope::Broker => {
            let which = if resource.name.is_empty() { BrokerResource::Default } else { BrokerResource::One };
            validate_broker_overrides(values, which).map_err(invalid_request)
        }
        Scope::Group => values.iter().try_for_each(|(name, value)| {
            ottla_config::validate_group_override(name, value).map_err(invalid_config)
        }),
        _ => values.iter().try_for_each(|(name, value)| {
            let key = table::find(scope, name);
            let key =
                key.ok_or_else(|| invalid_config(format!("Unknown client metrics configuration: {name}")))?;
            ottla_config::Value::parse(key, value).map(drop).map_err(invalid_config)
        }),
    }
}

fn record(resource: &ConfigResource, config: &AlterableConfig, value: Option<&str>) -> ConfigRecord {
    ConfigRecord {
        resource_type: resource.kind.0,
        resource_name: text(&resource.name),
        name: config.name.clone(),
        value: value.map(text),
        ..Default::default()
    }
}
