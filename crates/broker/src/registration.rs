//! This broker's place in the cluster: registered, unfenced, kept alive, given up.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use ottla_config::{BrokerConfig, SecurityProtocol};
use ottla_controller::{Answer, Command, supported_features};
use ottla_metadata::{ImageCell, directory, feature};
use ottla_net::Bound;
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationRequest,
        broker_registration_request as registration,
    },
};
use ottla_replica::ReplicaManager;
use ottla_router::Controllers;
use ottla_types::{ErrorCode, NodeId};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{listeners::own_host_name, log_dirs::DirWatch, server::OpenDirs, storage_tool::JOIN_REMEDY};

/// The level of `metadata.version` (4.3-IV0) from which controllers hear of cordoned log dirs.
const CORDONED: i16 = 30;
/// Wait before the next attempt to register.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Between heartbeats while this broker is fenced: it wants to be let in.
const FENCED: Duration = Duration::from_millis(20);
/// After a heartbeat that was not answered.
const FAILED: Duration = Duration::from_millis(200);
/// How long a broker that stops goes on asking while no controller answers.
const LEAVE_UNANSWERED: Duration = Duration::from_secs(5);
/// And how long while one answers, but leaders are still to be moved.
const LEAVE: Duration = Duration::from_secs(60);

/// A registered broker.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    node_id: NodeId,
    epoch: i64,
}

/// Registers this broker with what it listens on. Tries until `initial.broker.registration.timeout.ms` is over.
pub(crate) async fn register(
    config: &BrokerConfig,
    dirs: &OpenDirs,
    replicas: &ReplicaManager,
    bound: &[Bound],
    cluster_id: &str,
    controllers: &Controllers,
    mut random: Box<dyn FnMut() -> u64 + Send>,
) -> Result<Registration> {
    let incarnation = (u128::from(random()) << 64) | u128::from(random());
    let request = request(config, (dirs, replicas), bound, cluster_id, uuid::Uuid::from_u128(incarnation));
    let patience =
        Duration::from_millis(config.initial_broker_registration_timeout_ms.max(0).unsigned_abs().into());
    let deadline = Instant::now() + patience;
    let mut wait = RETRY.0;
    let mut told = ErrorCode::NONE;
    loop {
        let code = match controllers.ask(Command::RegisterBroker(request.clone())).await {
            Ok(Answer::RegisterBroker(answer)) if answer.error_code == 0 => {
                info!(
                    "[BrokerLifecycleManager id={}] Successfully registered broker {} with broker epoch {}",
                    config.node_id, config.node_id, answer.broker_epoch
                );
                return Ok(Registration { node_id: config.node_id, epoch: answer.broker_epoch });
            }
            Ok(Answer::RegisterBroker(answer)) => ErrorCode(answer.error_code),
            Ok(_) => unreachable!("an answer is of its command's kind"),
            Err(code) => code,
        };
        let why = refusal(config, cluster_id, code);
        if is_final(code) {
            bail!(why);
        }
        if told != code {
            warn!("[BrokerLifecycleManager id={}] {why}; trying on", config.node_id);
            told = code;
        }
        if Instant::now() >= deadline {
            bail!("{why}; initial.broker.registration.timeout.ms is over");
        }
        sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

/// Trying again would not help.
fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::INCONSISTENT_CLUSTER_ID
            | ErrorCode::INVALID_REGISTRATION
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
    )
}

/// Where controllers are looked for.
fn asked(config: &BrokerConfig) -> String {
    let voters = config.quorum.voters.iter().map(|voter| format!("{}:{}", voter.host, voter.port));
    let bootstrap = config.quorum.bootstrap_servers.iter().map(|(host, port)| format!("{host}:{port}"));
    let (key, places): (_, Vec<String>) = match config.quorum.voters.is_empty() {
        false => ("controller.quorum.voters", voters.collect()),
        true => ("controller.quorum.bootstrap.servers", bootstrap.collect()),
    };
    if places.is_empty() { "this node alone".to_owned() } else { format!("{key}={}", places.join(",")) }
}

