//! From a file's text, the environment and the arguments to a checked configuration.

use std::{fmt, sync::Arc};

use crate::{
    broker::{BrokerConfig, Rule},
    environment,
    key::{Key, Kind, Scope, Status},
    properties,
    provider::{self, Flat},
    settings::{Layers, Origin, Setting, Settings},
    table,
    value::Value,
};

/// A file that was read.
#[derive(Clone, Copy, Debug)]
pub struct FileText<'a> {
    /// Its path, for messages.
    pub path: &'a str,
    /// What is in it; see [`properties::decode`].
    pub text: &'a str,
}

/// Where configuration comes from; a later field wins over an earlier one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// `server.properties`; without one the process is a cluster of one node.
    pub file: Option<FileText<'a>>,
    /// The environment, all of it: only `KAFKA_*` counts.
    pub environment: &'a [(String, String)],
    /// Arguments `--override`, each `key=value`.
    pub overrides: &'a [String],
}

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every value that was set, with its origin.
    pub settings: Arc<Settings>,
    /// What the broker uses, typed.
    pub broker: BrokerConfig,
    /// What the operator should know, one line each: unknown keys, keys without effect.
    pub warnings: Vec<String>,
}

/// Why a configuration can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line of the file is not properties syntax.
    #[error(
        "{path}:{line}: \\u must be followed by four hexadecimal digits; write \\\\u for a backslash and a u"
    )]
    Escape {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// An argument of `--override` is not `key=value`.
    #[error("--override {0}: expected key=value, for example --override log.dirs=/var/lib/ottla")]
    Argument(String),
    /// One value does not fit its key.
    #[error("{origin}: {key}=\"{value}\": {problem}; {remedy}")]
    Value {
        /// The key.
        key: String,
        /// What was written; hidden when it is a password.
        value: String,
        /// Where.
        origin: Origin,
        /// Kafka's message.
        problem: String,
        /// What to write instead.
        remedy: String,
    },
    /// Keys do not go together, or a required one is missing.
    #[error("{place}: {problem}; {remedy}", problem = .problem.trim_end_matches('.'))]
    Rule {
        /// Origin, key and value of the key to change; only the key when it was not set.
        place: String,
        /// Kafka's message.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Broken rules, each with the place where its key was set.
    #[must_use]
    pub fn of_rules(rules: Vec<Rule>, settings: &Settings) -> Self {
        let place = |key: &str| match settings.get(key) {
            Some(setting) => format!("{}: {key}=\"{}\"", setting.origin, setting.text),
            None => key.to_owned(),
        };
        let error = |rule: Rule| ConfigError::Rule {
            place: place(rule.key),
            problem: rule.problem,
            remedy: rule.remedy,
        };
        Self(rules.into_iter().map(error).collect())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads and checks a configuration.
///
/// # Errors
/// Everything that is wrong, not only the first of it.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, ConfigErrors> {
    let mut sources = vec![
        Flat::new("without a file"),
        Flat::new("file"),
        Flat::new("environment"),
        Flat::new("arguments"),
    ];
    read_file(inputs.file, &mut sources[1])?;
    read_arguments(inputs.overrides, &mut sources[3])?;
    for (variable, text) in inputs.environment {
        if let Some(key) = environment::key_of(variable) {
            sources[2].set(key, text, Origin::Variable(variable.as_str().into()));
        }
    }
    if inputs.file.is_none() {
        zero::config(&mut sources);
    }
    let mut settings = provider::merge(&sources);
    mirror_node_id(&mut settings);
    let mut errors = check_providers(&settings);
    if errors.is_empty() {
        errors = check_values(&settings);
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let layers = Layers::fixed_only(settings);
    let broker =
        BrokerConfig::resolve(&layers).map_err(|rules| ConfigErrors::of_rules(rules, &layers.fixed))?;
    let warnings = layers.fixed.iter().filter_map(|(name, setting)| warning(name, &setting.origin)).collect();
    Ok(Loaded { settings: layers.fixed, broker, warnings })
}

fn read_file(file: Option<FileText<'_>>, into: &mut Flat) -> Result<(), ConfigErrors> {
    let Some(file) = file else { return Ok(()) };
    let path: Arc<str> = file.path.into();
    let properties = properties::parse(file.text).map_err(|bad| {
        ConfigErrors(vec![ConfigError::Escape { path: file.path.to_owned(), line: bad.line }])
    })?;
    for property in properties {
        into.set(property.key, property.value, Origin::File { path: Arc::clone(&path), line: property.line });
    }
    Ok(())
}

fn read_arguments(overrides: &[String], into: &mut Flat) -> Result<(), ConfigErrors> {
    for argument in overrides {
        let (key, value) = argument
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| ConfigErrors(vec![ConfigError::Argument(argument.clone())]))?;
        into.set(key.trim(), value.trim(), Origin::Argument);
    }
    Ok(())
}

/// `node.id` and the older `broker.id` stand in for each other.
fn mirror_node_id(settings: &mut Settings) {
    for (set, missing) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
        if let (Some(text), None) = (settings.text(set).map(str::to_owned), settings.text(missing)) {
            settings.set(missing, text, Origin::Derived(set));
        }
    }
}

fn check_values(settings: &Settings) -> Vec<ConfigError> {
    let bad = known(settings).filter_map(|(name, setting, key)| {
        let problem = Value::parse(key, &setting.text).err()?;
        Some(bad_value(name, setting, key, shorten(&problem), remedy(key, &setting.text)))
    });
    bad.collect()
}

/// Values that somebody else was to fill in: as they stand they would be taken for paths and names.
fn check_providers(settings: &Settings) -> Vec<ConfigError> {
    let providers = settings.text("config.providers").unwrap_or_default();
    let marks: Vec<String> = providers
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| format!("${{{name}:"))
        .collect();
    let unfilled = known(settings)
        .filter(|(_, setting, _)| marks.iter().any(|mark| setting.text.contains(mark.as_str())))
        .map(|(name, setting, key)| {
            let variable = environment::variable_of(name);
            let remedy = format!("write the value itself, or set {variable} in the environment");
            bad_value(name, setting, key, "config providers are not supported yet", remedy)
        });
    unfilled.collect()
}

