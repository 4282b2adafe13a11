//! The metadata feed: how a node that is no controller learns what the cluster is.
//!
//! It is an observer of the metadata quorum and speaks KRaft's protocol (KIP-595): it fetches the log of the active
//! controller, or its snapshot, keeps both on disk as a controller does, and applies what is committed. The controllers
//! may be Ottla's or Kafka's.
//!
//! [`observer`] decides, [`store`] is the disk, here is the thread that asks.

mod observer;
mod store;

use std::{collections::HashMap, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use ottla_config::BrokerConfig;
use ottla_metadata::Image;
use ottla_net::peer::{Peer, PeerError, PeerOptions};
use ottla_router::ControllerAddress;
use ottla_storage::LogConfig;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::server::OpenDirs;
use observer::{Address, Ask, Identity, MAX_WAIT_MS, Observer, Verdict};
use store::Store;

/// Versions of Fetch that a quorum's observer may use: from those on that tell the leader's address.
const FETCH: std::ops::RangeInclusive<i16> = 16..=18;
const FETCH_SNAPSHOT: std::ops::RangeInclusive<i16> = 0..=1;

/// Told the image whenever it has changed.
pub(crate) type Publish = Box<dyn FnMut(Arc<Image>) + Send>;

/// A feed that runs.
pub(crate) struct Feed {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
    leader: watch::Receiver<Option<ControllerAddress>>,
    kraft_version: watch::Receiver<i16>,
    fault: watch::Receiver<Option<String>>,
}

impl Feed {
    /// Who leads the quorum, as far as is known.
    pub(crate) fn leader(&self) -> watch::Receiver<Option<ControllerAddress>> {
        self.leader.clone()
    }

    /// `kraft.version` of the quorum.
    pub(crate) fn kraft_version(&self) -> watch::Receiver<i16> {
        self.kraft_version.clone()
    }

    /// Why the feed ended, when this node's disk failed.
    pub(crate) fn fault(&self) -> watch::Receiver<Option<String>> {
        self.fault.clone()
    }

    /// Stops the thread, syncs the log. Blocks.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            error!("The metadata feed's thread panicked");
        }
    }
}

/// Opens the local log and starts to fetch. `publish` is told the image whenever it has changed, on the feed's thread.
pub(crate) fn start(
    config: &BrokerConfig,
    dirs: &OpenDirs,
    cluster_id: &Arc<str>,
    publish: Publish,
) -> Result<Feed> {
    let quorum = &config.quorum;
    let snapshot_bytes = quorum.max_record_bytes_between_snapshots.unsigned_abs();
    let store = Store::open(&dirs.metadata, LogConfig::default(), snapshot_bytes);
    let store = store.context("Opening the metadata log")?;
    let me = Identity {
        node_id: config.node_id,
        cluster_id: cluster_id.clone(),
        directory_id: dirs.metadata.meta().directory_id.unwrap_or_default(),
        max_bytes: 1 << 20,
        snapshot_max_bytes: 1 << 20,
    };
    let voters = quorum.voters.iter().map(|voter| (voter.id, (Arc::from(&*voter.host), voter.port)));
    let voters: std::collections::BTreeMap<_, Address> = voters.collect();
    let mut bootstrap: Vec<Address> =
        quorum.bootstrap_servers.iter().map(|(host, port)| (Arc::from(&**host), *port)).collect();
    if bootstrap.is_empty() {
        bootstrap = voters.values().cloned().collect();
    }
    let epoch = store.end().epoch;
    let observer = Observer::new(me, bootstrap, voters, epoch);
    let timeout = Duration::from_millis(quorum.fetch_timeout_ms.max(1).unsigned_abs().into());
    let options = PeerOptions {
        client_id: format!("raft-client-{}", config.node_id).into(),
        request_timeout: timeout.max(Duration::from_millis(MAX_WAIT_MS.unsigned_abs().into()) * 2),
        setup_timeout: timeout,
        backoff: (Duration::from_millis(20), Duration::from_millis(200)),
        max_response_bytes: 64 << 20,
    };
    let (stop, stopping) = watch::channel(false);
    let (leader, leads) = watch::channel(None);
    let (version, kraft_version) = watch::channel(0);
    let (fault, faulty) = watch::channel(None);
    let peers = HashMap::new();
    let (told, followed) = (None, false);
    let runner = Runner { observer, store, publish, peers, options, leader, version, told, followed };
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("metadata-feed".into()).spawn(move || {
        if let Err(problem) = runtime.block_on(runner.run(stopping)) {
            error!("The metadata feed stops: {problem:#}");
            fault.send_replace(Some(format!("{problem:#}")));
        }
    });
    let thread = thread.context("Starting the metadata feed")?;
    Ok(Feed { thread, stop, leader: leads, kraft_version, fault: faulty })
}

