//! A topic's configuration: its own values over the broker's over the defaults.

use crate::{
    key::{Key, Scope},
    settings::{Layers, Overrides, default_of},
    synonyms, table,
    value::Value,
};

/// Codec of stored batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// What the producer chose.
    Producer,
    /// None.
    Uncompressed,
    /// Snappy.
    Snappy,
    /// Gzip of this level, -1 for the library's choice.
    Gzip(i32),
    /// LZ4 of this level.
    Lz4(i32),
    /// Zstandard of this level.
    Zstd(i32),
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when it appended the record.
    LogAppendTime,
}

/// What a topic is configured to do. Fields are named after their keys; times are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` has `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` has `compact`.
    pub cleanup_compact: bool,
    /// `compression.type` with its level.
    pub compression: Compression,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `max.decompressed.message.bytes`.
    pub max_decompressed_message_bytes: i32,
    /// `max.message.bytes`: largest record batch.
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`, -1 for no limit.
    pub retention_bytes: i64,
    /// `retention.ms`, -1 for ever.
    pub retention_ms: i64,
    /// `segment.bytes`, or `internal.segment.bytes` when it is set.
    pub segment_bytes: i32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// Resolves a topic's values. A stored value that does not fit counts as not set.
    #[must_use]
    pub fn resolve(overrides: &Overrides, layers: &Layers) -> Self {
        let get =
            |name: &str| effective(table::find(Scope::Topic, name).expect("a topic key"), overrides, layers);
        let number = |name: &str| match get(name) {
            Some(Value::Number(number)) => number,
            _ => unreachable!("{name} has a numeric default"),
        };
        let int = |name: &str| i32::try_from(number(name)).expect("the key is an INT");
        let text = |name: &str| get(name).map(|value| value.to_string()).unwrap_or_default();
        let flag = |name: &str| get(name) == Some(Value::Boolean(true));
        let policy = text("cleanup.policy");
        let has = |word: &str| policy.split(',').any(|item| item == word);
        let segment_bytes = match get("internal.segment.bytes") {
            Some(Value::Number(bytes)) => i32::try_from(bytes).expect("the key is an INT"),
            _ => int("segment.bytes"),
        };
        Self {
            cleanup_delete: has("delete"),
            cleanup_compact: has("compact"),
            compression: match text("compression.type").as_str() {
                "uncompressed" => Compression::Uncompressed,
                "snappy" => Compression::Snappy,
                "gzip" => Compression::Gzip(int("compression.gzip.level")),
                "lz4" => Compression::Lz4(int("compression.lz4.level")),
                "zstd" => Compression::Zstd(int("compression.zstd.level")),
                _ => Compression::Producer,
            },
            delete_retention_ms: number("delete.retention.ms"),
            file_delete_delay_ms: number("file.delete.delay.ms"),
            flush_messages: number("flush.messages"),
            flush_ms: number("flush.ms"),
            index_interval_bytes: int("index.interval.bytes"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            max_decompressed_message_bytes: int("max.decompressed.message.bytes"),
            max_message_bytes: int("max.message.bytes"),
            message_timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: match get("min.cleanable.dirty.ratio") {
                Some(Value::Real(ratio)) => ratio,
                _ => unreachable!("the ratio has a default"),
            },
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: flag("preallocate"),
            retention_bytes: number("retention.bytes"),
            retention_ms: number("retention.ms"),
            segment_bytes,
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: number("segment.jitter.ms"),
            segment_ms: number("segment.ms"),
            unclean_leader_election_enable: flag("unclean.leader.election.enable"),
        }
    }
}

/// The value that holds for a topic key; `None` when it is null.
pub(crate) fn effective(key: &Key, overrides: &Overrides, layers: &Layers) -> Option<Value> {
    let own = overrides.get(key.name).and_then(|text| Value::parse(key, text).ok());
    own.or_else(|| from_broker(key, layers)).or_else(|| default_of(key))
}

/// What the broker's keys say, those of higher rank first, in the topic key's unit.
fn from_broker(key: &Key, layers: &Layers) -> Option<Value> {
    let first = synonyms::of_topic_key(key.name)?;
    let (name, value) =
        synonyms::of_broker_key(first).into_iter().find_map(|name| Some((name, layers.value(name)?)))?;
    Some(match value {
        Value::Number(number) if first == "log.retention.ms" && number < 0 => Value::Number(-1),
        Value::Number(number) => Value::Number(number.saturating_mul(synonyms::unit_ms(name))),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Origin, Settings};

    fn layers(set: &[(&str, &str)]) -> Layers {
        let mut settings = Settings::default();
        for (name, text) in set {
            settings.set(*name, *text, Origin::Argument);
        }
        Layers::fixed_only(settings)
    }

    #[test]
    fn units_of_time_rank_as_in_kafka() {
        let resolve = |set: &[(&str, &str)]| TopicConfig::resolve(&Overrides::new(), &layers(set));
        assert_eq!(resolve(&[]).retention_ms, 604_800_000);
        assert_eq!(resolve(&[("log.retention.hours", "2")]).retention_ms, 7_200_000);
        let all = [("log.retention.hours", "2"), ("log.retention.minutes", "3"), ("log.retention.ms", "4")];
        assert_eq!(resolve(&all[..2]).retention_ms, 180_000);
        assert_eq!(resolve(&all).retention_ms, 4);
        assert_eq!(resolve(&[("log.retention.hours", "-1")]).retention_ms, -1);
        assert_eq!(resolve(&[("log.roll.hours", "1")]).segment_ms, 3_600_000);
        assert_eq!(resolve(&[("log.flush.scheduler.interval.ms", "9")]).flush_ms, 9);
    }

    #[test]
    fn own_values_win_and_bad_ones_do_not_count() {
        let own = |name: &str, text: &str| Overrides::from([(name.into(), text.into())]);
        let layers = layers(&[("message.max.bytes", "5"), ("compression.type", "zstd")]);
        assert_eq!(TopicConfig::resolve(&Overrides::new(), &layers).max_message_bytes, 5);
        assert_eq!(TopicConfig::resolve(&own("max.message.bytes", "7"), &layers).max_message_bytes, 7);
        assert_eq!(TopicConfig::resolve(&own("max.message.bytes", "x"), &layers).max_message_bytes, 5);
        let config = TopicConfig::resolve(&own("compression.zstd.level", "9"), &layers);
        assert_eq!(config.compression, Compression::Zstd(9));
        let config = TopicConfig::resolve(&own("cleanup.policy", "compact"), &layers);
        assert_eq!((config.cleanup_compact, config.cleanup_delete), (true, false));
        assert_eq!(TopicConfig::resolve(&own("internal.segment.bytes", "100"), &layers).segment_bytes, 100);
    }
}
