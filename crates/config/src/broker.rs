//! What the broker uses of its configuration, typed.

use std::path::Path;

use crate::{
    cross,
    listeners::{Listeners, parse_server},
    settings::{Layers, Overrides},
    topic::TopicConfig,
};

/// Two or more keys that do not go together, or a value whose form no type can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The key to change.
    pub key: &'static str,
    /// What is wrong, in Kafka's words where it has some.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Rule {
    /// A rule that is broken.
    pub fn new(key: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key, problem: problem.into(), remedy: remedy.into() }
    }
}

/// The configuration of a process. Fields are named after their keys; times are in the unit the name ends with.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// `process.roles` has `broker`.
    pub is_broker: bool,
    /// `process.roles` has `controller`.
    pub is_controller: bool,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners` and what belongs to them.
    pub listeners: Listeners,
    /// `controller.quorum.*` and the metadata log.
    pub quorum: Quorum,
    /// `log.dirs` and what is done in them.
    pub dirs: Dirs,
    /// `socket.*`, threads and memory for requests.
    pub sockets: Sockets,
    /// `max.connections*`.
    pub connections: ConnectionLimits,
    /// What topics get that are created without saying.
    pub new_topics: NewTopics,
    /// What holds for a topic without values of its own.
    pub topic_defaults: TopicConfig,
    /// `group.*` of the classic protocol.
    pub groups: GroupLimits,
    /// `offsets.*`.
    pub offsets: OffsetsConfig,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i32,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_interval_ms: i32,
    /// `transaction.max.timeout.ms`.
    pub transaction_max_timeout_ms: i32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: i32,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: i32,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// How replicas follow their leaders.
    pub replica_fetch: ReplicaFetch,
    /// `broker.heartbeat.interval.ms`.
    pub broker_heartbeat_interval_ms: i32,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown_enable: bool,
    /// `broker.session.timeout.ms`.
    pub broker_session_timeout_ms: i32,
    /// `initial.broker.registration.timeout.ms`.
    pub initial_broker_registration_timeout_ms: i32,
}

/// `controller.quorum.*` and the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// `controller.quorum.voters`, as written; empty when the quorum is dynamic or this process is all of it.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`: host and port.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// `controller.quorum.election.timeout.ms`.
    pub election_timeout_ms: i32,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout_ms: i32,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: i32,
    /// `controller.quorum.auto.join.enable`.
    pub auto_join: bool,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub max_record_bytes_between_snapshots: i64,
    /// `metadata.log.max.snapshot.interval.ms`.
    pub max_snapshot_interval_ms: i64,
    /// `metadata.log.segment.bytes`.
    pub segment_bytes: i32,
    /// `metadata.log.segment.ms`.
    pub segment_ms: i64,
    /// `metadata.max.retention.bytes`; negative for no limit.
    pub max_retention_bytes: i64,
    /// `metadata.max.retention.ms`; negative for no limit.
    pub max_retention_ms: i64,
}

/// A controller of a static quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub id: i32,
    /// Its host.
    pub host: String,
    /// The port of its controller listener.
    pub port: u16,
}

