//! A topic's settings as values, from what is set on the topic over the broker's defaults.

use std::{str::FromStr, sync::Arc};

use ottla_metadata::ConfigValues;
use ottla_records::{Codec, TimestampType, validate::TargetCompression};
use ottla_storage::LogConfig;

use crate::ThrottledReplicas;

/// Settings of one topic that appends, reads and the log depend on. Values were checked when they were set; one that
/// does not parse all the same leaves the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// What the log needs.
    pub log: Arc<LogConfig>,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` has `compact`.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` with its level.
    pub compression: TargetCompression,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `flush.messages`: records that may be unsynced. `i64::MAX` leaves it to the kernel.
    pub flush_messages: i64,
    /// `flush.ms`: how long records may be unsynced. `i64::MAX` leaves it to the kernel.
    pub flush_ms: i64,
    /// `leader.replication.throttled.replicas`.
    pub leader_throttled: ThrottledReplicas,
    /// `follower.replication.throttled.replicas`.
    pub follower_throttled: ThrottledReplicas,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            log: Arc::default(),
            segment_jitter_ms: 0,
            max_message_bytes: 1_048_588,
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: TargetCompression::Producer,
            min_insync_replicas: 1,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            leader_throttled: ThrottledReplicas::None,
            follower_throttled: ThrottledReplicas::None,
        }
    }
}

impl TopicSettings {
    /// These settings with `values` laid over them.
    #[must_use]
    pub fn with(&self, values: &ConfigValues) -> Self {
        if values.is_empty() {
            return self.clone();
        }
        let log = LogConfig {
            segment_bytes: parse(values, "segment.bytes", self.log.segment_bytes),
            segment_ms: parse(values, "segment.ms", self.log.segment_ms),
            segment_index_bytes: parse(values, "segment.index.bytes", self.log.segment_index_bytes),
            index_interval_bytes: parse(values, "index.interval.bytes", self.log.index_interval_bytes),
            preallocate: parse(values, "preallocate", self.log.preallocate),
            ..LogConfig::clone(&self.log)
        };
        Self {
            log: if log == *self.log { Arc::clone(&self.log) } else { Arc::new(log) },
            segment_jitter_ms: parse(values, "segment.jitter.ms", self.segment_jitter_ms),
            max_message_bytes: parse(values, "max.message.bytes", self.max_message_bytes),
            compacted: text(values, "cleanup.policy")
                .map_or(self.compacted, |policy| policy.contains("compact")),
            timestamp_type: match text(values, "message.timestamp.type") {
                Some("LogAppendTime") => TimestampType::LogAppendTime,
                Some("CreateTime") => TimestampType::CreateTime,
                _ => self.timestamp_type,
            },
            timestamp_before_max_ms: parse(
                values,
                "message.timestamp.before.max.ms",
                self.timestamp_before_max_ms,
            ),
            timestamp_after_max_ms: parse(
                values,
                "message.timestamp.after.max.ms",
                self.timestamp_after_max_ms,
            ),
            compression: compression(values, self.compression),
            min_insync_replicas: parse(values, "min.insync.replicas", self.min_insync_replicas),
            flush_messages: parse(values, "flush.messages", self.flush_messages),
            flush_ms: parse(values, "flush.ms", self.flush_ms),
            leader_throttled: throttled(values, "leader.replication.throttled.replicas"),
            follower_throttled: throttled(values, "follower.replication.throttled.replicas"),
        }
    }

    /// What the log of partition `partition` is opened with: the jitter is drawn from its number, so that partitions
    /// of a topic do not roll all at once.
    #[must_use]
    pub(crate) fn log_config(&self, partition: i32) -> Arc<LogConfig> {
        if self.segment_jitter_ms <= 0 {
            return Arc::clone(&self.log);
        }
        let spread = (u64::from(partition.unsigned_abs()) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1;
        let jitter = (spread % self.segment_jitter_ms.min(self.log.segment_ms).max(1).unsigned_abs()) as i64;
        Arc::new(LogConfig { segment_jitter_ms: jitter, ..LogConfig::clone(&self.log) })
    }
}

fn text<'a>(values: &'a ConfigValues, key: &str) -> Option<&'a str> {
    values.get(key).map(|value| value.trim())
}

fn parse<T: FromStr>(values: &ConfigValues, key: &str, default: T) -> T {
    text(values, key).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn throttled(values: &ConfigValues, key: &str) -> ThrottledReplicas {
    text(values, key).map_or(ThrottledReplicas::None, ThrottledReplicas::parse)
}

fn compression(values: &ConfigValues, default: TargetCompression) -> TargetCompression {
    let level = |key| text(values, key).and_then(|value| value.parse().ok());
    match text(values, "compression.type") {
        Some("producer") => TargetCompression::Producer,
        Some("uncompressed") => TargetCompression::Codec(Codec::None, None),
        Some("gzip") => TargetCompression::Codec(Codec::Gzip, level("compression.gzip.level")),
        Some("snappy") => TargetCompression::Codec(Codec::Snappy, None),
        Some("lz4") => TargetCompression::Codec(Codec::Lz4, level("compression.lz4.level")),
        Some("zstd") => TargetCompression::Codec(Codec::Zstd, level("compression.zstd.level")),
        _ => default,
    }
}
