//! From the typed configuration to what each part is told.

use std::{sync::Arc, time::Duration};

use ottla_config::{
    AcksAllFsync, BrokerConfig, Compression, Layers, Overrides, Settings, TimestampType, TopicConfig,
};
use ottla_coordinator::{CoordinatorConfig, OffsetsTopic};
use ottla_groups::GroupsConfig;
use ottla_metadata::{ConfigResource, Image};
use ottla_records::{Codec, validate::TargetCompression};
use ottla_replica::{
    AckFsync, DefaultsOf, DirSettings, DirSettingsOf, ProducerExpirationOf, ReplicaOptions,
    ReplicationSettings, ReplicationSettingsOf, TopicSettings,
};
use ottla_storage::LogConfig;
use ottla_types::NodeId;

use crate::log_dirs;

pub(crate) fn replica_options(config: &BrokerConfig, started_with: &Arc<Settings>) -> ReplicaOptions {
    let (node_id, started_with) = (config.node_id, started_with.clone());
    let (for_dirs, log_dirs) = (started_with.clone(), config.dirs.log_dirs.clone());
    let (for_replication, for_producers) = (started_with.clone(), started_with.clone());
    let fixed = Layers::new(started_with.clone(), Overrides::new(), Overrides::new());
    let window_ms = fixed.number("replication.quota.window.size.seconds").saturating_mul(1000);
    ReplicaOptions {
        defaults_of: Some(DefaultsOf(Arc::new(move |image| {
            topic_settings(&TopicConfig::resolve(&Overrides::new(), &layers(image, &started_with, node_id)))
        }))),
        dirs: dir_settings(&Layers::new(for_dirs.clone(), Overrides::new(), Overrides::new()), &log_dirs),
        dirs_of: Some(DirSettingsOf(Arc::new(move |image| {
            dir_settings(&layers(image, &for_dirs, node_id), &log_dirs)
        }))),
        replication: replication_settings(&fixed),
        replication_of: Some(ReplicationSettingsOf(Arc::new(move |image| {
            replication_settings(&layers(image, &for_replication, node_id))
        }))),
        throttle_window: (
            usize::try_from(fixed.number("replication.quota.window.num")).unwrap_or(11),
            window_ms,
        ),
        defaults: topic_settings(&config.topic_defaults),
        acks_all_fsync: match config.dirs.acks_all_fsync {
            AcksAllFsync::Alone => AckFsync::Alone,
            AcksAllFsync::Always => AckFsync::Always,
            AcksAllFsync::Never => AckFsync::Never,
        },
        producer_id_expiration_ms: config.producer_id_expiration_ms.into(),
        producer_id_expiration_of: Some(ProducerExpirationOf(Arc::new(move |image| {
            layers(image, &for_producers, node_id).number("producer.id.expiration.ms")
        }))),
        producer_id_expiration_check_ms: config.producer_id_expiration_check_interval_ms.into(),
        replica_lag_time_max_ms: config.replica_lag_time_max_ms,
        ..ReplicaOptions::new(config.node_id)
    }
}

/// What is set on this broker, at the start and since.
pub(crate) fn layers(image: &Image, started_with: &Arc<Settings>, node_id: NodeId) -> Layers {
    let set_on = |resource| image.configs.get(&resource).as_ref().clone();
    let (cluster, broker) =
        (set_on(ConfigResource::broker_default()), set_on(ConfigResource::broker(node_id)));
    Layers::new(started_with.clone(), cluster, broker)
}

fn dir_settings(layers: &Layers, log_dirs: &[String]) -> DirSettings {
    DirSettings {
        cordoned: log_dirs::cordoned(&layers.list("cordoned.log.dirs"), log_dirs),
        move_bytes_per_second: layers.number("replica.alter.log.dirs.io.max.bytes.per.second"),
    }
}

fn replication_settings(layers: &Layers) -> ReplicationSettings {
    ReplicationSettings {
        leader_throttled_rate: layers.number("leader.replication.throttled.rate"),
        follower_throttled_rate: layers.number("follower.replication.throttled.rate"),
        fetchers: layers.int("num.replica.fetchers").max(1).unsigned_abs(),
    }
}

fn topic_settings(topic: &TopicConfig) -> TopicSettings {
    let log = LogConfig {
        segment_bytes: topic.segment_bytes.unsigned_abs(),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: 0,
        segment_index_bytes: topic.segment_index_bytes.unsigned_abs(),
        index_interval_bytes: topic.index_interval_bytes.unsigned_abs(),
        preallocate: topic.preallocate,
    };
    TopicSettings {
        log: Arc::new(log),
        segment_jitter_ms: topic.segment_jitter_ms,
        max_message_bytes: topic.max_message_bytes.unsigned_abs() as usize,
        compacted: topic.cleanup_compact,
        timestamp_type: match topic.message_timestamp_type {
            TimestampType::CreateTime => ottla_records::TimestampType::CreateTime,
            TimestampType::LogAppendTime => ottla_records::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        compression: match topic.compression {
            Compression::Producer => TargetCompression::Producer,
            Compression::Uncompressed => TargetCompression::Codec(Codec::None, None),
            Compression::Snappy => TargetCompression::Codec(Codec::Snappy, None),
            Compression::Gzip(level) => TargetCompression::Codec(Codec::Gzip, Some(level)),
            Compression::Lz4(level) => TargetCompression::Codec(Codec::Lz4, Some(level)),
            Compression::Zstd(level) => TargetCompression::Codec(Codec::Zstd, Some(level)),
        },
        min_insync_replicas: topic.min_insync_replicas.unsigned_abs() as usize,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        ..TopicSettings::default()
    }
}

pub(crate) fn coordinator(config: &BrokerConfig) -> CoordinatorConfig {
    let (groups, offsets) = (&config.groups, &config.offsets);
    let groups = GroupsConfig {
        min_session_timeout_ms: groups.min_session_timeout_ms,
        max_session_timeout_ms: groups.max_session_timeout_ms,
        initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
        max_size: groups.max_size.unsigned_abs() as usize,
        offset_metadata_max_bytes: offsets.metadata_max_bytes.unsigned_abs() as usize,
        offsets_retention_ms: i64::from(offsets.retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: offsets.retention_check_interval_ms,
        ..GroupsConfig::default()
    };
    CoordinatorConfig {
        groups: Arc::new(groups),
        offsets_topic: OffsetsTopic {
            partitions: offsets.topic_num_partitions,
            replication_factor: i16::try_from(offsets.topic_replication_factor).unwrap_or(i16::MAX),
            segment_bytes: offsets.topic_segment_bytes,
        },
        commit_timeout: Duration::from_millis(offsets.commit_timeout_ms.unsigned_abs().into()),
        ..CoordinatorConfig::new(config.node_id)
    }
}

/// How the topic of group offsets is created when it is first needed.
pub(crate) fn offsets_topic(config: &BrokerConfig) -> OffsetsTopic {
    coordinator(config).offsets_topic
}
