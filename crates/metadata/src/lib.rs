//! What the cluster is: the image that Kafka's metadata records add up to, and how it is read.
//!
//! The controller decides facts, raft agrees on them, [`Image::apply`] adds each to the image. Brokers read the image
//! through an [`ImageCell`]: a pointer load, no lock. Nothing here decides anything.

mod broker;
mod cell;
mod config;
mod delta;
mod features;
mod image;
mod partition;
mod security;
mod shards;
mod topic;

pub use broker::{BrokerRegistration, ControllerRegistration, Endpoint, FeatureRange};
pub use cell::{ImageCell, ImageWatch};
pub use config::{ConfigResource, ConfigValues, Configs, ResourceType};
pub use delta::TopicsDelta;
pub use features::{Features, feature};
pub use image::{Image, Position};
pub use partition::{LeaderRecoveryState, Partition};
pub use security::Security;
pub use topic::{Topic, Topics};
