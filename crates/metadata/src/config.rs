//! Dynamic configuration, as it was set: nothing here knows defaults or types.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

/// What a configuration belongs to, by Kafka's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType(pub i8);

impl ResourceType {
    /// A topic.
    pub const TOPIC: Self = Self(2);
    /// A broker; the empty name is the default for all brokers.
    pub const BROKER: Self = Self(4);
    /// Log levels of a broker. Not stored.
    pub const BROKER_LOGGER: Self = Self(8);
    /// Client metrics subscriptions (KIP-714).
    pub const CLIENT_METRICS: Self = Self(16);
    /// A group.
    pub const GROUP: Self = Self(32);
}

/// A resource that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ResourceType,
    /// Its name: of the topic or group, the broker's id in decimals, empty for the default of its kind.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// Names a topic's configuration.
    #[must_use]
    pub fn topic(name: impl Into<Arc<str>>) -> Self {
        Self { kind: ResourceType::TOPIC, name: name.into() }
    }

    /// Names a broker's configuration.
    #[must_use]
    pub fn broker(id: i32) -> Self {
        Self { kind: ResourceType::BROKER, name: id.to_string().into() }
    }

    /// Names the default of all brokers.
    #[must_use]
    pub fn broker_default() -> Self {
        Self { kind: ResourceType::BROKER, name: "".into() }
    }
}

/// Values as they were set, by key.
pub type ConfigValues = BTreeMap<Arc<str>, Arc<str>>;

static NONE: LazyLock<Arc<ConfigValues>> = LazyLock::new(Arc::default);

/// All dynamic configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configs {
    by_resource: BTreeMap<ConfigResource, Arc<ConfigValues>>,
}

impl Configs {
    /// What is set on a resource; empty when nothing is. Two images share the value while it does not change.
    #[must_use]
    pub fn get(&self, resource: &ConfigResource) -> &Arc<ConfigValues> {
        self.by_resource.get(resource).unwrap_or_else(|| &NONE)
    }

    /// What is set on a topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> &Arc<ConfigValues> {
        self.get(&ConfigResource::topic(name))
    }

    /// One value set on a topic.
    #[must_use]
    pub fn topic_value(&self, name: &str, key: &str) -> Option<&Arc<str>> {
        self.topic(name).get(key)
    }

    /// What is set on a broker.
    #[must_use]
    pub fn broker(&self, id: i32) -> &Arc<ConfigValues> {
        self.get(&ConfigResource::broker(id))
    }

    /// What is set as the default of all brokers.
    #[must_use]
    pub fn broker_default(&self) -> &Arc<ConfigValues> {
        self.get(&ConfigResource::broker_default())
    }

    /// Every resource with something set, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<ConfigValues>)> {
        self.by_resource.iter()
    }

    pub(crate) fn set(&mut self, resource: ConfigResource, key: &str, value: Option<&str>) {
        let values = Arc::make_mut(self.by_resource.entry(resource.clone()).or_default());
        match value {
            Some(value) => drop(values.insert(key.into(), value.into())),
            None => drop(values.remove(key)),
        }
        if values.is_empty() {
            self.by_resource.remove(&resource);
        }
    }

    pub(crate) fn forget(&mut self, resource: &ConfigResource) {
        self.by_resource.remove(resource);
    }
}
