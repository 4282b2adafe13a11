//! A partition of three replicas, led by broker 2, against what Apache Kafka 4.4.0's brokers were heard to say of theirs.

use std::sync::Arc;

use ottla_metadata::{BrokerRegistration, Endpoint, Fact, Image, ImageCell};
use ottla_protocol::{
    api,
    messages::{
        BrokerId, FetchRequest, OffsetForLeaderEpochRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic, ReplicaState},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    persisted::metadata::{PartitionRecord, TopicRecord},
};
use ottla_records::BatchBuilder;
use ottla_replica::{AppendOptions, Origin, ReplicaManager, ReplicaOptions};
use ottla_storage::{DirOptions, LogDir, MetaProperties};
use ottla_types::TopicId;
use uuid::Uuid;

use super::Fetch;
use crate::api::{
    offset_for_leader_epoch::OffsetForLeaderEpoch,
    testing::{Stopped, ask, body},
};

const TOPIC: Uuid = Uuid::from_u128(0x3534_8db0_59d5_4d96_9e0e_d521_347a_ce0d);
const NONE: i32 = -1;

struct Node {
    replicas: Arc<ReplicaManager>,
    fetch: Fetch,
    epochs: OffsetForLeaderEpoch,
    _dir: tempfile::TempDir,
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
    Node {
        fetch: Fetch::new(replicas.clone(), cell.clone(), (1 << 20, 10, 7), true),
        epochs: OffsetForLeaderEpoch::new(replicas.clone(), cell),
        replicas,
        _dir: dir,
    }
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
