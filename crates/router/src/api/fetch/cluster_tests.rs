//! A partition of three replicas, led by broker 2, against what Apache Kafka 4.4.0's brokers were heard to say of theirs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use ottla_metadata::{BrokerRegistration, Endpoint, Fact, Image, ImageCell, ResourceType};
use ottla_net::Part;
use ottla_protocol::{
    StrBytes, api,
    messages::{
        BrokerId, FetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic, ReplicaState},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::NodeEndpoint,
    },
    persisted::metadata::{ConfigRecord, PartitionChangeRecord, PartitionRecord, TopicRecord},
};
use ottla_records::BatchBuilder;
use ottla_replica::{
    AppendOptions, Origin, ReplicaManager, ReplicaOptions, ReplicationSettings, ReplicationSettingsOf,
};
use ottla_storage::{DirOptions, LogDir, MetaProperties};
use ottla_types::{Clock, Millis, TopicId};
use uuid::Uuid;

use super::Fetch;
use crate::api::{
    offset_for_leader_epoch::OffsetForLeaderEpoch,
    produce::Produce,
    testing::{Stopped, ask, body},
};

const TOPIC: Uuid = Uuid::from_u128(0x3534_8db0_59d5_4d96_9e0e_d521_347a_ce0d);
const NONE: i32 = -1;

struct Node {
    replicas: Arc<ReplicaManager>,
    fetch: Fetch,
    epochs: OffsetForLeaderEpoch,
    produce: Produce,
    _dir: tempfile::TempDir,
}

impl Node {
    fn new(replicas: Arc<ReplicaManager>, cell: Arc<ImageCell>, dir: tempfile::TempDir) -> Self {
        Self {
            fetch: Fetch::new(replicas.clone(), cell.clone(), (1 << 20, 10, 7), true),
            epochs: OffsetForLeaderEpoch::new(replicas.clone(), cell.clone()),
            produce: Produce::new(replicas.clone(), cell),
            replicas,
            _dir: dir,
        }
    }
}

fn broker(id: i32) -> BrokerRegistration {
    BrokerRegistration {
        id,
        epoch: 100,
        incarnation_id: Uuid::nil(),
        listeners: vec![Endpoint {
            name: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: 9092,
            security_protocol: 0,
        }],
        features: Vec::new(),
        rack: Some(format!("RACK{id}").into()),
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: Vec::new(),
        cordoned_log_dirs: None,
    }
}

fn image() -> Arc<Image> {
    let mut image = Image::new();
    let topic = TopicRecord::default().with_name("foo".into()).with_topic_id(TOPIC);
    image.apply(&Fact::at_level(topic, 33));
    let partition = PartitionRecord::default()
        .with_topic_id(TOPIC)
        .with_partition_id(0)
        .with_replicas(vec![2, 3, 1])
        .with_isr(vec![2, 3, 1])
        .with_leader(2)
        .with_leader_epoch(0)
        .with_partition_epoch(0);
    image.apply(&Fact::at_level(partition, 33));
    image.brokers = Arc::new((1..=3).map(|id| (id, Arc::new(broker(id)))).collect());
    Arc::new(image)
}

fn node(id: i32) -> Node {
    let dir = tempfile::tempdir().expect("a directory");
    let meta = MetaProperties { cluster_id: "c".into(), node_id: id, directory_id: None };
    meta.format(dir.path()).expect("formats");
    let log_dir = LogDir::open(dir.path(), DirOptions::default(), Arc::new(Stopped)).expect("opens");
    let replicas =
        ReplicaManager::open(ReplicaOptions::new(id), vec![log_dir], Arc::new(Stopped)).expect("opens");
    let image = image();
    replicas.apply_image(&image);
    let cell = Arc::new(ImageCell::new(image));
    Node::new(replicas, cell, dir)
}

