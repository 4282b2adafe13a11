//! A broker's replicas over a real directory: appends, reads, waiting, restarts.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Node, batch, idempotent};
use ottla_protocol::persisted::metadata::{ConfigRecord, PartitionChangeRecord};
use ottla_replica::{
    AppendOptions, FollowerFetch, Isolation, Leadership, LongPoll, OffsetQuery, Origin, ProducerExpirationOf,
    ReadAs, ReadRequest, Replica, Ticket,
};
use ottla_types::{ErrorCode, Offset};
use parking_lot::Mutex;
use tokio::time::Instant;

const ALL: AppendOptions<'static> =
    AppendOptions { acks: -1, origin: Origin::Client, version: 9, frame: None, leader_epoch: None };
const ONE: AppendOptions<'static> = AppendOptions { acks: 1, ..ALL };

fn read(replica: &Arc<Replica>, from: Offset) -> ReadRequest {
    assert!(replica.view().is_leader);
    ReadRequest {
        leader_only: true,
        from,
        max_bytes: 1 << 20,
        at_least_one_batch: true,
        reader: ReadAs::Uncommitted,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

#[tokio::test]
async fn what_is_appended_is_read_and_acknowledged() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    let first = manager.append(&replica, &batch(3), &ONE).expect("appended");
    assert_eq!((first.base_offset, first.last_offset, first.log_append_time, first.log_start), (0, 2, -1, 0));
    assert_eq!(first.ticket.ready(), Some(ErrorCode::NONE));
    let second = manager.append(&replica, &batch(2), &ALL).expect("appended");
    assert_eq!(second.base_offset, 3);
    // Alone in sync: the acknowledgement waits for the disk, the reader does not.
    assert_eq!(replica.view().high_watermark, 5);
    assert_eq!(Ticket::wait_all(&[second.ticket], Duration::from_secs(30)).await, [ErrorCode::NONE]);
    let fetched = replica.read(&read(&replica, 1));
    assert_eq!(fetched.error, ErrorCode::NONE);
    assert_eq!(fetched.bytes, batch(3).len() + batch(2).len());
    assert_eq!(replica.read(&read(&replica, 5)).bytes, 0);
    for outside in [-1, 6] {
        let fetched = replica.read(&read(&replica, outside));
        assert_eq!(fetched.error, ErrorCode::OFFSET_OUT_OF_RANGE);
        assert_eq!(fetched.view.high_watermark, 5, "told also with an error");
    }
    let early = ReadRequest { current_leader_epoch: 9, ..read(&replica, 0) };
    assert_eq!(replica.read(&early).error, ErrorCode::UNKNOWN_LEADER_EPOCH);
    let other = ReadRequest { last_fetched_epoch: 0, ..read(&replica, 6) };
    assert_eq!(replica.read(&other).diverging.map(|end| (end.epoch, end.end_offset)), Some((0, 5)));
}

#[test]
fn producers_survive_restarts_of_every_kind() {
    #[derive(Debug)]
    enum End {
        /// Everything since the start is replayed.
        Killed,
        /// A snapshot, and two batches after it.
        KilledAfterCheckpoint,
        Closed,
    }
    let node = Node::new();
    let mut next = 0;
    for end in [End::Killed, End::KilledAfterCheckpoint, End::Closed, End::Killed] {
        let manager = node.start();
        let replica = node.create(&manager, "a", 1);
        assert_eq!(replica.view().log_end, i64::from(next), "{end:?}");
        for again in (next - 5).max(0)..next {
            let duplicate = manager.append(&replica, &idempotent(7, 3, again), &ONE).expect("a duplicate");
            assert_eq!(duplicate.base_offset, i64::from(again));
        }
        if next > 0 {
            let code = |batch| manager.append(&replica, &batch, &ONE).expect_err("refused").code;
            assert_eq!(code(idempotent(7, 3, next + 1)), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            assert_eq!(code(idempotent(7, 2, next)), ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        for turn in 0..4 {
            if turn == 2 && matches!(end, End::KilledAfterCheckpoint) {
                manager.checkpoint();
            }
            let appended = manager.append(&replica, &idempotent(7, 3, next), &ONE).expect("in order");
            assert_eq!(appended.base_offset, i64::from(next));
            next += 1;
        }
        drop(replica);
        if matches!(end, End::Closed) {
            manager.close(1).expect("closes");
        }
        node.kill(manager);
    }
}

#[tokio::test(start_paused = true)]
async fn long_polls_count_bytes_and_end_in_time() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    let size = batch(1).len();
    let poll = LongPoll::new(size * 2);
    assert!(poll.watch(&replica, 0, false));
    let deadline = Instant::now() + Duration::from_secs(5);
    let waiting = tokio::spawn(async move { (poll.until(deadline).await, Instant::now() < deadline) });
    tokio::task::yield_now().await;
    manager.append(&replica, &batch(1), &ONE).expect("appended");
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "one batch is not enough");
    manager.append(&replica, &batch(1), &ONE).expect("appended");
    assert_eq!(waiting.await.expect("no panic"), (true, true));

    let poll = LongPoll::new(1);
    assert!(!poll.watch(&replica, 0, false), "there is news already");
    let poll = LongPoll::new(1);
    assert!(poll.watch(&replica, 2, false));
    assert!(!poll.until(Instant::now() + Duration::from_millis(500)).await, "nothing came");

    // A topic that goes away ends the wait.
    let poll = LongPoll::new(usize::MAX);
    assert!(poll.watch(&replica, 2, false));
    node.delete(&manager, "a");
    assert!(poll.until(Instant::now() + Duration::from_secs(5)).await);
    assert!(manager.topic("a").is_none());
    assert_eq!(
        manager.append(&replica, &batch(1), &ONE).expect_err("gone").code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
    );
}

#[test]
fn leadership_is_told_and_topics_come_anew_empty() {
    let node = Node::new();
    let manager = node.start();
    let told: Arc<Mutex<Vec<Leadership>>> = Arc::default();
    node.create(&manager, "a", 2);
    let listener = Arc::clone(&told);
    manager.on_leadership_change(Box::new(move |change| listener.lock().push(change.clone())));
    node.create(&manager, "b", 1);
    node.delete(&manager, "a");
    let leads = |name: &str| -> Vec<_> {
        let told = told.lock();
        told.iter().filter(|change| &*change.partition.topic == name).map(|change| change.leads).collect()
    };
    assert_eq!(leads("a"), [Some(0), Some(0), None, None]);
    assert_eq!(leads("b"), [Some(0)]);
    let replica = node.create(&manager, "a", 1);
    assert_eq!(replica.view().log_end, 0);
    drop(replica);
    node.kill(manager);

    // Deleted while the broker is down: the log is not taken for the new topic's.
    let manager = node.start();
    let replica = node.create(&manager, "b", 1);
    manager.append(&replica, &batch(4), &ONE).expect("appended");
    drop(replica);
    node.kill(manager);
    node.forget("b");
    let manager = node.start();
    assert_eq!(node.create(&manager, "b", 1).view().log_end, 0);
}

#[test]
fn settings_follow_the_image() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    let set = |key: &'static str, value: &'static str| {
        node.apply(
            &manager,
            ConfigRecord::default()
                .with_resource_type(2)
                .with_resource_name("a".to_owned().into())
                .with_name(key.to_owned().into())
                .with_value(Some(value.to_owned().into())),
        );
    };
    set("max.message.bytes", "10");
    let refused = manager.append(&replica, &batch(1), &ONE).expect_err("too large");
    assert_eq!((refused.code, refused.log_start), (ErrorCode::MESSAGE_TOO_LARGE, -1));
    set("max.message.bytes", "100000");
    set("cleanup.policy", "compact");
    let refused = manager.append(&replica, &batch(1), &ONE).expect_err("no key");
    assert_eq!((refused.code, refused.record_errors.len()), (ErrorCode::INVALID_RECORD, 1));
    set("cleanup.policy", "delete");
    set("message.timestamp.type", "LogAppendTime");
    set("flush.messages", "1");
    node.clock_to(77_000);
    let stamped = manager.append(&replica, &batch(1), &ALL).expect("appended");
    assert_eq!(stamped.log_append_time, 77_000);
    assert_eq!(stamped.ticket.ready(), Some(ErrorCode::NONE), "flush.messages has synced it");
}

#[test]
fn offsets_are_found_by_place_and_time() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    let ask = |query| {
        let found = manager.list_offset(&replica, query, Isolation::Uncommitted, -1).expect("answered");
        (found.offset, found.timestamp, found.leader_epoch)
    };
    assert_eq!(ask(OffsetQuery::MaxTimestamp), (-1, -1, -1));
    for at in [1_000, 3_000, 2_000] {
        manager.append(&replica, &common::batch_at(&[at, at + 1]), &ONE).expect("appended");
    }
    assert_eq!(ask(OffsetQuery::Latest), (6, -1, 0));
    assert_eq!(ask(OffsetQuery::Earliest), (0, -1, 0));
    assert_eq!(ask(OffsetQuery::MaxTimestamp), (3, 3_001, 0));
    assert_eq!(ask(OffsetQuery::At(1_001)), (1, 1_001, 0));
    assert_eq!(ask(OffsetQuery::At(1_500)), (2, 3_000, 0));
    assert_eq!(ask(OffsetQuery::At(9_000)), (-1, -1, -1));
    assert_eq!(ask(OffsetQuery::Tiered), (-1, -1, -1));
    let epoch = |epoch| manager.list_offset(&replica, OffsetQuery::Latest, Isolation::Uncommitted, epoch);
    assert_eq!(epoch(5), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
    assert_eq!(epoch(-5), Err(ErrorCode::FENCED_LEADER_EPOCH));
}

#[test]
fn upkeep_flushes_and_forgets_in_time() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    manager.append(&replica, &idempotent(7, 0, 0), &ONE).expect("appended");
    assert_eq!(replica.producers().len(), 1);
    node.clock_to(700_000);
    manager.upkeep(ottla_types::Millis(700_000));
    assert_eq!(replica.producers().len(), 1);
    node.clock_to(90_000_000);
    manager.upkeep(ottla_types::Millis(90_000_000));
    assert_eq!(replica.producers().len(), 0);
}

