//! Several brokers in one process: real replicas on temporary directories, a controller in a few lines, and a network
//! that loses, delays and repeats.
#![allow(missing_docs, unreachable_pub, reason = "a test")]

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use ottla_metadata::{Fact, Image, Partition, ResourceType, partition_record};
use ottla_net::Part;
use ottla_protocol::{
    messages::{
        AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest,
        AssignReplicasToDirsResponse, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest,
        ListOffsetsResponse, alter_partition_response, fetch_response, list_offsets_response,
    },
    persisted::metadata::{
        ConfigRecord, MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
        register_broker_record::BrokerEndpoint,
    },
};
use ottla_replica::{
    ControllerLink, FetchOptions, FollowerFetch, Isolation, LeaderLink, LeaderLinks, LinkError, LongPoll,
    OffsetQuery, ReadAs, ReadRequest, Replica, ReplicaManager, ReplicaOptions, ReplicationParts,
    ReplicationSettings, ReplicationSettingsOf,
};
use ottla_storage::{DirOptions, LogDir, MetaProperties};
use ottla_types::{Clock, ErrorCode, NodeId, SystemClock, TopicId, TopicPartitionId};
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

pub const TOPIC: TopicId = TopicId(Uuid::from_u128(77));

pub struct Cluster {
    dirs: BTreeMap<NodeId, tempfile::TempDir>,
    pub brokers: Mutex<BTreeMap<NodeId, Arc<ReplicaManager>>>,
    image: Mutex<Image>,
    /// Pairs that do not hear each other, one way.
    cut: Mutex<HashSet<(NodeId, NodeId)>>,
    /// Of a thousand answers so many are lost.
    pub loss: AtomicU32,
    /// Answers wait for up to so many ms.
    pub delay: AtomicU32,
    seed: AtomicU64,
    epochs: AtomicU64,
    clock: Arc<dyn Clock>,
    lag_ms: i64,
    wait_max_ms: i32,
    fetchers: Arc<AtomicU32>,
    /// Connections that were opened, from whom to whom.
    pub links: Mutex<Vec<(NodeId, NodeId)>>,
}

impl Cluster {
    /// Brokers 1 to `nodes`, and one topic of `partitions` with a replica on each; broker 1 leads.
    pub fn start(nodes: i32, partitions: i32, lag_ms: i64) -> Arc<Self> {
        Self::start_with(nodes, partitions, lag_ms, 500)
    }

    /// The same, with followers whose fetches wait for so long when there is nothing to tell.
    pub fn start_with(nodes: i32, partitions: i32, lag_ms: i64, wait_max_ms: i32) -> Arc<Self> {
        let mut dirs = BTreeMap::new();
        for node in 1..=nodes {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let meta = MetaProperties { cluster_id: "test".into(), node_id: node, directory_id: None };
            meta.format(dir.path()).expect("formats");
            dirs.insert(node, dir);
        }
        let cluster = Arc::new(Self {
            dirs,
            brokers: Mutex::default(),
            image: Mutex::new(Image::new()),
            cut: Mutex::default(),
            loss: AtomicU32::new(0),
            delay: AtomicU32::new(0),
            seed: AtomicU64::new(1),
            epochs: AtomicU64::new(100),
            clock: Arc::new(SystemClock::new()),
            lag_ms,
            wait_max_ms,
            fetchers: Arc::new(AtomicU32::new(1)),
            links: Mutex::default(),
        });
        cluster.change(TopicRecord::default().with_name("a".to_owned().into()).with_topic_id(TOPIC.0));
        let replicas: Vec<BrokerId> = (1..=nodes).map(BrokerId).collect();
        for partition in 0..partitions {
            let record = PartitionRecord::default()
                .with_topic_id(TOPIC.0)
                .with_partition_id(partition)
                .with_replicas(replicas.iter().map(|id| id.0).collect())
                .with_isr(replicas.iter().map(|id| id.0).collect())
                .with_leader(1)
                .with_leader_epoch(0)
                .with_partition_epoch(0);
            cluster.change(record);
        }
        for node in 1..=nodes {
            cluster.boot(node);
        }
        cluster
    }

    fn change(&self, record: impl Into<MetadataRecord>) {
        self.image.lock().apply(&Fact::at_level(record, i16::MAX));
    }

