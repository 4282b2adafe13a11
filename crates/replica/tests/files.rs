//! Where file descriptors run out. A process of its own: the limit is of the whole process.

mod common;

use std::{fs::File, sync::Arc};

use common::Node;
use ottla_replica::ReplicaManager;
use ottla_types::Millis;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn hosted(manager: &Arc<ReplicaManager>, topic: &str) -> usize {
    manager.topic(topic).map_or(0, |topic| topic.replicas().count())
}

#[test]
fn a_replica_that_could_not_be_created_is_created_later() {
    let node = Node::new();
    let manager = node.start();
    node.create(&manager, "before", 1);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), maximum: limit.maximum }).expect("may be less");
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    node.declare("after", 3);
    node.publish(&manager);
    assert_eq!((hosted(&manager, "after"), manager.failed_dirs()), (0, 0));
    manager.upkeep(Millis(20_000));
    assert_eq!((hosted(&manager, "after"), manager.failed_dirs()), (0, 0), "still none");
    drop(held);
    setrlimit(Resource::Nofile, limit).expect("as before");
    manager.upkeep(Millis(30_000));
    assert_eq!((hosted(&manager, "after"), manager.failed_dirs()), (3, 0));
    assert!(manager.topic("after").expect("hosted").partition(2).expect("hosted").view().is_leader);
    manager.close(1).expect("closes");
}