/// `replica.fetch.*` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaFetch {
    /// `num.replica.fetchers`.
    pub fetchers: i32,
    /// `replica.fetch.max.bytes`.
    pub max_bytes: i32,
    /// `replica.fetch.min.bytes`.
    pub min_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub wait_max_ms: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`.
    pub backoff_ms: i32,
    /// `replica.socket.timeout.ms`.
    pub socket_timeout_ms: i32,
}

/// When an acks=all write is synced before it is acknowledged: `ottla.acks.all.fsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcksAllFsync {
    /// When this broker is the only one in sync.
    Alone,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How segments are written: `ottla.log.write.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWriteMode {
    /// What suits the file system.
    Auto,
    /// Through the page cache.
    Buffered,
    /// Through the page cache, without keeping the pages (`RWF_DONTCACHE`).
    DontCache,
}

/// `log.dirs` and what is done in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// `log.dirs`, or `log.dir`; at least one, none twice.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, or the first of `log_dirs`.
    pub metadata_log_dir: String,
    /// `num.recovery.threads.per.data.dir`.
    pub num_recovery_threads_per_data_dir: i32,
    /// `log.flush.scheduler.interval.ms`.
    pub log_flush_scheduler_interval_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub log_flush_offset_checkpoint_interval_ms: i32,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: i64,
    /// `ottla.acks.all.fsync`.
    pub acks_all_fsync: AcksAllFsync,
    /// `ottla.log.write.mode`.
    pub write_mode: LogWriteMode,
    /// `ottla.tail.cache.bytes`, per directory.
    pub tail_cache_bytes: i64,
}

/// Sockets, threads and memory for requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// `socket.listen.backlog.size`.
    pub listen_backlog_size: i32,
    /// `socket.receive.buffer.bytes`; negative for the system's choice.
    pub receive_buffer_bytes: i32,
    /// `socket.send.buffer.bytes`; negative for the system's choice.
    pub send_buffer_bytes: i32,
    /// `socket.request.max.bytes`: largest frame.
    pub request_max_bytes: i32,
    /// `queued.max.request.bytes`; `None` lets the broker choose a bound.
    pub queued_max_request_bytes: Option<i64>,
    /// `queued.max.requests`.
    pub queued_max_requests: i32,
    /// `num.network.threads`; whether it was set, else the broker may choose.
    pub num_network_threads: Option<i32>,
    /// `num.io.threads`.
    pub num_io_threads: i32,
}

/// `max.connections*` and `connections.max.idle.ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub max_connections: i32,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: i32,
    /// `max.connections.per.ip.overrides`: host or address, and its limit.
    pub max_connections_per_ip_overrides: Vec<(String, i32)>,
    /// `connections.max.idle.ms`; negative for never.
    pub connections_max_idle_ms: i64,
}

/// What topics get that are created without saying, and who may create and delete them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopics {
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i32,
}

/// `group.*` of the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub max_size: i32,
}

/// `offsets.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsConfig {
    /// `offset.metadata.max.bytes`.
    pub metadata_max_bytes: i32,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout_ms: i32,
    /// `offsets.retention.minutes`.
    pub retention_minutes: i32,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `offsets.load.buffer.size`.
    pub load_buffer_size: i32,
    /// `offsets.topic.num.partitions`.
    pub topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub topic_replication_factor: i32,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i32,
}