    /// Sets `num.replica.fetchers` for all, and tells them.
    pub fn set_fetchers(&self, fetchers: u32) {
        self.fetchers.store(fetchers, Ordering::Relaxed);
        let record = ConfigRecord::default()
            .with_resource_type(ResourceType::BROKER.0)
            .with_resource_name("".to_owned().into())
            .with_name("num.replica.fetchers".to_owned().into())
            .with_value(Some(fetchers.to_string().into()));
        self.change(record);
        self.publish();
    }

    /// Tells everybody.
    pub fn publish(&self) {
        let image = Arc::new(self.image.lock().clone());
        let brokers: Vec<_> = self.brokers.lock().values().cloned().collect();
        brokers.iter().for_each(|broker| broker.apply_image(&image));
    }

    fn register(&self, node: NodeId, epoch: i64, fenced: bool) {
        let endpoint = BrokerEndpoint::default()
            .with_name("PLAINTEXT".to_owned().into())
            .with_host(format!("broker-{node}").into())
            .with_port(9092);
        self.change(
            RegisterBrokerRecord::default()
                .with_broker_id(node)
                .with_broker_epoch(epoch)
                .with_fenced(fenced)
                .with_end_points(vec![endpoint]),
        );
    }

    /// Starts a broker, on what its directory holds.
    pub fn boot(self: &Arc<Self>, node: NodeId) {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed) as i64;
        self.register(node, epoch, false);
        let path = self.dirs[&node].path();
        let dir = LogDir::open(path, DirOptions::default(), Arc::clone(&self.clock)).expect("opens");
        let fetchers = Arc::clone(&self.fetchers);
        let settings = move |_: &Image| ReplicationSettings {
            fetchers: fetchers.load(Ordering::Relaxed),
            ..ReplicationSettings::default()
        };
        let options = ReplicaOptions {
            replica_lag_time_max_ms: self.lag_ms,
            replication_of: Some(ReplicationSettingsOf(Arc::new(settings))),
            ..ReplicaOptions::new(node)
        };
        let manager = ReplicaManager::open(options, vec![dir], Arc::clone(&self.clock)).expect("opens");
        manager.apply_image(&Arc::new(self.image.lock().clone()));
        manager.start_replication(ReplicationParts {
            options: FetchOptions { wait_max_ms: self.wait_max_ms, ..FetchOptions::new("PLAINTEXT") },
            links: Arc::new(Links { cluster: Arc::downgrade(self), from: node }),
            controller: Arc::new(Controller { cluster: Arc::downgrade(self) }),
            runtime: tokio::runtime::Handle::current(),
        });
        manager.set_broker_epoch(epoch);
        self.brokers.lock().insert(node, manager);
        self.publish();
    }

    /// The process dies: nothing is closed. Partitions that it led get another leader.
    pub async fn kill(&self, node: NodeId) {
        let manager = self.brokers.lock().remove(&node).expect("it runs");
        manager.halt();
        let weak = Arc::downgrade(&manager);
        drop(manager);
        // Answers under way hold it for a moment.
        for _ in 0..500 {
            if weak.strong_count() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(weak.strong_count(), 0, "somebody holds a broker that was killed");
        let epoch = self.image.lock().broker(node).expect("registered").epoch;
        self.register(node, epoch, true);
        self.fence(node);
    }

    /// Takes a broker out of every in-sync set but the last, and makes others lead.
    pub fn fence(&self, node: NodeId) {
        let topic = self.image.lock().topic_by_id(TOPIC).cloned().expect("there");
        for (number, partition) in topic.iter() {
            let mut after = Partition::clone(partition);
            if after.isr.len() > 1 {
                after.isr.retain(|member| *member != node);
            }
            if after.leader == node {
                let alive = self.brokers.lock();
                let next = after.isr.iter().find(|member| alive.contains_key(member)).copied();
                after.leader = next.unwrap_or(-1);
                after.leader_epoch += 1;
            }
            self.replace(number, after);
        }
        self.publish();
    }

    /// Makes `node` lead; whoever led stays in the in-sync set.
    pub fn lead(&self, number: i32, node: NodeId) {
        let mut after = self.partition(number);
        after.leader = node;
        after.leader_epoch += 1;
        self.replace(number, after);
        self.publish();
    }

    pub fn replace(&self, number: i32, mut after: Partition) {
        let before = self.partition(number);
        if after == before {
            return;
        }
        after.partition_epoch = before.partition_epoch + 1;
        let topic = self.image.lock().topic_by_id(TOPIC).cloned().expect("there");
        self.change(partition_record(&topic, number, &after));
    }

    pub fn partition(&self, number: i32) -> Partition {
        Partition::clone(self.image.lock().partition_by_id(TOPIC, number).expect("there"))
    }

    pub fn broker(&self, node: NodeId) -> Option<Arc<ReplicaManager>> {
        self.brokers.lock().get(&node).cloned()
    }

    pub fn replica(&self, node: NodeId, number: i32) -> Arc<Replica> {
        let broker = self.broker(node).expect("it runs");
        broker.by_id(TopicPartitionId { topic: TOPIC, partition: number }).expect("hosted")
    }

    pub fn cut(&self, from: NodeId, to: NodeId, cut: bool) {
        let mut pairs = self.cut.lock();
        if cut {
            pairs.insert((from, to))
        } else {
            pairs.remove(&(from, to))
        };
    }

    /// Chance, of the same seed the same in the order of asking.
    pub fn chance(&self, below: u32) -> u32 {
        let mixed = self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 31)) >> 33) as u32 % below.max(1)
    }

    /// The bytes of a replica's log.
    pub fn log(&self, node: NodeId, number: i32) -> Bytes {
        let mut all = BytesMut::new();
        for batch in self.replica(node, number).batches(0) {
            all.extend_from_slice(&batch.expect("sound").bytes);
        }
        all.freeze()
    }

    /// Waits until `good`; fails after some seconds.
    pub async fn until(&self, what: &str, mut good: impl FnMut() -> bool) {
        for _ in 0..4000 {
            if good() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let views: Vec<NodeId> = self.brokers.lock().keys().copied().collect();
        let views: Vec<_> = views.iter().map(|node| (*node, self.replica(*node, 0).view())).collect();
        panic!("not in time: {what}: {:?} {views:?}", self.partition(0));
    }

    /// Waits until all brokers that run have the same log, all of it below the high watermark.
    pub async fn in_step(&self, number: i32) {
        let nodes: Vec<NodeId> = self.brokers.lock().keys().copied().collect();
        self.until("in step", || {
            let leader = self.partition(number).leader;
            let Some(broker) = self.broker(leader) else { return false };
            let id = TopicPartitionId { topic: TOPIC, partition: number };
            let end = broker.by_id(id).expect("hosted").view();
            end.is_leader
                && self.partition(number).isr.len() == nodes.len()
                && nodes.iter().all(|node| {
                    let view = self.replica(*node, number).view();
                    view.log_end == end.log_end && view.high_watermark == end.log_end
                })
        })
        .await;
        let first = self.log(nodes[0], number);
        for node in &nodes[1..] {
            let other = self.log(*node, number);
            let same = first.iter().zip(&other).take_while(|(a, b)| a == b).count();
            assert!(first == other, "replicas {} and {node} differ from byte {same} on", nodes[0]);
        }
    }
}

