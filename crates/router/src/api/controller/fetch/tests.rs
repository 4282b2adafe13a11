//! Against what Apache Kafka 4.4.0's controllers were heard to say: three of them, node 1 leading in epoch 1.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_protocol::{
    api,
    messages::{
        BrokerId, FetchRequest,
        fetch_request::{FetchPartition, FetchTopic, ReplicaState},
    },
};
use ottla_raft::SnapshotId;
use ottla_types::TopicId;
use uuid::Uuid;

use super::*;
use crate::api::testing::{FakeLog, FakeQuorum, Stopped, ask, body, context, image};

const CLUSTER: &str = "FDKordlvRwas5H1N1sN4Kw";
const LAST: &str =
    "0000000001ffffffff010101090000000100000001000001001502000000010a3132372e302e302e3100005e1c0000";

fn node(in_office: bool, log: FakeLog) -> (Fetch, Arc<FakeQuorum>, Arc<FakeLog>) {
    let (quorum, log) = (FakeQuorum::new(in_office), Arc::new(log));
    (Fetch::new(quorum.clone(), image(), log.clone(), CLUSTER.into(), Arc::new(Stopped)), quorum, log)
}

/// Wants `offset` next, has a record of `epoch` last, and believes in leader epoch `current`.
fn request(offset: Offset, epoch: LeaderEpoch, current: LeaderEpoch) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_current_leader_epoch(current)
        .with_fetch_offset(offset)
        .with_last_fetched_epoch(epoch)
        .with_replica_directory_id(Uuid::from_u128(9));
    let topic = FetchTopic::default().with_topic_id(TopicId::METADATA.0).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_cluster_id(Some(CLUSTER.into()))
        .with_replica_state(ReplicaState::default().with_replica_id(BrokerId(99)))
        .with_max_bytes(1 << 20)
        .with_max_wait_ms(0)
        .with_topics(vec![topic])
}

async fn said(node: &Fetch, request: FetchRequest) -> String {
    body(api::FETCH, 18, ask(node, 18, request).await)
}

fn refusal(code: u8) -> String {
    format!(
        "000000000000000000000200000000000000000000000000000001020000000000{code:02x}{}00000000{LAST}",
        "ff".repeat(16)
    )
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_as_kafka_refuses_it() {
    let (node, ..) = node(true, FakeLog::new(0, &[1, 1]));
    let elsewhere = request(0, 0, 1).with_cluster_id(Some("xxxx".into()));
    assert_eq!(said(&node, elsewhere).await, "000000000068000000000100");
    let mut other_topic = request(0, 0, 1);
    other_topic.topics[0].topic_id = Uuid::from_u128(2);
    assert_eq!(said(&node, other_topic).await, "00000000002a000000000100");
    let mut other_partition = request(0, 0, 1);
    other_partition.topics[0].partitions[0].partition = 1;
    assert_eq!(said(&node, other_partition).await, "00000000002a000000000100");
    let none = FetchRequest::default().with_cluster_id(Some(CLUSTER.into()));
    assert_eq!(said(&node, none).await, "00000000002a000000000100");
    for wrong in
        [request(5, 2, 1), request(-1, 0, 1), request(5, -1, 1), request(0, 0, 1).with_max_wait_ms(-1)]
    {
        assert_eq!(said(&node, wrong).await, refusal(42));
    }
}

#[tokio::test]
async fn only_the_leader_serves_and_only_those_who_know_its_epoch() {
    let (leader, ..) = node(true, FakeLog::new(0, &[1, 1]));
    assert_eq!(said(&leader, request(0, 0, 0)).await, refusal(74));
    assert_eq!(said(&leader, request(0, 0, 2)).await, refusal(75));
    let (follower, ..) = node(false, FakeLog::new(0, &[1, 1]));
    assert_eq!(said(&follower, request(0, 0, 1)).await, refusal(6));
}

#[tokio::test]
async fn a_history_that_differs_is_told_where_to_cut() {
    let (node, quorum, _) = node(true, FakeLog::new(0, &[1; 907]));
    let told = said(&node, request(1906, 1, 1)).await;
    let recorded = "00000000000000000000020000000000000000000000000000000102000000000000000000000000038b\
                    ffffffffffffffff000000000000000001ffffffff0102000d00000001000000000000038b00\
                    01090000000100000001000001001502000000010a3132372e302e302e3100005e1c0000";
    assert_eq!(told, recorded.replace(' ', ""));
    let told = said(&node, request(901, 0, 1)).await;
    let recorded = "00000000000000000000020000000000000000000000000000000102000000000000000000000000038b\
                    ffffffffffffffff000000000000000001ffffffff0102000d00000000000000000000000000\
                    01090000000100000001000001001502000000010a3132372e302e302e3100005e1c0000";
    assert_eq!(told, recorded.replace(' ', ""));
    assert!(quorum.observers.lock().is_empty(), "where it stands is not known before it has cut");
}

#[tokio::test]
async fn records_are_given_whole_and_the_reader_is_noted() {
    let (node, quorum, log) = node(true, FakeLog::new(0, &[1, 1, 1]));
    let reply = ask(&node, 18, request(1, 1, 1).with_max_bytes(1)).await;
    let partition = &reply.topics[0].partitions[0];
    let first = log.batches.lock()[1].bytes.clone();
    assert_eq!(partition.records.iter().map(ottla_net::Part::len).sum::<usize>(), first.len());
    assert_eq!((partition.high_watermark, partition.error), (3, ErrorCode::NONE));
    assert_eq!(quorum.observers.lock()[..], [(99, Uuid::from_u128(9), 1)]);
}

#[tokio::test]
async fn versions_without_topic_ids_cannot_name_the_log() {
    let (node, ..) = node(true, FakeLog::new(0, &[1]));
    let mut old = request(0, 0, 1);
    old.topics[0].topic_id = Uuid::nil();
    old.topics[0].topic = TopicName("__cluster_metadata".into());
    assert_eq!(body(api::FETCH, 12, ask(&node, 12, old).await), "00000000002a000000000100");
}

#[tokio::test]
async fn those_behind_the_start_are_sent_to_the_snapshot() {
    let id = SnapshotId { end_offset: 10, epoch: 3 };
    let log = FakeLog { snapshots: vec![(id, Bytes::from_static(b"snapshot"))], ..FakeLog::new(10, &[4, 4]) };
    let (node, ..) = node(true, log);
    node.served.leader.quorum.status();
    let place = |offset, epoch| place(&*node.served.log, offset, epoch);
    assert_eq!(place(0, 0), Place::Snapshot(id));
    assert_eq!(place(9, 3), Place::Snapshot(id));
    assert_eq!(place(10, 2), Place::Snapshot(id));
    assert_eq!(place(10, 4), Place::Snapshot(id));
    assert_eq!(place(10, 3), Place::Valid);
    assert_eq!(place(11, 4), Place::Valid);
    assert_eq!(place(12, 5), Place::Diverging(EpochEnd { epoch: 4, end_offset: 12 }));
    let reply = ask(&node, 18, request(0, 0, 1)).await;
    assert_eq!(reply.topics[0].partitions[0].snapshot, Some((10, 3)));
}

#[tokio::test]
async fn whoever_has_all_waits_until_the_log_grows() {
    let (node, quorum, log) = node(true, FakeLog::new(0, &[1]));
    let patient = request(1, 1, 1).with_max_wait_ms(60_000);
    let Reply::Later { answer: waiting, .. } = node.handle(&context(api::FETCH, 17), patient) else {
        panic!("nothing to tell")
    };
    log.append(1);
    quorum.status.send_modify(|status| status.high_watermark = 2);
    let reply = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("woken");
    assert!(!reply.topics[0].partitions[0].records.is_empty());
}

#[tokio::test]
async fn whoever_waits_is_told_when_office_is_lost_or_time_is_up() {
    let (node, quorum, _) = node(true, FakeLog::new(0, &[1]));
    let brief = request(1, 1, 1).with_max_wait_ms(1);
    let reply = ask(&node, 18, brief).await;
    assert_eq!(reply.topics[0].partitions[0].error, ErrorCode::NONE);
    let patient = request(1, 1, 1).with_max_wait_ms(60_000);
    let Reply::Later { answer: waiting, .. } = node.handle(&context(api::FETCH, 18), patient) else {
        panic!("nothing to tell")
    };
    quorum.status.send_modify(|status| (status.in_office, status.leader, status.epoch) = (false, Some(2), 2));
    let reply = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("woken");
    let partition = &reply.topics[0].partitions[0];
    assert_eq!(
        (partition.error, partition.current_leader),
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, Some((2, 2)))
    );
    assert_eq!(reply.endpoints[0].port, 24_093);
}

