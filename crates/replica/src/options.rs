//! What the broker tells its replicas at the start.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_metadata::Image;
use ottla_types::NodeId;

use crate::{ReplicationSettings, ReplicationSettingsOf, TopicSettings};

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

/// Settings of log dirs that may change at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirSettings {
    /// `cordoned.log.dirs`: paths of those that take no new replicas (KIP-1066).
    pub cordoned: Vec<PathBuf>,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`.
    pub move_bytes_per_second: i64,
}

impl Default for DirSettings {
    fn default() -> Self {
        Self { cordoned: Vec::new(), move_bytes_per_second: i64::MAX }
    }
}

impl DirSettings {
    pub(crate) fn is_cordoned(&self, dir: &Path) -> bool {
        self.cordoned.iter().any(|cordoned| cordoned == dir)
    }
}

/// Reads them out of an image.
#[derive(Clone)]
pub struct DirSettingsOf(pub Arc<dyn Fn(&Image) -> DirSettings + Send + Sync>);

impl fmt::Debug for DirSettingsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirSettingsOf")
    }
}

/// Reads `producer.id.expiration.ms` out of an image.
#[derive(Clone)]
pub struct ProducerExpirationOf(pub Arc<dyn Fn(&Image) -> i64 + Send + Sync>);

impl fmt::Debug for ProducerExpirationOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProducerExpirationOf")
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
    /// Settings of log dirs, as the broker was started with.
    pub dirs: DirSettings,
    /// The same once they were changed at run time. `None` leaves `dirs` in force.
    pub dirs_of: Option<DirSettingsOf>,
    /// Settings of replication, as the broker was started with.
    pub replication: ReplicationSettings,
    /// The same once they were changed at run time. `None` leaves `replication` in force.
    pub replication_of: Option<ReplicationSettingsOf>,
    /// `replication.quota.window.num`, and `replication.quota.window.size.seconds` in milliseconds.
    pub throttle_window: (usize, i64),
    /// Log dirs that could not be opened: what may be in them is not created elsewhere.
    pub offline_dirs: Vec<PathBuf>,
    /// When acks=all waits for the disk.
    pub acks_all_fsync: AckFsync,
    /// `producer.id.expiration.ms`, as the broker was started with.
    pub producer_id_expiration_ms: i64,
    /// The same once it was changed at run time. `None` leaves `producer_id_expiration_ms` in force.
    pub producer_id_expiration_of: Option<ProducerExpirationOf>,
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
            dirs: DirSettings::default(),
            dirs_of: None,
            replication: ReplicationSettings::default(),
            replication_of: None,
            throttle_window: (11, 1000),
            offline_dirs: Vec::new(),
            acks_all_fsync: AckFsync::Alone,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_of: None,
            producer_id_expiration_check_ms: 600_000,
            replica_lag_time_max_ms: 30_000,
            high_watermark_checkpoint_ms: 5_000,
            checkpoint_ms: 60_000,
            checkpoint_bytes: 64 << 20,
        }
    }
}
