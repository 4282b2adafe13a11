//! What holds when the process is started without a file.

use crate::{listeners::Endpoint, provider::Flat, settings::Origin};

/// The one-node cluster that starts without a file. What the environment or an argument sets stays as it is set, and
/// the addresses around it follow.
pub(super) fn config(sources: &mut [Flat]) {
    let (defaults, set) = sources.split_first_mut().expect("four sources");
    let text =
        |key: &str| set.iter().rev().find_map(|source| source.settings.get(key)).map(|set| set.text.clone());
    let mut default = |key: &str, value: String| defaults.set(key, value, Origin::ZeroConfig);
    let roles = text("process.roles");
    let combined =
        roles.as_deref().is_none_or(|roles| roles.contains("broker") && roles.contains("controller"));
    default("process.roles", "broker,controller".into());
    default("controller.listener.names", "CONTROLLER".into());
    if text("broker.id").is_none() {
        default("node.id", "1".into());
    }
    default("log.dirs", "./data".into());
    if text("log.dir").is_some() {
        defaults.settings.remove("log.dirs");
    }
    for key in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        defaults.set(format!("{key}.replication.factor"), "1", Origin::ZeroConfig);
    }
    for key in ["transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"] {
        defaults.set(key, "1", Origin::ZeroConfig);
    }
    if combined {
        // Blank ones are refused by name; what would be said beside that only confuses.
        let said = |key: &str| text(key).filter(|text| !text.trim().is_empty());
        let (listeners, advertised) = (said("listeners"), said("advertised.listeners"));
        listen(defaults, set, &listeners, &advertised);
    }
}

const MAP: &str = "listener.security.protocol.map";

/// Port 9092 for clients, advertised as localhost; the controller on loopback. Where clients' listeners are given,
/// the controller takes a port the system chooses, so that two processes on one machine do not collide.
fn listen(defaults: &mut Flat, set: &mut [Flat], listeners: &Option<String>, advertised: &Option<String>) {
    let is_set = |key: &str| set.iter().any(|source| source.settings.contains_key(key));
    let names_controller = is_set("controller.listener.names");
    match (listeners, advertised) {
        (None, None) => {
            defaults.set("listeners", "PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093", Origin::ZeroConfig);
            defaults.set("advertised.listeners", "PLAINTEXT://localhost:9092", Origin::ZeroConfig);
        }
        (None, Some(advertised)) => {
            // As the image's scripts: listen on all addresses, on the ports that are advertised.
            let entries = advertised.split(',').filter_map(|entry| Endpoint::parse(entry.trim()));
            let mut entries: Vec<String> =
                entries.map(|endpoint| format!("{}://0.0.0.0:{}", endpoint.name, endpoint.port)).collect();
            entries.push("CONTROLLER://127.0.0.1:0".into());
            defaults.set("listeners", entries.join(","), Origin::ZeroConfig);
        }
        (Some(listeners), _) if !names_controller && !listeners.to_uppercase().contains("CONTROLLER://") => {
            append(set, "listeners", "CONTROLLER://127.0.0.1:0");
        }
        (Some(_), _) => return,
    }
    if !names_controller {
        map_controller(set);
    }
}

/// The controller's listener is ours, so that a map need not know of it.
fn map_controller(set: &mut [Flat]) {
    let map = set.iter().rev().find_map(|source| source.settings.get(MAP));
    let Some(map) = map.filter(|map| !map.text.trim().is_empty()) else { return };
    let mut names = map.text.split(',').filter_map(|entry| entry.split(':').next());
    if !names.any(|name| name.trim().eq_ignore_ascii_case("CONTROLLER")) {
        append(set, MAP, "CONTROLLER:PLAINTEXT");
    }
}

/// Adds an entry to the list that holds for a key, where it was set.
fn append(set: &mut [Flat], key: &str, entry: &str) {
    let settings = set.iter_mut().rev().find_map(|source| source.settings.get_mut(key));
    let setting = settings.expect("the caller has read it");
    setting.text = format!("{},{entry}", setting.text.trim_end_matches([',', ' ']));
}
