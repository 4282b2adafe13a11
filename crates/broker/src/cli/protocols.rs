//! What is refused though the configuration is valid: protocols that this version does not speak.

use ottla_config::{BrokerConfig, ConfigErrors, Loaded, Rule, SecurityProtocol};

const MAP: &str = "listener.security.protocol.map";

/// Whether all listeners can be served, and all that this node connects to can be spoken to.
///
/// # Errors
/// Names every one that speaks a protocol which is not supported yet, and where it was told to.
pub fn check(loaded: &Loaded) -> Result<(), ConfigErrors> {
    let refused = unsupported(&loaded.broker, loaded.settings.text(MAP).is_some());
    if refused.is_empty() { Ok(()) } else { Err(ConfigErrors::of_rules(refused, &loaded.settings)) }
}

/// A rule for each listener, of this process or of those it connects to, that speaks more than plaintext.
pub(crate) fn unsupported(config: &BrokerConfig, is_mapped: bool) -> Vec<Rule> {
    let listeners = &config.listeners;
    let mut names: Vec<&String> =
        listeners.listeners.iter().map(|listener| &listener.endpoint.name).collect();
    let own = names.len();
    // Of the controllers' listeners the first is what brokers connect to.
    for name in listeners.inter_broker.iter().chain(listeners.controllers.first()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rule = |(at, name): (usize, &&String)| {
        // As in Kafka, a name that nobody mapped may be that of a protocol.
        let protocol = listeners.protocol(name).or_else(|| SecurityProtocol::parse(name))?;
        let key = match (is_mapped, at < own) {
            (true, _) => MAP,
            (false, true) => "listeners",
            (false, false) => "controller.listener.names",
        };
        (protocol != SecurityProtocol::Plaintext).then(|| {
            Rule::new(
                key,
                format!("listener {name}: {} is not supported yet", protocol.name()),
                format!(
                    "map it to PLAINTEXT ({name}:PLAINTEXT) only where everybody on the network may read and do \
                     everything: it sends all of it unencrypted and authenticates nobody"
                ),
            )
        })
    };
    names.iter().enumerate().filter_map(rule).collect()
}