/// What was set of the keys that mean something; what one key took from another is not looked at twice.
fn known(settings: &Settings) -> impl Iterator<Item = (&str, &Setting, &'static Key)> {
    let set = settings.iter().filter(|(_, setting)| !matches!(setting.origin, Origin::Derived(_)));
    set.filter_map(|(name, setting)| Some((name, setting, table::find_broker(name)?)))
}

fn bad_value(name: &str, setting: &Setting, key: &Key, problem: &str, remedy: String) -> ConfigError {
    let hidden = key.kind == Kind::Password;
    ConfigError::Value {
        key: name.to_owned(),
        value: if hidden { "[hidden]".into() } else { setting.text.clone() },
        origin: setting.origin.clone(),
        problem: problem.trim_end_matches('.').to_owned(),
        remedy,
    }
}

/// Kafka's message without key and value, which the error names anyway.
fn shorten(problem: &str) -> &str {
    let behind =
        problem.strip_prefix("Invalid value").and_then(|_| problem.split_once(" for configuration "));
    behind.and_then(|(_, rest)| rest.split_once(": ")).map_or(problem, |(_, rest)| rest)
}

/// What to write instead.
fn remedy(key: &Key, text: &str) -> String {
    if let Some(suggestion) = in_unit(key, text) {
        return suggestion;
    }
    let valid = key.valid_values();
    let default = key.default_text().filter(|text| !text.is_empty());
    let form = match key.kind {
        Kind::Boolean => "write true or false".to_owned(),
        Kind::Int | Kind::Short | Kind::Long if valid.is_empty() => "write a whole number".to_owned(),
        Kind::Int | Kind::Short | Kind::Long => format!("write a whole number, {valid}"),
        Kind::Double => "write a number".to_owned(),
        _ if valid.is_empty() => "change or remove it".to_owned(),
        _ => format!("write {valid}"),
    };
    match default {
        Some(default) => format!("{form} (default {default})"),
        None => form,
    }
}

/// A value like `7d` or `64MB`, in the key's own unit.
fn in_unit(key: &Key, text: &str) -> Option<String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let ms = match unit.as_str() {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let bytes = match unit.trim_end_matches('b').trim_end_matches('i') {
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 0,
    };
    let suffix = key.name.rsplit('.').next()?;
    let value = match suffix {
        "ms" if ms > 0 => number.checked_mul(ms)?,
        "minutes" if ms >= 60_000 => number.checked_mul(ms)? / 60_000,
        "hours" if ms >= 3_600_000 => number.checked_mul(ms)? / 3_600_000,
        "bytes" if bytes > 0 => number.checked_mul(bytes)?,
        _ => return None,
    };
    Some(format!("write it in {suffix}: {}={value}", key.name))
}

/// What the operator should know about a key that was set, if anything.
fn warning(name: &str, origin: &Origin) -> Option<String> {
    if matches!(origin, Origin::ZeroConfig | Origin::Derived(_)) {
        return None;
    }
    if let Some(key) = table::find_broker(name) {
        let accepted = key.status == Status::Accepted;
        return accepted.then(|| format!("{origin}: {name} is known but has no effect yet: {}", key.doc));
    }
    if let Some(reason) = table::removed(name) {
        return Some(format!("{origin}: {name} has no effect: {reason}"));
    }
    Some(match table::nearest(Scope::Broker, name) {
        Some(nearest) => format!("{origin}: unknown key {name}, did you mean {nearest}?"),
        None => format!("{origin}: unknown key {name} has no effect"),
    })
}

mod zero;

#[cfg(test)]
mod tests;
