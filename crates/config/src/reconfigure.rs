//! Whether a broker can take other values while it runs (KIP-226): the rules a broker checks before the controller is
//! asked, in Kafka's words.

use crate::{
    broker::{BrokerConfig, Rule},
    settings::{Layers, Overrides},
    table,
    validate::{BrokerResource, validate_broker_overrides},
    value::Value,
};

/// Pools of threads that grow to at most twice of what they are and shrink to no less than half of it at a time.
const THREADS: &[&str] = &[
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
];
const CLEANER: &str = "log.cleaner.threads";
const NETWORK: &str = "num.network.threads";

/// Checks what a broker resource is to have (`wanted`, all of it) against what holds now on the broker that is asked
/// (error INVALID_REQUEST).
///
/// # Errors
/// Kafka's message about the first rule that is broken.
pub fn validate_broker_change(
    now: &Layers,
    wanted: &Overrides,
    resource: BrokerResource,
) -> Result<(), String> {
    validate_broker_overrides(wanted, resource)?;
    let next = match resource {
        BrokerResource::One => Layers::new(now.fixed.clone(), now.cluster.clone(), wanted.clone()),
        BrokerResource::Default => Layers::new(now.fixed.clone(), wanted.clone(), now.broker.clone()),
    };
    required(now, &next)?;
    let refused = threads(now, &next)
        .or_else(|| listener_threads(now, wanted))
        .or_else(|| retention(&next))
        .or_else(|| protocols(now, &next));
    refused.map_or(Ok(()), |problem| {
        Err(format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: {problem} for configuration Invalid dynamic \
             configuration"
        ))
    })
}

/// What a broker would not start with either.
fn required(now: &Layers, next: &Layers) -> Result<(), String> {
    let broken = |layers: &Layers| BrokerConfig::resolve(layers).err().unwrap_or_default();
    let before = broken(now);
    let new: Option<Rule> = broken(next).into_iter().find(|rule| !before.contains(rule));
    match new {
        // Kafka finds it while it reads the value.
        Some(rule) if rule.key == "max.connections.per.ip.overrides" => return Err(rule.problem),
        Some(rule) => return Err(format!("requirement failed: {}", rule.problem)),
        None => {}
    }
    match cleaner_buffer(next) {
        Some(problem) => Err(format!("requirement failed: {problem}")),
        None => Ok(()),
    }
}

fn cleaner_buffer(next: &Layers) -> Option<String> {
    let each = next.number("log.cleaner.dedupe.buffer.size").checked_div(next.number(CLEANER))?;
    let problem = "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.";
    (each <= 1 << 20).then(|| problem.to_owned())
}

fn threads(now: &Layers, next: &Layers) -> Option<String> {
    let pools = THREADS.iter().find_map(|key| pool(key, now.number(key), next.number(key)));
    pools.or_else(|| cleaner_threads(now.number(CLEANER), next.number(CLEANER)))
}

fn pool(key: &str, old: i64, new: i64) -> Option<String> {
    let problem = if new < old / 2 {
        format!("value should be at least half the current value {old}")
    } else if new > old * 2 {
        format!("value should not be greater than double the current value {old}")
    } else {
        return None;
    };
    Some(format!("Dynamic thread count update validation failed for {key}={new}, {problem}"))
}

fn cleaner_threads(old: i64, new: i64) -> Option<String> {
    if new < 1 && new != old {
        return Some("Log cleaner threads should be at least 1".into());
    }
    let problem = if new < old / 2 {
        "reduced to less than half"
    } else if new > old * 2 {
        "increased to more than double"
    } else {
        return None;
    };
    Some(format!("Log cleaner threads cannot be {problem} the current value {old}"))
}

/// A listener's own threads, which it has beside those of all.
fn listener_threads(now: &Layers, wanted: &Overrides) -> Option<String> {
    let key = table::find_broker(NETWORK)?;
    let own = wanted.iter().filter(|(name, _)| table::listener_base(name) == Some(NETWORK));
    own.filter_map(|(name, text)| {
        let number = |text: &str| match Value::parse(key, text) {
            Ok(Value::Number(number)) => Some(number),
            _ => None,
        };
        let old = now.set_text(name).and_then(number).unwrap_or_else(|| now.number(NETWORK));
        pool(NETWORK, old, number(text)?)
    })
    .next()
}

/// What stays on the broker of a log whose segments are copied away is part of what is retained, and lasts until they are.
fn retention(next: &Layers) -> Option<String> {
    let ms = [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)];
    let ms = ms.into_iter().find_map(|(key, unit)| Some(next.maybe_number(key)?.saturating_mul(unit)))?;
    local(next, "ms", ms).or_else(|| local(next, "bytes", next.number("log.retention.bytes")))
}