struct Controller {
    cluster: Weak<Cluster>,
}

impl ControllerLink for Controller {
    fn alter_partition(
        &self,
        request: AlterPartitionRequest,
    ) -> BoxFuture<'_, Result<AlterPartitionResponse, ErrorCode>> {
        Box::pin(async move {
            let cluster = self.cluster.upgrade().ok_or(ErrorCode::NOT_CONTROLLER)?;
            if cluster.chance(1000) < cluster.loss.load(Ordering::Relaxed) {
                return Err(ErrorCode::NOT_CONTROLLER);
            }
            let mut partitions = Vec::new();
            for wanted in request.topics.iter().flat_map(|topic| &topic.partitions) {
                let mut after = cluster.partition(wanted.partition_index);
                let isr: Vec<NodeId> =
                    wanted.new_isr_with_epochs.iter().map(|member| member.broker_id.0).collect();
                let said = alter_partition_response::PartitionData::default()
                    .with_partition_index(wanted.partition_index);
                let stale = after.leader != request.broker_id.0 || after.leader_epoch != wanted.leader_epoch;
                let image = cluster.image.lock().clone();
                let gone = |member: &ottla_protocol::messages::alter_partition_request::BrokerState| {
                    let id = member.broker_id.0;
                    cluster.broker(id).is_none()
                        || (member.broker_epoch != -1
                            && image.broker(id).map(|broker| broker.epoch) != Some(member.broker_epoch))
                };
                let error = if stale {
                    ErrorCode::FENCED_LEADER_EPOCH
                } else if after.partition_epoch != wanted.partition_epoch {
                    ErrorCode::INVALID_UPDATE_VERSION
                } else if wanted.new_isr_with_epochs.iter().any(gone) {
                    ErrorCode::INELIGIBLE_REPLICA
                } else {
                    ErrorCode::NONE
                };
                if error != ErrorCode::NONE {
                    partitions.push(said.with_error_code(error.0));
                    continue;
                }
                after.isr = isr;
                cluster.replace(wanted.partition_index, after);
                let after = cluster.partition(wanted.partition_index);
                partitions.push(
                    said.with_leader_id(BrokerId(after.leader))
                        .with_leader_epoch(after.leader_epoch)
                        .with_partition_epoch(after.partition_epoch)
                        .with_isr(after.isr.iter().copied().map(BrokerId).collect()),
                );
            }
            cluster.publish();
            let topic = alter_partition_response::TopicData::default()
                .with_topic_id(TOPIC.0)
                .with_partitions(partitions);
            Ok(AlterPartitionResponse::default().with_topics(vec![topic]))
        })
    }

    fn assign_dirs(
        &self,
        _: AssignReplicasToDirsRequest,
    ) -> BoxFuture<'_, Result<AssignReplicasToDirsResponse, ErrorCode>> {
        // A controller that does not keep log dirs.
        Box::pin(async { Err(ErrorCode::UNSUPPORTED_VERSION) })
    }
}

