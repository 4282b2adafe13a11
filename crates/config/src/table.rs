//! Every key: Kafka 4.4's definitions, keys of its plugins that operators set, and ours.

mod classic_groups;
mod client_metrics;
mod extra;
mod group;
mod log;
mod network;
mod new_groups;
mod ottla;
mod quorum;
mod quota;
mod remote;
mod removed;
mod replication;
mod sasl;
mod ssl;
mod topic;
mod transactions;

use std::{collections::BTreeMap, sync::LazyLock};

use crate::key::{DefaultValue, Importance, Key, Kind, Range, Scope, Status, Update};

pub use removed::removed;

/// Turns the rows of a table file into [`Key`]s.
macro_rules! keys {
    (@status done) => { crate::key::Status::Implemented };
    (@status accepted) => { crate::key::Status::Accepted };
    (@default required) => { crate::key::DefaultValue::Required };
    (@default null) => { crate::key::DefaultValue::Null };
    (@default $text:literal) => { crate::key::DefaultValue::Value($text) };
    (@internal) => { false };
    (@internal internal) => { true };
    ($table:ident: $scope:ident; $(
        $status:ident $name:literal: $kind:ident = $default:tt, $range:ident $(($($limit:expr),+))?,
        $importance:ident, $update:ident $(, $internal:ident)?; $doc:literal
    )*) => {
        pub(super) static $table: &[crate::key::Key] = &[$(crate::key::Key {
            name: $name,
            scope: crate::key::Scope::$scope,
            kind: crate::key::Kind::$kind,
            default: keys!(@default $default),
            range: crate::key::Range::$range $(($($limit),+))?,
            importance: crate::key::Importance::$importance,
            update: crate::key::Update::$update,
            internal: keys!(@internal $($internal)?),
            status: keys!(@status $status),
            doc: $doc,
        }),*];
    };
}
pub(crate) use keys;

static TABLES: &[&[Key]] = &[
    quorum::QUORUM,
    network::NETWORK,
    log::LOG,
    replication::REPLICATION,
    classic_groups::CLASSIC_GROUPS,
    new_groups::NEW_GROUPS,
    transactions::TRANSACTIONS,
    sasl::SASL,
    ssl::SSL,
    remote::REMOTE,
    extra::EXTRA,
    extra::ADDRESS_QUOTA,
    ottla::OTTLA,
    topic::TOPIC,
    group::GROUP,
    client_metrics::CLIENT_METRICS,
    quota::QUOTA,
];

static INDEX: LazyLock<BTreeMap<(Scope, &'static str), &'static Key>> =
    LazyLock::new(|| all().map(|key| ((key.scope, key.name), key)).collect());

/// Every key, table by table.
pub fn all() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The keys of a scope, by name.
pub fn of(scope: Scope) -> impl Iterator<Item = &'static Key> {
    INDEX.iter().filter(move |((of, _), _)| *of == scope).map(|(_, key)| *key)
}

/// The key of that name.
#[must_use]
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    INDEX.get(&(scope, name)).copied()
}

/// The broker key a name stands for: itself, or with `listener.name.<listener>.[<mechanism>.]` before it.
#[must_use]
pub fn find_broker(name: &str) -> Option<&'static Key> {
    find(Scope::Broker, name).or_else(|| find(Scope::Broker, listener_base(name)?))
}

/// The key behind a listener's prefix; a SASL mechanism may stand between the two.
#[must_use]
pub fn listener_base(name: &str) -> Option<&str> {
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let behind_mechanism = rest.split_once('.').map(|(_, key)| key);
    match behind_mechanism {
        Some(key) if find(Scope::Broker, rest).is_none() && find(Scope::Broker, key).is_some() => Some(key),
        _ => Some(rest),
    }
}

/// The known name of the scope that looks most like this one, if any does.
#[must_use]
pub fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    let longest = (name.len() / 4).clamp(1, 6);
    of(scope)
        .filter(|key| !key.internal && key.name.len().abs_diff(name.len()) <= longest)
        .map(|key| (distance(name, key.name), key.name))
        .filter(|(distance, _)| *distance <= longest)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, in bytes. The inputs are a name that was configured and one of ours.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The key every name without a definition is treated as.
pub(crate) static UNKNOWN: Key = Key {
    name: "",
    scope: Scope::Broker,
    kind: Kind::Unknown,
    default: DefaultValue::Null,
    range: Range::Any,
    importance: Importance::Low,
    update: Update::ReadOnly,
    internal: true,
    status: Status::Accepted,
    doc: "",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn every_key_accepts_its_own_default() {
        for key in all() {
            if let Some(text) = key.default_text() {
                let value = Value::parse(key, text).unwrap_or_else(|problem| panic!("{problem}"));
                assert_eq!(value.to_string(), text, "{}", key.name);
            }
        }
    }

    #[test]
    fn all_of_kafka_is_here_and_each_once() {
        let ours = |key: &&Key| key.name.starts_with("ottla.");
        let extra = extra::EXTRA.len() + extra::ADDRESS_QUOTA.len();
        assert_eq!(all().filter(|key| !ours(key)).count() - extra, 451);
        assert_eq!(INDEX.len(), all().count(), "no name twice in a scope");
        assert!(all().all(|key| key.doc.ends_with('.') && key.doc.len() > 15), "a sentence each");
    }

    #[test]
    fn finds_keys_behind_listener_prefixes() {
        assert_eq!(
            find_broker("listener.name.a.max.connections").map(|key| key.name),
            Some("max.connections")
        );
        let jaas = "listener.name.a.scram-sha-256.sasl.jaas.config";
        assert_eq!(find_broker(jaas).map(|key| key.name), Some("sasl.jaas.config"));
        assert_eq!(find_broker("listener.name.a.foo"), None);
        assert_eq!(find_broker("listener.name"), None);
    }

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(nearest(Scope::Broker, "log.retention.hour"), Some("log.retention.hours"));
        assert_eq!(nearest(Scope::Broker, "advertized.listeners"), Some("advertised.listeners"));
        assert_eq!(nearest(Scope::Broker, "num.partition"), Some("num.partitions"));
        assert_eq!(nearest(Scope::Broker, "my.own.plugin.setting"), None);
        assert_eq!(nearest(Scope::Topic, "retention.mss"), Some("retention.ms"));
    }
}
