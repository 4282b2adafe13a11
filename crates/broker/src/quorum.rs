//! This node's member of the metadata quorum: the controller on raft, over the metadata log of its log dir.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use ottla_config::Loaded;
use ottla_controller::{Controller, Settings, State, bootstrap_features};
use ottla_metadata::{Fact, records};
use ottla_raft::{Codec, Disk, Founding, Options, Parts, Running, Voter, VoterEndpoint};
use ottla_storage::{LogConfig, METADATA_TOPIC};
use ottla_types::{Clock, TopicPartition};

use crate::server::OpenDirs;

/// Starts the driver. `publish` is told the committed state whenever it changed.
pub(crate) fn start(
    loaded: &Loaded,
    dirs: &OpenDirs,
    cluster_id: &Arc<str>,
    clock: Arc<dyn Clock>,
    rng: Box<dyn FnMut() -> u64 + Send>,
    publish: Box<dyn FnMut(&State) + Send>,
) -> Result<Running<Controller>> {
    let config = &loaded.broker;
    let settings = Settings {
        node_id: config.node_id,
        cluster_id: cluster_id.clone(),
        num_partitions: config.new_topics.num_partitions,
        default_replication_factor: i16::try_from(config.new_topics.default_replication_factor)
            .unwrap_or(i16::MAX),
        delete_topic_enable: config.new_topics.delete_topic_enable,
        broker_session_timeout_ms: config.broker_session_timeout_ms.into(),
        bootstrap: bootstrap_features(),
        config: loaded.settings.clone(),
    };
    let dir = dirs.metadata.path().join(TopicPartition::new(METADATA_TOPIC, 0).to_string());
    let voters = voters(loaded, dirs);
    let options = Options {
        endpoints: voters.iter().flat_map(|voter| voter.endpoints.clone()).collect(),
        max_bytes_between_snapshots: config.quorum.max_record_bytes_between_snapshots.unsigned_abs(),
        max_snapshot_interval_ms: config.quorum.max_snapshot_interval_ms,
        ..Options::new(
            config.node_id,
            dirs.metadata.meta().directory_id.unwrap_or_default(),
            Founding::Dynamic(voters),
        )
    };
    let parts = Parts {
        codec: codec(),
        initial: State::new(Arc::new(settings)),
        disk: Disk::new(
            dirs.metadata.store().clone(),
            ottla_raft::SegmentLog::open(&dirs.metadata, LogConfig::default())?,
            dir,
        ),
        clock,
        rng,
        publish,
        transport: Box::new(|_: Vec<ottla_raft::Message>| {}),
    };
    ottla_raft::start(options, parts).context("Starting the metadata quorum")
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

fn voters(loaded: &Loaded, dirs: &OpenDirs) -> Vec<Voter> {
    let config = &loaded.broker;
    let controllers = config.listeners.listeners.iter().filter(|listener| listener.is_controller);
    let endpoints = controllers.map(|listener| VoterEndpoint {
        name: listener.endpoint.name.as_str().into(),
        host: if listener.endpoint.host.is_empty() {
            "localhost".into()
        } else {
            listener.endpoint.host.as_str().into()
        },
        port: listener.endpoint.port,
    });
    vec![Voter {
        id: config.node_id,
        directory_id: dirs.metadata.meta().directory_id.unwrap_or_default(),
        endpoints: endpoints.collect(),
    }]
}

/// Waits until this node, the only voter, is the active controller and has applied all that was committed before.
pub(crate) async fn in_office(quorum: &Running<Controller>) -> Result<()> {
    let mut status = quorum.handle.status();
    let status = status.wait_for(|status| status.in_office || status.fault.is_some()).await;
    match status.context("The metadata quorum stopped")?.fault.as_ref() {
        Some(fault) => bail!("The metadata quorum stopped: {fault}"),
        None => Ok(()),
    }
}
