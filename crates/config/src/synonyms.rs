//! Keys that mean the same: units of time, and the broker key behind a topic's or group's key.

use crate::table;

/// A broker key and those of lower rank that stand in for it, the key first.
///
/// As Kafka has it, a key of lower rank does not know the ones above it.
#[must_use]
pub fn of_broker_key(name: &str) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => from(name, &["log.roll.ms", "log.roll.hours"]),
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            from(name, &["log.roll.jitter.ms", "log.roll.jitter.hours"])
        }
        "log.flush.interval.ms" => vec![name, "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            from(name, &["log.retention.ms", "log.retention.minutes", "log.retention.hours"])
        }
        name => match table::listener_base(name) {
            Some(base) => vec![name, base],
            None => vec![name],
        },
    }
}

fn from<'a>(name: &str, ranks: &[&'a str]) -> Vec<&'a str> {
    ranks.iter().copied().skip_while(|rank| *rank != name).collect()
}

/// The broker key that holds for topics without a value of their own; `None` for keys only topics have.
#[must_use]
pub fn of_topic_key(name: &str) -> Option<&'static str> {
    Some(match name {
        "cleanup.policy" => "log.cleanup.policy",
        "compression.gzip.level" => "compression.gzip.level",
        "compression.lz4.level" => "compression.lz4.level",
        "compression.type" => "compression.type",
        "compression.zstd.level" => "compression.zstd.level",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "flush.ms" => "log.flush.interval.ms",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.decompressed.message.bytes" => "max.decompressed.message.bytes",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "min.insync.replicas" => "min.insync.replicas",
        "preallocate" => "log.preallocate",
        "remote.copy.lag.bytes" => "log.remote.copy.lag.bytes",
        "remote.copy.lag.ms" => "log.remote.copy.lag.ms",
        "retention.bytes" => "log.retention.bytes",
        "retention.ms" => "log.retention.ms",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "segment.jitter.ms" => "log.roll.jitter.ms",
        "segment.ms" => "log.roll.ms",
        "unclean.leader.election.enable" => "unclean.leader.election.enable",
        _ => return None,
    })
}

/// Milliseconds in the unit a broker key is named after.
#[must_use]
pub(crate) fn unit_ms(name: &str) -> i64 {
    match name.rsplit('.').next() {
        Some("hours") => 3_600_000,
        Some("minutes") => 60_000,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Scope;

    #[test]
    fn every_synonym_is_a_broker_key() {
        for key in table::of(Scope::Topic) {
            if let Some(broker) = of_topic_key(key.name) {
                let broker = table::find(Scope::Broker, broker).expect(broker);
                assert_eq!(broker.kind, key.kind, "{}", key.name);
                assert!(
                    broker.default_text().is_none_or(|text| Some(text) == key.default_text()),
                    "{}",
                    key.name
                );
            }
        }
    }

    #[test]
    fn lower_ranks_only() {
        assert_eq!(of_broker_key("log.retention.minutes"), ["log.retention.minutes", "log.retention.hours"]);
        assert_eq!(of_broker_key("log.retention.hours"), ["log.retention.hours"]);
        assert_eq!(of_broker_key("log.flush.scheduler.interval.ms"), ["log.flush.scheduler.interval.ms"]);
        let prefixed = "listener.name.a.plain.sasl.jaas.config";
        assert_eq!(of_broker_key(prefixed), [prefixed, "sasl.jaas.config"]);
    }
}