#[test]
fn producers_are_forgotten_after_the_time_that_is_set_now() {
    let node = Node::new();
    let key = "producer.id.expiration.ms";
    let set = move |image: &ottla_metadata::Image| {
        let set = image.configs.broker_default().get(key).and_then(|value| value.parse().ok());
        set.unwrap_or(86_400_000)
    };
    let manager = node.start_with(|options| {
        options.producer_id_expiration_of = Some(ProducerExpirationOf(Arc::new(set)));
    });
    let replica = node.create(&manager, "a", 1);
    manager.append(&replica, &idempotent(7, 0, 0), &ONE).expect("appended");
    let later = |at: i64| {
        node.clock_to(at);
        manager.upkeep(ottla_types::Millis(at));
        replica.producers().len()
    };
    assert_eq!(later(700_000), 1);
    let record = ConfigRecord {
        // A broker resource without a name: all brokers.
        resource_type: 4,
        name: key.to_owned().into(),
        value: Some("60000".to_owned().into()),
        ..Default::default()
    };
    node.apply(&manager, record);
    assert_eq!(later(1_400_000), 0);
}

/// Metadata goes on to come while a broker closes its logs.
#[test]
fn what_the_metadata_says_after_the_close_is_for_the_next_start() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    manager.append(&replica, &batch(1), &ONE).expect("appended");
    let topic_id = replica.id().topic.0;
    drop(replica);
    manager.close(1).expect("closes");
    let led_anew = PartitionChangeRecord { topic_id, leader: 1, ..Default::default() };
    node.apply(&manager, led_anew);
    node.declare("b", 1);
    node.publish(&manager);
    assert!(!manager.is_dir_offline(node.path()));
    drop(manager);
    assert!(node.path().join(".kafka_cleanshutdown").exists());
    assert!(!node.path().join("b-0").exists());
    let manager = node.start();
    assert!(manager.topic("a").is_some());
}

