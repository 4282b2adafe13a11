//! What the cluster is: the image that Kafka's metadata records add up to, and how it is read.
//!
//! The controller decides facts, raft agrees on them, [`Image::apply`] adds each to the image. Brokers read the image
//! through an [`ImageCell`]: a pointer load, no lock. Nothing here decides anything.

mod apply;
mod broker;
mod cell;
mod config;
mod delta;
pub mod directory;
mod features;
mod image;
mod partition;
pub mod records;
mod security;
mod shards;
mod snapshot;
mod topic;

pub use broker::{BrokerRegistration, ControllerRegistration, Endpoint, FeatureRange};
pub use cell::{ImageCell, ImageWatch};
pub use config::{ConfigResource, ConfigValues, Configs, ResourceType};
pub use delta::TopicsDelta;
pub use features::{Features, feature};
pub use image::{Image, Position};
pub use partition::{LeaderRecoveryState, Partition};
pub use records::Fact;
pub use security::{QuotaEntity, Security};
pub use snapshot::partition_record;
pub use topic::{Topic, Topics};
