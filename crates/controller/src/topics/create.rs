//! CreateTopics (KIP-4, KIP-464, KIP-525).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use ottla_config::{Layers, Overrides, describe_topic, validate_topic_overrides};
use ottla_metadata::{ConfigValues, Fact, ResourceType};
use ottla_protocol::{
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    persisted::metadata::{ClearElrRecord, ConfigRecord, TopicRecord},
};
use ottla_types::{ApiError, ErrorCode, NodeId, TopicId};

use super::{
    LARGEST_REQUEST,
    names::{check_topic_name, colliding},
};
use crate::{Place, Turn, bootstrap::MIN_ISR, text};

/// `__cluster_metadata` is not a topic that anyone may create.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// A key and its value.
type Config = (Arc<str>, Arc<str>);

/// A topic that passed all checks.
struct Planned {
    facts: Vec<Fact>,
    result: CreatableTopicResult,
}

impl Turn<'_, '_> {
    pub(crate) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let layers = self.state.layers();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(topic.name.as_str()).or_default() += 1;
        }
        let twice: BTreeSet<&str> =
            times.iter().filter(|(_, times)| **times > 1).map(|(name, _)| *name).collect();
        let too_many = self.too_many(request, &layers);
        let taken = self.taken(request);
        let mut response = CreateTopicsResponse::default();
        for name in &twice {
            let error = ApiError::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.");
            response.topics.push(refused(name, error));
        }
        for topic in request.topics.iter().filter(|topic| !twice.contains(topic.name.as_str())) {
            let planned = if too_many {
                let message = "Excessively large number of partitions per request.";
                Err(ApiError::new(ErrorCode::POLICY_VIOLATION, message))
            } else {
                self.plan(topic, &layers, &taken)
            };
            match planned {
                Ok(planned) => {
                    if !request.validate_only {
                        self.facts.extend(planned.facts);
                    }
                    response.topics.push(planned.result);
                }
                Err(error) => response.topics.push(refused(&topic.name, error)),
            }
        }
        response
    }

    fn too_many(&self, request: &CreateTopicsRequest, layers: &Layers) -> bool {
        let default = usize::try_from(layers.int("num.partitions")).unwrap_or(1);
        let partitions = request.topics.iter().map(|topic| match usize::try_from(topic.num_partitions) {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            // What is refused takes time, too.
            Ok(count) => count.max(1),
            Err(_) => default,
        });
        partitions.fold(0usize, usize::saturating_add) > LARGEST_REQUEST
    }

    /// Topics that are there and collide with new ones, by what they collide by. One look at all of them, whatever the
    /// number of new ones.
    fn taken(&self, request: &CreateTopicsRequest) -> HashMap<String, Arc<str>> {
        let new: HashSet<String> = request.topics.iter().filter_map(|topic| colliding(&topic.name)).collect();
        if new.is_empty() {
            return HashMap::new();
        }
        let lengths: HashSet<usize> = new.iter().map(String::len).collect();
        let topics = self.image().topics.iter().filter(|topic| lengths.contains(&topic.name.len()));
        let taken = topics.filter_map(|topic| Some((colliding(&topic.name)?, topic.name.clone())));
        taken.filter(|(key, _)| new.contains(key)).collect()
    }

    fn plan(
        &mut self,
        topic: &CreatableTopic,
        layers: &Layers,
        taken: &HashMap<String, Arc<str>>,
    ) -> Result<Planned, ApiError> {
        let name = topic.name.as_str();
        self.check_new_name(name, taken)?;
        let configs = configs(topic, layers)?;
        let assignments =
            if topic.assignments.is_empty() { self.automatic(topic)? } else { self.manual(topic)? };
        let id = self.new_topic_id();
        let mut facts =
            vec![self.state.fact(TopicRecord { name: text(name), topic_id: id.0, ..Default::default() })];
        for (key, value) in &configs {
            facts.push(self.state.fact(ConfigRecord {
                resource_type: ResourceType::TOPIC.0,
                resource_name: text(name),
                name: text(key),
                value: Some(text(value)),
                ..Default::default()
            }));
        }
        let overrides: ConfigValues = configs.into_iter().collect();
        if overrides.contains_key(MIN_ISR) && self.state.elr_enabled() {
            facts.push(self.state.fact(ClearElrRecord { topic_name: text(name), ..Default::default() }));
        }
        let factor = assignments.first().map_or(0, Vec::len);
        let count = assignments.len();
        for (index, replicas) in (0..).zip(assignments) {
            let record = self.new_partition(id, index, replicas)?;
            facts.push(self.state.fact(record));
        }
        let result = CreatableTopicResult::default()
            .with_error_message(None)
            .with_name(topic.name.clone())
            .with_topic_id(id.0)
            .with_num_partitions(i32::try_from(count).expect("bounded per request"))
            .with_replication_factor(i16::try_from(factor).expect("at most one per broker"))
            .with_configs(Some(described(&overrides, layers)));
        Ok(Planned { facts, result })
    }

    fn check_new_name(&self, name: &str, taken: &HashMap<String, Arc<str>>) -> Result<(), ApiError> {
        if name == METADATA_TOPIC {
            let message = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
            return Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
        }
        let invalid = |message: String| ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message);
        check_topic_name(name).map_err(invalid)?;
        if self.image().topic(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(ErrorCode::TOPIC_ALREADY_EXISTS, message));
        }
        if let Some(other) = colliding(name).and_then(|key| taken.get(&key)) {
            return Err(invalid(format!("Topic '{name}' collides with existing topic: {other}")));
        }
        Ok(())
    }

    /// Version 4 ids as Kafka's, never one that is reserved or starts with a dash (tools take it for an option).
    fn new_topic_id(&mut self) -> TopicId {
        loop {
            let id =
                TopicId(uuid::Builder::from_random_bytes(self.ctx.random_u128().to_be_bytes()).into_uuid());
            if !id.to_string().starts_with('-') && self.image().topic_by_id(id).is_none() {
                return id;
            }
        }
    }

    fn automatic(&mut self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, ApiError> {
        let settings = &self.state.settings;
        let replication_factor = match topic.replication_factor {
            -1 => settings.default_replication_factor,
            factor if factor > 0 => factor,
            _ => {
                let message = "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
            }
        };
        let partitions = match topic.num_partitions {
            -1 => settings.num_partitions,
            count if count > 0 => count,
            _ => {
                let message = "Number of partitions was set to an invalid non-positive value.";
                return Err(ApiError::new(ErrorCode::INVALID_PARTITIONS, message));
            }
        };
        self.place(Place { partitions, replication_factor })
    }

    fn manual(&self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, ApiError> {
        let invalid = |what: &str| {
            let message =
                format!("A manual partition assignment was specified, but {what} was not set to -1.");
            Err(ApiError::new(ErrorCode::INVALID_REQUEST, message))
        };
        if topic.replication_factor != -1 {
            return invalid("replication factor");
        }
        if topic.num_partitions != -1 {
            return invalid("numPartitions");
        }
        let refuse = |message: String| ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
        let mut by_index: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
        let mut factor = None;
        for assignment in &topic.assignments {
            let index = assignment.partition_index;
            if by_index.contains_key(&index) {
                return Err(refuse(format!(
                    "Found multiple manual partition assignments for partition {index}"
                )));
            }
            let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| id.0).collect();
            self.check_manual(&replicas, factor)?;
            factor = Some(replicas.len());
            by_index.insert(index, replicas);
        }
        if (0..).zip(by_index.keys()).any(|(want, have)| want != *have) {
            return Err(refuse("partitions should be a consecutive 0-based integer sequence".into()));
        }
        Ok(by_index.into_values().collect())
    }
}