#[tokio::test]
async fn replicated_partitions_wait_for_their_followers() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create_replicated(&manager, "a", &[1, 2]);
    let appended = manager.append(&replica, &batch(2), &ALL).expect("appended");
    assert_eq!(appended.ticket.ready(), None);
    assert_eq!(replica.view().high_watermark, 0);
    assert_eq!(replica.check_follower(2, -1, true), Ok(()));
    assert_eq!(replica.check_follower(3, -1, true), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
    assert_eq!(replica.check_follower(3, -1, false), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let poll = LongPoll::new(1);
    assert!(poll.watch(&replica, 0, false));
    let fetched = |offset| FollowerFetch { broker: 2, broker_epoch: -1, offset, log_start: 0 };
    manager.follower_fetched(&replica, 0, fetched(0));
    assert_eq!(appended.ticket.ready(), None);
    manager.follower_fetched(&replica, 0, fetched(2));
    assert_eq!(appended.ticket.done().await, ErrorCode::NONE);
    assert!(poll.until(Instant::now() + Duration::from_secs(5)).await, "the high watermark woke it");
    // The follower is slow: after a while the controller is asked to let it go.
    let waiting = manager.append(&replica, &batch(1), &ALL).expect("appended");
    node.clock_to(100_000);
    manager.upkeep(ottla_types::Millis(100_000));
    let proposals = manager.take_isr_proposals();
    assert_eq!(proposals.len(), 1);
    assert_eq!(proposals[0].1.isr, [1]);
    let answer = ottla_replica::IsrAnswer::Decided { leader_epoch: 0, partition_epoch: 1, isr: vec![1] };
    manager.isr_answered(proposals[0].0, proposals[0].1.clone(), answer);
    // It may have been decided by other settings: it counts when it is published.
    assert_eq!(waiting.ticket.ready(), None);
    node.apply(&manager, alone(&replica));
    // Alone now: its disk has to have it.
    assert_eq!(waiting.ticket.done().await, ErrorCode::NONE);
}

/// Whatever was proposed first, and by whom: the controller is asked for what is still waited for.
#[test]
fn the_controller_is_asked_for_what_a_leader_proposes_by_then() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create_replicated(&manager, "a", &[1, 2, 3]);
    manager.append(&replica, &batch(1), &ONE).expect("appended");
    let lag = |broker, until| {
        let fetch = FollowerFetch { broker, broker_epoch: -1, offset: 1, log_start: 0 };
        manager.follower_fetched(&replica, 0, fetch);
        node.clock_to(until);
        manager.append(&replica, &batch(1), &ONE).expect("appended");
        manager.upkeep(ottla_types::Millis(until));
    };
    let in_sync = |isr: &[i32]| {
        let change =
            PartitionChangeRecord::default().with_topic_id(replica.id().topic.0).with_partition_id(0);
        node.apply(&manager, change.with_isr(Some(isr.to_vec())));
    };
    // Nobody took it before the controller published another set: it is not asked any more.
    lag(2, 100_000);
    in_sync(&[1, 3]);
    assert_eq!(manager.take_isr_proposals(), []);
    lag(2, 200_000);
    let asked = manager.take_isr_proposals();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].1.partition_epoch, &asked[0].1.isr[..]), (1, &[1][..]));
    assert_eq!(manager.take_isr_proposals(), [], "once");
    node.delete(&manager, "a");
    assert_eq!(manager.take_isr_proposals(), []);
}

