//! Keys held against each other: the rules Kafka checks when it starts, in its words, with a remedy.

use crate::{
    broker::{BrokerConfig, Rule},
    settings::Layers,
};

mod listeners;

pub(crate) fn check(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    not_empty(layers, rules);
    node_id(config, layers, rules);
    listeners::check(config, layers, rules);
    voters(config, layers, rules);
    auto_join(config, rules);
    cordoned(config, layers, rules);
    limits(config, layers, rules);
}

fn not_empty(layers: &Layers, rules: &mut Vec<Rule>) {
    let values = [
        ("process.roles", "[broker, controller]", "use broker,controller for a node that is both"),
        ("listeners", "any non-empty value", "remove the line for PLAINTEXT://:9092"),
        (
            "advertised.listeners",
            "any non-empty value",
            "remove it, or name the addresses clients connect to",
        ),
        ("log.dirs", "any non-empty value", "name a directory"),
        ("log.dir", "any non-empty value", "name a directory"),
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

fn voters(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    const KEY: &str = "controller.quorum.voters";
    let quorum = &config.quorum;
    let ids: Vec<String> = quorum.voters.iter().map(|voter| voter.id.to_string()).collect();
    let is_voter = quorum.voters.iter().any(|voter| voter.id == config.node_id);
    let (id, shown) = (config.node_id, ids.join(","));
    // Without a node id, that is what is told.
    let is_numbered = layers.set_text("node.id").is_some();
    if config.is_controller && is_numbered && !ids.is_empty() && !is_voter {
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

fn cordoned(config: &BrokerConfig, layers: &Layers, rules: &mut Vec<Rule>) {
    const KEY: &str = "cordoned.log.dirs";
    let (named, dirs) = (layers.list(KEY), &config.dirs.log_dirs);
    let missing: Vec<&str> = named.iter().filter(|dir| !dirs.contains(dir)).map(String::as_str).collect();
    let problem = if named.iter().any(|dir| dir == "*") {
        let problem = "When cordoned.log.dirs is set to *, it must not contain other values";
        (named.len() > 1).then(|| problem.to_owned())
    } else {
        (!missing.is_empty()).then(|| {
            format!(
                "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
                missing.join(", ")
            )
        })
    };
    rules
        .extend(problem.map(|problem| Rule::new(KEY, problem, "name directories of log.dirs, or * for all")));
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
    let (idle, delay) =
        (connections.connections_max_idle_ms, layers.number("connection.failed.authentication.delay.ms"));
    must(
        idle < 0 || delay < idle,
        "connections.max.idle.ms",
        &format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} \
             to prevent failed authentication responses from timing out"
        ),
        "raise it, or use -1 for connections that may stay idle for ever",
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
