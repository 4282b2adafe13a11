//! Several log dirs: moves between them, dirs that fail, what the controller is told.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{TestClock, batch};
use futures::future::BoxFuture;
use ottla_metadata::{Fact, Image, directory};
use ottla_protocol::{
    messages::{
        AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest,
        AssignReplicasToDirsResponse, assign_replicas_to_dirs_response as response,
    },
    persisted::metadata::{
        FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord,
        TopicRecord,
    },
};
use ottla_replica::{
    AppendOptions, ControllerLink, DirSettings, FetchOptions, Origin, PeerLinks, ReplicaManager,
    ReplicaOptions, ReplicationParts,
};
use ottla_storage::{DirOptions, LogDir, MetaProperties};
use ottla_types::{Clock, ErrorCode, TopicPartition};
use parking_lot::Mutex;
use uuid::Uuid;

const ONE: AppendOptions<'static> =
    AppendOptions { acks: 1, origin: Origin::Client, version: 9, frame: None, leader_epoch: None };
const TOPIC: Uuid = Uuid::from_u128(77);
/// Ids of the dirs `a` and `b`.
const A: Uuid = Uuid::from_u128(1000);
const B: Uuid = Uuid::from_u128(1001);

/// A broker with the dirs `a` and `b`.
struct Node {
    temporary: tempfile::TempDir,
    clock: Arc<TestClock>,
    image: Mutex<Image>,
}

impl Node {
    /// With a topic `t` of so many partitions, whose dirs nobody knows.
    fn new(partitions: i32) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        for (name, id) in [("a", A), ("b", B)] {
            let meta = MetaProperties { cluster_id: "test".into(), node_id: 1, directory_id: Some(id) };
            meta.format(&temporary.path().join(name)).expect("formats");
        }
        let node = Self { temporary, clock: Arc::default(), image: Mutex::new(Image::new()) };
        node.change(
            FeatureLevelRecord::default()
                .with_name("metadata.version".to_owned().into())
                .with_feature_level(27),
        );
        node.change(TopicRecord::default().with_name("t".to_owned().into()).with_topic_id(TOPIC));
        (0..partitions).for_each(|number| node.add(number));
        node
    }

    fn add(&self, number: i32) {
        self.change(
            PartitionRecord::default()
                .with_topic_id(TOPIC)
                .with_partition_id(number)
                .with_replicas(vec![1])
                .with_isr(vec![1])
                .with_leader(1)
                .with_leader_epoch(0)
                .with_partition_epoch(0)
                .with_directories(vec![directory::UNASSIGNED]),
        );
    }

    fn change(&self, record: impl Into<MetadataRecord>) {
        self.image.lock().apply(&Fact::at_level(record, 27));
    }

    /// The controller has taken this dir for a partition.
    fn assigned(&self, number: i32, dir: Uuid) {
        self.change(
            PartitionChangeRecord::default()
                .with_topic_id(TOPIC)
                .with_partition_id(number)
                .with_directories(Some(vec![dir])),
        );
    }

    fn apply(&self, manager: &ReplicaManager) {
        manager.apply_image(&Arc::new(self.image.lock().clone()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn start(&self) -> Arc<ReplicaManager> {
        self.start_with(&["a", "b"], |_| {})
    }

    fn start_with(&self, dirs: &[&str], set: impl FnOnce(&mut ReplicaOptions)) -> Arc<ReplicaManager> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let open = |name: &&str| {
            LogDir::open(self.path(name), DirOptions::default(), Arc::clone(&clock)).expect("opens")
        };
        let opened = dirs.iter().map(open).collect();
        let mut options = ReplicaOptions::new(1);
        set(&mut options);
        let manager = ReplicaManager::open(options, opened, clock).expect("opens");
        self.apply(&manager);
        manager
    }

    fn kill(manager: Arc<ReplicaManager>) {
        manager.halt();
        Arc::into_inner(manager).expect("the threads that held it have ended");
    }

    /// Names of the partitions' directories in a dir, their unique parts left out.
    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).expect("lists");
        let names = entries.map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names
            .filter(|name| name.starts_with("t-") && !name.ends_with("-delete"))
            .map(|name| match name.split_once('.') {
                Some((partition, rest)) => format!("{partition}.{}", rest.rsplit('-').next().unwrap_or(rest)),
                None => name,
            })
            .collect();
        names.sort();
        names
    }
}

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn append(manager: &ReplicaManager, partition: i32) -> Result<i64, ErrorCode> {
    let replica = manager.by_name(&name(partition)).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    manager
        .append(&replica, &batch(10), &ONE)
        .map(|appended| appended.base_offset)
        .map_err(|refused| refused.code)
}

