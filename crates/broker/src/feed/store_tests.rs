//! The observer's disk: restarts, snapshots of its own and of others, cuts, damage.

use std::{path::Path, sync::Arc};

use ottla_metadata::Fact;
use ottla_protocol::persisted::metadata::{FeatureLevelRecord, TopicRecord};
use ottla_storage::{DirOptions, MetaProperties};
use ottla_types::{Clock, SystemClock};
use uuid::Uuid;

use super::*;

fn open(path: &Path, snapshot_bytes: u64) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if MetaProperties::read(path).expect("readable").is_none() {
        let meta =
            MetaProperties { cluster_id: "c".into(), node_id: 1, directory_id: Some(Uuid::from_u128(7)) };
        meta.write(path).expect("written");
    }
    let dir = LogDir::open(path, DirOptions::default(), clock).expect("it opens");
    Store::open(&dir, LogConfig::default(), snapshot_bytes).expect("it opens")
}

fn topic(name: &str, number: u128) -> Fact {
    let id = Uuid::from_u128(number);
    Fact::at_level(TopicRecord { name: name.to_owned().into(), topic_id: id, ..Default::default() }, 25)
}

/// A batch of one topic at an offset, as a leader sends it.
fn batch(offset: Offset, epoch: LeaderEpoch, name: &str) -> Bytes {
    let number = 1000 + u128::from(offset.unsigned_abs());
    let bytes = records::encode(&[topic(name, number)], Millis(5));
    Batch::parse(&bytes, 0).expect("just built").stamp(offset, epoch).to_bytes()
}

fn topics(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = store.image().topics.iter().map(|topic| topic.name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn what_was_appended_is_there_after_a_restart_and_applied_when_it_is_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), u64::MAX);
    store.append(batch(0, 1, "a")).expect("the disk works").expect("appended");
    store.append(batch(1, 1, "b")).expect("the disk works").expect("appended");
    // Once more, as after a lost answer.
    store.append(batch(1, 1, "b")).expect("the disk works").expect("passed over");
    assert!(store.apply_to(1).expect("applied"));
    assert!(!store.apply_to(1).expect("nothing to do"));
    assert_eq!(topics(&store), ["a"]);
    store.sync().expect("synced");
    drop(store);
    let mut store = open(dir.path(), u64::MAX);
    assert_eq!(store.end(), LogEnd { offset: 2, epoch: 1 });
    assert_eq!(topics(&store), [""; 0], "nobody has said yet what is committed");
    assert!(store.apply_to(2).expect("applied"));
    assert_eq!(topics(&store), ["a", "b"]);
    assert_eq!(store.image().position.offset, 1);
}

#[test]
fn a_log_that_differs_is_cut_but_never_below_what_was_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), u64::MAX);
    for (offset, name) in [(0, "a"), (1, "b"), (2, "c")] {
        store.append(batch(offset, 1, name)).expect("the disk works").expect("appended");
    }
    store.apply_to(1).expect("applied");
    store.truncate(1, 2).expect("the disk works").expect("cut");
    assert_eq!(store.end(), LogEnd { offset: 2, epoch: 1 });
    assert!(store.truncate(0, 0).expect("the disk works").is_err());
    store.append(batch(2, 3, "d")).expect("the disk works").expect("appended");
    store.apply_to(3).expect("applied");
    assert_eq!(topics(&store), ["a", "b", "d"]);
    assert_eq!(store.end().epoch, 3);
}

#[test]
fn snapshots_of_its_own_shorten_the_log_and_are_what_a_restart_begins_with() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), 10);
    let level =
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 25, ..Default::default() };
    let bytes = records::encode(&[Fact::at_level(level, 25)], Millis(5));
    let first = Batch::parse(&bytes, 0).expect("just built").stamp(0, 1).to_bytes();
    store.append(first).expect("the disk works").expect("appended");
    store.append(batch(1, 1, "a")).expect("the disk works").expect("appended");
    store.apply_to(2).expect("applied");
    let log = store.log.path();
    assert_eq!(checkpoint::newest(&log).expect("listed"), Some(SnapshotId { end_offset: 2, epoch: 1 }));
    assert_eq!(store.log.start(), 2);
    drop(store);
    let store = open(dir.path(), 10);
    assert_eq!(topics(&store), ["a"]);
    assert_eq!(store.end(), LogEnd { offset: 2, epoch: 1 });
}

