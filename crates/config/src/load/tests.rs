//! Loading a configuration: which source wins, what is warned of, what is refused and in which words.

use super::*;
use crate::listeners::SecurityProtocol;

const BASE: &str = "process.roles=broker,controller\n\
                    node.id=1\n\
                    listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n\
                    listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                    controller.listener.names=CONTROLLER\n\
                    controller.quorum.voters=1@127.0.0.1:9093\n";

fn with(text: &str) -> Result<Loaded, String> {
    let text = format!("{BASE}{text}");
    let file = Some(FileText { path: "server.properties", text: &text });
    load(&Inputs { file, ..Inputs::default() }).map_err(|errors| errors.to_string())
}

fn error(text: &str) -> String {
    with(text).map(|loaded| loaded.broker).expect_err(text)
}

fn bare(environment: &[(&str, &str)], overrides: &[&str]) -> Result<Loaded, String> {
    let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
    load(&Inputs { file: None, environment: &environment, overrides: &overrides })
        .map_err(|errors| errors.to_string())
}

fn listeners(loaded: &Loaded) -> Vec<String> {
    loaded.broker.listeners.listeners.iter().map(|listener| listener.endpoint.to_string()).collect()
}

fn advertised(loaded: &Loaded) -> Vec<String> {
    loaded.broker.listeners.advertised.iter().map(ToString::to_string).collect()
}

