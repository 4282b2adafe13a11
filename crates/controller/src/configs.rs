//! IncrementalAlterConfigs (KIP-339) and the older AlterConfigs: changes of topics', brokers', groups' and client metrics' configuration.

use std::{collections::BTreeMap, sync::Arc};

use ottla_config::{
    BrokerResource, Kind, Layers, Scope, table, validate_broker_overrides, validate_topic_overrides,
};
use ottla_metadata::{ConfigResource, ConfigValues, Fact, ResourceType};
use ottla_protocol::{
    StrBytes,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_request, alter_configs_response,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
    persisted::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord},
};
use ottla_types::{ApiError, ErrorCode};

use crate::{State, Turn, bootstrap::MIN_ISR, partitions::UNCLEAN_ELECTION, text, topics::check_topic_name};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
/// Bytes that a value may have.
const LONGEST_VALUE: usize = 32_767;

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
            let altered = if twice { Err(named_twice()) } else { alter(self.state, resource, &layers) };
            let (code, message) = self.take_over(altered, request.validate_only);
            response.responses.push(
                AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone()),
            );
        }
        response
    }

    /// What the request does not name goes back to its default.
    pub(crate) fn alter_configs(&mut self, request: &AlterConfigsRequest) -> AlterConfigsResponse {
        let layers = self.state.layers();
        let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for resource in &request.resources {
            *times.entry((resource.resource_type, resource.resource_name.as_str())).or_default() += 1;
        }
        let mut response = AlterConfigsResponse::default();
        for resource in &request.resources {
            let twice = times[&(resource.resource_type, resource.resource_name.as_str())] > 1;
            let altered = if twice { Err(named_twice()) } else { replace(self.state, resource, &layers) };
            let (code, message) = self.take_over(altered, request.validate_only);
            response.responses.push(
                alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone()),
            );
        }
        response
    }

    fn take_over(
        &mut self,
        altered: Result<Vec<Fact>, ApiError>,
        validate_only: bool,
    ) -> (i16, Option<StrBytes>) {
        match altered {
            Ok(facts) => {
                if !validate_only {
                    if facts.iter().any(sets_unclean_election) {
                        // Whoever allowed it waits for a leader: no need to wait for the next round.
                        self.plan_leaderless(true);
                    }
                    self.facts.extend(facts);
                }
                (0, None)
            }
            Err(error) => (error.code.0, error.message.as_deref().map(text)),
        }
    }
}

fn named_twice() -> ApiError {
    invalid_request("Each resource must appear at most once.")
}

fn sets_unclean_election(fact: &Fact) -> bool {
    matches!(fact.record(), Some(MetadataRecord::Config(config)) if *config.name == *UNCLEAN_ELECTION)
}

fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::INVALID_REQUEST, message.into())
}

fn invalid_config(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::INVALID_CONFIG, message.into())
}

/// A resource that a request may change, and the table its keys are in.
fn resource(state: &State, kind: i8, name: &str) -> Result<(Scope, ConfigResource), ApiError> {
    let kind = ResourceType(kind);
    let scope = scope_of(kind).ok_or_else(|| invalid_request(format!("Unknown resource type {}", kind.0)))?;
    let resource = ConfigResource { kind, name: name.into() };
    check_resource(state, &resource)?;
    Ok((scope, resource))
}

fn alter(state: &State, wanted: &AlterConfigsResource, layers: &Layers) -> Result<Vec<Fact>, ApiError> {
    let kind = ResourceType(wanted.resource_type);
    if scope_of(kind).is_none() {
        return Err(invalid_request(format!("Unknown resource type {}", kind.0)));
    }
    check_operations(wanted)?;
    let (scope, resource) = resource(state, wanted.resource_type, &wanted.resource_name)?;
    let current = state.image.configs.get(&resource);
    let mut changes = Vec::with_capacity(wanted.configs.len());
    for config in &wanted.configs {
        let before = current.get(config.name.as_str()).map(|value| &**value);
        let after = operate(scope, config, before)?;
        // The minimum is written even when it stays, as Kafka does: eligibility starts over with it.
        let written = after.as_deref() != before || *config.name == *MIN_ISR;
        changes.push(Setting { name: config.name.clone(), value: after, written });
    }
    set(state, scope, &resource, changes, layers)
}

/// The values given, and nothing else.
fn replace(
    state: &State,
    wanted: &alter_configs_request::AlterConfigsResource,
    layers: &Layers,
) -> Result<Vec<Fact>, ApiError> {
    let kind = ResourceType(wanted.resource_type);
    if scope_of(kind).is_none() {
        return Err(invalid_request(format!("Unknown resource type {}", kind.0)));
    }
    let names = wanted.configs.iter().map(|config| config.name.as_str());
    check_distinct(names.clone().collect())?;
    let nulls = wanted.configs.iter().filter(|config| config.value.is_none());
    check_no_nulls(&nulls.map(|config| config.name.as_str()).collect::<Vec<_>>())?;
    let (scope, resource) = resource(state, wanted.resource_type, &wanted.resource_name)?;
    let current = state.image.configs.get(&resource);
    let mut changes = Vec::with_capacity(wanted.configs.len());
    for config in &wanted.configs {
        let value = config.value.as_deref().unwrap_or_default().to_owned();
        let before = current.get(config.name.as_str()).map(|value| &**value);
        let written = before != Some(value.as_str()) || kind == ResourceType::BROKER;
        changes.push(Setting { name: config.name.clone(), value: Some(value), written });
    }
    let gone = current.keys().filter(|name| names.clone().all(|named| named != &***name));
    changes.extend(gone.map(|name| Setting { name: text(name), value: None, written: true }));
    set(state, scope, &resource, changes, layers)
}