struct Links {
    cluster: Weak<Cluster>,
    from: NodeId,
}

impl LeaderLinks for Links {
    fn link(&self, broker: NodeId, _: &str, _: u16) -> Arc<dyn LeaderLink> {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.links.lock().push((self.from, broker));
        }
        let (closed, last) = (tokio::sync::Notify::new(), Mutex::default());
        Arc::new(Link { cluster: self.cluster.clone(), from: self.from, to: broker, closed, last })
    }
}

struct Link {
    cluster: Weak<Cluster>,
    from: NodeId,
    to: NodeId,
    closed: tokio::sync::Notify,
    last: Mutex<Option<FetchResponse>>,
}

fn lost(why: &str) -> LinkError {
    LinkError(why.to_owned())
}

impl Link {
    fn reach(&self) -> Result<(Arc<Cluster>, Arc<ReplicaManager>), LinkError> {
        let cluster = self.cluster.upgrade().ok_or_else(|| lost("the test is over"))?;
        if cluster.cut.lock().contains(&(self.from, self.to)) {
            return Err(lost("cut off"));
        }
        let broker = cluster.broker(self.to).ok_or_else(|| lost("refused"))?;
        Ok((cluster, broker))
    }

    async fn answer(&self, request: FetchRequest) -> Result<FetchResponse, LinkError> {
        let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.unsigned_abs().into());
        let mut arrived = true;
        loop {
            let (cluster, broker) = self.reach()?;
            let delay = cluster.chance(cluster.delay.load(Ordering::Relaxed) + 1);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay.into())).await;
            }
            let poll = LongPoll::new(1);
            let (response, enough, still) = serve(&broker, &request, &poll, arrived);
            arrived = false;
            drop(broker);
            if enough || Instant::now() >= deadline {
                let (cluster, _) = self.reach()?;
                if cluster.chance(1000) < cluster.loss.load(Ordering::Relaxed) {
                    return Err(lost("the answer was lost"));
                }
                // Now and then an older answer comes once more.
                let again = cluster.chance(1000) < cluster.loss.load(Ordering::Relaxed);
                let before = self.last.lock().replace(response.clone());
                return Ok(before.filter(|_| again).unwrap_or(response));
            }
            if still {
                poll.until(deadline).await;
            }
        }
    }
}

