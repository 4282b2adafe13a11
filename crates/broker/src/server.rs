//! The life of a node: start in stages, serve, stop in the reverse order.
//!
//! A stage is a function; each gets what the ones before it made. A combined node is broker and controller in one
//! process; the broker talks to the controller through [`Controllers`], wherever it is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ottla_config::{BrokerConfig, Loaded, Settings};
use ottla_controller::Controller;
use ottla_coordinator::Coordinators;
use ottla_metadata::ImageCell;
use ottla_net::{Bound, BufferPool, ConnectionLimits, Shutdown};
use ottla_raft::Running;
use ottla_replica::ReplicaManager;
use ottla_router::{Controllers, Router, Services, table};
use ottla_storage::LogDir;
use ottla_types::Clock;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tracing::info;

use crate::{
    applier::Applier,
    health, listeners, log_dirs, quorum,
    registration::{self, Registration},
    settings,
};

/// Frame buffers kept for reuse: a few batches of the largest usual size for each of some connections.
const KEPT_BUFFERS: usize = 48 << 20;

/// A node that is being started, serves, or is being stopped.
pub struct Server {
    config: Arc<BrokerConfig>,
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    replicas: Arc<ReplicaManager>,
    coordinators: Arc<Coordinators>,
    controllers: Arc<Controllers>,
    quorum: Running<Controller>,
    image: Arc<ImageCell>,
    cluster_id: Arc<str>,
    registration: Registration,
    bound: Vec<Bound>,
}

impl Server {
    /// Opens the log dirs, recovers, binds the listeners, starts the quorum and registers the broker. Nothing is
    /// accepted before [`serve`](Self::serve).
    ///
    /// # Errors
    /// With what the operator has to know: a dir that is not formatted or in use, a port that is taken, damage.
    pub async fn start(loaded: &Loaded, clock: Arc<dyn Clock>) -> Result<Self> {
        let config = Arc::new(loaded.broker.clone());
        let bound = listeners::bind(&config).await?;
        let dirs = log_dirs::open(&config, &clock)?;
        let cluster_id: Arc<str> = dirs.cluster_id().into();
        info!(
            "Starting Ottla {}, node {} of cluster {cluster_id}",
            env!("CARGO_PKG_VERSION"),
            config.node_id
        );
        let replicas = ReplicaManager::open(
            settings::replica_options(&config, &loaded.settings),
            dirs.all.clone(),
            clock.clone(),
        )
        .context("Loading logs")?;
        let coordinators = start_coordinators(&config, &replicas, &clock);
        let image = Arc::new(ImageCell::default());
        let applier = Applier::new(replicas.clone(), coordinators.clone(), image.clone());
        let quorum = quorum::start(loaded, &dirs, &cluster_id, clock.clone(), random(), {
            let applier = applier.clone();
            Box::new(move |state| applier.publish(Arc::new(state.image.clone())))
        })?;
        let offsets_topic = coordinators.offsets_topic().clone();
        let controllers = Arc::new(Controllers::new(quorum.handle.clone(), offsets_topic));
        quorum::in_office(&quorum).await?;
        applier.open();
        let registration =
            registration::register(&config, &dirs, &bound, &cluster_id, &controllers, random()).await?;
        registration.unfence(&controllers, &image).await?;
        Ok(Self {
            settings: loaded.settings.clone(),
            config,
            clock,
            replicas,
            coordinators,
            controllers,
            quorum,
            image,
            cluster_id,
            registration,
            bound,
        })
    }

    /// Where clients connect, by listener name.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.bound.iter().filter_map(|bound| Some((&**bound.name(), bound.local_addr().ok()?)))
    }

    /// Serves until `stop` ends, then drains, flushes and marks the log dirs clean. Ends the process with 1 when all
    /// log dirs or the metadata quorum have failed.
    ///
    /// # Errors
    /// When a log could not be closed cleanly: the next start will recover it.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> Result<()> {
        let shutdown = Shutdown::new();
        let services = Services {
            node_id: self.config.node_id,
            cluster_id: self.cluster_id.clone(),
            config: self.config.clone(),
            settings: self.settings.clone(),
            seed: random()(),
            image: self.image.clone(),
            replicas: self.replicas.clone(),
            coordinators: self.coordinators.clone(),
            controllers: self.controllers.clone(),
        };
        let router = Arc::new(Router::new(table(&services), self.clock.clone()));
        drop(services);
        for (name, address) in self.addresses() {
            info!("Awaiting socket connections on {address} (listener {name})");
        }
        let bound = std::mem::take(&mut self.bound);
        let limits = listeners::limits(&self.config);
        let connections: ConnectionLimits = listeners::connection_limits(&self.config).await;
        let pool = BufferPool::new(KEPT_BUFFERS);
        let accepting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { ottla_net::serve(bound, router, limits, connections, pool, &shutdown).await }
        });
        let interval = Duration::from_millis(self.config.broker_heartbeat_interval_ms.unsigned_abs().into());
        let (replicas, dirs) = (self.replicas.clone(), self.config.dirs.log_dirs.len());
        let mut heartbeats = tokio::spawn(self.registration.clone().keep_alive(
            self.controllers.clone(),
            self.image.clone(),
            interval,
            move || replicas.failed_dirs() == dirs,
        ));
        info!("[KafkaRaftServer nodeId={}] Kafka Server started", self.config.node_id);
        tokio::select! {
            biased;
            () = stop => {}
            fault = health::quorum_fault(self.quorum.handle.status()) => {
                health::halt(&format!("Encountered fatal fault: {fault}"));
            }
            ended = &mut heartbeats => health::halt(&match ended {
                Ok(()) => {
                    let dirs = self.config.dirs.log_dirs.join(", ");
                    format!("Shutdown broker because all log dirs in {dirs} have failed")
                }
                Err(e) => format!("Encountered fatal fault: {e}"),
            }),
        }
        info!("[BrokerServer id={}] shutting down", self.config.node_id);
        heartbeats.abort();
        self.registration.leave(&self.controllers, &self.image).await;
        shutdown.start();
        accepting.await.context("The acceptors failed")?;
        self.close().await
    }

    async fn close(self) -> Result<()> {
        self.coordinators.close();
        let (quorum, replicas, epoch) = (self.quorum, self.replicas, self.registration.epoch());
        let closed = tokio::task::spawn_blocking(move || {
            quorum.stop();
            replicas.close(epoch)
        });
        closed.await.context("Closing failed")?.context("A log was not closed cleanly")?;
        info!("[BrokerServer id={}] shut down completed", self.config.node_id);
        Ok(())
    }
}

fn start_coordinators(
    config: &BrokerConfig,
    replicas: &Arc<ReplicaManager>,
    clock: &Arc<dyn Clock>,
) -> Arc<Coordinators> {
    let coordinator = settings::coordinator(config);
    let log = ottla_coordinator::ReplicasLog::new(replicas.clone(), coordinator.commit_timeout);
    let runtime = tokio::runtime::Handle::current();
    Coordinators::start(coordinator, Arc::new(log), clock.clone(), random(), runtime)
}

/// Chance, seeded by the system.
fn random() -> Box<dyn FnMut() -> u64 + Send> {
    let mut rng = StdRng::from_os_rng();
    Box::new(move || rng.next_u64())
}

/// The log dirs of this node, opened.
pub(crate) struct OpenDirs {
    /// In the order of `log.dirs`.
    pub(crate) all: Vec<LogDir>,
    /// Which of them holds the metadata log.
    pub(crate) metadata: LogDir,
}

impl OpenDirs {
    fn cluster_id(&self) -> &str {
        &self.metadata.meta().cluster_id
    }
}
