//! What a start finds that it did not expect: strays, unfinished creations, lost ids, damage, duplicates.

mod common;

use std::{fs, path::Path, sync::Arc};

use common::{Node, batch};
use ottla_replica::{AppendOptions, Origin, ReplicaManager, ReplicaOptions};
use ottla_storage::{DirOptions, Fault, LogDir};
use ottla_types::{Clock, SystemClock};

const ONE: AppendOptions<'static> =
    AppendOptions { acks: 1, origin: Origin::Client, version: 9, frame: None, leader_epoch: None };
const SEGMENT: &str = "00000000000000000000.log";

/// A broker with a topic `a` of `records` records per partition, killed.
fn killed(partitions: i32, records: usize) -> Node {
    let node = Node::new();
    let manager = node.start();
    node.create(&manager, "a", partitions);
    if records > 0 {
        manager.each(|replica| {
            manager.append(replica, &batch(records), &ONE).expect("appended");
        });
    }
    node.kill(manager);
    node
}

fn end(manager: &ReplicaManager, partition: i32) -> Option<i64> {
    Some(manager.topic("a")?.partition(partition)?.view().log_end)
}

#[test]
fn strays_are_kept() {
    let node = killed(1, 4);
    let before = fs::read(node.path().join("a-0").join(SEGMENT)).expect("reads");
    node.forget("a");
    let manager = node.start();
    let strays = |node: &Node| node.names(|name| name.starts_with("a-0"));
    let kept = strays(&node);
    assert!(kept.len() == 1 && kept[0].ends_with("-stray"), "{kept:?}");
    assert_eq!(fs::read(node.path().join(&kept[0]).join(SEGMENT)).expect("reads"), before);

    // Another topic of the name takes nothing of it, and becomes a stray itself when there is a third.
    let replica = node.create(&manager, "a", 1);
    assert_eq!(replica.view().log_end, 0);
    manager.append(&replica, &batch(2), &ONE).expect("appended");
    drop(replica);
    node.kill(manager);
    node.clock_to(20_000);
    node.forget("a");
    node.declare("a", 1);
    let manager = node.start();
    assert_eq!(end(&manager, 0), Some(0));
    manager.close(1).expect("closes");
    node.kill(manager);
    let mut all = strays(&node);
    all.sort();
    assert!(all.len() == 3 && all[0] == "a-0", "{all:?}");
    assert!(all[1].ends_with("-stray") && all[2].ends_with("-stray"), "{all:?}");
    assert_eq!(fs::read(node.path().join(&kept[0]).join(SEGMENT)).expect("reads"), before);
}

#[test]
fn a_creation_that_did_not_end_is_done_again() {
    let unfinished: [fn(&Path); 4] = [
        |dir| fs::remove_file(dir.join("partition.metadata")).expect("removes"),
        |dir| fs::write(dir.join("partition.metadata"), "").expect("writes"),
        |dir| fs::write(dir.join("partition.metadata"), [0; 40]).expect("writes"),
        |dir| {
            let file = dir.join("partition.metadata");
            fs::rename(&file, dir.join("partition.metadata.tmp")).expect("renames");
            fs::write(dir.join(SEGMENT), "").expect("writes");
        },
    ];
    for leave in unfinished {
        let node = killed(2, 0);
        leave(&node.path().join("a-0"));
        let manager = node.start();
        let replica = manager.topic("a").and_then(|topic| topic.partition(0).cloned()).expect("hosted");
        manager.append(&replica, &batch(3), &ONE).expect("appended");
        assert_eq!((manager.failed_dirs(), end(&manager, 1)), (0, Some(0)));
        drop(replica);
        node.kill(manager);
        let manager = node.start();
        assert_eq!(end(&manager, 0), Some(3), "it knows its topic");
        assert_eq!(node.names(|name| name.ends_with("-stray")), [] as [&str; 0]);
    }
}

#[test]
fn a_log_without_its_id_is_adopted() {
    for text in [None, Some(""), Some("\0\0\0\0")] {
        let node = killed(1, 4);
        let file = node.path().join("a-0/partition.metadata");
        let before = fs::read_to_string(&file).expect("reads");
        match text {
            None => fs::remove_file(&file).expect("removes"),
            Some(text) => fs::write(&file, text).expect("writes"),
        }
        let manager = node.start();
        assert_eq!(end(&manager, 0), Some(4));
        assert_eq!(fs::read_to_string(&file).expect("reads"), before);
        let replica = manager.topic("a").and_then(|topic| topic.partition(0).cloned()).expect("hosted");
        manager.append(&replica, &batch(1), &ONE).expect("appended");
        manager.checkpoint();
        drop(replica);
        node.kill(manager);
        assert_eq!(end(&node.start(), 0), Some(5));
    }
}

#[test]
fn a_damaged_partition_stops_nobody_else() {
    let damages: [fn(&Path); 2] = [
        |dir| fs::write(dir.join("partition.metadata"), "version: 0\ntopic").expect("writes"),
        |dir| {
            // A message of an old format, without a key: refused, not cut off.
            let mut bytes = fs::read(dir.join(SEGMENT)).expect("reads");
            let size = i32::from_be_bytes(bytes[8..12].try_into().expect("four"));
            bytes[16] = 1;
            bytes[26..30].copy_from_slice(&(-1i32).to_be_bytes());
            bytes[30..34].copy_from_slice(&(size + 12 - 34).to_be_bytes());
            fs::write(dir.join(SEGMENT), bytes).expect("writes");
        },
    ];
    for damage in damages {
        let node = killed(2, 4);
        let dir = node.path().join("a-0");
        damage(&dir);
        let content = || ["partition.metadata", SEGMENT].map(|name| fs::read(dir.join(name)).expect("reads"));
        let before = content();
        for _ in 0..2 {
            let manager = node.start();
            assert_eq!((end(&manager, 0), end(&manager, 1)), (None, Some(4)));
            let replica = manager.topic("a").and_then(|topic| topic.partition(1).cloned()).expect("hosted");
            assert!(replica.view().is_leader);
            drop(replica);
            assert_eq!((manager.failed_dirs(), content()), (0, before.clone()));
            manager.close(1).expect("closes");
            node.kill(manager);
        }
    }
}

#[test]
fn one_partition_in_two_dirs_is_refused() {
    let (one, two) = (killed(1, 2), killed(1, 3));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let open =
        |node: &Node| LogDir::open(node.path(), DirOptions::default(), Arc::clone(&clock)).expect("opens");
    let dirs = vec![open(&one), open(&two)];
    let fault = ReplicaManager::open(ReplicaOptions::new(1), dirs, Arc::clone(&clock)).expect_err("refused");
    assert!(matches!(fault, Fault::Duplicate { .. }), "{fault}");
    let text = fault.to_string();
    for node in [&one, &two] {
        assert!(text.contains(&node.path().join("a-0").display().to_string()), "{text}");
    }
}