fn refusal(config: &BrokerConfig, cluster_id: &str, code: ErrorCode) -> String {
    let node_id = config.node_id;
    match code {
        ErrorCode::INCONSISTENT_CLUSTER_ID => format!(
            "The controllers refused broker {node_id}: they belong to another cluster than this node's log \
             directories, which are formatted for {cluster_id} ({code}). {JOIN_REMEDY}"
        ),
        ErrorCode::DUPLICATE_BROKER_REGISTRATION => format!(
            "The controllers refused broker {node_id}: another process with this node.id is alive, or was until a \
             moment ago ({code})"
        ),
        ErrorCode::UNSUPPORTED_VERSION => format!(
            "The controllers refused broker {node_id}: the cluster uses features that this release does not know \
             ({code})"
        ),
        ErrorCode::INVALID_REGISTRATION => format!(
            "The controllers refused broker {node_id}: a log directory of it is another broker's (was it copied?), or it \
             says too little of itself; the active controller's log has more ({code})"
        ),
        ErrorCode::NOT_CONTROLLER | ErrorCode::REQUEST_TIMED_OUT => {
            format!(
                "Broker {node_id} could not be registered: no active controller was found, asked were {} ({code})",
                asked(config)
            )
        }
        code => format!("The controllers refused to register broker {node_id}: {code}"),
    }
}

