//! Several log dirs: what fails takes only its own along, and what moves is not missed.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ottla_protocol::{
    StrBytes,
    messages::{
        AlterReplicaLogDirsRequest, DescribeLogDirsRequest, MetadataRequest,
        alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
        metadata_request::MetadataRequestTopic,
    },
};
use ottla_records::Producer;
use support::{
    Client, Home, Node, PATIENCE,
    requests::{batch, create_topic, produce, read_all, topic_name},
};

const TOPIC: &str = "spread";
const STORAGE_ERROR: i16 = 56;

/// A node with the dirs `a`, where the metadata is, and `b`.
struct Dirs(Home);

impl Dirs {
    fn new() -> Self {
        Self(Home::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn overrides(&self) -> String {
        format!("log.dirs={},{}", self.text("a"), self.text("b"))
    }

    fn start(&self) -> Node {
        self.0.start(&[&self.overrides()])
    }
}

/// Codes and partitions of each dir, copies left out.
fn described(client: &mut Client) -> Vec<(i16, Vec<i32>)> {
    let answer = client.call(4, &DescribeLogDirsRequest::default().with_topics(None));
    assert_eq!(answer.error_code, 0);
    let dirs = answer.results.iter().map(|dir| {
        let ours = dir.topics.iter().filter(|topic| topic.name.as_str() == TOPIC);
        let logs = ours.flat_map(|topic| &topic.partitions).filter(|log| !log.is_future_key);
        (dir.error_code, logs.map(|log| log.partition_index).collect())
    });
    dirs.collect()
}

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

fn until(what: &str, mut good: impl FnMut() -> bool) {
    // Waits are counted: there is no clock in tests.
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if good() {
            return;
        }
        std::thread::sleep(STEP);
    }
    panic!("not in time: {what}");
}

/// The leaders of the topic's partitions.
fn leaders(client: &mut Client) -> Vec<i32> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    let answer = client.call(12, &MetadataRequest::default().with_topics(Some(vec![topic])));
    let mut partitions = answer.topics[0].partitions.clone();
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions.iter().map(|partition| partition.leader_id.0).collect()
}

fn plain(value: &str) -> bytes::Bytes {
    batch([value.as_bytes()], Producer { id: -1, epoch: -1, base_sequence: -1 })
}

fn pull(dir: &Path, to: &Path) {
    fs::rename(dir, to).expect("renames");
}

#[test]
fn a_dir_that_fails_leaves_the_broker_and_the_other_partitions_alone() {
    let dirs = Dirs::new();
    let node = dirs.start();
    let mut client = node.connect();
    create_topic(&mut client, TOPIC, 2, &[]);
    let before = described(&mut client);
    assert_eq!(before.iter().map(|(code, logs)| (*code, logs.len())).collect::<Vec<_>>(), [(0, 1), (0, 1)]);
    let (works, fails) = (before[0].1[0], before[1].1[0]);
    assert_eq!(produce(&mut client, TOPIC, works, plain("one")).error_code, 0);
    pull(&dirs.path("b").join(format!("{TOPIC}-{fails}")), &dirs.path("gone"));
    assert_eq!(produce(&mut client, TOPIC, fails, plain("lost")).error_code, STORAGE_ERROR);
    // The controller has heard of it: nobody leads the partition.
    until("no leader", || leaders(&mut client)[fails as usize] == -1);
    assert_eq!(leaders(&mut client)[works as usize], 1);
    assert_eq!(produce(&mut client, TOPIC, works, plain("two")).error_code, 0);
    assert_eq!(described(&mut client), [(0, vec![works]), (STORAGE_ERROR, vec![])]);
    node.assert_well();
    node.kill();
    // The disk is back, and so is its replica; it leads at once.
    pull(&dirs.path("gone"), &dirs.path("b").join(format!("{TOPIC}-{fails}")));
    let node = dirs.start();
    let mut client = node.connect();
    until("both lead", || leaders(&mut client) == [1, 1]);
    assert_eq!(produce(&mut client, TOPIC, fails, plain("kept")).error_code, 0);
    assert_eq!(read_all(&mut client, TOPIC, works).len(), 2);
    assert!(node.terminate().success());
}

#[test]
fn a_dir_that_is_not_readable_at_the_start_is_offline() {
    let dirs = Dirs::new();
    let node = dirs.start();
    let mut client = node.connect();
    create_topic(&mut client, TOPIC, 2, &[]);
    let (works, fails) = (described(&mut client)[0].1[0], described(&mut client)[1].1[0]);
    for partition in [works, fails] {
        assert_eq!(produce(&mut client, TOPIC, partition, plain("one")).error_code, 0);
    }
    drop(client);
    assert!(node.terminate().success());
    let meta = dirs.path("b").join("meta.properties");
    let sound = fs::read(&meta).expect("reads");
    fs::write(&meta, "version=1\ncluster.id=\n").expect("writes");
    let node = dirs.start();
    let mut client = node.connect();
    assert_eq!(described(&mut client), [(0, vec![works]), (STORAGE_ERROR, vec![])]);
    assert_eq!(leaders(&mut client)[fails as usize], -1);
    assert_eq!(produce(&mut client, TOPIC, works, plain("two")).error_code, 0);
    drop(client);
    assert!(node.terminate().success());
    // Nothing was begun anew elsewhere.
    fs::write(&meta, sound).expect("writes");
    let node = dirs.start();
    let mut client = node.connect();
    until("both lead", || leaders(&mut client) == [1, 1]);
    assert_eq!(
        (read_all(&mut client, TOPIC, works).len(), read_all(&mut client, TOPIC, fails).len()),
        (2, 1)
    );
    assert!(node.terminate().success());
}

#[test]
fn it_ends_when_the_log_dir_of_the_metadata_has_failed() {
    let dirs = Dirs::new();
    let node = dirs.start();
    let mut client = node.connect();
    create_topic(&mut client, TOPIC, 2, &[]);
    let fails = described(&mut client)[0].1[0];
    pull(&dirs.path("a").join(format!("{TOPIC}-{fails}")), &dirs.path("gone"));
    assert_eq!(produce(&mut client, TOPIC, fails, plain("lost")).error_code, STORAGE_ERROR);
    let (status, said) = node.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Shutdown broker because the metadata log dir"), "{said}");
}

#[test]
fn a_replica_moves_to_another_dir_and_back() {
    let dirs = Dirs::new();
    let node = dirs.start();
    let mut client = node.connect();
    create_topic(&mut client, TOPIC, 1, &[]);
    let mut wrote = 0;
    for to in ["b", "a", "b"] {
        let topic = AlterReplicaLogDirTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![0]);
        let dir = AlterReplicaLogDir::default()
            .with_path(StrBytes::from_string(dirs.text(to)))
            .with_topics(vec![topic]);
        let answer = client.call(2, &AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]));
        assert_eq!(answer.results[0].partitions[0].error_code, 0);
        let at = usize::from(to == "b");
        until("moved", || {
            assert_eq!(produce(&mut client, TOPIC, 0, plain("more")).error_code, 0);
            wrote += 1;
            described(&mut client)[at].1 == [0]
        });
    }
    assert_eq!(read_all(&mut client, TOPIC, 0).len(), wrote);
    node.kill();
    let node = dirs.start();
    let mut client = node.connect();
    assert_eq!(described(&mut client)[1].1, [0]);
    assert_eq!(read_all(&mut client, TOPIC, 0).len(), wrote);
    assert!(node.terminate().success());
}