fn content(manager: &ReplicaManager, partition: i32) -> Vec<u8> {
    let replica = manager.by_name(&name(partition)).expect("hosted");
    let batches = replica.batches(0).map(|batch| batch.expect("sound").bytes.to_vec());
    batches.collect::<Vec<_>>().concat()
}

fn until(what: &str, mut good: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if good() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not in time: {what}");
}

fn slow(options: &mut ReplicaOptions) {
    options.dirs = DirSettings { move_bytes_per_second: 20_000, ..DirSettings::default() };
}

#[test]
fn a_replica_moves_while_it_is_written_to_and_read() {
    let node = Node::new(2);
    let manager = node.start();
    assert_eq!((node.names("a"), node.names("b")), (vec!["t-0".to_owned()], vec!["t-1".to_owned()]));
    for _ in 0..200 {
        append(&manager, 0).expect("appended");
    }
    let replica = manager.by_name(&name(0)).expect("hosted");
    let done = AtomicBool::new(false);
    let appended = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut appended = 200;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(append(&manager, 0), Ok(appended * 10));
                appended += 1;
            }
            appended
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let read = replica.batches(0).map(|batch| batch.expect("sound").header.last_offset()).last();
                assert!(read >= Some(1_999));
            }
        });
        for to in ["b", "a", "b"] {
            assert_eq!(manager.alter_log_dir(&name(0), &node.text(to)), Ok(()));
            let from = if to == "a" { "b" } else { "a" };
            let moved = || {
                node.names(to).contains(&"t-0".to_owned()) && !node.names(from).contains(&"t-0".to_owned())
            };
            until("moved", moved);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")
    });
    assert_eq!(manager.failed_dirs(), 0);
    assert_eq!(replica.view().log_end, appended * 10);
    let before = content(&manager, 0);
    drop(replica);
    Node::kill(manager);
    let manager = node.start();
    assert!(content(&manager, 0) == before);
    manager.close(1).expect("closes");
}

#[test]
fn a_move_goes_on_after_a_restart() {
    for clean in [false, true] {
        let node = Node::new(1);
        let manager = node.start_with(&["a", "b"], slow);
        for _ in 0..200 {
            append(&manager, 0).expect("appended");
        }
        assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()));
        let copied = |manager: &ReplicaManager| {
            let dirs = manager.describe_dirs(|_| true);
            dirs.iter().flat_map(|dir| &dir.logs).find(|log| log.is_future).map(|log| (log.size, log.lag))
        };
        until("a part is copied", || copied(&manager).is_some_and(|(size, lag)| size > 0 && lag > 0));
        assert_eq!(node.names("b"), ["t-0.future"]);
        let before = content(&manager, 0);
        if clean {
            manager.close(1).expect("closes");
        }
        Node::kill(manager);
        let manager = node.start();
        until("moved", || node.names("a").is_empty() && node.names("b") == ["t-0"]);
        assert!(content(&manager, 0) == before);
        assert_eq!(append(&manager, 0), Ok(2_000));
        manager.close(1).expect("closes");
    }
}

