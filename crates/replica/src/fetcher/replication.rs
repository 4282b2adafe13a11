//! Which fetcher follows which partition, and the tasks.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use ottla_metadata::Image;
use ottla_types::{LeaderEpoch, NO_LEADER, NodeId, TopicPartition, TopicPartitionId, java_string_hash};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    assign,
    isr::{self, ControllerLink},
    lane::Lane,
    link::LeaderLinks,
    signal::Signal,
};
use crate::{Replica, ReplicaManager};

/// How followers fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// `num.replica.fetchers`: connections to each leader.
    pub fetchers: u32,
    /// `replica.fetch.max.bytes`: of one partition.
    pub max_bytes: i32,
    /// `replica.fetch.min.bytes`.
    pub min_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub wait_max_ms: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`: the longest wait after an error; the first one is shorter than Kafka's.
    pub backoff_ms: i64,
    /// Name of the listener that brokers talk to each other on.
    pub listener: Arc<str>,
}

impl FetchOptions {
    /// Kafka's defaults.
    #[must_use]
    pub fn new(listener: &str) -> Self {
        Self {
            fetchers: 1,
            max_bytes: 1 << 20,
            min_bytes: 1,
            wait_max_ms: 500,
            response_max_bytes: 10 << 20,
            backoff_ms: 1_000,
            listener: listener.into(),
        }
    }
}

/// What replication needs of the world outside.
pub struct ReplicationParts {
    /// How to fetch.
    pub options: FetchOptions,
    /// How brokers are reached.
    pub links: Arc<dyn LeaderLinks>,
    /// How the controller is asked.
    pub controller: Arc<dyn ControllerLink>,
    /// Where the tasks run.
    pub runtime: Handle,
}

/// Whom a replica follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Following {
    /// The leader; [`NO_LEADER`] for nobody, also while this broker leads.
    pub(crate) leader: NodeId,
    /// Its epoch.
    pub(crate) leader_epoch: LeaderEpoch,
}

impl Following {
    /// Nobody is followed.
    pub(crate) const NOBODY: Self = Self { leader: NO_LEADER, leader_epoch: -1 };
}

/// Where a broker is: its address, and which incarnation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: Arc<str>,
    port: u16,
    epoch: i64,
}

#[derive(Default)]
struct Lanes {
    lanes: HashMap<(NodeId, u32), Arc<Lane>>,
    /// The leader and the number of the lane in which a partition is.
    follows: HashMap<TopicPartitionId, (NodeId, u32)>,
    places: HashMap<NodeId, Place>,
    stopped: bool,
    /// Lanes to each leader, when that was changed at run time.
    fetchers: Option<u32>,
}

/// The fetchers of this broker, and the sender of in-sync sets.
pub(crate) struct Replication {
    parts: ReplicationParts,
    manager: Weak<ReplicaManager>,
    lanes: Mutex<Lanes>,
    isr: Arc<Signal>,
    assignments: Arc<Signal>,
}

impl ReplicaManager {
    /// Begins to follow leaders and to ask the controller for in-sync sets. Fetches nothing before
    /// [`set_broker_epoch`](Self::set_broker_epoch). To be called once, before or after the first image.
    pub fn start_replication(self: &Arc<Self>, parts: ReplicationParts) {
        // No image changes anything between the look at the replicas and the time changes are reported.
        let hosting = self.hosting.lock();
        let isr = Arc::new(Signal::default());
        parts.runtime.spawn(isr::run(isr.clone(), Arc::downgrade(self), parts.controller.clone()));
        let assignments = Arc::new(Signal::default());
        parts.runtime.spawn(assign::run(assignments.clone(), Arc::downgrade(self), parts.controller.clone()));
        let replication =
            Replication { parts, manager: Arc::downgrade(self), lanes: Mutex::default(), isr, assignments };
        if self.replication.set(replication).is_err() {
            return;
        }
        let replication = self.replication.get().expect("set on the line before");
        replication.brokers_changed(&hosting.image);
        self.follow_replication_settings(&hosting.image);
        let mut following = Vec::new();
        self.each(|replica| {
            let view = replica.view();
            if !view.is_leader {
                let leader_epoch = view.leader_epoch;
                following.push((Arc::clone(replica), Following { leader: view.leader, leader_epoch }));
            }
        });
        replication.follow(following);
        replication.proposals_came();
        replication.assignments_came();
    }

    /// This broker is registered with this epoch: its fetches and proposals carry it (KIP-903).
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, std::sync::atomic::Ordering::Release);
        if let Some(replication) = self.replication.get() {
            replication.lanes.lock().lanes.values().for_each(|lane| lane.wake());
            replication.proposals_came();
            replication.assignments_came();
        }
    }
}

/// Kafka's choice of a fetcher, so that partitions spread as they do there.
fn fetcher_of(name: &TopicPartition, fetchers: u32) -> u32 {
    let hash = java_string_hash(&name.topic).wrapping_mul(31).wrapping_add(name.partition);
    (hash & i32::MAX).unsigned_abs() % fetchers.max(1)
}

impl Replication {
    /// Where brokers are, by the newest image.
    pub(crate) fn brokers_changed(&self, image: &Image) {
        let mut lanes = self.lanes.lock();
        let places = image.brokers.values().filter_map(|broker| {
            let endpoint = broker.listener(&self.parts.options.listener)?;
            let place = Place { host: Arc::clone(&endpoint.host), port: endpoint.port, epoch: broker.epoch };
            Some((broker.id, place))
        });
        let places: HashMap<_, _> = places.collect();
        for ((leader, _), lane) in &lanes.lanes {
            if lanes.places.get(leader) != places.get(leader) {
                self.connect(lane, places.get(leader));
            }
        }
        lanes.places = places;
    }

    fn connect(&self, lane: &Lane, place: Option<&Place>) {
        lane.set_link(place.map(|place| self.parts.links.link(lane.leader, &place.host, place.port)));
    }

    /// Moves replicas to the fetchers of those they follow now.
    pub(crate) fn follow(&self, changes: Vec<(Arc<Replica>, Following)>) {
        if changes.is_empty() {
            return;
        }
        let mut lanes = self.lanes.lock();
        if lanes.stopped {
            return;
        }
        let mut touched: HashMap<(NodeId, u32), Arc<Lane>> = HashMap::new();
        for (replica, following) in changes {
            let fetchers = lanes.fetchers.unwrap_or(self.parts.options.fetchers);
            let (key, number) = (replica.id(), fetcher_of(&replica.name, fetchers));
            if let Some(place) = lanes.follows.remove(&key)
                && let Some(lane) = lanes.lanes.get(&place)
            {
                lane.core.lock().remove(&key);
                touched.insert(place, Arc::clone(lane));
            }
            if following.leader == NO_LEADER || replica.is_offline() {
                continue;
            }
            let place = (following.leader, number);
            let lane = Arc::clone(self.lane(&mut lanes, place));
            lane.core.lock().assign(key, following.leader_epoch, replica.position());
            lanes.follows.insert(key, place);
            touched.insert(place, lane);
        }
        for (place, lane) in touched {
            if lane.core.lock().is_empty() {
                lane.stop();
                lanes.lanes.remove(&place);
            } else {
                lane.wake();
            }
        }
    }

    fn lane<'a>(&self, lanes: &'a mut Lanes, (leader, number): (NodeId, u32)) -> &'a Arc<Lane> {
        let place = lanes.places.get(&leader);
        lanes.lanes.entry((leader, number)).or_insert_with(|| {
            let lane = Arc::new(Lane::new(leader, self.parts.options.clone()));
            self.connect(&lane, place);
            self.parts.runtime.spawn(Arc::clone(&lane).run(Weak::clone(&self.manager)));
            lane
        })
    }

    /// Follows with so many lanes to each leader from now on: partitions that belong in another one move there.
    pub(crate) fn set_fetchers(&self, fetchers: u32, manager: &ReplicaManager) {
        let placed = {
            let mut lanes = self.lanes.lock();
            let before = lanes.fetchers.unwrap_or(self.parts.options.fetchers);
            if before == fetchers {
                return;
            }
            lanes.fetchers = Some(fetchers);
            lanes.follows.clone()
        };
        let mut moved = Vec::new();
        manager.each(|replica| {
            let view = replica.view();
            let number = fetcher_of(&replica.name, fetchers);
            if !view.is_leader && placed.get(&replica.id()).is_some_and(|(_, held)| *held != number) {
                let leader_epoch = view.leader_epoch;
                moved.push((Arc::clone(replica), Following { leader: view.leader, leader_epoch }));
            }
        });
        tracing::info!("Follows with {fetchers} fetchers to each leader: {} partitions move", moved.len());
        self.follow(moved);
    }

    /// There are in-sync sets to be asked for.
    pub(crate) fn proposals_came(&self) {
        self.isr.wake();
    }

    /// There are log dirs to be told.
    pub(crate) fn assignments_came(&self) {
        self.assignments.wake();
    }

    /// Ends every task.
    pub(crate) fn stop(&self) {
        let mut lanes = self.lanes.lock();
        lanes.stopped = true;
        lanes.follows.clear();
        for (_, lane) in lanes.lanes.drain() {
            lane.stop();
        }
        self.isr.stop();
        self.assignments.stop();
    }
}
