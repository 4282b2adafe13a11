//! The life of a node: start in stages, serve, stop in the reverse order.
//!
//! A stage is a function; each gets what the ones before it made. A node is a broker, a controller, or both in one
//! process. A controller is a member of the metadata quorum; a node that is none learns of the metadata by the feed. The
//! broker talks to the active controller through [`Controllers`], wherever that is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ottla_config::{BrokerConfig, Loaded};
use ottla_metadata::ImageCell;
use ottla_net::{Bound, peer::PeerOptions};
use ottla_router::{ControllerAddress, Controllers, KRaftVersion, Quorum, Ways};
use ottla_storage::LogDir;
use ottla_types::Clock;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    applier::Applier,
    broker_role::{BrokerParts, BrokerRole, Shared},
    controller_registration,
    controller_role::{ControllerParts, ControllerRole, follow_leader},
    feed::{self, Feed},
    health, listeners, log_dirs,
    metadata_view::MetadataView,
    program_pages, quorum, settings,
};

/// A node that is being started, serves, or is being stopped.
pub struct Server {
    shared: Shared,
    metadata: Metadata,
    broker: Option<BrokerRole>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    /// Kept open, and locked, until the end.
    dirs: OpenDirs,
}

/// Where this node has the metadata from.
enum Metadata {
    /// It is a controller.
    Quorum(Box<ControllerRole>),
    /// It observes the controllers.
    Feed(Feed),
}

impl Server {
    /// Opens the log dirs, recovers, binds the listeners, joins the quorum or finds it, and registers the broker.
    /// Clients are not accepted before [`serve`](Self::serve); other controllers are at once.
    ///
    /// # Errors
    /// With what the operator has to know: a dir that is not formatted or in use, a port that is taken, damage, a
    /// cluster that does not want this node.
    pub async fn start(
        loaded: &Loaded,
        clock: Arc<dyn Clock>,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        let config = Arc::new(loaded.broker.clone());
        let bound = listeners::bind(&config).await?;
        let addresses = addresses(bound.broker.iter().chain(&bound.controller));
        let dirs = log_dirs::open(&config, &clock)?;
        let cluster_id: Arc<str> = dirs.cluster_id().into();
        info!(
            "Starting Ottla {}, node {} of cluster {cluster_id}",
            env!("CARGO_PKG_VERSION"),
            config.node_id
        );
        let parts = match config.is_broker {
            true => Some(BrokerParts::load(loaded, &dirs, &clock)?),
            false => None,
        };
        let image = Arc::new(ImageCell::default());
        let followers = parts.as_ref().map(|parts| (parts.replicas.clone(), parts.coordinators.clone()));
        let applier = Applier::new(followers, image.clone());
        let stage = MetadataStage { loaded, config: &config, dirs: &dirs, cluster_id: &cluster_id };
        let endpoints = controller_registration::endpoints(&config, &bound.controller);
        let (metadata, way) = stage.start(&clock, &applier, &image, bound.controller).await?;
        let ways = Ways {
            node_id: config.node_id,
            quorum: way.0,
            leader: way.1,
            peers: peer_options(&config),
            image: image.clone(),
            kraft_version: way.2,
        };
        let controllers = Arc::new(Controllers::new(ways, settings::offsets_topic(&config)));
        let shared =
            Shared { config, settings: loaded.settings.clone(), cluster_id, image, controllers, clock };
        if matches!(metadata, Metadata::Quorum(_)) {
            let (id, controllers, image) =
                (shared.config.node_id, shared.controllers.clone(), shared.image.clone());
            let incarnation = Uuid::from_u128(u128::from(random()()) << 64 | u128::from(random()()));
            tokio::spawn(controller_registration::register(id, incarnation, endpoints, controllers, image));
        }
        let mut server = Self { shared, metadata, broker: None, addresses, dirs };
        if let Some(parts) = parts {
            let joining = BrokerRole::join(parts, &server.shared, &server.dirs, bound.broker, &applier);
            let fault = server.metadata.fault();
            let joined = tokio::select! {
                joined = joining => joined.map(Some),
                fault = fault => Err(anyhow::anyhow!("Encountered fatal fault: {fault}")),
                () = stop => Ok(None),
            };
            match joined {
                Ok(Some(broker)) => server.broker = Some(broker),
                unjoined => {
                    // Its threads need the runtime, which ends with this.
                    if let Err(also) = server.metadata.stop().await {
                        warn!("{also:#}");
                    }
                    return unjoined.map(|_| None);
                }
            }
        }
        Ok(Some(server))
    }