fn request(
    config: &BrokerConfig,
    (dirs, replicas): (&OpenDirs, &ReplicaManager),
    bound: &[Bound],
    cluster_id: &str,
    incarnation: uuid::Uuid,
) -> BrokerRegistrationRequest {
    let features = supported_features().into_iter().map(|feature| {
        registration::Feature::default()
            .with_name(text(&feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    // Known only after a clean stop, and of the same one in every log dir (KIP-966).
    let mut epochs = dirs.all.iter().map(ottla_storage::LogDir::previous_broker_epoch);
    let first = epochs.next().flatten();
    let previous =
        first.filter(|first| epochs.all(|epoch| epoch == Some(*first)) && replicas.failed_dirs() == 0);
    BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(config.node_id))
        .with_cluster_id(text(cluster_id))
        .with_incarnation_id(incarnation)
        .with_listeners(listeners(config, bound))
        .with_features(features.collect())
        .with_rack(config.rack.as_deref().map(text))
        .with_log_dirs(replicas.online_dir_ids())
        .with_previous_broker_epoch(previous.unwrap_or(-1))
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn listeners(config: &BrokerConfig, bound: &[Bound]) -> Vec<registration::Listener> {
    let mut listeners = Vec::new();
    let brokers = |name: &str| !config.listeners.controllers.iter().any(|controller| *controller == *name);
    for endpoint in config.listeners.advertised.iter().filter(|endpoint| brokers(&endpoint.name)) {
        let here = bound.iter().find(|bound| **bound.name() == *endpoint.name);
        let port = match (endpoint.port, here.and_then(|bound| bound.local_addr().ok())) {
            (0, Some(address)) => address.port(),
            (port, _) => port,
        };
        let host = if endpoint.host.is_empty() { own_host_name() } else { endpoint.host.clone() };
        let protocol = config.listeners.protocol(&endpoint.name).unwrap_or(SecurityProtocol::Plaintext);
        listeners.push(
            registration::Listener::default()
                .with_name(text(&endpoint.name))
                .with_host(text(&host))
                .with_port(port)
                .with_security_protocol(protocol.id()),
        );
    }
    listeners
}

impl Registration {
    /// The broker epoch: the offset of the record that registered it, but for Kafka's controllers of old releases.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Asks until the controller lets clients see this broker, and waits until that has taken effect here.
    pub(crate) async fn unfence(
        &self,
        controllers: &Controllers,
        image: &Arc<ImageCell>,
        replicas: &ReplicaManager,
    ) {
        loop {
            match self.heartbeat(controllers, image, false, replicas).await {
                Ok(answer) if !answer.is_fenced => break,
                Ok(_) => sleep(FENCED).await,
                Err(e) => {
                    warn!("[BrokerLifecycleManager id={}] {e:#}", self.node_id);
                    sleep(FAILED).await;
                }
            }
        }
        let mut watch = image.watch();
        watch.until(|image| image.broker(self.node_id).is_some_and(|broker| !broker.fenced)).await;
        info!("[BrokerLifecycleManager id={}] The broker has been unfenced", self.node_id);
    }

    async fn heartbeat(
        &self,
        controllers: &Controllers,
        image: &ImageCell,
        stop: bool,
        replicas: &ReplicaManager,
    ) -> Result<BrokerHeartbeatResponse> {
        let image = image.load();
        let level = image.feature_level(feature::METADATA_VERSION);
        // Controllers of releases before these know nothing of it.
        let offline = if level >= directory::LEVEL { replicas.offline_dir_ids() } else { Vec::new() };
        let cordoned = (level >= CORDONED).then(|| replicas.cordoned_dir_ids());
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(self.node_id))
            .with_broker_epoch(self.epoch)
            .with_current_metadata_offset(image.position.offset)
            .with_offline_log_dirs(offline)
            .with_cordoned_log_dirs(cordoned)
            .with_want_shut_down(stop);
        drop(image);
        match controllers.ask(Command::BrokerHeartbeat(request)).await {
            Ok(Answer::BrokerHeartbeat(answer)) => match ErrorCode(answer.error_code) {
                ErrorCode::NONE => Ok(answer),
                code @ (ErrorCode::STALE_BROKER_EPOCH | ErrorCode::BROKER_ID_NOT_REGISTERED) => bail!(
                    "The controller no longer knows this process as broker {}: another one was started with this \
                     node.id, or the broker was unregistered ({code})",
                    self.node_id
                ),
                code => bail!("The controller refused a heartbeat: {code}"),
            },
            Ok(_) => unreachable!("an answer is of its command's kind"),
            Err(code) => bail!("A heartbeat was not answered: {code}"),
        }
    }

    /// Heartbeats until it is dropped, or until this broker is of no use any more; why it is not. A log dir that fails is
    /// told at once.
    pub(crate) async fn keep_alive(
        self,
        controllers: Arc<Controllers>,
        image: Arc<ImageCell>,
        every: Duration,
        mut dirs: DirWatch,
    ) -> String {
        let mut wait = every;
        let mut told = String::new();
        loop {
            tokio::select! {
                () = sleep(wait) => {}
                () = dirs.failed() => {}
            }
            if let Some(why) = dirs.fatal(Instant::now()) {
                return why;
            }
            let failed = dirs.replicas().offline_dir_ids().len();
            wait = match self.heartbeat(&controllers, &image, false, dirs.replicas()).await {
                Ok(answer) => {
                    dirs.heard(failed);
                    told.clear();
                    if answer.is_fenced { every.min(FENCED * 5) } else { every }
                }
                Err(e) => {
                    let problem = format!("{e:#}");
                    if told != problem {
                        warn!("[BrokerLifecycleManager id={}] {problem}", self.node_id);
                        told = problem;
                    }
                    every.min(FAILED)
                }
            };
        }
    }

    /// Controlled shutdown: leaders move away first, where there is somewhere to go. Clients are served meanwhile.
    pub(crate) async fn leave(
        &self,
        controllers: &Controllers,
        image: &ImageCell,
        replicas: &ReplicaManager,
    ) {
        let began = Instant::now();
        let mut answered = began;
        loop {
            let problem = match self.heartbeat(controllers, image, true, replicas).await {
                Ok(answer) if answer.should_shut_down => {
                    info!("[BrokerLifecycleManager id={}] Controlled shutdown completed", self.node_id);
                    return;
                }
                Ok(_) => {
                    answered = Instant::now();
                    "leaders are still here".to_owned()
                }
                Err(e) => format!("{e:#}"),
            };
            if answered.elapsed() > LEAVE_UNANSWERED || began.elapsed() > LEAVE {
                warn!(
                    "[BrokerLifecycleManager id={}] Stopping without the controller's leave: {problem}",
                    self.node_id
                );
                return;
            }
            sleep(FENCED).await;
        }
    }
}