struct Runner {
    observer: Observer,
    store: Store,
    publish: Publish,
    peers: HashMap<Address, Peer>,
    options: PeerOptions,
    leader: watch::Sender<Option<ControllerAddress>>,
    /// The quorum's `kraft.version`.
    version: watch::Sender<i16>,
    /// What was last complained about.
    told: Option<String>,
    /// A leader has sent its log.
    followed: bool,
}

/// Wait before the next question when one was not answered well.
const RETRY: Duration = Duration::from_millis(20);
/// The same, when it was not answered well many times.
const RETRY_MAX: Duration = Duration::from_millis(500);

impl Runner {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) -> Result<()> {
        // What a snapshot says is committed.
        self.publish();
        let mut failures = 0u32;
        loop {
            let target = self.observer.target();
            let answer = tokio::select! {
                answer = self.exchange(&target) => answer,
                _ = stopping.wait_for(|stop| *stop) => break,
            };
            let verdict = match answer {
                Ok(verdict) => verdict,
                Err(problem) => {
                    debug!("The controller at {}:{}: {problem}", target.0, target.1);
                    self.observer.failed();
                    Verdict::Wait(None)
                }
            };
            let well = self.carry_out(verdict)?;
            self.tell_leader();
            if well {
                failures = 0;
                continue;
            }
            failures = failures.saturating_add(1);
            let wait = RETRY.saturating_mul(1 << failures.min(8)).min(RETRY_MAX);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        self.store.sync()
    }

    async fn exchange(&mut self, target: &Address) -> Result<Verdict, PeerError> {
        if !self.peers.contains_key(target) {
            // The addresses of controllers change seldom; what is not used costs a closed connection.
            if self.peers.len() >= 16 {
                self.peers.clear();
            }
            self.peers.insert(target.clone(), Peer::new(&target.0, target.1, self.options.clone()));
        }
        let peer = &self.peers[target];
        let (observer, end) = (&self.observer, self.store.end());
        match observer.ask() {
            Ask::Log => {
                let (_, answer) = peer.ask(FETCH, |version| observer.fetch(end, version)).await?;
                Ok(self.observer.fetched(answer, end))
            }
            Ask::Snapshot { id, position } => {
                let request = |version| observer.fetch_snapshot(id, position, version);
                let (_, answer) = peer.ask(FETCH_SNAPSHOT, request).await?;
                Ok(self.observer.fetched_snapshot(answer))
            }
        }
    }

    /// True when the next question may follow at once. An error ends the feed: this node's disk, or a foreign cluster.
    fn carry_out(&mut self, verdict: Verdict) -> Result<bool> {
        let taken = match verdict {
            Verdict::Append { records, high_watermark } => {
                let taken = self.store.append(records)?;
                if self.store.apply_to(high_watermark)? {
                    self.publish();
                }
                self.followed = true;
                taken
            }
            Verdict::Truncate { epoch, end } => self.store.truncate(epoch, end)?,
            Verdict::BeginSnapshot(id) => Ok(self.store.begin_snapshot(id)?),
            Verdict::Piece { id, bytes, last } => {
                let taken = self.store.piece(id, &bytes, last)?;
                if last && taken.is_ok() {
                    self.publish();
                }
                taken
            }
            Verdict::Redirected => Ok(()),
            // Once one of them has been followed, a stranger at an address of theirs is no reason to end.
            Verdict::Foreign(why) if !self.followed => anyhow::bail!(why),
            Verdict::Foreign(why) | Verdict::Wait(Some(why)) => Err(why),
            Verdict::Wait(None) => return Ok(false),
        };
        match taken {
            Ok(()) => {
                self.told = None;
                Ok(true)
            }
            Err(problem) => {
                self.observer.failed();
                if self.told.as_ref() != Some(&problem) {
                    warn!("{problem}");
                    self.told = Some(problem);
                }
                Ok(false)
            }
        }
    }

    fn publish(&mut self) {
        self.version.send_replace(self.store.kraft_version());
        (self.publish)(Arc::new(self.store.image().clone()));
    }

    fn tell_leader(&mut self) {
        let known = self.observer.leader();
        self.leader.send_if_modified(|told| {
            if told.as_ref() == known {
                return false;
            }
            if let Some(leader) = known {
                info!("The active controller is node {} at {}:{}", leader.id, leader.host, leader.port);
            }
            *told = known.cloned();
            true
        });
    }
}
