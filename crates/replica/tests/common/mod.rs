//! One broker on a temporary directory, with a clock and an image in the test's hands.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses a part")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use ottla_metadata::{Fact, Image};
use ottla_protocol::persisted::metadata::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use ottla_records::{BatchBuilder, Producer};
use ottla_replica::{Replica, ReplicaManager, ReplicaOptions, ReplicationSettings};
use ottla_storage::{DirOptions, LogDir, MetaProperties};
use ottla_types::{Clock, Millis};
use parking_lot::Mutex;
use uuid::Uuid;

/// `leader.replication.throttled.rate`.
pub const THROTTLED_RATE: i64 = 1_000;

#[derive(Debug, Default)]
pub struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn wall(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

pub struct Node {
    temporary: tempfile::TempDir,
    clock: Arc<TestClock>,
    image: Mutex<(Image, u128)>,
}

impl Node {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let meta = MetaProperties { cluster_id: "test".into(), node_id: 1, directory_id: None };
        meta.format(temporary.path()).expect("formats");
        let clock = Arc::new(TestClock(AtomicI64::new(10_000)));
        Self { temporary, clock, image: Mutex::new((Image::new(), 1)) }
    }

    /// Starts on what is in the directory, with the image as it is.
    pub fn start(&self) -> Arc<ReplicaManager> {
        self.start_with(|_| {})
    }

    pub fn start_with(&self, set: impl FnOnce(&mut ReplicaOptions)) -> Arc<ReplicaManager> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let dir =
            LogDir::open(self.temporary.path(), DirOptions::default(), Arc::clone(&clock)).expect("opens");
        let replication =
            ReplicationSettings { leader_throttled_rate: THROTTLED_RATE, ..ReplicationSettings::default() };
        let mut options = ReplicaOptions { replication, ..ReplicaOptions::new(1) };
        set(&mut options);
        let manager = ReplicaManager::open(options, vec![dir], clock).expect("opens");
        manager.apply_image(&Arc::new(self.image.lock().0.clone()));
        manager
    }

    /// Where its log dir is.
    pub fn path(&self) -> &std::path::Path {
        self.temporary.path()
    }

    /// The names in its log dir that `wanted` picks.
    pub fn names(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("lists");
        let names = entries.map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned());
        names.filter(|name| wanted(name)).collect()
    }

    /// The process dies: nothing is closed.
    pub fn kill(&self, manager: Arc<ReplicaManager>) {
        manager.halt();
        Arc::into_inner(manager).expect("the threads that held it have ended");
    }

    pub fn clock_to(&self, ms: i64) {
        self.clock.0.store(ms, Ordering::Relaxed);
    }

    pub fn apply(&self, manager: &Arc<ReplicaManager>, record: impl Into<MetadataRecord>) {
        let image = self.change(record);
        manager.apply_image(&Arc::new(image));
    }

    /// Adds to what the next image says.
    pub fn change(&self, record: impl Into<MetadataRecord>) -> Image {
        let mut image = self.image.lock();
        image.0.apply(&Fact::at_level(record, i16::MAX));
        image.0.clone()
    }

    /// Creates the topic unless it is there; gives its first partition.
    pub fn create(&self, manager: &Arc<ReplicaManager>, name: &str, partitions: i32) -> Arc<Replica> {
        self.make(manager, name, partitions, &[1])
    }

    pub fn create_replicated(
        &self,
        manager: &Arc<ReplicaManager>,
        name: &str,
        replicas: &[i32],
    ) -> Arc<Replica> {
        self.make(manager, name, 1, replicas)
    }

    fn make(
        &self,
        manager: &Arc<ReplicaManager>,
        name: &str,
        partitions: i32,
        replicas: &[i32],
    ) -> Arc<Replica> {
        self.declare_on(name, partitions, replicas);
        manager.apply_image(&Arc::new(self.image.lock().0.clone()));
        Arc::clone(manager.topic(name).expect("hosted").partition(0).expect("hosted"))
    }

    /// Tells the broker how the image is.
    pub fn publish(&self, manager: &Arc<ReplicaManager>) {
        manager.apply_image(&Arc::new(self.image.lock().0.clone()));
    }

    /// Creates the topic, unless it is there, while the broker is down.
    pub fn declare(&self, name: &str, partitions: i32) {
        self.declare_on(name, partitions, &[1]);
    }

    fn declare_on(&self, name: &str, partitions: i32, replicas: &[i32]) {
        let known = self.image.lock().0.topic(name).is_some();
        if !known {
            let id = {
                let mut image = self.image.lock();
                image.1 += 1;
                Uuid::from_u128(image.1)
            };
            self.change(TopicRecord::default().with_name(name.to_owned().into()).with_topic_id(id));
            for partition in 0..partitions {
                self.change(
                    PartitionRecord::default()
                        .with_topic_id(id)
                        .with_partition_id(partition)
                        .with_replicas(replicas.to_vec())
                        .with_isr(replicas.to_vec())
                        .with_leader(1)
                        .with_leader_epoch(0)
                        .with_partition_epoch(0),
                );
            }
        }
    }

    /// Deletes the topic, also on the broker.
    pub fn delete(&self, manager: &Arc<ReplicaManager>, name: &str) {
        self.forget(name);
        manager.apply_image(&Arc::new(self.image.lock().0.clone()));
    }

    /// Deletes the topic while the broker is down.
    pub fn forget(&self, name: &str) {
        let id = self.image.lock().0.topic(name).expect("there").id;
        self.change(RemoveTopicRecord::default().with_topic_id(id.0));
    }
}

pub fn batch(records: usize) -> Bytes {
    batch_at(&vec![5_000; records])
}

pub fn batch_at(timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for timestamp in timestamps {
        builder.append(*timestamp, None, Some(b"value"), &[]);
    }
    builder.build()
}

/// One record of an idempotent producer.
pub fn idempotent(id: i64, epoch: i16, base_sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(Producer { id, epoch, base_sequence });
    builder.append(5_000, None, Some(b"value"), &[]);
    builder.build()
}
