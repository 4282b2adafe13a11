//! The rules about listeners: which there are, whose they are, and what is told of them.

use crate::{
    broker::{BrokerConfig, Rule},
    listeners::Endpoint,
    settings::Layers,
};

pub(super) fn check(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    // What cannot be read or has no protocol is missing here: more complaints would only follow from that.
    let is_whole = !rules.iter().any(|rule| {
        matches!(rule.key, "listeners" | "advertised.listeners" | "listener.security.protocol.map")
    });
    if is_whole {
        controller_listeners(config, rules);
    }
    inter_broker_is_no_controllers(config, layers, rules);
    distinct_listeners(config, rules);
    advertised(config, rules);
    if is_whole && config.is_broker {
        advertised_is_served(config, rules);
        inter_broker_is_advertised(config, rules);
    }
}

fn controller_listeners(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    let listeners = &config.listeners;
    if listeners.controllers.is_empty() || listeners.listeners.is_empty() {
        return;
    }
    let any = listeners.listeners.iter().any(|listener| listener.is_controller);
    let all = listeners.listeners.iter().all(|listener| listener.is_controller);
    let first = &listeners.controllers[0];
    if config.is_controller && !any {
        rules.push(Rule::new(
            "listeners",
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration \
             when running the KRaft controller role",
            format!("add {first}://:9093 to listeners"),
        ));
    }
    if config.is_controller && !config.is_broker && !all {
        rules.push(Rule::new(
            "listeners",
            "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
             process.roles=controller",
            "remove the others, or set process.roles=broker,controller",
        ));
    }
    if config.is_broker && !config.is_controller && any {
        rules.push(Rule::new(
            "listeners",
            "The controller.listener.names config must not contain a value appearing in the 'listeners' configuration \
             when running KRaft with just the broker role",
            format!("remove {first} from listeners, or set process.roles=broker,controller"),
        ));
    }
}

fn inter_broker_is_no_controllers(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    let listeners = &config.listeners;
    let named = layers.text("inter.broker.listener.name").map(|name| name.to_uppercase());
    if let Some(name) = named.filter(|name| config.is_broker && listeners.controllers.contains(name)) {
        rules.push(Rule::new(
            "inter.broker.listener.name",
            format!("inter.broker.listener.name must not be a listener of the controller, but it is {name}"),
            "name the listener brokers use among themselves, such as PLAINTEXT",
        ));
    }
}

fn distinct_listeners(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    let endpoints: Vec<&Endpoint> =
        config.listeners.listeners.iter().map(|listener| &listener.endpoint).collect();
    let shown = || endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    for (index, one) in endpoints.iter().enumerate() {
        for other in &endpoints[..index] {
            if one.name == other.name {
                rules.push(Rule::new(
                    "listeners",
                    format!("Each listener must have a different name, listeners: {}", shown()),
                    format!("rename one {}", one.name),
                ));
            }
            // Two addresses of one family on one port; the families may share it.
            if one.port == other.port && one.port != 0 && one.host.contains(':') == other.host.contains(':') {
                rules.push(Rule::new(
                    "listeners",
                    format!(
                        "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, \
                         listeners: {}, port: {}",
                        shown(),
                        one.port
                    ),
                    "give one another port",
                ));
            }
        }
    }
}

/// What others are told; of a controller, too.
fn advertised(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    let advertised = &config.listeners.advertised;
    for (index, endpoint) in advertised.iter().enumerate() {
        if advertised[..index].iter().any(|other| other.name == endpoint.name) {
            let shown: Vec<String> = advertised.iter().map(ToString::to_string).collect();
            rules.push(Rule::new(
                "advertised.listeners",
                format!("Each listener must have a different name, listeners: {}", shown.join(",")),
                format!("remove one {}", endpoint.name),
            ));
        }
        if matches!(endpoint.host.as_str(), "0.0.0.0" | "::") && endpoint.host != "::" {
            rules.push(Rule::new(
                "advertised.listeners",
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
                format!("set advertised.listeners={}://localhost:{} or a name clients can reach", endpoint.name, endpoint.port),
            ));
        }
    }
}

/// What clients and brokers are told has to be listened on.
fn advertised_is_served(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    let listeners = &config.listeners;
    for endpoint in &listeners.advertised {
        if listeners.listeners.iter().all(|listener| listener.endpoint.name != endpoint.name)
            && !listeners.controllers.contains(&endpoint.name)
        {
            rules.push(Rule::new(
                "advertised.listeners",
                format!(
                    "advertised.listeners listener names must be equal to or a subset of the ones defined in \
                     listeners, but {} is not one of them",
                    endpoint.name
                ),
                format!("add {}://:{} to listeners, or remove it here", endpoint.name, endpoint.port),
            ));
        }
    }
}

fn inter_broker_is_advertised(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    let listeners = &config.listeners;
    let Some(name) = &listeners.inter_broker else { return };
    if listeners.protocol(name).is_some()
        && listeners.advertised.iter().all(|endpoint| endpoint.name != *name)
    {
        let options: Vec<&str> = listeners.advertised.iter().map(|endpoint| endpoint.name.as_str()).collect();
        rules.push(Rule::new(
            "inter.broker.listener.name",
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid \
                 options based on currently configured listeners are {}",
                options.join(",")
            ),
            match options.first() {
                Some(option) => format!("set inter.broker.listener.name={option}"),
                None => format!("add {name}://:9092 to listeners"),
            },
        ));
    }
}