#[test]
fn a_move_is_cancelled_and_ends_with_its_topic() {
    let node = Node::new(1);
    let manager = node.start_with(&["a", "b"], slow);
    for _ in 0..200 {
        append(&manager, 0).expect("appended");
    }
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()));
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()), "once more");
    assert_eq!(node.names("b"), ["t-0.future"]);
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("a")), Ok(()));
    assert_eq!((node.names("a"), node.names("b")), (vec!["t-0".to_owned()], vec![]));
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()));
    node.change(RemoveTopicRecord::default().with_topic_id(TOPIC));
    node.apply(&manager);
    assert_eq!((node.names("a"), node.names("b")), (vec![], vec![]));
    assert_eq!(manager.failed_dirs(), 0);
    manager.close(1).expect("closes");
}

/// The process died between the two renames of a swap.
#[test]
fn a_copy_whose_log_is_gone_takes_its_place() {
    let node = Node::new(1);
    let manager = node.start();
    append(&manager, 0).expect("appended");
    let before = content(&manager, 0);
    Node::kill(manager);
    let copy = format!("t-0.{}-future", "0123456789abcdef".repeat(2));
    fs::rename(node.path("a").join("t-0"), node.path("b").join(copy)).expect("renames");
    // Not while its log may be in a dir that is offline.
    node.assigned(0, A);
    let manager = node.start_with(&["b"], |options| options.offline_dirs = vec![node.path("a")]);
    assert!(manager.by_name(&name(0)).is_none());
    assert_eq!(node.names("b"), ["t-0.future"]);
    Node::kill(manager);
    let manager = node.start();
    assert!(content(&manager, 0) == before);
    assert_eq!((node.names("a"), node.names("b")), (vec![], vec!["t-0".to_owned()]));
    manager.close(1).expect("closes");
}

#[test]
fn a_copy_of_a_partition_that_is_not_here_any_more_is_a_stray() {
    let node = Node::new(1);
    let manager = node.start_with(&["a", "b"], slow);
    append(&manager, 0).expect("appended");
    for _ in 0..200 {
        append(&manager, 0).expect("appended");
    }
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()));
    Node::kill(manager);
    node.change(RemoveTopicRecord::default().with_topic_id(TOPIC));
    let manager = node.start();
    assert_eq!(
        (node.names("a"), node.names("b")),
        (vec!["t-0.stray".to_owned()], vec!["t-0.stray".to_owned()])
    );
    manager.close(1).expect("closes");
}

/// The disk is gone from under a dir.
fn pull(node: &Node, dir: &str, partition: &str) {
    fs::rename(node.path(dir).join(partition), node.temporary.path().join("gone")).expect("renames");
}

#[test]
fn a_dir_that_fails_takes_only_its_replicas_along() {
    let node = Node::new(2);
    let manager = node.start();
    append(&manager, 1).expect("appended");
    pull(&node, "a", "t-0");
    let mut failed = manager.watch_failed_dirs();
    failed.mark_unchanged();
    assert_eq!(append(&manager, 0), Err(ErrorCode::KAFKA_STORAGE_ERROR));
    until("it is told", || failed.has_changed().expect("the manager is there"));
    assert_eq!((manager.failed_dirs(), *failed.borrow()), (1, 1));
    assert_eq!((manager.offline_dir_ids(), manager.online_dir_ids()), (vec![A], vec![B]));
    assert!(manager.is_dir_offline(&node.path("a")) && !manager.is_dir_offline(&node.path("b")));
    assert_eq!(append(&manager, 1), Ok(10));
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Err(ErrorCode::KAFKA_STORAGE_ERROR));
    assert_eq!(manager.alter_log_dir(&name(1), &node.text("a")), Err(ErrorCode::KAFKA_STORAGE_ERROR));
    assert_eq!(manager.describe_dirs(|_| true).len(), 1);
    // A new partition goes to the dir that is left, but none whose log may be in the other one.
    node.add(2);
    node.add(3);
    node.assigned(3, A);
    node.apply(&manager);
    assert_eq!(append(&manager, 2), Ok(0));
    assert!(manager.by_name(&name(3)).is_none());
    manager.close(1).expect("closes what is left");
}

