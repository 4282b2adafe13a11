//! Every configuration key of Kafka: parsing, defaults, origins, scopes.
//!
//! * [`table`] knows every key: one row each, with type, default, valid values and meaning.
//! * [`load`] reads `server.properties`, `KAFKA_*` and `--override` into [`Settings`] and a typed [`BrokerConfig`];
//!   every value remembers where it was set.
//! * [`Layers`] lays the values set while the cluster runs over them; [`TopicConfig::resolve`] adds a topic's own.
//! * [`describe_topic`] and its siblings answer DescribeConfigs, [`validate_topic_override`] and its siblings judge
//!   what IncrementalAlterConfigs and CreateTopics bring.
//!
//! Nothing here reads a file or the environment: their contents are handed in.

mod broker;
mod cross;
mod describe;
pub mod environment;
mod key;
mod listeners;
mod load;
pub mod properties;
mod provider;
mod reconfigure;
mod settings;
mod synonyms;
pub mod table;
mod topic;
mod validate;
mod value;

pub use broker::{
    AcksAllFsync, BrokerConfig, ConnectionLimits, Dirs, GroupLimits, LogWriteMode, NewTopics, OffsetsConfig,
    Quorum, ReplicaFetch, Rule, Sockets, Voter,
};
pub use describe::{
    ConfigEntry, ConfigSource, ConfigSynonym, describe_broker, describe_broker_default,
    describe_client_metrics, describe_group, describe_topic,
};
pub use key::{DefaultValue, Importance, Key, Kind, Range, Scope, Status, Update};
pub use listeners::{Endpoint, Listener, Listeners, SecurityProtocol};
pub use load::{ConfigError, ConfigErrors, FileText, Inputs, Loaded, load};
pub use reconfigure::validate_broker_change;
pub use settings::{Layers, Origin, Overrides, Setting, Settings};
pub use synonyms::{of_broker_key, of_topic_key};
pub use topic::{Compression, TimestampType, TopicConfig};
pub use validate::{
    BrokerResource, validate_broker_override, validate_broker_overrides, validate_group_override,
    validate_topic_override, validate_topic_overrides,
};
pub use value::Value;
