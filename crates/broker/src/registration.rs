//! This broker's place in the cluster: registered, unfenced, kept alive, given up.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use ottla_config::{BrokerConfig, SecurityProtocol};
use ottla_controller::{Answer, Command, supported_features};
use ottla_metadata::ImageCell;
use ottla_net::Bound;
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest,
        broker_registration_request as registration,
    },
};
use ottla_router::Controllers;
use ottla_types::{ErrorCode, NodeId};
use tracing::{info, warn};

use crate::server::OpenDirs;

/// A registered broker.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    node_id: NodeId,
    epoch: i64,
}

/// Registers this broker with what it listens on.
pub(crate) async fn register(
    config: &BrokerConfig,
    dirs: &OpenDirs,
    bound: &[Bound],
    cluster_id: &str,
    controllers: &Controllers,
    mut random: Box<dyn FnMut() -> u64 + Send>,
) -> Result<Registration> {
    let incarnation = (u128::from(random()) << 64) | u128::from(random());
    let features = supported_features().into_iter().map(|feature| {
        registration::Feature::default()
            .with_name(text(&feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    let request = BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(config.node_id))
        .with_cluster_id(text(cluster_id))
        .with_incarnation_id(uuid::Uuid::from_u128(incarnation))
        .with_listeners(listeners(config, bound))
        .with_features(features.collect())
        .with_rack(config.rack.as_deref().map(text))
        .with_log_dirs(dirs.all.iter().filter_map(|dir| dir.meta().directory_id).collect())
        .with_previous_broker_epoch(
            dirs.all.first().and_then(|dir| dir.previous_broker_epoch()).unwrap_or(-1),
        );
    match controllers.ask(Command::RegisterBroker(request)).await {
        Ok(Answer::RegisterBroker(answer)) if answer.error_code == 0 => {
            info!(
                "[BrokerLifecycleManager id={}] Successfully registered broker {} with broker epoch {}",
                config.node_id, config.node_id, answer.broker_epoch
            );
            Ok(Registration { node_id: config.node_id, epoch: answer.broker_epoch })
        }
        Ok(Answer::RegisterBroker(answer)) => {
            bail!("The controller refused to register this broker: {}", ErrorCode(answer.error_code))
        }
        Ok(_) => unreachable!("an answer is of its command's kind"),
        Err(code) => bail!("This broker could not be registered: {code}"),
    }
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn listeners(config: &BrokerConfig, bound: &[Bound]) -> Vec<registration::Listener> {
    let mut listeners = Vec::new();
    for endpoint in &config.listeners.advertised {
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

/// What clients are told when `listeners` names no host: the machine's name where it resolves, as Kafka does.
fn own_host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let resolves = !name.is_empty() && std::net::ToSocketAddrs::to_socket_addrs(&(name, 0)).is_ok();
    if resolves { name.to_owned() } else { "localhost".to_owned() }
}

impl Registration {
    /// The broker epoch.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Asks until the controller lets clients see this broker, and waits until that has taken effect here.
    pub(crate) async fn unfence(&self, controllers: &Controllers, image: &Arc<ImageCell>) -> Result<()> {
        while self.heartbeat(controllers, image, false).await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut watch = image.watch();
        watch.until(|image| image.broker(self.node_id).is_some_and(|broker| !broker.fenced)).await;
        Ok(())
    }

    /// One heartbeat; true when the broker is fenced.
    async fn heartbeat(&self, controllers: &Controllers, image: &ImageCell, stop: bool) -> Result<bool> {
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(self.node_id))
            .with_broker_epoch(self.epoch)
            .with_current_metadata_offset(image.load().position.offset)
            .with_want_shut_down(stop);
        match controllers.ask(Command::BrokerHeartbeat(request)).await {
            Ok(Answer::BrokerHeartbeat(answer)) if answer.error_code == 0 => {
                Ok(if stop { !answer.should_shut_down } else { answer.is_fenced })
            }
            Ok(Answer::BrokerHeartbeat(answer)) => {
                bail!("The controller refused a heartbeat: {}", ErrorCode(answer.error_code))
            }
            Ok(_) => unreachable!("an answer is of its command's kind"),
            Err(code) => bail!("A heartbeat was not answered: {code}"),
        }
    }

    /// Heartbeats until it is dropped, or until `failed` says that this broker is of no use any more.
    pub(crate) async fn keep_alive(
        self,
        controllers: Arc<Controllers>,
        image: Arc<ImageCell>,
        every: Duration,
        failed: impl Fn() -> bool,
    ) {
        loop {
            tokio::time::sleep(every).await;
            if failed() {
                return;
            }
            if let Err(e) = self.heartbeat(&controllers, &image, false).await {
                warn!("[BrokerLifecycleManager id={}] {e:#}", self.node_id);
            }
        }
    }

    /// Controlled shutdown: leaders move away first, where there is somewhere to go.
    pub(crate) async fn leave(&self, controllers: &Controllers, image: &ImageCell) {
        let leaving = async {
            while self.heartbeat(controllers, image, true).await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(Duration::from_secs(5), leaving).await {
            Ok(Ok(())) => info!("[BrokerLifecycleManager id={}] Controlled shutdown completed", self.node_id),
            Ok(Err(e)) => warn!("[BrokerLifecycleManager id={}] {e:#}", self.node_id),
            Err(_) => warn!("[BrokerLifecycleManager id={}] Controlled shutdown took too long", self.node_id),
        }
    }
}