#[test]
fn without_anything_it_is_a_cluster_of_one() {
    let loaded = bare(&[("PATH", "/bin"), ("KAFKA_HEAP_OPTS", "-Xmx1G")], &[]).unwrap();
    assert_eq!(listeners(&loaded), ["PLAINTEXT://:9092", "CONTROLLER://127.0.0.1:9093"]);
    assert_eq!(advertised(&loaded), ["PLAINTEXT://localhost:9092"]);
    let broker = &loaded.broker;
    assert_eq!((broker.node_id, broker.is_broker, broker.is_controller), (1, true, true));
    assert_eq!(broker.dirs.log_dirs, ["./data"]);
    assert_eq!(broker.offsets.topic_replication_factor, 1);
    assert_eq!(broker.listeners.inter_broker.as_deref(), Some("PLAINTEXT"));
    assert_eq!(broker.listeners.protocol("CONTROLLER"), Some(SecurityProtocol::Plaintext));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn without_a_file_addresses_follow_what_is_set() {
    let loaded = bare(&[], &["listeners=PLAINTEXT://127.0.0.1:19092", "log.dir=/d"]).unwrap();
    assert_eq!(listeners(&loaded), ["PLAINTEXT://127.0.0.1:19092", "CONTROLLER://127.0.0.1:0"]);
    assert_eq!(advertised(&loaded), ["PLAINTEXT://127.0.0.1:19092"]);
    assert_eq!(loaded.broker.dirs.log_dirs, ["/d"]);
    let loaded = bare(&[("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:29092,")], &[]).unwrap();
    assert_eq!(listeners(&loaded), ["PLAINTEXT://0.0.0.0:29092", "CONTROLLER://127.0.0.1:0"]);
    assert_eq!(advertised(&loaded), ["PLAINTEXT://kafka:29092"]);
    for (variable, key) in [
        ("KAFKA_ADVERTISED_LISTENERS", "advertised.listeners"),
        ("KAFKA_LISTENERS", "listeners"),
        ("KAFKA_LOG_DIR", "log.dir"),
    ] {
        let errors = bare(&[(variable, " ")], &[]).map(|loaded| loaded.broker).unwrap_err();
        let problem =
            format!("environment variable {variable}: {key}=\" \": Configuration '{key}' must not be empty");
        assert!(errors.starts_with(&problem) && errors.lines().count() == 1, "{errors}");
    }
}

/// Compose files for Kafka map the clients' listeners; the controller's is not in them.
#[test]
fn without_a_file_the_controllers_listener_needs_no_entry_in_the_map() {
    const MAP: &str = "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP";
    let compose = [
        ("KAFKA_BROKER_ID", "1"),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:29092,PLAINTEXT_HOST://localhost:29192"),
        (MAP, "PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT"),
    ];
    let loaded = bare(&compose, &[]).unwrap();
    assert_eq!(
        listeners(&loaded),
        ["PLAINTEXT://0.0.0.0:29092", "PLAINTEXT_HOST://0.0.0.0:29192", "CONTROLLER://127.0.0.1:0"]
    );
    assert_eq!(loaded.broker.listeners.protocol("CONTROLLER"), Some(SecurityProtocol::Plaintext));
    // Who maps it, or has it among the listeners, knows what it shall speak.
    let mapped = bare(&[(MAP, "PLAINTEXT:PLAINTEXT,controller:SSL")], &[]).unwrap();
    assert_eq!(mapped.broker.listeners.protocol("CONTROLLER"), Some(SecurityProtocol::Ssl));
    let own = [("KAFKA_LISTENERS", "PLAINTEXT://:1,CONTROLLER://:2"), (MAP, "PLAINTEXT:PLAINTEXT")];
    let refused = bare(&own, &[]).map(|loaded| loaded.broker).unwrap_err();
    assert!(refused.contains("No security protocol defined for listener CONTROLLER"), "{refused}");
}

#[test]
fn testcontainers_environments_start() {
    let environment = [
        ("KAFKA_LISTENERS", "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094"),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:32768,BROKER://b:9093"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_BROKER_ID", "7"),
        ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_ZOOKEEPER_CONNECT", "localhost:2181"),
        ("KAFKA_REST_BOOTSTRAP_SERVERS", "x"),
    ];
    let loaded = bare(&environment, &[]).unwrap();
    assert_eq!(loaded.broker.node_id, 7);
    assert_eq!(loaded.broker.listeners.inter_broker.as_deref(), Some("BROKER"));
    assert_eq!(loaded.broker.groups.initial_rebalance_delay_ms, 0);
    assert_eq!(
        loaded.warnings,
        [
            "environment variable KAFKA_REST_BOOTSTRAP_SERVERS: unknown key rest.bootstrap.servers has no effect",
            "environment variable KAFKA_ZOOKEEPER_CONNECT: zookeeper.connect has no effect: Kafka 4 has no ZooKeeper",
        ]
    );
}

#[test]
fn arguments_win_over_environment_over_file_and_origins_are_kept() {
    let text = format!("{BASE}num.partitions=2\nlog.dir=/a\nlog.dir=/b\n");
    let inputs = Inputs {
        file: Some(FileText { path: "s.properties", text: &text }),
        environment: &[("KAFKA_NUM_PARTITIONS".into(), "3".into()), ("KAFKA_BROKER_RACK".into(), "r".into())],
        overrides: &["num.partitions=4".into()],
    };
    let loaded = load(&inputs).unwrap();
    assert_eq!(loaded.broker.new_topics.num_partitions, 4);
    assert_eq!(loaded.broker.rack.as_deref(), Some("r"));
    assert_eq!(loaded.broker.dirs.log_dirs, ["/b"]);
    let origin = |name: &str| loaded.settings.get(name).unwrap().origin.to_string();
    assert_eq!(origin("num.partitions"), "argument --override");
    assert_eq!(origin("broker.rack"), "environment variable KAFKA_BROKER_RACK");
    assert_eq!(origin("log.dir"), "s.properties:9");
    assert_eq!(origin("broker.id"), "taken from node.id");
}

#[test]
fn bad_values_name_key_value_place_and_remedy() {
    let cases = [
        (
            "log.retention.hours=7d",
            "server.properties:7: log.retention.hours=\"7d\": Not a number of type INT; \
             write it in hours: log.retention.hours=168",
        ),
        (
            "log.segment.bytes=64MB",
            "server.properties:7: log.segment.bytes=\"64MB\": Not a number of type INT; \
             write it in bytes: log.segment.bytes=67108864",
        ),
        (
            "fetch.max.bytes=1",
            "server.properties:7: fetch.max.bytes=\"1\": Value must be at least 1024; \
             write a whole number, at least 1024 (default 57671680)",
        ),
        (
            "auto.create.topics.enable=yes",
            "server.properties:7: auto.create.topics.enable=\"yes\": Expected value to be either true or false; \
             write true or false (default true)",
        ),
        (
            "compression.type=lzo",
            "server.properties:7: compression.type=\"lzo\": String must be one of: uncompressed, zstd, lz4, snappy, \
             gzip, producer; write uncompressed, zstd, lz4, snappy, gzip, producer (default producer)",
        ),
        (
            "x=\\u1",
            "server.properties:7: \\u must be followed by four hexadecimal digits; \
                    write \\\\u for a backslash and a u",
        ),
        (
            "listener.name.plaintext.max.connections=many",
            "server.properties:7: listener.name.plaintext.max.connections=\"many\": Not a number of type INT; \
             write a whole number, at least 0 (default 2147483647)",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(error(line), message);
    }
    assert_eq!(
        bare(&[("KAFKA_NUM_PARTITIONS", "none")], &["log.roll.ms=x"])
            .unwrap_err()
            .lines()
            .collect::<Vec<_>>(),
        [
            "argument --override: log.roll.ms=\"x\": Not a number of type LONG; write a whole number",
            "environment variable KAFKA_NUM_PARTITIONS: num.partitions=\"none\": Not a number of type INT; \
             write a whole number, at least 1 (default 1)",
        ]
    );
    assert_eq!(
        bare(&[], &["num.partitions"]).unwrap_err(),
        "--override num.partitions: expected key=value, for example --override log.dirs=/var/lib/ottla"
    );
}

/// One line over [`BASE`], and what the error must say.
const RULES: &[(&str, &str)] = &[
    (
        "process.roles=",
        "Configuration 'process.roles' must not be empty. Valid values include: [broker, controller];",
    ),
    ("process.roles=broker", "the node id 1 must not be included in the set of voters"),
    (
        "process.roles=broker\ncontroller.quorum.auto.join.enable=true",
        "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role;",
    ),
    ("process.roles=controller", "must only contain KRaft controller listeners"),
    ("node.id=2", "the node id 2 must be included in the set of voters controller.quorum.voters=Set(1)"),
    ("broker.id=2", "`node.id` and `broker.id` must be set to the same value."),
    ("controller.quorum.voters=1@host", "Failed to parse entry 1@host"),
    ("controller.quorum.bootstrap.servers=host", "Failed to parse host name from host"),
    ("controller.listener.names=OTHER", "must contain at least one value appearing in the 'listeners'"),
    ("listeners=PLAINTEXT://:9092,CONTROLLER://:9092", "If you have two listeners on the same port"),
    ("listeners=PLAINTEXT://:9092,CONTROLLER://:1,FOO://:2", "No security protocol defined for listener FOO"),
    ("listeners=CONTROLLER://:1,PLAINTEXT://:2,PLAINTEXT://:3", "Each listener must have a different name"),
    ("listeners=PLAINTEXT:localhost:9092", "Unable to parse PLAINTEXT:localhost:9092 to a broker endpoint"),
    ("listeners=", "Configuration 'listeners' must not be empty."),
    ("log.dirs=", "Configuration 'log.dirs' must not be empty."),
    ("log.dir=", "Configuration 'log.dir' must not be empty."),
    ("advertised.listeners=", "Configuration 'advertised.listeners' must not be empty."),
    ("listeners=PLAINTEXT://:1,,CONTROLLER://:2", "Configuration 'listeners' values must not be empty"),
    (
        "controller.listener.names=CONTROLLER,",
        "Configuration 'controller.listener.names' values must not be empty",
    ),
    ("log.dirs=/a,", "Configuration 'log.dirs' values must not be empty"),
    ("log.dir=/a,,/b", "Configuration 'log.dir' values must not be empty"),
    ("cordoned.log.dirs=/x", "All entries in cordoned.log.dirs must be present in log.dirs or log.dir."),
    ("log.dirs=/a,/b\ncordoned.log.dirs=*,/a", "it must not contain other values"),
    ("connections.max.idle.ms=0", "connection.failed.authentication.delay.ms=100 should always be less than"),
    ("advertised.listeners=PLAINTEXT://a:1,PLAINTEXT://b:2", "Each listener must have a different name"),
    (
        "process.roles=controller\nlisteners=CONTROLLER://:9093\nadvertised.listeners=CONTROLLER://0.0.0.0:9093",
        "cannot use the nonroutable meta-address 0.0.0.0",
    ),
    (
        "controller.quorum.voters=1@localhost:29093;2@localhost:29094",
        "Failed to parse entry 1@localhost:29093;2@",
    ),
    ("controller.quorum.bootstrap.servers=a;b:1", "Failed to parse host name from a;b:1"),
    (
        "replica.selector.class=com.example.S",
        "replica.selector.class=\"com.example.S\": String must be one of",
    ),
    ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "cannot use the nonroutable meta-address 0.0.0.0"),
    ("advertised.listeners=SSL://h:1", "must be equal to or a subset of the ones defined in listeners"),
    ("inter.broker.listener.name=CONTROLLER", "must be a listener name defined in advertised.listeners."),
    ("inter.broker.listener.name=FOO", "not found in listener.security.protocol.map"),
    ("inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT", "Only one of"),
    ("listener.security.protocol.map=PLAINTEXT:FOO", "Invalid security protocol `FOO`"),
    (
        "log.retention.hours=0",
        "server.properties:7: log.retention.hours=\"0\": log.retention.ms must be unlimited (-1)",
    ),
    ("log.roll.ms=0", "log.roll.ms must be greater than or equal to 1"),
    ("queued.max.request.bytes=5", "must be larger or equal to socket.request.max.bytes"),
    ("max.connections.per.ip=0", "can be set to zero only if"),
    ("max.connections.per.ip.overrides=nonsense", "Error parsing configuration property"),
    ("replica.fetch.wait.max.ms=50000", "replica.socket.timeout.ms should always be at least"),
    ("replica.lag.time.max.ms=100", "should always be less than or equal to replica.lag.time.max.ms"),
];

#[test]
fn keys_are_held_against_each_other() {
    for (line, message) in RULES {
        let errors = error(line);
        assert!(errors.contains(message), "{line}: {errors}");
        assert!(errors.lines().all(|error| error.contains("; ")), "a remedy each: {errors}");
    }
    let errors =
        load(&Inputs { file: Some(FileText { path: "f", text: "" }), ..Inputs::default() }).unwrap_err();
    let errors = errors.to_string();
    for key in ["process.roles", "node.id", "controller.listener.names"] {
        assert!(errors.contains(&format!("Missing required configuration \"{key}\"")), "{errors}");
    }
}

#[test]
fn what_kafka_tolerates_is_tolerated() {
    for line in [
        "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://h:9092",
        "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092",
        "advertised.listeners=PLAINTEXT://h:1,CONTROLLER://h:2",
        "max.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:100",
        "log.retention.minutes=-5",
        "log.dirs=/a,/a",
        "socket.send.buffer.bytes=-1",
        "connections.max.idle.ms=-1",
        "log.dirs=/a,/b\ncordoned.log.dirs=/b",
        "cordoned.log.dirs=*",
        "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
    ] {
        with(line).unwrap();
    }
    let loaded = with("log.dirs=/a, /a,/b\nmetadata.log.dir=/m").unwrap();
    assert_eq!(loaded.broker.dirs.log_dirs, ["/a", "/b"]);
    assert_eq!(loaded.broker.dirs.metadata_log_dir, "/m");
    let servers = "controller.quorum.bootstrap.servers=CONTROLLER://localhost:1,b:2";
    let quorum = with(&format!("controller.quorum.voters=1@CONTROLLER://localhost:1\n{servers}")).unwrap();
    let quorum = quorum.broker.quorum;
    assert_eq!((quorum.voters[0].host.as_str(), quorum.voters[0].port), ("localhost", 1));
    assert_eq!(quorum.bootstrap_servers, [("localhost".to_owned(), 1), ("b".to_owned(), 2)]);
    let loaded = with("log.dirs=/a,/b\nmetadata.log.dir=/b/").unwrap();
    assert_eq!(loaded.broker.dirs.metadata_log_dir, "/b", "one of them, whatever its spelling");
}

#[test]
fn each_key_is_warned_about_once() {
    let loaded = with(
        "log.cleaner.threads=2\nlog.retention.hour=2\nmy.plugin=1\nnum.partitions=3\nlog.cleaner.threads=3",
    );
    assert_eq!(
        loaded.unwrap().warnings,
        [
            "server.properties:11: log.cleaner.threads is known but has no effect yet: Threads of the compactor.",
            "server.properties:8: unknown key log.retention.hour, did you mean log.retention.hours?",
            "server.properties:9: unknown key my.plugin has no effect",
        ]
    );
}

#[test]
fn what_only_follows_from_an_error_is_not_said_beside_it() {
    for (text, only) in [
        ("listeners=FOO://:29092,CONTROLLER://:29093", "No security protocol defined for listener FOO"),
        ("listeners=PLAINTEXT:29092,CONTROLLER://:29093", "Unable to parse PLAINTEXT:29092"),
        ("advertised.listeners=PLAINTEXT", "Unable to parse PLAINTEXT to a broker endpoint"),
    ] {
        let errors = error(text);
        assert!(errors.contains(only) && errors.lines().count() == 1, "{text}: {errors}");
    }
    let unnumbered = BASE.replace("node.id=1\n", "");
    let file = Some(FileText { path: "server.properties", text: &unnumbered });
    let errors =
        load(&Inputs { file, ..Inputs::default() }).map(|loaded| loaded.broker).unwrap_err().to_string();
    assert!(errors.contains("\"node.id\" which has no default") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn values_that_a_provider_was_to_fill_in_are_refused() {
    let providers =
        "config.providers=env,file\nconfig.providers.env.class=org.apache.kafka.EnvVarConfigProvider";
    assert_eq!(
        error(&format!("{providers}\nlog.dirs=/a/${{env:DATA_DIR}}\nssl.key.password=${{file:/f:pw}}")),
        "server.properties:9: log.dirs=\"/a/${env:DATA_DIR}\": config providers are not supported yet; \
         write the value itself, or set KAFKA_LOG_DIRS in the environment\n\
         server.properties:10: ssl.key.password=\"[hidden]\": config providers are not supported yet; \
         write the value itself, or set KAFKA_SSL_KEY_PASSWORD in the environment"
    );
    // What names no provider is a text like any other, as in Kafka.
    with(&format!("{providers}\nlog.dirs=/a/${{vault:x}}")).unwrap();
    with("log.dirs=/a/${env:x}").unwrap();
}

#[test]
fn what_is_not_enforced_is_said_so() {
    let warnings = with("authorizer.class.name=a.B\nlog.cleanup.policy=compact").unwrap().warnings;
    assert!(warnings[0].contains("authorizer.class.name") && warnings[0].contains("ACLs are NOT enforced"));
    assert!(warnings[1].contains("log.cleanup.policy is known but has no effect yet"), "{warnings:?}");
    assert_eq!(warnings.len(), 2);
}

#[test]
fn secrets_are_not_shown() {
    let loaded =
        with("ssl.keystore.password=hunter2\nlistener.name.plaintext.ssl.key.password=hunter2").unwrap();
    assert!(!loaded.warnings.join("\n").contains("hunter2"));
}

#[test]
fn the_file_that_is_shipped_has_nothing_to_warn_about() {
    let text = include_str!("../../../../server.properties");
    let file = Some(FileText { path: "server.properties", text });
    let loaded = load(&Inputs { file, ..Inputs::default() }).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(advertised(&loaded), ["PLAINTEXT://localhost:9092"]);
}