impl BrokerConfig {
    /// Reads the layers and holds keys against each other.
    ///
    /// # Errors
    /// Every rule that is broken. Types and ranges of single keys are checked by [`crate::load`] before.
    pub fn resolve(layers: &Layers) -> Result<Self, Vec<Rule>> {
        let mut rules = Vec::new();
        let roles = layers.list("process.roles");
        let is_broker = roles.iter().any(|role| role == "broker");
        let config = Self {
            node_id: layers.maybe_number("node.id").and_then(|id| i32::try_from(id).ok()).unwrap_or(-1),
            is_broker,
            is_controller: roles.iter().any(|role| role == "controller"),
            rack: layers.text("broker.rack").filter(|rack| !rack.is_empty()),
            listeners: Listeners::read(layers, is_broker, &mut rules),
            quorum: Quorum::read(layers, &mut rules),
            dirs: Dirs::read(layers),
            sockets: Sockets::read(layers),
            connections: ConnectionLimits::read(layers, &mut rules),
            new_topics: NewTopics {
                auto_create_topics_enable: layers.flag("auto.create.topics.enable"),
                delete_topic_enable: layers.flag("delete.topic.enable"),
                num_partitions: layers.int("num.partitions"),
                default_replication_factor: layers.int("default.replication.factor"),
            },
            topic_defaults: TopicConfig::resolve(&Overrides::new(), layers),
            groups: GroupLimits {
                initial_rebalance_delay_ms: layers.int("group.initial.rebalance.delay.ms"),
                min_session_timeout_ms: layers.int("group.min.session.timeout.ms"),
                max_session_timeout_ms: layers.int("group.max.session.timeout.ms"),
                max_size: layers.int("group.max.size"),
            },
            offsets: OffsetsConfig::read(layers),
            producer_id_expiration_ms: layers.int("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: layers.int("producer.id.expiration.check.interval.ms"),
            transaction_max_timeout_ms: layers.int("transaction.max.timeout.ms"),
            fetch_max_bytes: layers.int("fetch.max.bytes"),
            max_incremental_fetch_session_cache_slots: layers
                .int("max.incremental.fetch.session.cache.slots"),
            max_request_partition_size_limit: layers.int("max.request.partition.size.limit"),
            replica_lag_time_max_ms: layers.number("replica.lag.time.max.ms"),
            replica_fetch: ReplicaFetch::read(layers),
            broker_heartbeat_interval_ms: layers.int("broker.heartbeat.interval.ms"),
            controlled_shutdown_enable: layers.flag("controlled.shutdown.enable"),
            broker_session_timeout_ms: layers.int("broker.session.timeout.ms"),
            initial_broker_registration_timeout_ms: layers.int("initial.broker.registration.timeout.ms"),
        };
        cross::check(&config, layers, &mut rules);
        if rules.is_empty() { Ok(config) } else { Err(rules) }
    }
}

impl Quorum {
    fn read(layers: &Layers, rules: &mut Vec<Rule>) -> Self {
        let mut voters = Vec::new();
        for entry in layers.list("controller.quorum.voters") {
            let parsed = entry.split_once('@').and_then(|(id, address)| {
                let (host, port) = parse_server(address)?;
                Some(Voter { id: id.parse().ok()?, host, port })
            });
            match parsed {
                Some(voter) => voters.push(voter),
                None => rules.push(Rule::new(
                    "controller.quorum.voters",
                    format!("Failed to parse entry {entry} for the configuration controller.quorum.voters."),
                    "write entries as {id}@{host}:{port}, for example 1@localhost:9093",
                )),
            }
        }
        let mut bootstrap_servers = Vec::new();
        for entry in layers.list("controller.quorum.bootstrap.servers") {
            match parse_server(&entry).filter(|(host, _)| !host.is_empty()) {
                Some(server) => bootstrap_servers.push(server),
                None => rules.push(Rule::new(
                    "controller.quorum.bootstrap.servers",
                    format!(
                        "Failed to parse host name from {entry} for the configuration \
                         controller.quorum.bootstrap.servers."
                    ),
                    "write entries as {host}:{port}, for example localhost:9093",
                )),
            }
        }
        Self {
            voters,
            bootstrap_servers,
            election_timeout_ms: layers.int("controller.quorum.election.timeout.ms"),
            fetch_timeout_ms: layers.int("controller.quorum.fetch.timeout.ms"),
            request_timeout_ms: layers.int("controller.quorum.request.timeout.ms"),
            auto_join: layers.flag("controller.quorum.auto.join.enable"),
            max_record_bytes_between_snapshots: layers
                .number("metadata.log.max.record.bytes.between.snapshots"),
            max_snapshot_interval_ms: layers.number("metadata.log.max.snapshot.interval.ms"),
            segment_bytes: layers.int("metadata.log.segment.bytes"),
            segment_ms: layers.number("metadata.log.segment.ms"),
            max_retention_bytes: layers.number("metadata.max.retention.bytes"),
            max_retention_ms: layers.number("metadata.max.retention.ms"),
        }
    }
}

impl ReplicaFetch {
    fn read(layers: &Layers) -> Self {
        Self {
            fetchers: layers.int("num.replica.fetchers"),
            max_bytes: layers.int("replica.fetch.max.bytes"),
            min_bytes: layers.int("replica.fetch.min.bytes"),
            wait_max_ms: layers.int("replica.fetch.wait.max.ms"),
            response_max_bytes: layers.int("replica.fetch.response.max.bytes"),
            backoff_ms: layers.int("replica.fetch.backoff.ms"),
            socket_timeout_ms: layers.int("replica.socket.timeout.ms"),
        }
    }
}

impl Dirs {
    fn read(layers: &Layers) -> Self {
        let named = if layers.set_text("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
        let mut log_dirs: Vec<String> = Vec::new();
        for dir in layers.list(named) {
            if !log_dirs.contains(&dir) {
                log_dirs.push(dir);
            }
        }
        let metadata = layers.text("metadata.log.dir").filter(|dir| !dir.is_empty());
        // One of them keeps its spelling: a slash at the end makes no other directory.
        let known = |dir: &String| log_dirs.iter().find(|known| Path::new(known) == Path::new(dir)).cloned();
        let metadata = metadata.map(|dir| known(&dir).unwrap_or(dir));
        Self {
            metadata_log_dir: metadata.or_else(|| log_dirs.first().cloned()).unwrap_or_default(),
            log_dirs,
            num_recovery_threads_per_data_dir: layers.int("num.recovery.threads.per.data.dir"),
            log_flush_scheduler_interval_ms: layers.number("log.flush.scheduler.interval.ms"),
            log_flush_offset_checkpoint_interval_ms: layers.int("log.flush.offset.checkpoint.interval.ms"),
            log_retention_check_interval_ms: layers.number("log.retention.check.interval.ms"),
            acks_all_fsync: match layers.text("ottla.acks.all.fsync").as_deref() {
                Some("always") => AcksAllFsync::Always,
                Some("never") => AcksAllFsync::Never,
                _ => AcksAllFsync::Alone,
            },
            write_mode: match layers.text("ottla.log.write.mode").as_deref() {
                Some("buffered") => LogWriteMode::Buffered,
                Some("dontcache") => LogWriteMode::DontCache,
                _ => LogWriteMode::Auto,
            },
            tail_cache_bytes: layers.number("ottla.tail.cache.bytes"),
        }
    }
}

impl Sockets {
    fn read(layers: &Layers) -> Self {
        let queued = layers.number("queued.max.request.bytes");
        Self {
            listen_backlog_size: layers.int("socket.listen.backlog.size"),
            receive_buffer_bytes: layers.int("socket.receive.buffer.bytes"),
            send_buffer_bytes: layers.int("socket.send.buffer.bytes"),
            request_max_bytes: layers.int("socket.request.max.bytes"),
            queued_max_request_bytes: Some(queued).filter(|bytes| *bytes > 0),
            queued_max_requests: layers.int("queued.max.requests"),
            num_network_threads: layers
                .set_text("num.network.threads")
                .map(|_| layers.int("num.network.threads")),
            num_io_threads: layers.int("num.io.threads"),
        }
    }
}

impl ConnectionLimits {
    /// Reads them alone. An override that has no meaning counts as not set.
    #[must_use]
    pub fn of(layers: &Layers) -> Self {
        Self::read(layers, &mut Vec::new())
    }

