//! What was set where: the file, environment and arguments below, the dynamic values above.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    key::{Key, Scope},
    synonyms, table,
    value::Value,
};

/// Values set on a resource while the cluster runs, by key.
pub type Overrides = BTreeMap<Arc<str>, Arc<str>>;

/// The place a value was set in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// Path of the file, as it was given.
        path: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(Arc<str>),
    /// An argument `--override key=value`.
    Argument,
    /// Nobody: the one-node cluster that starts without a file.
    ZeroConfig,
    /// Another key that means the same, such as broker.id for node.id.
    Derived(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Argument => f.write_str("argument --override"),
            Self::ZeroConfig => f.write_str("default without a file"),
            Self::Derived(from) => write!(f, "taken from {from}"),
        }
    }
}

/// One value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The text.
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
}

/// What a process was started with: every key that was set, known or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    by_name: BTreeMap<String, Setting>,
}

impl Settings {
    /// Sets a key; what it was before is forgotten.
    pub fn set(&mut self, name: impl Into<String>, text: impl Into<String>, origin: Origin) {
        self.by_name.insert(name.into(), Setting { text: text.into(), origin });
    }

    /// The value and origin of a key that was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.by_name.get(name)
    }

    /// The text of a key that was set.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|setting| setting.text.as_str())
    }

    /// Every key that was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.by_name.iter().map(|(name, setting)| (name.as_str(), setting))
    }
}

/// A broker's configuration in layers: defaults, what it was started with, what holds for all brokers, what holds
/// for it alone. A value:  `layers.number("log.segment.bytes")`.
#[derive(Clone, Debug)]
pub struct Layers {
    /// What the process was started with.
    pub fixed: Arc<Settings>,
    /// Dynamic values of all brokers (the broker resource with the empty name).
    pub cluster: Overrides,
    /// Dynamic values of this broker.
    pub broker: Overrides,
    effective: BTreeMap<String, String>,
}

impl Layers {
    /// Lays the layers on each other.
    #[must_use]
    pub fn new(fixed: Arc<Settings>, cluster: Overrides, broker: Overrides) -> Self {
        let mut effective: BTreeMap<String, String> =
            fixed.iter().map(|(name, setting)| (name.to_owned(), setting.text.clone())).collect();
        for (name, text) in cluster.iter().chain(&broker) {
            // As Kafka does it: a dynamic value also takes away what was set by a key of lower rank.
            for synonym in synonyms::of_broker_key(name) {
                effective.remove(synonym);
            }
            effective.insert(name.to_string(), text.to_string());
        }
        Self { fixed, cluster, broker, effective }
    }

    /// Only what the process was started with.
    #[must_use]
    pub fn fixed_only(fixed: Settings) -> Self {
        Self::new(Arc::new(fixed), Overrides::new(), Overrides::new())
    }

    /// The names set in any layer.
    pub(crate) fn set_names(&self) -> impl Iterator<Item = &str> {
        self.effective.keys().map(String::as_str)
    }

    /// The text that holds when a layer sets the key.
    #[must_use]
    pub fn set_text(&self, name: &str) -> Option<&str> {
        self.effective.get(name).map(String::as_str)
    }

    /// The value that holds for a broker key; `None` when it is null. A dynamic value that does not fit (a
    /// controller of another version let it pass) counts as not set.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        let key = table::find(Scope::Broker, name).expect("only keys of the table are asked for");
        let set = self.set_text(name).and_then(|text| Value::parse(key, text).ok());
        set.or_else(|| default_of(key))
    }

    /// A number that has a default.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.maybe_number(name).expect("the key has a numeric default")
    }

    /// A number that may be null.
    #[must_use]
    pub fn maybe_number(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// A 32-bit number that has a default.
    #[must_use]
    pub fn int(&self, name: &str) -> i32 {
        i32::try_from(self.number(name)).expect("the key is an INT or SHORT")
    }

    /// A yes or no.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Boolean(true))
    }

    /// A text that may be null.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The items of a list; none when it is null.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items.into_iter().filter(|item| !item.is_empty()).collect(),
            _ => Vec::new(),
        }
    }
}

/// A key's default as a value.
pub(crate) fn default_of(key: &Key) -> Option<Value> {
    key.default_text().map(|text| Value::parse(key, text).expect("every default parses: tested"))
}
