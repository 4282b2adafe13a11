//! What DescribeConfigs answers (KIP-133, KIP-226, KIP-569): values with their sources and synonyms.

use crate::{
    key::{DefaultValue, Key, Kind, Scope},
    settings::{Layers, Overrides},
    synonyms, table, topic,
    value::Value,
};

/// Which layer a value comes from; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Set on the broker while it runs.
    DynamicBroker = 2,
    /// Set on all brokers while they run.
    DynamicDefaultBroker = 3,
    /// Set where the broker was started: file, environment or argument.
    StaticBroker = 4,
    /// Not set.
    Default = 5,
    /// A log level set on the broker.
    DynamicBrokerLogger = 6,
    /// Set on the client metrics subscription.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

/// One layer's value of a key, or of a key that stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The key that was set.
    pub name: String,
    /// Its text as it was set; `None` when it is sensitive.
    pub value: Option<String>,
    /// The layer.
    pub source: ConfigSource,
}

/// One entry of the answer. Fields and order are those of `DescribeConfigsResourceResult`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value that holds; `None` when it is null or sensitive.
    pub value: Option<String>,
    /// Whether it can not be altered.
    pub read_only: bool,
    /// The layer the value comes from.
    pub source: ConfigSource,
    /// Whether the value is kept back.
    pub is_sensitive: bool,
    /// Every layer that sets the key or a synonym, the one that holds first.
    pub synonyms: Vec<ConfigSynonym>,
    /// Type of the value; `Kind::wire` is its number.
    pub kind: Kind,
    /// What the key does.
    pub documentation: Option<&'static str>,
}

/// A topic's entries, by name. CreateTopics answers with the same ones (KIP-525).
#[must_use]
pub fn describe_topic(overrides: &Overrides, layers: &Layers) -> Vec<ConfigEntry> {
    shown(Scope::Topic, overrides)
        .map(|key| {
            let own = overrides.get(key.name).map(|text| (text.to_string(), ConfigSource::DynamicTopic));
            let broker = synonyms::of_topic_key(key.name);
            let value = topic::effective(key, overrides, layers);
            entry(key, value, own, broker.map_or_else(Vec::new, |name| broker_synonyms(name, layers)))
        })
        .collect()
}

/// A group's entries, by name.
#[must_use]
pub fn describe_group(overrides: &Overrides, layers: &Layers) -> Vec<ConfigEntry> {
    shown(Scope::Group, overrides)
        .map(|key| {
            let own = overrides.get(key.name).map(|text| (text.to_string(), ConfigSource::Group));
            let broker = broker_key_of_group(key.name);
            let mut rest = broker.map_or_else(Vec::new, |name| broker_synonyms(name, layers));
            if broker.is_none() {
                let value = key.default_text().map(str::to_owned);
                rest.push(ConfigSynonym { name: key.name.to_owned(), value, source: ConfigSource::Default });
            }
            let set = overrides.get(key.name).and_then(|text| Value::parse(key, text).ok());
            let value = set.or_else(|| match layers.value(broker?)? {
                // The first assignor is the default one.
                Value::List(items) if key.kind == Kind::String => items.into_iter().next().map(Value::Text),
                value => Some(value),
            });
            entry(key, value.or_else(|| crate::settings::default_of(key)), own, rest)
        })
        .collect()
}

/// A client metrics subscription's entries, by name.
#[must_use]
pub fn describe_client_metrics(overrides: &Overrides) -> Vec<ConfigEntry> {
    shown(Scope::ClientMetrics, overrides)
        .map(|key| {
            let own = overrides.get(key.name).map(|text| (text.to_string(), ConfigSource::ClientMetrics));
            let set = overrides.get(key.name).and_then(|text| Value::parse(key, text).ok());
            entry(key, set.or_else(|| crate::settings::default_of(key)), own, Vec::new())
        })
        .collect()
}

/// A broker's entries, by name: Kafka's keys, ours, and whatever else was set.
#[must_use]
pub fn describe_broker(layers: &Layers) -> Vec<ConfigEntry> {
    let known = table::of(Scope::Broker).filter(|key| !key.internal).map(|key| key.name);
    let mut names: Vec<&str> = known.chain(layers.set_names()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| broker_entry(name, layers)).collect()
}