    fn read(layers: &Layers, rules: &mut Vec<Rule>) -> Self {
        const OVERRIDES: &str = "max.connections.per.ip.overrides";
        let mut overrides = Vec::new();
        let text = layers.text(OVERRIDES).unwrap_or_default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let parsed = entry.rsplit_once(':').and_then(|(host, limit)| {
                let limit = limit.trim().parse().ok().filter(|limit: &i32| *limit >= 0)?;
                Some((host.trim().to_owned(), limit))
            });
            match parsed {
                Some(limit) => overrides.push(limit),
                None => rules.push(Rule::new(
                    OVERRIDES,
                    format!("Error parsing configuration property '{OVERRIDES}': {entry}"),
                    "write entries as host:count, for example 127.0.0.1:200",
                )),
            }
        }
        Self {
            max_connections: layers.int("max.connections"),
            max_connections_per_ip: layers.int("max.connections.per.ip"),
            max_connections_per_ip_overrides: overrides,
            connections_max_idle_ms: layers.number("connections.max.idle.ms"),
        }
    }
}

impl OffsetsConfig {
    fn read(layers: &Layers) -> Self {
        Self {
            metadata_max_bytes: layers.int("offset.metadata.max.bytes"),
            commit_timeout_ms: layers.int("offsets.commit.timeout.ms"),
            retention_minutes: layers.int("offsets.retention.minutes"),
            retention_check_interval_ms: layers.number("offsets.retention.check.interval.ms"),
            load_buffer_size: layers.int("offsets.load.buffer.size"),
            topic_num_partitions: layers.int("offsets.topic.num.partitions"),
            topic_replication_factor: layers.int("offsets.topic.replication.factor"),
            topic_segment_bytes: layers.int("offsets.topic.segment.bytes"),
        }
    }
}