/// The answer took so long that this broker has followed somebody else since, and leads again.
#[test]
fn a_fetch_that_was_answered_in_another_term_is_not_noted() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create_replicated(&manager, "a", &[1, 2]);
    let appended = manager.append(&replica, &batch(1), &ONE).expect("appended");
    assert_eq!(appended.last_offset, 0);
    let fetch = FollowerFetch { broker: 2, broker_epoch: -1, offset: 1, log_start: 0 };
    for leader in [2, 1] {
        let change =
            PartitionChangeRecord::default().with_topic_id(replica.id().topic.0).with_partition_id(0);
        node.apply(&manager, change.with_leader(leader));
        manager.follower_fetched(&replica, 0, fetch);
        assert_eq!(replica.view().high_watermark, 0);
    }
    assert_eq!(replica.view().leader_epoch, 2);
    manager.follower_fetched(&replica, 2, fetch);
    assert_eq!(replica.view().high_watermark, 1);
}

/// Broker 1 is the only one left in the in-sync set.
fn alone(replica: &Replica) -> PartitionChangeRecord {
    PartitionChangeRecord::default()
        .with_topic_id(replica.id().topic.0)
        .with_partition_id(0)
        .with_isr(Some(vec![1]))
}

/// The one who left stays eligible then: nothing it has not got may be acknowledged (KIP-966).
#[test]
fn min_insync_replicas_is_raised_and_a_replica_falls_behind_in_one_image() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create_replicated(&manager, "a", &[1, 2]);
    let fetch = FollowerFetch { broker: 2, broker_epoch: -1, offset: 0, log_start: 0 };
    manager.follower_fetched(&replica, 0, fetch);
    let appended = manager.append(&replica, &batch(2), &ALL).expect("appended");
    let set_min_isr = |to: &str| ConfigRecord {
        resource_type: 2,
        resource_name: "a".to_owned().into(),
        name: "min.insync.replicas".to_owned().into(),
        value: Some(to.to_owned().into()),
        ..Default::default()
    };
    node.change(set_min_isr("2"));
    node.apply(&manager, alone(&replica));
    assert_eq!(replica.view().high_watermark, 0);
    assert_eq!(appended.ticket.ready(), None);
    let refusal = manager.append(&replica, &batch(1), &ALL).expect_err("too few");
    assert_eq!(refusal.code, ErrorCode::NOT_ENOUGH_REPLICAS);
    node.apply(&manager, set_min_isr("1"));
    assert_eq!(replica.view().high_watermark, 2);
}