#[test]
fn a_dir_that_cannot_be_loaded_is_offline_from_the_start() {
    let node = Node::new(2);
    let manager = node.start();
    append(&manager, 0).expect("appended");
    append(&manager, 1).expect("appended");
    Node::kill(manager);
    node.assigned(0, A);
    let metadata = node.path("a").join("t-0/partition.metadata");
    fs::remove_file(&metadata).expect("removes");
    fs::create_dir(&metadata).expect("creates");
    let manager = node.start();
    assert_eq!((manager.failed_dirs(), manager.offline_dir_ids()), (1, vec![A]));
    assert!(manager.by_name(&name(0)).is_none(), "not begun anew elsewhere");
    assert_eq!(append(&manager, 1), Ok(10));
    manager.close(1).expect("closes what is left");
}

#[test]
fn new_replicas_go_where_there_are_few_and_where_it_was_asked_for() {
    let node = Node::new(4);
    let manager = node.start();
    assert_eq!((node.names("a").len(), node.names("b").len()), (2, 2));
    assert_eq!(
        manager.alter_log_dir(&name(4), &node.text("b")),
        Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        "and it is remembered"
    );
    node.add(4);
    node.add(5);
    node.assigned(5, B);
    node.apply(&manager);
    assert_eq!((node.names("a").len(), node.names("b").len()), (2, 4));
    manager.close(1).expect("closes");
    Node::kill(manager);
    let cordoned = vec![node.path("a")];
    let manager = node.start_with(&["a", "b"], |options| {
        options.dirs = DirSettings { cordoned, ..DirSettings::default() };
    });
    assert_eq!(manager.cordoned_dir_ids(), [A]);
    node.add(6);
    node.apply(&manager);
    assert_eq!((node.names("a").len(), node.names("b").len()), (2, 5));
    assert_eq!(manager.alter_log_dir(&name(6), &node.text("a")), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
    manager.close(1).expect("closes");
}

/// A controller that writes down what it is told, and refuses for a while.
#[derive(Clone, Default)]
struct Told {
    dirs: Arc<Mutex<Vec<(i32, Uuid)>>>,
    deaf: Arc<AtomicBool>,
}

impl ControllerLink for Told {
    fn alter_partition(
        &self,
        _: AlterPartitionRequest,
    ) -> BoxFuture<'_, Result<AlterPartitionResponse, ErrorCode>> {
        Box::pin(async { Err(ErrorCode::NOT_CONTROLLER) })
    }

    fn assign_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
    ) -> BoxFuture<'_, Result<AssignReplicasToDirsResponse, ErrorCode>> {
        Box::pin(async move {
            assert_eq!((request.broker_id.0, request.broker_epoch), (1, 5));
            if self.deaf.load(Ordering::Relaxed) {
                return Err(ErrorCode::NOT_CONTROLLER);
            }
            let mut answer = AssignReplicasToDirsResponse::default();
            for dir in &request.directories {
                let mut told = response::DirectoryData::default().with_id(dir.id);
                for topic in &dir.topics {
                    let mut partitions = Vec::new();
                    for partition in &topic.partitions {
                        self.dirs.lock().push((partition.partition_index, dir.id));
                        partitions.push(
                            response::PartitionData::default()
                                .with_partition_index(partition.partition_index),
                        );
                    }
                    told.topics.push(
                        response::TopicData::default()
                            .with_topic_id(topic.topic_id)
                            .with_partitions(partitions),
                    );
                }
                answer.directories.push(told);
            }
            Ok(answer)
        })
    }
}