    /// Where clients and controllers connect, by listener name.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.addresses.iter().map(|(name, address)| (&**name, *address))
    }

    /// Serves until `stop` ends, then drains, flushes and marks the log dirs clean. Ends the process with 1 when all
    /// log dirs or the metadata quorum have failed.
    ///
    /// # Errors
    /// When a log could not be closed cleanly: the next start will recover it.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self { shared, metadata, broker, dirs, .. } = self;
        let id = shared.config.node_id;
        let mut serving = match broker {
            Some(broker) => Some(broker.serve(&shared).await),
            None => None,
        };
        info!("[KafkaRaftServer nodeId={id}] Kafka Server started");
        tokio::spawn(program_pages::give_back_later());
        let useless = async {
            match &mut serving {
                Some(serving) => serving.useless().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop => {}
            fault = metadata.fault() => health::halt(&format!("Encountered fatal fault: {fault}")),
            why = useless => health::halt(&why),
        }
        let mut closed = Ok(());
        if let Some(serving) = serving {
            info!("[BrokerServer id={id}] shutting down");
            closed = serving.stop(&shared).await;
            info!("[BrokerServer id={id}] shut down completed");
        }
        shared.controllers.close();
        metadata.stop().await?;
        drop(dirs);
        info!("[KafkaRaftServer nodeId={id}] Kafka Server stopped");
        closed
    }
}

impl Metadata {
    /// Returns when the metadata cannot be followed any more, with why.
    fn fault(&self) -> impl Future<Output = String> + use<> {
        let (quorum, feed) = match self {
            Self::Quorum(role) => (Some(role.quorum.handle.status()), None),
            Self::Feed(feed) => (None, Some(feed.fault())),
        };
        async move {
            match (quorum, feed) {
                (Some(status), _) => health::quorum_fault(status).await,
                (_, Some(fault)) => health::feed_fault(fault).await,
                (None, None) => unreachable!("it is one of them"),
            }
        }
    }

    async fn stop(self) -> Result<()> {
        match self {
            Self::Quorum(role) => role.close().await,
            Self::Feed(feed) => {
                tokio::task::spawn_blocking(move || feed.stop()).await.context("Stopping the metadata feed")
            }
        }
    }
}

/// How the active controller is reached: through this node's own member of the quorum, or where it is; and the quorum's
/// own feature.
type Way = (Option<Arc<dyn Quorum>>, watch::Receiver<Option<ControllerAddress>>, KRaftVersion);

struct MetadataStage<'a> {
    loaded: &'a Loaded,
    config: &'a Arc<BrokerConfig>,
    dirs: &'a OpenDirs,
    cluster_id: &'a Arc<str>,
}

impl MetadataStage<'_> {
    async fn start(
        self,
        clock: &Arc<dyn Clock>,
        applier: &Arc<Applier>,
        image: &Arc<ImageCell>,
        bound: Vec<Bound>,
    ) -> Result<(Metadata, Way)> {
        let Self { loaded, config, dirs, cluster_id } = self;
        let applier = applier.clone();
        if !config.is_controller {
            let feed = feed::start(config, dirs, cluster_id, Box::new(move |image| applier.publish(image)))?;
            let version = feed.kraft_version();
            let way: Way = (None, feed.leader(), Arc::new(move || *version.borrow()));
            return Ok((Metadata::Feed(feed), way));
        }
        let publish = Box::new(move |state: &ottla_controller::State| {
            applier.publish(Arc::new(state.image.clone()));
        });
        let (quorum, log) = quorum::start(loaded, dirs, cluster_id, clock.clone(), random(), publish)?;
        let leader = follow_leader(config.clone(), &quorum, image.clone());
        let handle: Arc<dyn Quorum> = Arc::new(quorum.handle.clone());
        let status = handle.status();
        let version: KRaftVersion = Arc::new(move || status.borrow().kraft_version);
        let parts = ControllerParts {
            config: config.clone(),
            settings: loaded.settings.clone(),
            cluster_id: cluster_id.clone(),
            image: image.clone(),
            clock: clock.clone(),
            bound,
            log: MetadataView(log),
        };
        let role = ControllerRole::start(quorum, parts).await;
        Ok((Metadata::Quorum(Box::new(role)), (Some(handle), leader, version)))
    }
}

fn addresses<'a>(bound: impl Iterator<Item = &'a Bound>) -> Vec<(Arc<str>, SocketAddr)> {
    bound.filter_map(|bound| Some((bound.name().clone(), bound.local_addr().ok()?))).collect()
}

/// How other nodes are asked.
fn peer_options(config: &BrokerConfig) -> PeerOptions {
    PeerOptions {
        client_id: config.node_id.to_string().into(),
        // Clients' requests may have to wait at the controller; who asks sets the limit.
        request_timeout: Duration::from_secs(30),
        setup_timeout: Duration::from_secs(2),
        backoff: (Duration::from_millis(20), Duration::from_millis(500)),
        max_response_bytes: 100 << 20,
    }
}

/// Chance, seeded by the system.
pub(crate) fn random() -> Box<dyn FnMut() -> u64 + Send> {
    let mut rng = StdRng::from_os_rng();
    Box::new(move || rng.next_u64())
}

/// The log dirs of this node.
pub(crate) struct OpenDirs {
    /// Those that are open, in the order of `log.dirs`.
    pub(crate) all: Vec<LogDir>,
    /// Those that could not be opened.
    pub(crate) offline: Vec<std::path::PathBuf>,
    /// Which of them holds the metadata log.
    pub(crate) metadata: LogDir,
}

impl OpenDirs {
    fn cluster_id(&self) -> &str {
        &self.metadata.meta().cluster_id
    }
}