#[test]
fn what_lies_before_a_snapshot_of_its_own_leaves_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || {
        drop(open(dir.path(), u64::MAX));
        let logs = LogDir::open(dir.path(), DirOptions::default(), Arc::new(SystemClock::new()));
        let config = LogConfig { segment_bytes: 300, ..LogConfig::default() };
        Store::open(&logs.expect("it opens"), config, 500).expect("it opens")
    };
    let mut store = open();
    let level =
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 25, ..Default::default() };
    let bytes = records::encode(&[Fact::at_level(level, 25)], Millis(5));
    let first = Batch::parse(&bytes, 0).expect("just built").stamp(0, 1).to_bytes();
    store.append(first).expect("the disk works").expect("appended");
    for offset in 1..40 {
        store.append(batch(offset, 1, &format!("t{offset}"))).expect("the disk works").expect("appended");
        store.apply_to(offset + 1).expect("applied");
    }
    let segments = store.log.reader().segments();
    let start = store.log.start();
    assert!(start > 20 && segments[0].base_offset > 20, "{start}, {segments:?}");
    // The segment that was written to when the start came to its end goes next time.
    assert!(segments.get(2).is_none_or(|next| next.base_offset > start), "{start}, {segments:?}");
    drop(store);
    let mut store = open();
    assert_eq!((store.log.start(), store.end()), (start, LogEnd { offset: 40, epoch: 1 }));
    store.apply_to(40).expect("applied");
    assert_eq!(topics(&store).len(), 39);
}

#[test]
fn a_fetched_snapshot_takes_the_place_of_all_or_of_nothing() {
    let source = tempfile::tempdir().expect("a directory");
    let mut leader = open(source.path(), 10);
    leader.append(batch(0, 1, "a")).expect("the disk works").expect("appended");
    leader.apply_to(1).expect("applied");
    let id = SnapshotId { end_offset: 1, epoch: 1 };
    let bytes = std::fs::read(id.path(&leader.log.path())).expect("its snapshot");

    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), u64::MAX);
    let mut damaged = bytes.clone();
    *damaged.last_mut().expect("it has bytes") ^= 1;
    store.begin_snapshot(id).expect("begun");
    assert!(store.piece(id, &damaged, true).expect("the disk works").is_err());
    assert_eq!((store.end().offset, topics(&store)), (0, Vec::new()));
    store.begin_snapshot(id).expect("begun");
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    for (piece, last) in [(half, false), (rest, true)] {
        store.piece(id, piece, last).expect("the disk works").expect("taken");
    }
    assert_eq!(topics(&store), ["a"]);
    assert_eq!(store.end(), LogEnd { offset: 1, epoch: 1 });
    store.append(batch(1, 1, "b")).expect("the disk works").expect("appended");
    store.apply_to(2).expect("applied");
    assert_eq!(topics(&store), ["a", "b"]);
}

#[test]
fn garbage_from_a_controller_is_an_error_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = open(dir.path(), u64::MAX);
    let mut damaged = batch(0, 1, "a").to_vec();
    *damaged.last_mut().expect("it has bytes") ^= 1;
    assert!(store.append(damaged.into()).expect("the disk works").is_err());
    assert!(store.append(batch(5, 1, "gap")).expect("the disk works").is_err());
    // Half a batch is what a limit on bytes leaves: the rest comes with the next answer.
    let whole = batch(0, 1, "a");
    store.append(whole.slice(..whole.len() - 3)).expect("the disk works").expect("passed over");
    assert_eq!(store.end().offset, 0);
}
