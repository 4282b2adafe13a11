//! The coordinators as the broker has them: following the image, waking for deadlines.

use ottla_metadata::{Fact, Image};
use ottla_protocol::{
    StrBytes,
    persisted::metadata::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord},
};

use super::*;
use crate::{CoordinatorConfig, Coordinators, OFFSETS_TOPIC};

const OFFSETS_ID: TopicId = TopicId::METADATA;

fn start(log: &Arc<MemoryLog>) -> Arc<Coordinators> {
    let mut drawn = 0;
    let rng = Box::new(move || {
        drawn += 1;
        drawn
    });
    let config = CoordinatorConfig { groups: config(), ..CoordinatorConfig::new(1) };
    let clock = Arc::new(TestClock(tokio::time::Instant::now()));
    Coordinators::start(config, log.clone(), clock, rng, tokio::runtime::Handle::current())
}

fn with(image: &Arc<Image>, records: Vec<MetadataRecord>) -> Arc<Image> {
    let mut image = Image::clone(image);
    for record in records {
        image.apply(&Fact::Record(record, 0));
    }
    Arc::new(image)
}

fn topic(name: &'static str, id: TopicId) -> MetadataRecord {
    MetadataRecord::Topic(
        TopicRecord::default().with_name(StrBytes::from_static_str(name)).with_topic_id(id.0),
    )
}

fn partition(id: TopicId, index: i32, leader: i32, epoch: i32) -> MetadataRecord {
    let record = PartitionRecord::default().with_topic_id(id.0).with_partition_id(index);
    let record =
        record.with_replicas(vec![1, 2]).with_isr(vec![1, 2]).with_leader(leader).with_leader_epoch(epoch);
    MetadataRecord::Partition(record)
}

/// Two partitions, both led by broker 1.
fn offsets_topic() -> Arc<Image> {
    let records = vec![
        topic(OFFSETS_TOPIC, OFFSETS_ID),
        partition(OFFSETS_ID, 0, 1, 0),
        partition(OFFSETS_ID, 1, 1, 0),
    ];
    with(&Arc::new(Image::new()), records)
}

async fn ask(coordinators: &Coordinators, command: Command) -> Outcome {
    coordinators.submit("g", command).outcome().await
}

/// What is told first that is not `error`.
async fn when_no_longer(error: ErrorCode, coordinators: &Coordinators) -> Outcome {
    for _ in 0..1000 {
        match ask(coordinators, fetch()).await {
            Err(told) if told == error => tokio::time::sleep(Duration::from_millis(50)).await,
            outcome => return outcome,
        }
    }
    panic!("it stays at {error}")
}

/// What is told when the partition has been read back, or could not be.
async fn when_loaded(coordinators: &Coordinators) -> Outcome {
    when_no_longer(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, coordinators).await
}

