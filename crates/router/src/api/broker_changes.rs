//! What a broker itself has to say against other values of its configuration, before the controller is asked (KIP-226).
//!
//! A broker changes its own values and those of all brokers, and only to what it can take while it runs.

use std::sync::Arc;

use ottla_config::{BrokerResource, Kind, Layers, Overrides, Scope, Settings, table, validate_broker_change};
use ottla_controller::operate;
use ottla_metadata::{ConfigResource, ImageCell, ResourceType};
use ottla_protocol::messages::{
    alter_configs_request::AlterConfigsResource as Replacement,
    incremental_alter_configs_request::{AlterConfigsResource as Changes, AlterableConfig},
};
use ottla_types::{ApiError, ErrorCode, NodeId};

const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The configuration of this broker, in all its layers.
#[derive(Clone)]
pub(crate) struct OwnConfig {
    image: Arc<ImageCell>,
    started_with: Arc<Settings>,
    node_id: NodeId,
}

impl OwnConfig {
    /// `started_with` is what the process was started with: file, environment, arguments.
    pub(crate) fn new(image: Arc<ImageCell>, started_with: Arc<Settings>, node_id: NodeId) -> Self {
        Self { image, started_with, node_id }
    }

    /// Checks changes of a broker resource; what is wrong with the request's form is left to the controller.
    pub(crate) fn check_changes(&self, changes: &Changes) -> Result<(), ApiError> {
        let Some(which) = self.resource(changes.resource_type, &changes.resource_name)? else {
            return Ok(());
        };
        if is_malformed(changes.configs.iter().map(|config| (&*config.name, needs_value(config)))) {
            return Ok(());
        }
        let image = self.image.get();
        let name = changes.resource_name.as_str();
        let current = image.configs.get(&ConfigResource { kind: ResourceType::BROKER, name: name.into() });
        let mut wanted = Overrides::clone(current);
        for config in &changes.configs {
            check_operation(config)?;
            let before = current.get(config.name.as_str()).map(|value| &**value);
            match operate(Scope::Broker, config, before)? {
                Some(value) => drop(wanted.insert(config.name.as_str().into(), value.into())),
                None => drop(wanted.remove(config.name.as_str())),
            }
        }
        self.check(&wanted, which)
    }

    /// Checks all the values that a broker resource is to have.
    pub(crate) fn check_replacement(&self, values: &Replacement) -> Result<(), ApiError> {
        let Some(which) = self.resource(values.resource_type, &values.resource_name)? else { return Ok(()) };
        if is_malformed(values.configs.iter().map(|config| (&*config.name, config.value.is_none()))) {
            return Ok(());
        }
        let value = |value: &Option<ottla_protocol::StrBytes>| value.as_deref().unwrap_or_default().into();
        let wanted = values.configs.iter().map(|config| (config.name.as_str().into(), value(&config.value)));
        self.check(&wanted.collect(), which)
    }

    fn check(&self, wanted: &Overrides, which: BrokerResource) -> Result<(), ApiError> {
        let image = self.image.get();
        let (cluster, own) = (image.configs.broker_default(), image.configs.broker(self.node_id));
        let now = Layers::new(self.started_with.clone(), Overrides::clone(cluster), Overrides::clone(own));
        validate_broker_change(&now, wanted, which).map_err(invalid)
    }

    /// Which broker resource it is, or that it is none.
    fn resource(&self, kind: i8, name: &str) -> Result<Option<BrokerResource>, ApiError> {
        match name.parse::<NodeId>() {
            _ if ResourceType(kind) != ResourceType::BROKER => Ok(None),
            _ if name.is_empty() => Ok(Some(BrokerResource::Default)),
            Ok(id) if id == self.node_id => Ok(Some(BrokerResource::One)),
            Ok(_) => {
                Err(invalid(format!("Unexpected broker id, expected {}, but received {name}", self.node_id)))
            }
            Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
        }
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::new(ErrorCode::INVALID_REQUEST, message)
}

fn needs_value(config: &AlterableConfig) -> bool {
    // 1 is DELETE.
    config.config_operation != 1 && config.value.is_none()
}

/// Whether a key is named twice or lacks the value it needs.
fn is_malformed<'a>(configs: impl Iterator<Item = (&'a str, bool)>) -> bool {
    let (mut names, lacking): (Vec<&str>, Vec<bool>) = configs.unzip();
    names.sort_unstable();
    lacking.contains(&true) || names.windows(2).any(|pair| pair[0] == pair[1])
}

fn check_operation(config: &AlterableConfig) -> Result<(), ApiError> {
    let what = match config.config_operation {
        APPEND => "append",
        SUBTRACT => "subtract",
        _ => return Ok(()),
    };
    let name = config.name.as_str();
    let problem = match table::find(Scope::Broker, name) {
        Some(key) if key.kind == Kind::List => return Ok(()),
        Some(_) => format!("Config value {what} is not allowed for config key: {name}"),
        None => format!("Unknown config name: {name}"),
    };
    Err(ApiError::new(ErrorCode::INVALID_CONFIG, problem))
}