#[test]
fn what_was_decided_in_another_leader_epoch_is_not_appended() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create(&manager, "a", 1);
    let append = |epoch| manager.append(&replica, &batch(1), &AppendOptions::coordinator(epoch));
    assert_eq!(append(0).expect("its epoch").base_offset, 0);
    for epoch in [-1, 1] {
        assert_eq!(append(epoch).expect_err("not its epoch").code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(manager.settle(&replica, epoch).err(), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    }
    assert_eq!(replica.view().log_end, 1);
}

/// KIP-207: until a new leader knows that what it has is committed, the end it would tell may be before one that was told.
#[test]
fn a_new_leader_tells_no_end_before_it_knows_its_high_watermark() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create_replicated(&manager, "a", &[1, 2]);
    manager.append(&replica, &common::batch_at(&[1_000, 2_000]), &ONE).expect("appended");
    let ask =
        |query, isolation| manager.list_offset(&replica, query, isolation, -1).map(|found| found.offset);
    assert_eq!(ask(OffsetQuery::Latest, Isolation::Uncommitted), Ok(0), "nobody else has it yet");
    assert_eq!(ask(OffsetQuery::MaxTimestamp, Isolation::Uncommitted), Ok(-1));
    let id = replica.id().topic.0;
    let elected = || {
        PartitionChangeRecord::default()
            .with_topic_id(id)
            .with_partition_id(0)
            .with_leader(1)
            .with_isr(Some(vec![1, 2]))
    };
    node.apply(&manager, elected());
    assert_eq!(replica.view().leader_epoch, 1);
    let unknown = Err(ErrorCode::OFFSET_NOT_AVAILABLE);
    for isolation in [Isolation::Uncommitted, Isolation::Committed] {
        assert_eq!(ask(OffsetQuery::Latest, isolation), unknown);
        assert_eq!(ask(OffsetQuery::At(1_000), isolation), unknown);
        assert_eq!(ask(OffsetQuery::MaxTimestamp, isolation), unknown);
        assert_eq!(ask(OffsetQuery::Earliest, isolation), Ok(0));
    }
    assert_eq!(ask(OffsetQuery::Latest, Isolation::Replica), Ok(2), "followers ask for the log's end");
    let fetch = FollowerFetch { broker: 2, broker_epoch: -1, offset: 2, log_start: 0 };
    manager.follower_fetched(&replica, 1, fetch);
    assert_eq!(ask(OffsetQuery::Latest, Isolation::Uncommitted), Ok(2));
    assert_eq!(ask(OffsetQuery::At(1_000), Isolation::Committed), Ok(0));
    assert_eq!(ask(OffsetQuery::MaxTimestamp, Isolation::Committed), Ok(1));
}

/// KIP-73.
#[test]
fn followers_that_are_not_in_sync_are_held_back_above_the_rate() {
    let node = Node::new();
    let manager = node.start();
    let replica = node.create_replicated(&manager, "a", &[1, 2]);
    let throttle = |value: &'static str| {
        let record = ConfigRecord::default()
            .with_resource_type(2)
            .with_resource_name("a".to_owned().into())
            .with_name("leader.replication.throttled.replicas".to_owned().into())
            .with_value(Some(value.to_owned().into()));
        node.apply(&manager, record);
    };
    let rate = usize::try_from(common::THROTTLED_RATE).expect("small");
    manager.sent_to_follower(&replica, 100 * rate);
    throttle("0:1,5:9");
    assert!(!manager.holds_back(&replica, 3), "what was sent before does not count");
    manager.sent_to_follower(&replica, rate);
    assert!(!manager.holds_back(&replica, 3), "not more than the rate");
    manager.sent_to_follower(&replica, rate);
    assert!(manager.holds_back(&replica, 3));
    assert!(!manager.holds_back(&replica, 2), "in sync");
    node.clock_to(12_000);
    assert!(!manager.holds_back(&replica, 3), "two seconds have passed for two seconds' bytes");
    node.clock_to(11_000);
    assert!(manager.holds_back(&replica, 3));
    throttle("0:2");
    assert!(!manager.holds_back(&replica, 3), "another broker's replica is meant");
    throttle("*");
    assert!(manager.holds_back(&replica, 3));
}