/// The values asked for, checked, each key once (the last wins), in the order of the request.
fn configs(topic: &CreatableTopic, layers: &Layers) -> Result<Vec<Config>, ApiError> {
    let mut configs: Vec<Config> = Vec::new();
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ApiError::new(ErrorCode::INVALID_CONFIG, message));
    }
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(topic.configs.len());
    for config in &topic.configs {
        let value = config.value.as_deref().unwrap_or_default().into();
        match places.entry(config.name.as_str()) {
            Entry::Occupied(place) => configs[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(configs.len());
                configs.push((config.name.as_str().into(), value));
            }
        }
    }
    let overrides: Overrides = configs.iter().cloned().collect();
    validate_topic_overrides(&overrides, layers)
        .map_err(|why| ApiError::new(ErrorCode::INVALID_CONFIG, why))?;
    Ok(configs)
}

fn described(overrides: &Overrides, layers: &Layers) -> Vec<CreatableTopicConfigs> {
    let entry = |entry: ottla_config::ConfigEntry| {
        CreatableTopicConfigs::default()
            .with_name(text(&entry.name))
            .with_value(entry.value.as_deref().map(text))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source as i8)
            .with_is_sensitive(entry.is_sensitive)
    };
    describe_topic(overrides, layers).into_iter().map(entry).collect()
}

fn refused(name: &str, error: ApiError) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_error_message(None)
        .with_name(ottla_protocol::messages::TopicName(text(name)))
        .with_error_code(error.code.0)
        .with_error_message(error.message.as_deref().map(text))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}