/// A fetch from `offset` by broker `replica` of this broker epoch, or a consumer.
fn request(offset: i64, replica: (i32, i64), leader_epoch: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(leader_epoch)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic_id(TOPIC)
        .with_topic(TopicName("foo".into()))
        .with_partitions(vec![partition]);
    let state = ReplicaState::default().with_replica_id(BrokerId(replica.0)).with_replica_epoch(replica.1);
    FetchRequest::default()
        .with_replica_state(state)
        .with_max_bytes(10 << 20)
        .with_max_wait_ms(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

fn consumer(offset: i64, rack: &str) -> FetchRequest {
    request(offset, (NONE, -1), -1).with_rack_id(ottla_protocol::StrBytes::from_string(rack.to_owned()))
}

async fn said(node: &Node, version: i16, request: FetchRequest) -> String {
    body(api::FETCH, version, ask(&node.fetch, version, request).await)
}

/// An answer of version 18 about the partition: code, offsets, preferred replica, tags.
fn told(code: u8, offsets: &str, preferred: &str, tags: &str) -> String {
    let id = "35348db059d54d969e0ed521347ace0d";
    let offsets = offsets.repeat(24);
    format!("0000000000000000000002{id}020000000000{code:02x}{offsets}00{preferred}01{tags}0000")
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_serve_consumers_that_know_of_it() {
    let follower = node(1);
    assert_eq!(said(&follower, 18, consumer(0, "")).await, told(0, "00", "ffffffff", "00"));
    assert_eq!(said(&follower, 18, consumer(5, "")).await, told(1, "ff", "ffffffff", "00"));
    let reply = ask(&follower.fetch, 10, consumer(0, "")).await;
    assert_eq!(reply.topics[0].partitions[0].error.0, 6);
    let by_broker = ask(&follower.fetch, 18, request(0, (2, 100), 0)).await;
    let partition = &by_broker.topics[0].partitions[0];
    assert_eq!((partition.error.0, partition.current_leader), (6, Some((2, 0))));
    assert!(by_broker.endpoints.is_empty(), "brokers know where brokers are");
}

/// KIP-951: who is not the leader says who is and where, from version 10 on.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_tells_producers_who_leads() {
    let follower = node(1);
    let mut batch = BatchBuilder::new(0);
    batch.append(0, None, Some(b"value"), &[]);
    let partition = PartitionProduceData::default().with_records(Some(batch.build()));
    let topic = TopicProduceData::default()
        .with_name(TopicName("foo".into()))
        .with_topic_id(TOPIC)
        .with_partition_data(vec![partition.clone(), partition.with_index(1)]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic]);
    for (version, leader, endpoints) in
        [(9, (NONE, NONE), vec![]), (10, (2, 0), vec![2]), (13, (2, 0), vec![2])]
    {
        let answer = ask(&follower.produce, version, request.clone()).await;
        let told = &answer.responses[0].partition_responses;
        let hint = |at: usize| (told[at].current_leader.leader_id.0, told[at].current_leader.leader_epoch);
        assert_eq!([told[0].error_code, told[1].error_code], [6, 3], "version {version}");
        assert_eq!([hint(0), hint(1)], [leader, (NONE, NONE)], "version {version}");
        let known = |node: &NodeEndpoint| {
            assert_eq!((&*node.host, node.port, node.rack.as_deref()), ("127.0.0.1", 9092, Some("RACK2")));
            node.node_id.0
        };
        assert_eq!(
            answer.node_endpoints.iter().map(known).collect::<Vec<_>>(),
            endpoints,
            "version {version}"
        );
    }
}

/// The same for consumers, from version 16 on.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_replica_tells_consumers_who_leads() {
    let nobody = node(4);
    for (version, leader, endpoints) in
        [(11, None, 0), (15, None, 0), (16, Some((2, 0)), 1), (18, Some((2, 0)), 1)]
    {
        let answer = ask(&nobody.fetch, version, consumer(0, "")).await;
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error.0, partition.current_leader), (6, leader), "version {version}");
        assert_eq!(answer.endpoints.len(), endpoints, "version {version}");
        for known in &answer.endpoints {
            assert_eq!((known.node, &*known.host, known.port), (2, "127.0.0.1", 9092));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_sends_consumers_to_an_in_sync_follower_in_their_rack() {
    let leader = node(2);
    // Nobody has shown that it has anything.
    assert_eq!(said(&leader, 18, consumer(0, "RACK1")).await, told(0, "00", "ffffffff", "00"));
    let mut fetched = request(0, (1, 100), 0);
    fetched.topics[0].partitions[0].log_start_offset = 0;
    let reply = ask(&leader.fetch, 18, fetched).await;
    assert_eq!(reply.topics[0].partitions[0].error.0, 0);
    assert_eq!(said(&leader, 18, consumer(0, "RACK1")).await, told(0, "00", "00000001", "00"));
    assert_eq!(said(&leader, 18, consumer(0, "RACK2")).await, told(0, "00", "ffffffff", "00"));
    let old = "00000000000000000000000000010003666f6f00000001000000000000000000000000000000000000000000000000000000\
               000000ffffffff0000000100000000";
    assert_eq!(said(&leader, 11, consumer(0, "RACK1")).await, old.replace(' ', ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_replicas_that_are_known_may_follow() {
    let leader = node(2);
    // It may have heard of its replica before we have: it asks again.
    assert_eq!(said(&leader, 18, request(0, (77, 5), 0)).await, told(75, "ff", "ffffffff", "00"));
    let hint = "010109000000020000000000";
    let refused = told(6, "ff", "ffffffff", hint);
    assert_eq!(said(&leader, 18, request(0, (77, 5), -1)).await, refused);
    // An earlier life of broker 1.
    assert_eq!(said(&leader, 18, request(0, (1, 1), 0)).await, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_says_where_epochs_end() {
    let ask_epoch = |topic: &'static str, partition, current, epoch| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(TopicName(topic.into()))
            .with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    let (leader, follower) = (node(2), node(1));
    let unknown = "ff".repeat(12);
    for (node, version, request, recorded) in [
        (
            &leader,
            2,
            ("foo", 0, 0, 0),
            "00000000000000010003666f6f00000001000000000000000000000000000000000000".into(),
        ),
        (
            &leader,
            4,
            ("foo", 0, 0, 0),
            "000000000204666f6f02000000000000000000000000000000000000000000".into(),
        ),
        (&leader, 4, ("foo", 0, -1, 5), format!("000000000204666f6f02000000000000{unknown}000000")),
        (&leader, 4, ("foo", 9, -1, 0), format!("000000000204666f6f02000300000009{unknown}000000")),
        (&leader, 4, ("foo", 0, 1, 0), format!("000000000204666f6f02004b00000000{unknown}000000")),
        (&follower, 4, ("foo", 0, 0, 0), format!("000000000204666f6f02000600000000{unknown}000000")),
        (&follower, 4, ("nope", 0, -1, 0), format!("0000000002056e6f706502000300000000{unknown}000000")),
    ] {
        let (topic, partition, current, epoch) = request;
        let answer = ask(&node.epochs, version, ask_epoch(topic, partition, current, epoch)).await;
        assert_eq!(body(api::OFFSET_FOR_LEADER_EPOCH, version, answer), recorded);
    }
}

impl Node {
    fn append(&self) {
        let mut batch = BatchBuilder::new(0);
        batch.append(1, None, Some(b"value"), &[]);
        let topic = self.replicas.topic_by_id(TopicId(TOPIC)).expect("hosted");
        let options =
            AppendOptions { acks: 1, origin: Origin::Client, version: 12, frame: None, leader_epoch: None };
        self.replicas.append(topic.partition(0).expect("hosted"), &batch.build(), &options).expect("appends");
    }
}

/// The next request of a session; without topics when nothing is said anew.
fn next(session: (i32, i32), wait_ms: i32, said: Option<FetchRequest>) -> FetchRequest {
    let mut said = said.unwrap_or_else(|| request(0, (3, 100), 0).with_topics(Vec::new()));
    // Version 18 has ids only.
    said.topics.iter_mut().for_each(|topic| topic.topic = TopicName::default());
    said.with_session_id(session.0).with_session_epoch(session.1).with_max_wait_ms(wait_ms).with_min_bytes(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followers_session_hears_of_everything_that_changes() {
    let leader = node(2);
    let session = ask(&leader.fetch, 18, next((0, 0), 0, Some(request(0, (3, 100), 0)))).await.session_id;
    assert!(session > 0);
    // All is looked at once, and settled; from then on only what reports a change.
    for epoch in 1..=3 {
        let reply = ask(&leader.fetch, 18, next((session, epoch), 0, None)).await;
        assert!(reply.topics.is_empty());
    }
    leader.append();
    let reply = ask(&leader.fetch, 18, next((session, 4), 0, None)).await;
    assert!(!reply.topics[0].partitions[0].records.is_empty(), "it was appended between two polls");
    // Nothing was fetched since, so it is told again, whatever reports.
    let reply = ask(&leader.fetch, 18, next((session, 5), 0, None)).await;
    assert!(!reply.topics[0].partitions[0].records.is_empty());
    // A poll that waits is woken.
    let waiting = ask(&leader.fetch, 18, next((session, 6), 60_000, Some(request(1, (3, 100), 0))));
    let woken = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        let (reply, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            leader.append();
        });
        reply
    });
    let reply = woken.await.expect("it does not wait for its time to pass");
    assert!(!reply.topics[0].partitions[0].records.is_empty());
    // Another follower's fetch moves the high watermark: this one is told with its next poll.
    let reply = ask(&leader.fetch, 18, next((session, 7), 0, Some(request(2, (3, 100), 0)))).await;
    assert!(reply.topics.is_empty());
    ask(&leader.fetch, 18, request(2, (1, 100), 0)).await;
    let reply = ask(&leader.fetch, 18, next((session, 8), 0, None)).await;
    assert_eq!(reply.topics[0].partitions[0].high_watermark, 2);
}

/// A clock that goes when it is told to.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl Clock for Told {
    fn wall(&self) -> Millis {
        Millis(1000)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Broker 2 leads; 1 is in sync, 3 is not and is being brought there. What followers get is throttled to 100 bytes a second.
struct Throttled {
    node: Node,
    clock: Arc<Told>,
    rate: Arc<AtomicI64>,
    image: Image,
}

impl Throttled {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let meta = MetaProperties { cluster_id: "c".into(), node_id: 2, directory_id: None };
        meta.format(dir.path()).expect("formats");
        let (clock, rate) = (Arc::new(Told::default()), Arc::new(AtomicI64::new(100)));
        let log_dir = LogDir::open(dir.path(), DirOptions::default(), clock.clone()).expect("opens");
        let read = rate.clone();
        let settings = move |_: &Image| {
            let leader_throttled_rate = read.load(Ordering::Relaxed);
            ReplicationSettings { leader_throttled_rate, ..ReplicationSettings::default() }
        };
        let options = ReplicaOptions {
            replication_of: Some(ReplicationSettingsOf(Arc::new(settings))),
            ..ReplicaOptions::new(2)
        };
        let replicas = ReplicaManager::open(options, vec![log_dir], clock.clone()).expect("opens");
        let mut image = Image::clone(&image());
        let behind = PartitionChangeRecord::default().with_topic_id(TOPIC).with_partition_id(0);
        image.apply(&Fact::at_level(behind.with_isr(Some(vec![2, 1])), 33));
        let cell = Arc::new(ImageCell::new(Arc::new(image.clone())));
        let node = Node::new(replicas, cell, dir);
        let mut throttled = Self { node, clock, rate, image };
        throttled.set_on_topic("leader.replication.throttled.replicas", "0:2");
        throttled
    }

    fn set_on_topic(&mut self, key: &str, value: &str) {
        let record = ConfigRecord {
            resource_type: ResourceType::TOPIC.0,
            resource_name: "foo".into(),
            name: StrBytes::from_string(key.to_owned()),
            value: Some(StrBytes::from_string(value.to_owned())),
            ..Default::default()
        };
        self.image.apply(&Fact::at_level(record, 33));
        self.node.replicas.apply_image(&Arc::new(self.image.clone()));
    }

    /// Appends three batches, which broker 1 has already: what has not is behind. Gives how many bytes they are.
    async fn append(&self) -> usize {
        (0..3).for_each(|_| self.node.append());
        assert_eq!(self.gets(1, 3).await, 0);
        self.gets(NONE, 0).await
    }

    /// How many bytes a broker, or a consumer (`NONE`), gets from here on; never an error.
    async fn gets(&self, reader: i32, from: i64) -> usize {
        let (epoch, leader_epoch) = if reader == NONE { (-1, -1) } else { (100, 0) };
        let reply = ask(&self.node.fetch, 18, request(from, (reader, epoch), leader_epoch)).await;
        let partition = &reply.topics[0].partitions[0];
        assert_eq!(partition.error.0, 0);
        partition.records.iter().map(Part::len).sum()
    }

    fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_not_in_sync_gets_no_more_than_its_throttle_lets_through() {
    let throttled = Throttled::new();
    let all = throttled.append().await;
    assert_eq!(throttled.gets(3, 0).await, all);
    assert!(all > 100, "the first answer is not cut: nothing was sent before");
    // More than the rate in the window there is: nothing for now, and no error.
    assert_eq!(throttled.gets(3, 0).await, 0);
    // Those in sync are never held back, nor are consumers; the former are counted.
    assert_eq!((throttled.gets(1, 0).await, throttled.gets(1, 0).await), (all, all));
    assert_eq!(throttled.gets(NONE, 0).await, all);
    // Three answers were sent to followers: the average of all the time there was is below the rate again when it is long
    // enough, and not before.
    let enough = u64::try_from(all * 3 * 10).expect("small");
    throttled.pass(enough - 1);
    assert_eq!(throttled.gets(3, 0).await, 0);
    throttled.pass(1);
    assert_eq!(throttled.gets(3, 0).await, all);
    assert_eq!(throttled.gets(3, 0).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_follows_what_is_set_while_the_broker_runs() {
    let mut throttled = Throttled::new();
    let all = throttled.append().await;
    assert_eq!((throttled.gets(3, 0).await, throttled.gets(3, 0).await), (all, 0));
    // A higher rate of the broker.
    throttled.rate.store(1 << 20, Ordering::Relaxed);
    throttled.set_on_topic("retention.ms", "5");
    assert_eq!(throttled.gets(3, 0).await, all);
    throttled.rate.store(100, Ordering::Relaxed);
    throttled.set_on_topic("retention.ms", "6");
    assert_eq!(throttled.gets(3, 0).await, 0);
    // Other replicas of the topic: this one is not throttled any more.
    throttled.set_on_topic("leader.replication.throttled.replicas", "0:1,1:2");
    assert_eq!(throttled.gets(3, 0).await, all);
    throttled.set_on_topic("leader.replication.throttled.replicas", "*");
    assert_eq!(throttled.gets(3, 0).await, 0);
    // The follower's side is the follower's affair.
    throttled.set_on_topic("leader.replication.throttled.replicas", "");
    throttled.set_on_topic("follower.replication.throttled.replicas", "*");
    assert_eq!(throttled.gets(3, 0).await, all);
}
