//! What a node with the role `controller` has: its member of the quorum, and its listeners, which are served as soon as
//! they are bound, so that controllers can find a leader among them.

use std::sync::Arc;

use anyhow::{Context, Result};
use ottla_config::{BrokerConfig, SecurityProtocol, Settings};
use ottla_controller::Controller;
use ottla_metadata::{Endpoint, ImageCell};
use ottla_net::{Bound, BufferPool, Shutdown};
use ottla_raft::{Handle, Running};
use ottla_router::{ControllerAddress, ControllerServices, Router, controller_table};
use ottla_types::Clock;
use tokio::{sync::watch, task::JoinHandle};
use tracing::info;

use crate::{
    listeners::{self, Connections},
    metadata_view::MetadataView,
    presence::{Presence, Watched},
};

/// Frame buffers kept for reuse: messages between controllers are small.
const KEPT_BUFFERS: usize = 4 << 20;

/// The controller's side of a node.
pub(crate) struct ControllerRole {
    pub(crate) quorum: Running<Controller>,
    shutdown: Shutdown,
    accepting: JoinHandle<()>,
    _connections: Connections,
}

/// What the controller's side is made of.
pub(crate) struct ControllerParts {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) cluster_id: Arc<str>,
    pub(crate) image: Arc<ImageCell>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) log: MetadataView,
}

impl ControllerRole {
    /// Serves the controller's listeners.
    pub(crate) async fn start(quorum: Running<Controller>, parts: ControllerParts) -> Self {
        let ControllerParts { config, settings, cluster_id, image, clock, bound, log } = parts;
        for one in &bound {
            if let Ok(address) = one.local_addr() {
                info!("The controller listens on {address} (listener {})", one.name());
            }
        }
        let presence = Presence::new(
            config.node_id,
            quorum.handle.clone(),
            image.clone(),
            clock.clone(),
            config.listeners.inter_broker.clone(),
        );
        let (started_with, images) = (settings.clone(), image.clone());
        let services = ControllerServices {
            node_id: config.node_id,
            cluster_id,
            config: config.clone(),
            settings,
            image,
            quorum: Arc::new(quorum.handle.clone()),
            metadata_log: Arc::new(log),
            clock: clock.clone(),
            broker_connections: presence.clone(),
        };
        let router = Router::new(controller_table(&services), clock);
        let service = Arc::new(Watched { router, presence });
        let limits = listeners::limits(&config);
        let names = bound.iter().map(|bound| Arc::clone(bound.name())).collect();
        let connections = Connections::follow(started_with, &images, &config, names).await;
        let admission = connections.admission.clone();
        let shutdown = Shutdown::new();
        let accepting = tokio::spawn({
            let (shutdown, pool) = (shutdown.clone(), BufferPool::new(KEPT_BUFFERS));
            async move { ottla_net::serve(bound, service, limits, admission, pool, &shutdown).await }
        });
        Self { quorum, shutdown, accepting, _connections: connections }
    }

    /// Stops the quorum's member, then the listeners.
    pub(crate) async fn close(self) -> Result<()> {
        let quorum = self.quorum;
        tokio::task::spawn_blocking(move || quorum.stop()).await.context("Stopping the metadata quorum")?;
        self.shutdown.start();
        self.accepting.await.context("The controller's acceptors failed")
    }
}

/// Tells where the active controller is, as long as that is another node.
pub(crate) fn follow_leader(
    config: Arc<BrokerConfig>,
    quorum: &Running<Controller>,
    image: Arc<ImageCell>,
) -> watch::Receiver<Option<ControllerAddress>> {
    let (tell, told) = watch::channel(None);
    let mut status = quorum.handle.status();
    let quorum = quorum.handle.clone();
    tokio::spawn(async move {
        let mut images = image.watch();
        loop {
            let leader = status.borrow_and_update().leader.filter(|leader| *leader != config.node_id);
            let address = leader.and_then(|id| address(&config, &image, &quorum, id));
            let unknown = leader.is_some() && address.is_none();
            tell.send_if_modified(|known| {
                let changed = *known != address;
                *known = address;
                changed
            });
            // Its address may come with its registration.
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                _ = images.changed(), if unknown => {}
                () = tell.closed() => return,
            }
        }
    });
    told
}

/// Where a controller is: as it registered, as the voters are known, or as this node's configuration has it.
fn address(
    config: &BrokerConfig,
    image: &ImageCell,
    quorum: &Handle<Controller>,
    id: i32,
) -> Option<ControllerAddress> {
    let image = image.load();
    let registered: Option<&Endpoint> = image.controllers.get(&id).and_then(|controller| {
        let plaintext = |name: &&String| {
            matches!(config.listeners.protocol(name), None | Some(SecurityProtocol::Plaintext))
        };
        let mut names = config.listeners.controllers.iter().filter(plaintext);
        names.find_map(|name| controller.listeners.iter().find(|at| *at.name == **name))
    });
    let configured = || config.quorum.voters.iter().find(|voter| voter.id == id);
    // Before it has registered, which it does through the leader.
    let votes = || {
        let voters = quorum.quorum().voters;
        voters.into_iter().find(|voter| voter.id == id)?.endpoints.into_iter().next()
    };
    registered
        .map(|at| ControllerAddress { id, host: at.host.clone(), port: at.port })
        .or_else(|| votes().map(|at| ControllerAddress { id, host: at.host, port: at.port }))
        .or_else(|| configured().map(|at| ControllerAddress { id, host: (*at.host).into(), port: at.port }))
}