fn local(next: &Layers, unit: &str, retained: i64) -> Option<String> {
    let (key, lag_key) = (format!("log.local.retention.{unit}"), format!("log.remote.copy.lag.{unit}"));
    let (set, lag) = (next.number(&key), next.number(&lag_key));
    // As much as is retained at all.
    let effective = if set == -2 { retained } else { set };
    let (key, value, problem) = if retained >= 0 && effective == -1 {
        (key, set, format!("Value must not be -1 as log.retention.{unit} value is set as {retained}."))
    } else if retained >= 0 && effective > retained {
        (key, set, format!("Value must not be more than log.retention.{unit} property value: {retained}"))
    } else if effective >= 0 && lag > effective {
        (lag_key, lag, format!("Value must not exceed {key} (effective value: {effective})"))
    } else {
        return None;
    };
    Some(format!("Invalid value {value} for configuration {key}: {problem}"))
}

/// What is spoken on a listener is settled when it opens.
fn protocols(now: &Layers, next: &Layers) -> Option<String> {
    let (now, next) = (BrokerConfig::resolve(now).ok()?, BrokerConfig::resolve(next).ok()?);
    let changed = next.listeners.listeners.iter().find(|listener| {
        now.listeners.protocol(&listener.endpoint.name).is_some_and(|protocol| protocol != listener.protocol)
    })?;
    let name = &changed.endpoint.name;
    Some(format!("Security protocol cannot be updated for existing listener ListenerName({name})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, Settings};

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    /// A broker that was started with so many threads of each kind, and what was set since.
    fn running(cluster: &[(&str, &str)], broker: &[(&str, &str)]) -> Layers {
        let mut fixed = Settings::default();
        for (key, value) in [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("log.dirs", "/a,/b"),
            ("num.io.threads", "5"),
        ] {
            fixed.set(key, value, Origin::Argument);
        }
        Layers::new(fixed.into(), overrides(cluster), overrides(broker))
    }

    fn one(now: &Layers, key: &str, value: &str) -> Result<(), String> {
        validate_broker_change(now, &overrides(&[(key, value)]), BrokerResource::One)
    }

    fn all(now: &Layers, key: &str, value: &str) -> Result<(), String> {
        validate_broker_change(now, &overrides(&[(key, value)]), BrokerResource::Default)
    }

    #[test]
    fn pools_change_to_no_more_than_double_and_no_less_than_half() {
        let key = "num.io.threads";
        let now = running(&[], &[]);
        let fits: Vec<i64> = (1..20).filter(|count| one(&now, key, &count.to_string()).is_ok()).collect();
        assert_eq!(fits, (2..=10).collect::<Vec<_>>(), "half of five is two");
        // What was set since is what counts, and taking it back is a change, too.
        let now = running(&[], &[(key, "10")]);
        assert!(one(&now, key, "20").is_ok() && one(&now, key, "4").is_err());
        assert!(validate_broker_change(&now, &overrides(&[]), BrokerResource::One).is_ok());
        let now = running(&[], &[(key, "20")]);
        assert!(validate_broker_change(&now, &overrides(&[]), BrokerResource::One).is_err());
        // What is set on all brokers changes nothing on one that has its own.
        assert!(all(&now, key, "1000").is_ok() && all(&running(&[], &[]), key, "1000").is_err());
    }

    #[test]
    fn a_rule_that_is_broken_already_does_not_stand_in_the_way() {
        let now = running(&[("log.roll.ms", "0")], &[]);
        assert!(one(&now, "log.segment.bytes", "2000000").is_ok());
        let message = "requirement failed: log.roll.ms must be greater than or equal to 1";
        assert_eq!(one(&running(&[], &[]), "log.roll.ms", "0"), Err(message.into()));
    }

    #[test]
    fn keys_are_held_against_each_other() {
        let now = running(&[], &[]);
        for (key, value, why) in [
            ("log.local.retention.ms", "999999999999", "Value must not be more than log.retention.ms"),
            (
                "log.local.retention.ms",
                "-1",
                "Value must not be -1 as log.retention.ms value is set as 604800000.",
            ),
            ("log.remote.copy.lag.ms", "999999999999", "Value must not exceed log.local.retention.ms"),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
                "cannot be updated for existing",
            ),
            ("cordoned.log.dirs", "/a,/c", "Missing entries : /c"),
            ("cordoned.log.dirs", "/a,*", "must not contain other values"),
            ("log.cleaner.threads", "0", "at least 1"),
            (
                "listener.name.plaintext.num.network.threads",
                "7",
                "num.network.threads=7, value should not be greater",
            ),
        ] {
            let refused = one(&now, key, value).expect_err(key);
            assert!(refused.contains(why), "{key}={value}: {refused}");
        }
        for (key, value) in [
            ("cordoned.log.dirs", "/b"),
            ("cordoned.log.dirs", "*"),
            ("log.local.retention.bytes", "-1"),
            ("log.cleaner.threads", "2"),
            ("listener.name.plaintext.num.partitions", "5"),
        ] {
            assert_eq!(one(&now, key, value), Ok(()), "{key}={value}");
        }
    }
}