#[tokio::test(start_paused = true)]
async fn without_the_topic_nobody_is_the_coordinator() {
    let coordinators = start(&MemoryLog::new());
    assert_eq!(ask(&coordinators, fetch()).await, Err(ErrorCode::NOT_COORDINATOR));
    let listing = coordinators.list(&ListGroups::default()).await;
    assert_eq!((listing.error, listing.groups.len()), (ErrorCode::NONE, 0));
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_without_being_asked() {
    let coordinators = start(&MemoryLog::new());
    coordinators.apply_image(&offsets_topic());
    // Answered when the initial delay is over, which nobody but the timer sees.
    let Ok(Answer::Join(joined)) = ask(&coordinators, join("")).await else { panic!("joined") };
    assert_eq!((joined.error, joined.generation_id), (ErrorCode::NONE, 1));
    let state = || async {
        match ask(&coordinators, Command::DescribeGroup("g".into())).await {
            Ok(Answer::Describe(Some(group))) => Some(group.state),
            _ => None,
        }
    };
    assert_eq!(state().await, Some(State::CompletingRebalance));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(state().await, Some(State::Empty), "the member was silent");
    // The group has no offsets: it goes at the next look.
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(state().await, None);
    assert_eq!(coordinators.deadline(), None, "nothing is waited for");
}

#[tokio::test(start_paused = true)]
async fn partitions_come_and_go_with_leadership() {
    let log = MemoryLog::new();
    let coordinators = start(&log);
    let image = offsets_topic();
    coordinators.apply_image(&image);
    assert!(matches!(ask(&coordinators, commit(7)).await, Ok(Answer::OffsetCommit(_))));
    let waiting = coordinators.submit("g", join(""));
    // The epoch alone changes: nobody else can have led, so nothing is read back and nobody is disturbed.
    let image = with(&image, vec![partition(OFFSETS_ID, 0, 1, 1), partition(OFFSETS_ID, 1, 1, 1)]);
    coordinators.apply_image(&image);
    assert_eq!(offset(ask(&coordinators, fetch()).await), 7);
    let elsewhere = with(&image, vec![partition(OFFSETS_ID, 0, 2, 2), partition(OFFSETS_ID, 1, 2, 2)]);
    coordinators.apply_image(&elsewhere);
    assert_eq!(waiting.outcome().await, Err(ErrorCode::NOT_COORDINATOR));
    assert_eq!(ask(&coordinators, fetch()).await, Err(ErrorCode::NOT_COORDINATOR));
    let back = with(&elsewhere, vec![partition(OFFSETS_ID, 0, 1, 3), partition(OFFSETS_ID, 1, 1, 3)]);
    coordinators.apply_image(&back);
    // Read back on another thread: until then it says so.
    assert_eq!(offset(when_loaded(&coordinators).await), 7);
    coordinators.close();
    assert_eq!(ask(&coordinators, fetch()).await, Err(ErrorCode::NOT_COORDINATOR));
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_under_the_name_is_another_one() {
    let coordinators = start(&MemoryLog::new());
    let image = offsets_topic();
    coordinators.apply_image(&image);
    let waiting = coordinators.submit("g", join(""));
    let gone = MetadataRecord::RemoveTopic(RemoveTopicRecord::default().with_topic_id(OFFSETS_ID.0));
    let id: TopicId = "g5L49SmvR8ONiDztWrwIuw".parse().expect("an id");
    let anew = vec![gone, topic(OFFSETS_TOPIC, id), partition(id, 0, 1, 0), partition(id, 1, 1, 0)];
    coordinators.apply_image(&with(&image, anew));
    assert_eq!(waiting.outcome().await, Err(ErrorCode::NOT_COORDINATOR));
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_with_the_topic_of_its_last_offset() {
    let coordinators = start(&MemoryLog::new());
    let id: TopicId = "g5L49SmvR8ONiDztWrwIuw".parse().expect("an id");
    let image = with(&offsets_topic(), vec![topic("t", id), partition(id, 0, 1, 0)]);
    coordinators.apply_image(&image);
    assert!(matches!(ask(&coordinators, commit(7)).await, Ok(Answer::OffsetCommit(_))));
    assert_eq!(offset(ask(&coordinators, fetch()).await), 7);
    let gone = MetadataRecord::RemoveTopic(RemoveTopicRecord::default().with_topic_id(id.0));
    // The timer has already gone to sleep until the offset would expire.
    tokio::time::sleep(Duration::from_secs(1)).await;
    coordinators.apply_image(&with(&image, vec![gone]));
    // The group goes at the next look, which nobody but the timer sees.
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert!(coordinators.list(&ListGroups::default()).await.groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_deleted_topic_are_not_told() {
    let coordinators = start(&MemoryLog::new());
    let id: TopicId = "g5L49SmvR8ONiDztWrwIuw".parse().expect("an id");
    let image = with(&offsets_topic(), vec![topic("t", id), partition(id, 0, 1, 0)]);
    coordinators.apply_image(&image);
    assert!(matches!(ask(&coordinators, commit(7)).await, Ok(Answer::OffsetCommit(_))));
    let gone = MetadataRecord::RemoveTopic(RemoveTopicRecord::default().with_topic_id(id.0));
    coordinators.apply_image(&with(&image, vec![gone]));
    assert_eq!(offset(ask(&coordinators, fetch()).await), -1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_that_may_not_stay() {
    let log = MemoryLog::new();
    let coordinators = start(&log);
    let image = offsets_topic();
    coordinators.apply_image(&image);
    assert!(matches!(ask(&coordinators, commit(7)).await, Ok(Answer::OffsetCommit(_))));
    let elsewhere = with(&image, vec![partition(OFFSETS_ID, 0, 2, 1), partition(OFFSETS_ID, 1, 2, 1)]);
    coordinators.apply_image(&elsewhere);
    // It leads again, and nobody has fetched from it yet.
    log.settled.send_replace(false);
    let back = with(&elsewhere, vec![partition(OFFSETS_ID, 0, 1, 2), partition(OFFSETS_ID, 1, 1, 2)]);
    coordinators.apply_image(&back);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ask(&coordinators, fetch()).await, Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    log.settled.send_replace(true);
    assert_eq!(offset(when_loaded(&coordinators).await), 7);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_tried_again_while_it_is_led() {
    let log = MemoryLog::new();
    let coordinators = start(&log);
    let id: TopicId = "g5L49SmvR8ONiDztWrwIuw".parse().expect("an id");
    let image = with(&offsets_topic(), vec![topic("u", id), partition(id, 0, 1, 0)]);
    coordinators.apply_image(&image);
    assert!(matches!(ask(&coordinators, commit(7)).await, Ok(Answer::OffsetCommit(_))));
    let Command::OffsetCommit(mut doomed) = commit(8) else { unreachable!() };
    doomed.topics[0].name = "u".into();
    assert!(ask(&coordinators, Command::OffsetCommit(doomed)).await.is_ok());
    let elsewhere = with(&image, vec![partition(OFFSETS_ID, 0, 2, 1), partition(OFFSETS_ID, 1, 2, 1)]);
    coordinators.apply_image(&elsewhere);

    *log.unreadable.lock() = Some(ErrorCode::KAFKA_STORAGE_ERROR);
    let back = with(&elsewhere, vec![partition(OFFSETS_ID, 0, 1, 2), partition(OFFSETS_ID, 1, 1, 2)]);
    coordinators.apply_image(&back);
    assert_eq!(when_loaded(&coordinators).await, Err(ErrorCode::NOT_COORDINATOR));
    assert_eq!(coordinators.list(&ListGroups::default()).await.error, ErrorCode::NONE);
    // A topic goes meanwhile, with its offsets.
    let gone = MetadataRecord::RemoveTopic(RemoveTopicRecord::default().with_topic_id(id.0));
    coordinators.apply_image(&with(&back, vec![gone]));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(ask(&coordinators, fetch()).await, Err(ErrorCode::NOT_COORDINATOR));

    *log.unreadable.lock() = None;
    let found = when_no_longer(ErrorCode::NOT_COORDINATOR, &coordinators).await;
    assert_eq!(offset(found), 7);
    let all = Command::OffsetFetch(OffsetFetch { group_id: "g".into(), topics: None, require_stable: false });
    let Ok(Answer::OffsetFetch(all)) = ask(&coordinators, all).await else { panic!("offsets") };
    assert_eq!(all.topics.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["t"]);
}