impl Told {
    fn start(&self, manager: &Arc<ReplicaManager>) {
        manager.start_replication(ReplicationParts {
            options: FetchOptions::new("PLAINTEXT"),
            links: Arc::new(PeerLinks::new("test", Duration::from_secs(1))),
            controller: Arc::new(self.clone()),
            runtime: tokio::runtime::Handle::current(),
        });
        manager.set_broker_epoch(5);
    }

    /// What it was told last of each partition.
    fn take_last(&self) -> BTreeMap<i32, Uuid> {
        std::mem::take(&mut *self.dirs.lock()).into_iter().collect()
    }

    fn take(&self) -> Vec<(i32, Uuid)> {
        let mut dirs = std::mem::take(&mut *self.dirs.lock());
        dirs.sort();
        dirs
    }
}

/// A log that is damaged from the last run on.
fn damage(node: &Node, dir: &str, partition: &str) {
    let log = node.path(dir).join(partition);
    fs::create_dir(&log).expect("creates");
    fs::write(log.join("partition.metadata"), "version: 0\ntopic_id: nonsense").expect("writes");
    fs::write(log.join("00000000000000000000.log"), [1; 100]).expect("writes");
}

#[test]
fn a_clean_end_is_none_while_a_damaged_replica_is_counted_on() {
    let node = Node::new(2);
    damage(&node, "a", "t-1");
    let epoch = 2;
    let ends_with = |expected: i64| {
        let manager = node.start();
        manager.close(epoch).expect("closes");
        Node::kill(manager);
        for dir in ["a", "b"] {
            let clock = Arc::clone(&node.clock) as Arc<dyn Clock>;
            let opened = LogDir::open(node.path(dir), DirOptions::default(), clock).expect("opens");
            assert_eq!(opened.previous_broker_epoch(), Some(expected), "{dir}");
        }
    };
    let leaves = |elr: Vec<i32>| {
        node.change(
            PartitionChangeRecord::default()
                .with_topic_id(TOPIC)
                .with_partition_id(1)
                .with_isr(Some(Vec::new()))
                .with_leader(-1)
                .with_eligible_leader_replicas(Some(elr)),
        );
    };
    // In sync, as far as is known; then eligible.
    ends_with(-1);
    leaves(vec![1]);
    ends_with(-1);
    // Nobody counts on it: the others are as good as they are.
    leaves(Vec::new());
    ends_with(epoch);
    // Until this broker knows that, it may be otherwise.
    *node.image.lock() = Image::new();
    ends_with(-1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_is_told_of_dirs_and_of_losses() {
    let node = Node::new(3);
    damage(&node, "a", "t-2");
    let (manager, told) = (node.start(), Told::default());
    told.start(&manager);
    manager.dirs_assigned().await;
    assert!(manager.by_name(&name(2)).is_none(), "damaged");
    assert_eq!(told.take(), [(0, A), (1, B), (2, directory::LOST)]);
    // Partition 0 is known to be in `a`, of 3 the controller has not heard when the dir fails.
    for (number, dir) in [(0, A), (1, B), (2, directory::LOST)] {
        node.assigned(number, dir);
    }
    node.apply(&manager);
    told.deaf.store(true, Ordering::Relaxed);
    node.add(3);
    node.apply(&manager);
    pull(&node, "a", "t-0");
    assert_eq!(append(&manager, 0), Err(ErrorCode::KAFKA_STORAGE_ERROR));
    let mut failed = manager.watch_failed_dirs();
    failed.wait_for(|failed| *failed == 1).await.expect("the manager is there");
    told.deaf.store(false, Ordering::Relaxed);
    manager.dirs_assigned().await;
    let lost = if node.names("a").contains(&"t-3".to_owned()) { directory::LOST } else { B };
    // What was on its way when the dir failed may have arrived before it.
    assert_eq!(told.take_last(), BTreeMap::from([(3, lost)]));
    manager.close(1).expect("closes what is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_waits_for_the_controller() {
    let node = Node::new(1);
    node.assigned(0, A);
    let (manager, told) = (node.start(), Told::default());
    told.start(&manager);
    append(&manager, 0).expect("appended");
    told.deaf.store(true, Ordering::Relaxed);
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()));
    let copied = || {
        manager
            .describe_dirs(|_| true)
            .iter()
            .flat_map(|dir| &dir.logs)
            .any(|log| log.is_future && log.size > 0)
    };
    until("copied", copied);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((node.names("a"), node.names("b")), (vec!["t-0".to_owned()], vec!["t-0.future".to_owned()]));
    assert!(told.take().is_empty());
    told.deaf.store(false, Ordering::Relaxed);
    until("moved", || node.names("b") == ["t-0"]);
    assert_eq!(told.take(), [(0, B)]);
    // An image that is behind does not bring it back, and the newer one says nothing new.
    node.add(1);
    node.apply(&manager);
    node.assigned(0, B);
    node.apply(&manager);
    manager.dirs_assigned().await;
    assert_eq!(append(&manager, 0), Ok(10));
    assert!(Path::new(&node.path("b").join("t-0")).exists());
    manager.close(1).expect("closes");
}

/// A node whose partition is in `a`, copied to `b`, and waits for the controller before it is swapped.
fn about_to_swap(node: &Node) -> (Arc<ReplicaManager>, Told) {
    node.assigned(0, A);
    let (manager, told) = (node.start(), Told::default());
    told.start(&manager);
    for at in 0..20 {
        assert_eq!(append(&manager, 0), Ok(at * 10));
    }
    told.deaf.store(true, Ordering::Relaxed);
    assert_eq!(manager.alter_log_dir(&name(0), &node.text("b")), Ok(()));
    until("copied", || {
        let dirs = manager.describe_dirs(|_| true);
        dirs.iter().flat_map(|dir| &dir.logs).any(|log| log.is_future && log.size > 0)
    });
    (manager, told)
}

/// The swap fails with its dir, and the log serves on where it was, with all that is in it.
async fn swap_fails(node: &Node, manager: Arc<ReplicaManager>, told: &Told) {
    let before = content(&manager, 0);
    told.deaf.store(false, Ordering::Relaxed);
    until("the dir has failed", || manager.is_dir_offline(&node.path("b")));
    until("it serves", || append(&manager, 0) == Ok(200));
    assert!(!manager.is_dir_offline(&node.path("a")));
    assert_eq!((node.names("a"), manager.offline_dir_ids()), (vec!["t-0".to_owned()], vec![B]));
    assert!(content(&manager, 0).starts_with(&before));
    // The controller had taken the new dir, and hears that it is the old one.
    node.assigned(0, B);
    node.apply(&manager);
    manager.dirs_assigned().await;
    until("the old dir is assigned", || told.dirs.lock().last() == Some(&(0, A)));
    node.assigned(0, A);
    node.apply(&manager);
    let before = content(&manager, 0);
    manager.close(1).expect("closes what is left");
    drop(manager);
    let manager = node.start_with(&["a"], |options| options.offline_dirs = vec![node.path("b")]);
    assert!(content(&manager, 0) == before);
    manager.close(1).expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dir_where_the_log_gets_no_name_leaves_it_where_it_was() {
    let node = Node::new(1);
    let (manager, told) = about_to_swap(&node);
    fs::create_dir(node.path("b").join("t-0")).expect("creates");
    swap_fails(&node, manager, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_gone_before_the_swap_takes_nothing_along() {
    let node = Node::new(1);
    let (manager, told) = about_to_swap(&node);
    let mut entries = fs::read_dir(node.path("b")).expect("lists").map(|entry| entry.expect("lists").path());
    let copy = entries.find(|path| path.to_string_lossy().ends_with("-future")).expect("there is a copy");
    fs::rename(copy, node.temporary.path().join("gone")).expect("renames");
    swap_fails(&node, manager, &told).await;
}
