//! Whether a value may be set while the cluster runs, in Kafka's words.

use crate::{
    key::{Key, Kind, Scope, Update},
    settings::{Layers, Overrides},
    table, topic,
    value::Value,
};

/// Checks one value of a topic (error INVALID_CONFIG).
///
/// # Errors
/// Kafka's message.
pub fn validate_topic_override(name: &str, text: &str) -> Result<(), String> {
    let key = table::find(Scope::Topic, name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    Value::parse(key, text).map(drop)
}

/// Checks all values of a topic, also against each other (error INVALID_CONFIG).
///
/// # Errors
/// Kafka's message about the first that does not fit.
pub fn validate_topic_overrides(overrides: &Overrides, layers: &Layers) -> Result<(), String> {
    overrides.iter().try_for_each(|(name, text)| validate_topic_override(name, text))?;
    let number = |name: &str| match topic::effective(
        table::find(Scope::Topic, name).expect("a topic key"),
        overrides,
        layers,
    ) {
        Some(Value::Number(number)) => number,
        _ => unreachable!("{name} has a numeric default"),
    };
    let (least, most) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if least > most {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        ));
    }
    let remote =
        overrides.get("remote.storage.enable").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    if remote && !layers.flag("remote.log.storage.system.enable") {
        return Err("Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage."
            .into());
    }
    Ok(())
}

/// Checks one value of a group (error INVALID_CONFIG).
///
/// # Errors
/// Kafka's message.
pub fn validate_group_override(name: &str, text: &str) -> Result<(), String> {
    let key = table::find(Scope::Group, name).ok_or_else(|| format!("Unknown group config name: {name}"))?;
    Value::parse(key, text).map(drop)
}

/// Whom a broker's dynamic value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerResource {
    /// One broker: the resource named by its id.
    One,
    /// All brokers: the resource with the empty name.
    Default,
}

/// Checks the values set on a broker resource (error INVALID_REQUEST, KIP-226). Names nobody knows are let through,
/// as Kafka does for plugins.
///
/// # Errors
/// Kafka's message.
pub fn validate_broker_overrides(overrides: &Overrides, resource: BrokerResource) -> Result<(), String> {
    let known =
        || overrides.iter().filter_map(|(name, text)| Some((&**name, text, table::find_broker(name)?)));
    let list = |refused: &dyn Fn(&str, &Key) -> bool| {
        let names: Vec<&str> =
            known().filter(|(name, _, key)| refused(name, key)).map(|(name, ..)| name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    // Kafka looks at the bare names alone, and lets the prefixed ones through.
    if let Some(names) = list(&|name, key| key.name == name && !key.is_dynamic() && key.kind != Kind::Unknown)
    {
        return Err(format!("Cannot update these configs dynamically: [{names}]"));
    }
    if let Some(names) = list(&|name, key| key.name == name && is_key_material(name)) {
        return Err(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{names}]"
        ));
    }
    if resource == BrokerResource::Default
        && let Some(names) = list(&|_, key| key.update == Update::PerBroker)
    {
        return Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{names}]"
        ));
    }
    known().try_for_each(|(_, text, key)| Value::parse(key, text).map(drop))
}

/// Checks one value set on a broker resource.
///
/// # Errors
/// Kafka's message.
pub fn validate_broker_override(name: &str, text: &str, resource: BrokerResource) -> Result<(), String> {
    validate_broker_overrides(&Overrides::from([(name.into(), text.into())]), resource)
}

/// TLS files, which belong to a listener.
fn is_key_material(name: &str) -> bool {
    name.starts_with("ssl.keystore.") || name.starts_with("ssl.truststore.") || name == "ssl.key.password"
}