/// What the router's handler does for followers, without sessions.
fn serve(
    broker: &Arc<ReplicaManager>,
    request: &FetchRequest,
    poll: &LongPoll,
    arrived: bool,
) -> (FetchResponse, bool, bool) {
    let state = &request.replica_state;
    let (mut enough, mut still) = (false, true);
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for wanted in &topic.partitions {
            let id = TopicPartitionId { topic: TopicId(topic.topic_id), partition: wanted.partition };
            let mut said = fetch_response::PartitionData::default().with_partition_index(wanted.partition);
            let Some(replica) = broker.by_id(id) else {
                enough = true;
                partitions.push(said.with_error_code(ErrorCode::UNKNOWN_TOPIC_ID.0));
                continue;
            };
            let fetched = replica.read(&ReadRequest {
                from: wanted.fetch_offset,
                max_bytes: 1 << 20,
                at_least_one_batch: true,
                reader: ReadAs::Follower(state.replica_id.0),
                leader_only: true,
                current_leader_epoch: wanted.current_leader_epoch,
                last_fetched_epoch: wanted.last_fetched_epoch,
            });
            let checked = replica.check_follower(state.replica_id.0, state.replica_epoch, true);
            if let (ErrorCode::NONE, Err(code)) = (fetched.error, checked) {
                enough = true;
                partitions.push(said.with_error_code(code.0));
                continue;
            }
            if arrived && !fetched.is_final() {
                broker.follower_fetched(
                    &replica,
                    fetched.view.leader_epoch,
                    FollowerFetch {
                        broker: state.replica_id.0,
                        broker_epoch: state.replica_epoch,
                        offset: wanted.fetch_offset,
                        log_start: wanted.log_start_offset,
                    },
                );
            }
            enough |= fetched.is_final() || fetched.bytes > 0;
            still &= poll.watch(&replica, fetched.view.log_end, true);
            let mut records = BytesMut::new();
            for part in &fetched.records {
                match part {
                    Part::Bytes(bytes) => records.extend_from_slice(bytes),
                    Part::File { file, offset, len } => {
                        let mut bytes = vec![0; *len];
                        std::os::unix::fs::FileExt::read_exact_at(&**file, &mut bytes, *offset)
                            .expect("a whole range");
                        records.extend_from_slice(&bytes);
                    }
                }
            }
            if let Some(end) = fetched.diverging {
                said.diverging_epoch.epoch = end.epoch;
                said.diverging_epoch.end_offset = end.end_offset;
            }
            partitions.push(
                said.with_error_code(fetched.error.0)
                    .with_high_watermark(fetched.view.high_watermark)
                    .with_log_start_offset(fetched.view.log_start)
                    .with_records(Some(records.freeze())),
            );
        }
        topics.push(
            fetch_response::FetchableTopicResponse::default()
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions),
        );
    }
    (FetchResponse::default().with_responses(topics), enough, still)
}

impl LeaderLink for Link {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>> {
        Box::pin(async move {
            tokio::select! {
                answer = self.answer(request) => answer,
                () = self.closed.notified() => Err(lost("closed")),
            }
        })
    }

    fn list_offsets(
        &self,
        request: ListOffsetsRequest,
    ) -> BoxFuture<'_, Result<ListOffsetsResponse, LinkError>> {
        Box::pin(async move {
            let (_, broker) = self.reach()?;
            let mut topics = Vec::new();
            for topic in &request.topics {
                let mut partitions = Vec::new();
                for wanted in &topic.partitions {
                    let id = TopicPartitionId { topic: TOPIC, partition: wanted.partition_index };
                    let query =
                        if wanted.timestamp == -1 { OffsetQuery::Latest } else { OffsetQuery::Earliest };
                    let replica = broker.by_id(id).ok_or_else(|| lost("not hosted"))?;
                    let epoch = wanted.current_leader_epoch;
                    let found = broker.list_offset(&replica, query, Isolation::Replica, epoch);
                    let said = list_offsets_response::ListOffsetsPartitionResponse::default()
                        .with_partition_index(wanted.partition_index);
                    partitions.push(match found {
                        Ok(found) => said.with_offset(found.offset),
                        Err(code) => said.with_error_code(code.0),
                    });
                }
                topics.push(
                    list_offsets_response::ListOffsetsTopicResponse::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions),
                );
            }
            Ok(ListOffsetsResponse::default().with_topics(topics))
        })
    }

    fn close(&self) {
        self.closed.notify_waiters();
    }
}