/// A key and what it is to be; no value takes it back.
struct Setting {
    name: StrBytes,
    value: Option<String>,
    /// Whether there is anything to record.
    written: bool,
}

fn set(
    state: &State,
    scope: Scope,
    resource: &ConfigResource,
    settings: Vec<Setting>,
    layers: &Layers,
) -> Result<Vec<Fact>, ApiError> {
    let mut changed = ConfigValues::clone(state.image.configs.get(resource));
    let mut facts = Vec::new();
    let mut minimum_changed = false;
    for setting in settings {
        if setting.value.as_ref().is_some_and(|value| value.len() > LONGEST_VALUE) {
            return Err(invalid_config(format!(
                "The configuration value cannot be added because it exceeds the maximum value size of \
                 {LONGEST_VALUE} bytes."
            )));
        }
        if *setting.name == *MIN_ISR && setting.written {
            check_minimum(state, resource, setting.value.is_none())?;
            minimum_changed = true;
        }
        if setting.written {
            facts.push(state.fact(record(resource, &setting.name, setting.value.as_deref())));
        }
        let name: Arc<str> = setting.name.as_str().into();
        match setting.value {
            Some(value) => drop(changed.insert(name, value.into())),
            None => drop(changed.remove(&name)),
        }
    }
    check_values(scope, resource, &changed, layers)?;
    if minimum_changed && state.elr_enabled() {
        // An empty name stands for all topics.
        let topic_name = text(&resource.name);
        facts.push(state.fact(ClearElrRecord { topic_name, ..Default::default() }));
        facts.extend(keep_last_hopes(state, &resource.name));
    }
    Ok(facts)
}

/// Where nobody is in sync the eligible replicas and the last known leader are all that can lead again, and as nobody
/// leads nothing can have been committed without them: they are put back after a [`ClearElrRecord`].
fn keep_last_hopes<'a>(state: &'a State, name: &'a str) -> impl Iterator<Item = Fact> + 'a {
    let mut topics: Vec<_> =
        state.image.topics.iter().filter(|topic| name.is_empty() || *topic.name == *name).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics.into_iter().flat_map(move |topic| {
        let stranded = topic.iter().filter(|(_, partition)| {
            partition.isr.is_empty() && !(partition.elr.is_empty() && partition.last_known_elr.is_empty())
        });
        stranded.map(move |(index, partition)| {
            let set = |nodes: &Vec<_>| (!nodes.is_empty()).then(|| nodes.clone());
            state.fact(PartitionChangeRecord {
                partition_id: index,
                topic_id: topic.id.0,
                leader: -2,
                leader_recovery_state: -1,
                eligible_leader_replicas: set(&partition.elr),
                last_known_elr: set(&partition.last_known_elr),
                ..Default::default()
            })
        })
    })
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
    check_distinct(wanted.configs.iter().map(|config| config.name.as_str()).collect())?;
    let without_value =
        |config: &&AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    let nulls = wanted.configs.iter().filter(without_value).map(|config| config.name.as_str());
    check_no_nulls(&nulls.collect::<Vec<_>>())
}

fn check_distinct(mut names: Vec<&str>) -> Result<(), ApiError> {
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid_request("Error due to duplicate config keys"));
    }
    Ok(())
}

fn check_no_nulls(nulls: &[&str]) -> Result<(), ApiError> {
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
        ResourceType::BROKER if !name.is_empty() => {
            let unreadable = || invalid_request("Unable to parse broker name as a base 10 number.");
            let id: i32 = name.parse().map_err(|_| unreadable())?;
            if state.image.broker(id).is_none() && !state.image.controllers.contains_key(&id) {
                let message = format!("No node with id {id} found.");
                return Err(ApiError::new(ErrorCode::BROKER_ID_NOT_REGISTERED, message));
            }
            Ok(())
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

/// The value that a key has after an operation of IncrementalAlterConfigs; `None` when it has none any more.
///
/// # Errors
/// The operation is none, or takes a list and the key has none.
pub fn operate(
    scope: Scope,
    config: &AlterableConfig,
    before: Option<&str>,
) -> Result<Option<String>, ApiError> {
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
    for part in value.split(',').filter(|part| !part.is_empty()) {
        if what == "SUBTRACT" {
            parts.retain(|known| *known != part);
        } else if !parts.contains(&part) {
            parts.push(part);
        }
    }
    // What changes nothing of a default makes it a value of the resource's own, as with Kafka.
    Ok(Some(parts.join(",")))
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

fn record(resource: &ConfigResource, name: &StrBytes, value: Option<&str>) -> ConfigRecord {
    ConfigRecord {
        resource_type: resource.kind.0,
        resource_name: text(&resource.name),
        name: name.clone(),
        value: value.map(text),
        ..Default::default()
    }
}
