//! What a node with the role `broker` has: replicas, group coordinators, and the listeners of clients and other brokers.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ottla_config::{BrokerConfig, Loaded, Settings};
use ottla_coordinator::Coordinators;
use ottla_metadata::ImageCell;
use ottla_net::{Bound, BufferPool, Shutdown};
use ottla_replica::ReplicaManager;
use ottla_router::{Controllers, Losses, Router, Services, table};
use ottla_types::Clock;
use tokio::task::JoinHandle;
use tracing::info;

use crate::{
    applier::Applier,
    listeners::{self, Connections},
    log_dirs::DirWatch,
    neighbours::Neighbours,
    registration::{self, Registration},
    replication,
    server::{OpenDirs, random},
    settings,
};

/// Frame buffers kept for reuse: a few batches of the largest usual size for each of some connections.
const KEPT_BUFFERS: usize = 48 << 20;

/// How long a broker waits for the controller to know its replicas' log dirs, before it asks to be let in.
const DIRS_ASSIGNED: Duration = Duration::from_secs(2);

/// Replicas and coordinators, before the broker is registered.
pub(crate) struct BrokerParts {
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) coordinators: Arc<Coordinators>,
}

impl BrokerParts {
    /// Loads and recovers every log.
    pub(crate) fn load(loaded: &Loaded, dirs: &OpenDirs, clock: &Arc<dyn Clock>) -> Result<Self> {
        let config = &loaded.broker;
        let mut options = settings::replica_options(config, &loaded.settings);
        options.offline_dirs.clone_from(&dirs.offline);
        let replicas =
            ReplicaManager::open(options, dirs.all.clone(), clock.clone()).context("Loading logs")?;
        let coordinator = settings::coordinator(config);
        let log = ottla_coordinator::ReplicasLog::new(replicas.clone(), coordinator.commit_timeout);
        let runtime = tokio::runtime::Handle::current();
        let coordinators = Coordinators::start(coordinator, Arc::new(log), clock.clone(), random(), runtime);
        Ok(Self { replicas, coordinators })
    }
}

/// The broker's side of a node, registered and unfenced.
pub(crate) struct BrokerRole {
    parts: BrokerParts,
    registration: Registration,
    bound: Vec<Bound>,
}

/// What the broker's side shares with the rest of the node.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) cluster_id: Arc<str>,
    pub(crate) image: Arc<ImageCell>,
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A broker that serves.
pub(crate) struct Serving {
    role: BrokerRole,
    shutdown: Shutdown,
    accepting: JoinHandle<()>,
    heartbeats: JoinHandle<String>,
    neighbours: Neighbours,
    _connections: Connections,
}

impl BrokerRole {
    /// Registers the broker, puts into effect what was committed before, and lets clients see it.
    pub(crate) async fn join(
        parts: BrokerParts,
        shared: &Shared,
        dirs: &OpenDirs,
        bound: Vec<Bound>,
        applier: &Applier,
    ) -> Result<Self> {
        let Shared { config, cluster_id, controllers, image, .. } = shared;
        replication::start(config, &parts.replicas, controllers);
        let registration =
            registration::register(config, dirs, &parts.replicas, &bound, cluster_id, controllers, random())
                .await?;
        parts.replicas.set_broker_epoch(registration.epoch());
        applier.registers(config.node_id, registration.epoch()).await;
        applier.open();
        // Where a replica is, is known before it may lead: one that was lost and is back would find no leader else.
        let _ = tokio::time::timeout(DIRS_ASSIGNED, parts.replicas.dirs_assigned()).await;
        registration.unfence(controllers, image, &parts.replicas).await;
        Ok(Self { parts, registration, bound })
    }

    /// Accepts connections and sends heartbeats.
    pub(crate) async fn serve(mut self, shared: &Shared) -> Serving {
        let Shared { config, settings, cluster_id, image, controllers, clock } = shared.clone();
        let shutdown = Shutdown::new();
        let dirs = DirWatch::new(self.parts.replicas.clone(), &config, &settings);
        let losses = Arc::new(Losses::new(image.clone()));
        let between = config.listeners.inter_broker.as_deref().unwrap_or("PLAINTEXT");
        let neighbours = Neighbours::watch(config.node_id, between, &image, &losses);
        let services = Services {
            node_id: config.node_id,
            cluster_id,
            config: config.clone(),
            settings,
            seed: random()(),
            image: image.clone(),
            replicas: self.parts.replicas.clone(),
            coordinators: self.parts.coordinators.clone(),
            controllers: controllers.clone(),
            losses,
        };
        let router = Arc::new(Router::new(table(&services), clock));
        drop(services);
        for bound in &self.bound {
            if let Ok(address) = bound.local_addr() {
                info!("Awaiting socket connections on {address} (listener {})", bound.name());
            }
        }
        let bound = std::mem::take(&mut self.bound);
        let limits = listeners::limits(&config);
        let names = bound.iter().map(|bound| Arc::clone(bound.name())).collect();
        let connections = Connections::follow(shared.settings.clone(), &image, &config, names).await;
        let admission = connections.admission.clone();
        let pool = BufferPool::new(KEPT_BUFFERS);
        let accepting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { ottla_net::serve(bound, router, limits, admission, pool, &shutdown).await }
        });
        let interval = Duration::from_millis(config.broker_heartbeat_interval_ms.unsigned_abs().into());
        let heartbeats =
            tokio::spawn(self.registration.clone().keep_alive(controllers, image, interval, dirs));
        Serving { role: self, shutdown, accepting, heartbeats, neighbours, _connections: connections }
    }
}

impl Serving {
    /// Returns when this broker is of no use any more, with why.
    pub(crate) async fn useless(&mut self) -> String {
        match (&mut self.heartbeats).await {
            Ok(why) => why,
            Err(e) => format!("Encountered fatal fault: {e}"),
        }
    }

    /// Leaves the cluster while serving on, then drains and closes coordinators and logs.
    pub(crate) async fn stop(self, shared: &Shared) -> Result<()> {
        self.heartbeats.abort();
        let BrokerRole { parts, registration, .. } = self.role;
        if shared.config.controlled_shutdown_enable {
            registration.leave(&shared.controllers, &shared.image, &parts.replicas).await;
        }
        drop(self.neighbours);
        self.shutdown.start();
        self.accepting.await.context("The acceptors failed")?;
        parts.coordinators.close();
        let epoch = registration.epoch();
        let closed = tokio::task::spawn_blocking(move || parts.replicas.close(epoch));
        closed.await.context("Closing failed")?.context("A log was not closed cleanly")
    }
}