/// The entries of the broker resource with the empty name: what holds for all brokers.
#[must_use]
pub fn describe_broker_default(layers: &Layers) -> Vec<ConfigEntry> {
    let entries = layers.cluster.keys().map(|name| {
        let mut entry = broker_entry(name, layers);
        let key = table::find_broker(name).unwrap_or(&table::UNKNOWN);
        let value = Value::parse(key, &layers.cluster[name]).map(|value| value.to_string());
        entry.value = value.ok().filter(|_| !entry.is_sensitive);
        entry.synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
        entry.source = ConfigSource::DynamicDefaultBroker;
        entry
    });
    entries.collect()
}

fn shown<'a>(scope: Scope, overrides: &'a Overrides) -> impl Iterator<Item = &'static Key> + 'a {
    table::of(scope).filter(|key| !key.internal || overrides.contains_key(key.name))
}

/// A group key's broker key, `group.` before it; some have none.
fn broker_key_of_group(name: &str) -> Option<&'static str> {
    let broker = match name {
        "streams.assignor.name" => "group.streams.assignors".to_owned(),
        name => format!("group.{name}"),
    };
    table::find(Scope::Broker, &broker).map(|key| key.name)
}

fn broker_entry(name: &str, layers: &Layers) -> ConfigEntry {
    let key = table::find_broker(name).unwrap_or(&table::UNKNOWN);
    let set = layers.set_text(name).and_then(|text| Value::parse(key, text).ok());
    let default = if key.name == name { crate::settings::default_of(key) } else { None };
    let mut entry = entry(key, set.or(default), None, broker_synonyms(name, layers));
    name.clone_into(&mut entry.name);
    entry.read_only = key.name != name || !key.is_dynamic();
    entry
}

/// An entry whose own layer, if there is one, comes before the broker's.
fn entry(
    key: &Key,
    value: Option<Value>,
    own: Option<(String, ConfigSource)>,
    below: Vec<ConfigSynonym>,
) -> ConfigEntry {
    let is_sensitive = key.kind.is_sensitive();
    let own =
        own.map(|(text, source)| ConfigSynonym { name: key.name.to_owned(), value: Some(text), source });
    let mut synonyms: Vec<_> = own.into_iter().chain(below).collect();
    if is_sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    ConfigEntry {
        name: key.name.to_owned(),
        value: value.filter(|_| !is_sensitive).map(|value| value.to_string()),
        read_only: false,
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        is_sensitive,
        synonyms,
        kind: key.kind,
        documentation: Some(key.doc).filter(|doc| !doc.is_empty()),
    }
}

/// Every layer's value of a broker key and those of lower rank. What comes before the key's own first value is left
/// out, as Kafka leaves it out: without a value of its own a key has no synonyms.
fn broker_synonyms(name: &str, layers: &Layers) -> Vec<ConfigSynonym> {
    let names = synonyms::of_broker_key(name);
    let mut found: Vec<ConfigSynonym> = Vec::new();
    let mut layer = |source, text: &dyn Fn(&str) -> Option<String>| {
        found.extend(names.iter().filter_map(|name| {
            Some(ConfigSynonym { name: (*name).to_owned(), value: Some(text(name)?), source })
        }));
    };
    let dynamic = |values: &Overrides, name: &str| values.get(name).map(|text| text.to_string());
    layer(ConfigSource::DynamicBroker, &|name| dynamic(&layers.broker, name));
    layer(ConfigSource::DynamicDefaultBroker, &|name| dynamic(&layers.cluster, name));
    layer(ConfigSource::StaticBroker, &|name| layers.fixed.text(name).map(str::to_owned));
    layer(ConfigSource::Default, &|name| match table::find(Scope::Broker, name)?.default {
        DefaultValue::Value(text) if !table::find(Scope::Broker, name)?.internal => Some(text.to_owned()),
        _ => None,
    });
    let sensitive = table::find_broker(name).unwrap_or(&table::UNKNOWN).kind.is_sensitive();
    let first = found.iter().position(|synonym| synonym.name == name).unwrap_or(found.len());
    found.drain(..first);
    if sensitive {
        found.iter_mut().for_each(|synonym| synonym.value = None);
    }
    found
}
