//! What the broker tells its replicas at the start.

use std::{fmt, sync::Arc};

use ottla_metadata::Image;
use ottla_types::NodeId;

use crate::TopicSettings;

/// When acks=all waits for the disk (`ottla.acks.all.fsync`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckFsync {
    /// When this broker is the only one in sync: then its disk is all there is.
    #[default]
    Alone,
    /// Always.
    Always,
    /// Never, as Kafka.
    Never,
}

/// Reads what topics get by default out of an image: whoever knows the configuration's keys gives it.
#[derive(Clone)]
pub struct DefaultsOf(pub Arc<dyn Fn(&Image) -> TopicSettings + Send + Sync>);

impl fmt::Debug for DefaultsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultsOf")
    }
}

/// Settings of the broker, not of a topic.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// `node.id`.
    pub node: NodeId,
    /// What a topic gets that says nothing: the broker's `log.*` settings, as it was started with.
    pub defaults: TopicSettings,
    /// The same once settings were changed on brokers at run time (KIP-226). `None` leaves `defaults` in force.
    pub defaults_of: Option<DefaultsOf>,
    /// When acks=all waits for the disk.
    pub acks_all_fsync: AckFsync,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_ms: i64,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// `replica.high.watermark.checkpoint.interval.ms`: how often Kafka's own checkpoint files are written.
    pub high_watermark_checkpoint_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`: how often indexes, producers and recovery points are.
    pub checkpoint_ms: i64,
    /// The same after this many bytes: bounds what a restart after a kill has to check.
    pub checkpoint_bytes: u64,
}

impl ReplicaOptions {
    /// Kafka's defaults.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            defaults: TopicSettings::default(),
            defaults_of: None,
            acks_all_fsync: AckFsync::Alone,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_check_ms: 600_000,
            replica_lag_time_max_ms: 30_000,
            high_watermark_checkpoint_ms: 5_000,
            checkpoint_ms: 60_000,
            checkpoint_bytes: 64 << 20,
        }
    }
}
