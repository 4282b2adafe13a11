//! Shards over a log in memory whose durability the test decides.

mod stalls;
mod whole;

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use ottla_groups::{
    Answer, Command, CommitPartition, CommitTopic, FetchTopic, GroupsConfig, Heartbeat, JoinGroup,
    ListGroups, OffsetCommit, OffsetFetch, Protocol, State, SyncGroup,
};
use ottla_machine::{Ctx, Token};
use ottla_records::Batch;
use ottla_types::{Clock, ErrorCode, LeaderEpoch, Millis, Offset, TopicId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    BatchIterator, Durable, OffsetsLog, Outcome, Pending,
    load::load,
    shard::{Shard, World},
};

/// Tokio's clock, which the tests hold still.
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn wall(&self) -> Millis {
        Millis(1_000_000).plus(self.ticks().0)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[derive(Default)]
struct Partition {
    batches: Vec<Batch>,
    end: Offset,
}

struct MemoryLog {
    partitions: Mutex<HashMap<i32, Partition>>,
    /// Whether all of it is certain to stay.
    settled: watch::Sender<bool>,
    /// After how many appends one is refused, and why.
    refuse: Mutex<Option<(u64, ErrorCode)>>,
    /// Why it cannot be read.
    unreadable: Mutex<Option<ErrorCode>>,
    /// How many appends are durable; or the error that all the others end with.
    durable: watch::Sender<(u64, Option<ErrorCode>)>,
    appends: AtomicU64,
}

impl MemoryLog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            partitions: Mutex::default(),
            settled: watch::Sender::new(true),
            refuse: Mutex::default(),
            unreadable: Mutex::default(),
            durable: watch::Sender::new((u64::MAX, None)),
            appends: AtomicU64::new(0),
        })
    }

    /// From here on appends stay open until the test says otherwise.
    fn hold(&self) {
        self.durable.send_replace((self.appends.load(Ordering::Acquire), None));
    }

    fn readable(&self) -> Result<(), ErrorCode> {
        self.unreadable.lock().map_or(Ok(()), Err)
    }

    fn refused(&self) -> Result<(), ErrorCode> {
        let mut refuse = self.refuse.lock();
        match &mut *refuse {
            Some((0, error)) => {
                let error = *error;
                *refuse = None;
                Err(error)
            }
            Some((after, _)) => {
                *after -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn release(&self) {
        self.durable.send_replace((u64::MAX, None));
    }
}

impl OffsetsLog for MemoryLog {
    fn append(&self, partition: i32, _: LeaderEpoch, batch: Bytes) -> Result<Option<Durable>, ErrorCode> {
        self.refused()?;
        let mut partitions = self.partitions.lock();
        let log = partitions.entry(partition).or_default();
        let mut batch = Batch::parse(&batch, 0).expect("a batch");
        batch.header.base_offset = log.end;
        log.end = batch.header.next_offset();
        log.batches.push(batch);
        let number = self.appends.fetch_add(1, Ordering::AcqRel) + 1;
        let mut watch = self.durable.subscribe();
        if watch.borrow().0 >= number {
            return Ok(None);
        }
        Ok(Some(Box::pin(async move {
            let state = watch.wait_for(|(durable, error)| *durable >= number || error.is_some()).await;
            let state = *state.expect("the log outlives its appends");
            if state.0 >= number { Ok(()) } else { Err(state.1.unwrap_or_default()) }
        })))
    }

    fn settled(&self, _: i32, _: LeaderEpoch) -> Result<Option<Durable>, ErrorCode> {
        let mut watch = self.settled.subscribe();
        if *watch.borrow() {
            return Ok(None);
        }
        Ok(Some(Box::pin(async move {
            let settled = watch.wait_for(|settled| *settled).await;
            settled.map(drop).map_err(|_| ErrorCode::NOT_LEADER_OR_FOLLOWER)
        })))
    }

    fn bounds(&self, partition: i32) -> Result<Range<Offset>, ErrorCode> {
        self.readable()?;
        Ok(0..self.partitions.lock().get(&partition).map_or(0, |log| log.end))
    }

    fn batches(&self, partition: i32, _: Offset) -> Result<BatchIterator, ErrorCode> {
        self.readable()?;
        let partitions = self.partitions.lock();
        let batches = partitions.get(&partition).map(|log| log.batches.clone()).unwrap_or_default();
        Ok(Box::new(batches.into_iter().map(Ok)))
    }
}

fn world(log: &Arc<MemoryLog>) -> Arc<World> {
    let mut drawn = 0;
    Arc::new(World {
        log: log.clone(),
        clock: Arc::new(TestClock(tokio::time::Instant::now())),
        rng: Mutex::new(Box::new(move || {
            drawn += 1;
            drawn
        })),
        runtime: tokio::runtime::Handle::current(),
    })
}

fn config() -> Arc<GroupsConfig> {
    Arc::new(GroupsConfig { initial_rebalance_delay_ms: 0, ..GroupsConfig::default() })
}

fn open(log: &Arc<MemoryLog>) -> Arc<Shard> {
    let shard = Arc::new(Shard::new(0, 0, world(log)));
    shard.activate(load(&**log, 0, config(), || true).expect("the log is readable"));
    shard
}

fn commit(offset: i64) -> Command {
    let partitions = vec![CommitPartition { partition: 0, offset, leader_epoch: -1, metadata: "".into() }];
    Command::OffsetCommit(OffsetCommit {
        group_id: "g".into(),
        generation_id: -1,
        member_id: "".into(),
        group_instance_id: None,
        retention_time_ms: None,
        tells_unknown_group: true,
        topics: vec![CommitTopic { name: "t".into(), topic_id: TopicId::ZERO, partitions }],
    })
}

fn fetch() -> Command {
    let topics = Some(vec![FetchTopic { name: "t".into(), topic_id: TopicId::ZERO, partitions: vec![0] }]);
    Command::OffsetFetch(OffsetFetch { group_id: "g".into(), topics, require_stable: false })
}

fn join(member_id: &str) -> Command {
    Command::JoinGroup(JoinGroup {
        group_id: "g".into(),
        member_id: member_id.into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        requires_known_member_id: false,
        supports_skipping_assignment: true,
    })
}

fn offset(outcome: Outcome) -> i64 {
    match outcome {
        Ok(Answer::OffsetFetch(fetched)) => fetched.topics[0].partitions[0].offset,
        other => panic!("not an offset: {other:?}"),
    }
}

fn now(pending: Pending) -> Outcome {
    match pending {
        Pending::Now(outcome) => outcome,
        Pending::Later(_) => panic!("not answered yet"),
    }
}

fn later(pending: Pending) -> tokio::sync::oneshot::Receiver<Outcome> {
    match pending {
        Pending::Later(receiver) => receiver,
        Pending::Now(outcome) => panic!("answered too early: {outcome:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_durable_at_once_is_answered_at_once() {
    let shard = open(&MemoryLog::new());
    assert!(matches!(now(shard.submit(commit(5))), Ok(Answer::OffsetCommit(_))));
    assert_eq!(offset(now(shard.submit(fetch()))), 5);
}

#[tokio::test(start_paused = true)]
async fn answers_wait_for_the_facts_before_them_in_order() {
    let log = MemoryLog::new();
    let shard = open(&log);
    log.hold();
    let first = later(shard.submit(commit(5)));
    let mut second = later(shard.submit(commit(6)));
    let read = later(shard.submit(fetch()));
    tokio::task::yield_now().await;
    assert!(second.try_recv().is_err());
    log.release();
    assert!(matches!(first.await, Ok(Ok(Answer::OffsetCommit(_)))));
    assert_eq!(offset(read.await.expect("answered")), 6);
    assert!(second.try_recv().is_ok(), "answered before what came after it");
    assert_eq!(offset(now(shard.submit(fetch()))), 6);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_log_is_told_in_the_coordinators_words() {
    let log = MemoryLog::new();
    let shard = open(&log);
    *log.refuse.lock() = Some((0, ErrorCode::NOT_ENOUGH_REPLICAS));
    let Ok(Answer::OffsetCommit(answer)) = now(shard.submit(commit(5))) else { panic!("a commit's answer") };
    assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(offset(now(shard.submit(fetch()))), -1);
}

#[tokio::test(start_paused = true)]
async fn leadership_that_goes_fails_whoever_waits() {
    let log = MemoryLog::new();
    let shard = open(&log);
    log.hold();
    let waiting = later(shard.submit(commit(5)));
    shard.close(ErrorCode::NOT_COORDINATOR);
    assert_eq!(waiting.await, Ok(Err(ErrorCode::NOT_COORDINATOR)));
    assert_eq!(now(shard.submit(fetch())), Err(ErrorCode::NOT_COORDINATOR));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_loads_says_so_and_another_reads_what_one_wrote() {
    let log = MemoryLog::new();
    let shard = open(&log);
    let joined = later(shard.submit(join("")));
    shard.on_deadline();
    let Ok(Ok(Answer::Join(joined))) = joined.await else { panic!("joined") };
    let sync = SyncGroup {
        group_id: "g".into(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all"))],
    };
    assert!(matches!(now(shard.submit(Command::SyncGroup(sync))), Ok(Answer::Sync(_))));
    shard.close(ErrorCode::NOT_COORDINATOR);

    let next = Arc::new(Shard::new(0, 1, world(&log)));
    assert_eq!(now(next.submit(fetch())), Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    next.topics_deleted(&["t".into()]);
    next.activate(load(&*log, 0, config(), || true).expect("readable"));
    let heartbeat = Heartbeat {
        group_id: "g".into(),
        generation_id: 1,
        member_id: joined.member_id,
        group_instance_id: None,
    };
    assert_eq!(now(next.submit(Command::Heartbeat(heartbeat))), Ok(Answer::Heartbeat(ErrorCode::NONE)));
    let Ok(Answer::List(groups)) = now(next.submit(Command::ListGroups(ListGroups::default()))) else {
        panic!("a list")
    };
    assert_eq!(groups.iter().map(|group| group.state).collect::<Vec<_>>(), [State::Stable]);
}

/// More than one batch takes.
fn large_commit() -> Command {
    let metadata: Arc<str> = "x".repeat(4096).into();
    let partition =
        |partition| CommitPartition { partition, offset: 1, leader_epoch: -1, metadata: metadata.clone() };
    let Command::OffsetCommit(mut large) = commit(1) else { unreachable!() };
    large.topics[0].partitions = (0..300).map(partition).collect();
    Command::OffsetCommit(large)
}

#[tokio::test(start_paused = true)]
async fn many_facts_go_in_several_batches() {
    let log = MemoryLog::new();
    let shard = open(&log);
    assert!(matches!(now(shard.submit(large_commit())), Ok(Answer::OffsetCommit(_))));
    let batches = log.partitions.lock()[&0].batches.clone();
    assert_eq!(batches.iter().map(|batch| batch.header.records_count).sum::<i32>(), 300);
    assert!(batches.len() > 1 && batches.iter().all(|batch| batch.bytes.len() < 1 << 20));
}

#[test]
fn the_replayed_group_takes_office_with_its_sessions() {
    let mut groups = ottla_groups::Groups::new(config());
    let mut rng = || 1;
    let mut ctx = Ctx { now: Millis(0), wall: Millis(0), rng: &mut rng };
    groups.take_office(&mut ctx);
    groups.decide(&mut ctx, Token(0), join(""));
    assert_eq!(groups.deadline(), Some(Millis(0)));
}
