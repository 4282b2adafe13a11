//! Keys held against each other: the rules Kafka checks when it starts, in its words, with a remedy.

use crate::{
    broker::{BrokerConfig, Rule},
    listeners::Endpoint,
    settings::Layers,
};

pub(crate) fn check(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    not_empty(layers, rules);
    node_id(config, layers, rules);
    controller_listeners(config, layers, rules);
    distinct_listeners(config, rules);
    if config.is_broker {
        advertised(config, rules);
    }
    voters(config, rules);
    auto_join(config, rules);
    limits(config, layers, rules);
}

fn not_empty(layers: &Layers, rules: &mut Vec<Rule>) {
    let values = [
        ("process.roles", "[broker, controller]", "use broker,controller for a node that is both"),
        ("listeners", "any non-empty value", "remove the line for PLAINTEXT://:9092"),
        ("log.dirs", "any non-empty value", "name a directory"),
        ("controller.listener.names", "any non-empty value", "use CONTROLLER"),
    ];
    for (key, valid, remedy) in values {
        if layers.set_text(key).is_some() && layers.list(key).is_empty() {
            let problem = format!("Configuration '{key}' must not be empty. Valid values include: {valid}");
            rules.push(Rule::new(key, problem, remedy));
        }
    }
    let required = [
        ("process.roles", "set it to broker,controller for a node that is both"),
        ("node.id", "give every process of the cluster a number of its own, for example node.id=1"),
        ("controller.listener.names", "set it to CONTROLLER and give listeners an entry of that name"),
    ];
    for (key, remedy) in required {
        if layers.set_text(key).is_none() {
            let problem = format!("Missing required configuration \"{key}\" which has no default value.");
            rules.push(Rule::new(key, problem, remedy));
        }
    }
}

fn node_id(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    let broker_id = layers.number("broker.id");
    if broker_id >= 0 && layers.set_text("node.id").is_some() && broker_id != i64::from(config.node_id) {
        rules.push(Rule::new(
            "broker.id",
            "`node.id` and `broker.id` must be set to the same value. `broker.id` is deprecated, please use `node.id` \
             instead.",
            "remove broker.id",
        ));
    }
}

fn controller_listeners(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
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

fn advertised(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    let listeners = &config.listeners;
    for endpoint in &listeners.advertised {
        if matches!(endpoint.host.as_str(), "0.0.0.0" | "::") && endpoint.host != "::" {
            rules.push(Rule::new(
                "advertised.listeners",
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
                format!("set advertised.listeners={}://localhost:{} or a name clients can reach", endpoint.name, endpoint.port),
            ));
        }
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

fn voters(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    const KEY: &str = "controller.quorum.voters";
    let quorum = &config.quorum;
    let ids: Vec<String> = quorum.voters.iter().map(|voter| voter.id.to_string()).collect();
    let is_voter = quorum.voters.iter().any(|voter| voter.id == config.node_id);
    let (id, shown) = (config.node_id, ids.join(","));
    if config.is_controller && !ids.is_empty() && !is_voter {
        rules.push(Rule::new(
            KEY,
            format!(
                "If process.roles contains the 'controller' role, the node id {id} must be included in the set of \
                 voters {KEY}=Set({shown})"
            ),
            format!("add {id}@host:port, the address of this process's controller listener"),
        ));
    }
    if config.is_broker && !config.is_controller && is_voter {
        rules.push(Rule::new(
            KEY,
            format!(
                "If process.roles contains just the 'broker' role, the node id {id} must not be included in the set \
                 of voters {KEY}=Set({shown})"
            ),
            "give this broker another node.id, or set process.roles=broker,controller",
        ));
    }
    // A process that is both and names nobody is a quorum of its own.
    if config.is_broker && !config.is_controller && ids.is_empty() && quorum.bootstrap_servers.is_empty() {
        rules.push(Rule::new(
            KEY,
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap \
             controllers or controller.quorum.voters must contain a parseable set of controllers.",
            "set controller.quorum.bootstrap.servers=host:port of a controller",
        ));
    }
}

fn auto_join(config: &BrokerConfig, rules: &mut Vec<Rule>) {
    if config.quorum.auto_join && !config.is_controller {
        rules.push(Rule::new(
            "controller.quorum.auto.join.enable",
            "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role.",
            "remove it: a broker has no vote",
        ));
    }
}

fn limits(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    let mut must = |holds: bool, key: &'static str, problem: &str, remedy: &str| {
        if !holds {
            rules.push(Rule::new(key, problem, remedy));
        }
    };
    let retention = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        .into_iter()
        .find_map(|key| Some((key, layers.maybe_number(key)?)));
    let (key, value) = retention.expect("log.retention.hours has a default");
    must(
        value != 0,
        key,
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        "use -1 or 1",
    );
    let roll = layers.maybe_number("log.roll.ms");
    must(
        roll.is_none_or(|ms| ms >= 1),
        "log.roll.ms",
        "log.roll.ms must be greater than or equal to 1",
        "use 1 or more",
    );
    let queued = config.sockets.queued_max_request_bytes;
    must(
        queued.is_none_or(|bytes| bytes >= i64::from(config.sockets.request_max_bytes)),
        "queued.max.request.bytes",
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
        "raise it, lower socket.request.max.bytes, or use -1 and let the broker choose",
    );
    let connections = &config.connections;
    must(
        connections.max_connections_per_ip > 0 || !connections.max_connections_per_ip_overrides.is_empty(),
        "max.connections.per.ip",
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        "raise it",
    );
    let wait = layers.number("replica.fetch.wait.max.ms");
    must(
        layers.number("replica.socket.timeout.ms") >= wait,
        "replica.fetch.wait.max.ms",
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
         timeouts",
        "lower it, or raise replica.socket.timeout.ms",
    );
    must(
        wait <= config.replica_lag_time_max_ms,
        "replica.lag.time.max.ms",
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
         changes in ISR",
        "raise it, or lower replica.fetch.wait.max.ms",
    );
}
