//! This node's member of the metadata quorum: the controller on raft, over the metadata log of its log dir.

use std::sync::Arc;

use anyhow::{Context, Result};
use ottla_config::{BrokerConfig, Loaded};
use ottla_controller::{Controller, Settings, State};
use ottla_metadata::{Endpoint, Fact, records};
use ottla_raft::{Codec, Disk, FactLog as _, Founding, Options, Parts, Running, VoterEndpoint};
use ottla_storage::{LogConfig, LogReader, METADATA_TOPIC};
use ottla_types::{Clock, TopicPartition};
use tracing::warn;

use crate::{controller_registration, server::OpenDirs};
use transport::{Identity, Lines};

mod auto_join;
pub(crate) mod founding;
mod transport;

/// Starts the driver, within the runtime. `publish` is told the committed state whenever it changed. Beside it, who reads the metadata log.
pub(crate) fn start(
    loaded: &Loaded,
    dirs: &OpenDirs,
    cluster_id: &Arc<str>,
    clock: Arc<dyn Clock>,
    rng: Box<dyn FnMut() -> u64 + Send>,
    publish: Box<dyn FnMut(&State) + Send>,
) -> Result<(Running<Controller>, Arc<LogReader>)> {
    let config = &loaded.broker;
    let log = ottla_raft::SegmentLog::open(&dirs.metadata, log_config(config))?;
    let reader = log.reader();
    let dir = dirs.metadata.path().join(TopicPartition::new(METADATA_TOPIC, 0).to_string());
    let settings = Settings {
        node_id: config.node_id,
        cluster_id: cluster_id.clone(),
        num_partitions: config.new_topics.num_partitions,
        default_replication_factor: i16::try_from(config.new_topics.default_replication_factor)
            .unwrap_or(i16::MAX),
        delete_topic_enable: config.new_topics.delete_topic_enable,
        broker_session_timeout_ms: config.broker_session_timeout_ms.into(),
        bootstrap: founding::features(&dir)?,
        config: loaded.settings.clone(),
    };
    let directory_id = dirs.metadata.meta().directory_id.unwrap_or_default();
    let endpoints = endpoints(config);
    let founding = founding::founding(config, &dir, directory_id, &endpoints)?;
    if matches!(founding, Founding::Join) && log.end() == 0 {
        warn!(
            "This controller is no voter until one of controller.quorum.bootstrap.servers takes it in. If none of them \
             is a voter, format one of them with ottla storage format --standalone, or all of them with \
             --initial-controllers"
        );
    }
    let identity = Identity {
        cluster_id: cluster_id.clone(),
        node_id: config.node_id,
        directory_id,
        endpoints: endpoints.clone(),
    };
    let lines = Lines::new(identity.clone(), config.quorum.bootstrap_servers.clone());
    let options = Options {
        endpoints,
        election_ms: election_ms(config),
        max_bytes_between_snapshots: config.quorum.max_record_bytes_between_snapshots.unsigned_abs(),
        max_snapshot_interval_ms: config.quorum.max_snapshot_interval_ms,
        retention_bytes: config.quorum.max_retention_bytes,
        retention_ms: config.quorum.max_retention_ms,
        ..Options::new(config.node_id, directory_id, founding)
    };
    let parts = Parts {
        codec: codec(),
        initial: State::new(Arc::new(settings)),
        disk: Disk::new(dirs.metadata.store().clone(), log, dir),
        clock,
        rng,
        publish,
        transport: Box::new(lines.transport()),
    };
    let running = ottla_raft::start(options, parts).context("Starting the metadata quorum")?;
    lines.connect(&running.handle);
    if config.quorum.auto_join {
        let pace = auto_join::Pace::new(config.quorum.fetch_timeout_ms, config.quorum.request_timeout_ms);
        tokio::spawn(auto_join::join(identity, running.handle.clone(), pace));
    }
    Ok((running, reader))
}

fn codec() -> Codec<Controller> {
    Codec {
        encode: |facts, at| records::encode(facts, at),
        decode: records::decode,
        stamp: Fact::batch,
        snapshot: State::snapshot,
        empty: State::emptied,
        place: State::place,
    }
}

fn log_config(config: &BrokerConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.quorum.segment_bytes.unsigned_abs(),
        segment_ms: config.quorum.segment_ms,
        ..LogConfig::default()
    }
}

/// Where other controllers reach this one.
fn endpoints(config: &BrokerConfig) -> Vec<VoterEndpoint> {
    let endpoint = |at: Endpoint| VoterEndpoint { name: at.name, host: at.host, port: at.port };
    controller_registration::endpoints(config, &[]).into_iter().map(endpoint).collect()
}

/// How long a voter waits for a leader that it does not hear. Kafka's `controller.quorum.election.timeout.ms` bounds one
/// election and `controller.quorum.fetch.timeout.ms` the silence before it; here silence of half the former (at
/// most of the latter) begins an election; that a leader's process ended is noticed at once, whatever they say.
fn election_ms(config: &BrokerConfig) -> i64 {
    let election = i64::from(config.quorum.election_timeout_ms) / 2;
    election.min(config.quorum.fetch_timeout_ms.into()).max(80)
}