#[tokio::test]
async fn a_higher_high_watermark_is_news() {
    let (node, ..) = node(true, FakeLog::new(0, &[1]));
    let mut patient = request(1, 1, 1).with_max_wait_ms(60_000);
    patient.topics[0].partitions[0].high_watermark = 0;
    assert!(matches!(node.handle(&context(api::FETCH, 18), patient), Reply::Now(_)));
}

/// A log that while it is looked at lets the quorum's status change, and waits for that.
struct Changing(FakeLog, Arc<FakeQuorum>);

impl MetadataLogView for Changing {
    fn start(&self) -> Offset {
        let (quorum, (done, is_done)) = (self.1.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            quorum.status.send_modify(|status| status.high_watermark += 1);
            let _ = done.send(());
        });
        is_done.recv_timeout(Duration::from_secs(10)).expect("nobody stands in the way");
        self.0.start()
    }

    fn end(&self) -> Offset {
        self.0.end()
    }

    fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.0.epochs()
    }

    fn read(
        &self,
        from: Offset,
        max_bytes: usize,
    ) -> std::io::Result<smallvec::SmallVec<[ottla_net::Part; 2]>> {
        self.0.read(from, max_bytes)
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.0.latest_snapshot()
    }

    fn snapshot(
        &self,
        id: SnapshotId,
        position: u64,
        max_bytes: usize,
    ) -> std::io::Result<Option<crate::SnapshotPiece>> {
        self.0.snapshot(id, position, max_bytes)
    }
}

/// The quorum's thread would wait for who answers, and who answers for the thread: no controller would ever answer again.
#[tokio::test]
async fn the_quorum_goes_on_while_an_answer_is_made() {
    let quorum = FakeQuorum::new(true);
    let log = Arc::new(Changing(FakeLog::new(0, &[1]), quorum.clone()));
    let node = Fetch::new(quorum, image(), log, CLUSTER.into(), Arc::new(Stopped));
    assert_eq!(said(&node, request(0, 0, 0)).await, refusal(74));
    assert!(!ask(&node, 18, request(0, 0, 1)).await.topics[0].partitions[0].records.is_empty());
}
