//! Three voters in one process: one leads, all write the same log, a follower that missed too much gets a snapshot.

mod common;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Disk, Node, Setup};
use ottla_controller::Controller;
use ottla_raft::{Handle, Message};
use ottla_types::NodeId;

/// Delivers messages to whoever runs.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<HashMap<NodeId, Handle<Controller>>>>);

impl Network {
    fn send(&self) -> impl FnMut(Vec<Message>) + Send + 'static {
        let network = self.clone();
        move |messages| {
            let nodes = network.0.lock().expect("no panic");
            for message in messages {
                if let Some(node) = ottla_raft::node_of(message.to).and_then(|to| nodes.get(&to)) {
                    node.step(message);
                }
            }
        }
    }

    fn join(&self, node: &Node) {
        self.0.lock().expect("no panic").insert(node.id, node.running.handle.clone());
    }

    fn leave(&self, id: NodeId) {
        self.0.lock().expect("no panic").remove(&id);
    }
}

struct World {
    network: Network,
    dir: tempfile::TempDir,
    disks: HashMap<NodeId, Disk>,
    nodes: HashMap<NodeId, Node>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let disks = (1..=3).map(|id| (id, Disk::default())).collect();
        let mut world = Self { network: Network::default(), dir, disks, nodes: HashMap::new() };
        (1..=3).for_each(|id| world.start(id));
        world
    }

    fn start(&mut self, id: NodeId) {
        let dir = self.dir.path().join(id.to_string());
        std::fs::create_dir_all(&dir).expect("a directory");
        let setup =
            Setup { id, voters: vec![1, 2, 3], dir, max_entries: 20, max_bytes_between_snapshots: u64::MAX };
        let node = setup.start(self.disks[&id].clone(), self.network.send());
        self.network.join(&node);
        self.nodes.insert(id, node);
    }

    fn stop(&mut self, id: NodeId) {
        self.network.leave(id);
        self.nodes.remove(&id).expect("runs").running.stop();
    }

    /// The node in office, once there is one.
    fn leader(&self) -> &Node {
        common::block_on(async {
            loop {
                for node in self.nodes.values() {
                    let mut status = node.running.handle.status();
                    let in_office = status.wait_for(|status| status.in_office);
                    if tokio::time::timeout(Duration::from_millis(20), in_office).await.is_ok() {
                        return node;
                    }
                }
            }
        })
    }

    /// Waits until all that run have committed as much as the leader.
    fn settle(&self) {
        let end = self.leader().running.handle.status().borrow().high_watermark;
        common::block_on(async {
            for node in self.nodes.values() {
                let mut status = node.running.handle.status();
                status.wait_for(|status| status.high_watermark >= end).await.map(drop).expect("runs");
            }
        });
    }

    /// The batches that both logs have are the same, byte for byte.
    fn compare(&self) {
        let logs: Vec<_> = self.disks.values().map(|disk| disk.0.lock().expect("no panic").clone()).collect();
        let by_offset = |log: &ottla_raft::MemoryLog| -> HashMap<i64, _> {
            log.batches()
                .iter()
                .map(|batch| (batch.header.base_offset, (batch.header, batch.payload().to_vec())))
                .collect()
        };
        for pair in logs.windows(2) {
            let (one, other) = (by_offset(&pair[0]), by_offset(&pair[1]));
            for (offset, batch) in &one {
                assert!(other.get(offset).is_none_or(|there| there == batch), "at offset {offset}");
            }
        }
    }
}

#[test]
fn a_quorum_outlives_its_leader_and_brings_back_who_was_away() {
    let mut world = World::new();
    world.leader().join(-1);
    world.leader().create("before", 2);
    world.settle();
    world.compare();

    let first = world.leader().id;
    world.stop(first);
    let second = world.leader().id;
    assert_ne!(first, second);
    // More than raft's log keeps, so that who was away needs a snapshot.
    for round in 0..40 {
        world.leader().create(&format!("topic-{round}"), 1);
    }
    world.start(first);
    world.settle();
    world.compare();
    assert_eq!(world.nodes[&first].image().topics.len(), 41);
    for id in 1..=3 {
        world.stop(id);
    }
}
