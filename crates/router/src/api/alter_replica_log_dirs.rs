//! AlterReplicaLogDirs (34), versions 1–2 (KIP-113).
//!
//! Moves replicas of this broker to other log dirs. The answer says that a move has begun, not that it is over:
//! DescribeLogDirs shows how far it is. A partition that is named in two dirs goes to the last of them.
//!
//! Not done: authorization.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use ottla_protocol::{
    StrBytes,
    messages::{
        AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName,
        alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
    },
};
use ottla_replica::{ReplicaManager, aside};
use ottla_types::{ErrorCode, TopicPartition};

use crate::{Handler, Reply, RequestContext};

pub(crate) struct AlterReplicaLogDirs {
    replicas: Arc<ReplicaManager>,
}

impl AlterReplicaLogDirs {
    pub(crate) fn new(replicas: Arc<ReplicaManager>) -> Self {
        Self { replicas }
    }
}

impl Handler for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    type Response = AlterReplicaLogDirsResponse;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    fn handle(
        &self,
        _: &RequestContext,
        request: AlterReplicaLogDirsRequest,
    ) -> Reply<AlterReplicaLogDirsResponse> {
        let mut wanted: BTreeMap<StrBytes, BTreeMap<i32, StrBytes>> = BTreeMap::new();
        for dir in request.dirs {
            for topic in dir.topics {
                let partitions = wanted.entry(topic.name.0).or_default();
                partitions
                    .extend(topic.partitions.into_iter().map(|partition| (partition, dir.path.clone())));
            }
        }
        // Each makes a directory.
        let results =
            aside(|| wanted.into_iter().map(|(name, partitions)| self.alter(name, partitions)).collect());
        Reply::Now(AlterReplicaLogDirsResponse::default().with_results(results))
    }
}

impl AlterReplicaLogDirs {
    fn alter(&self, name: StrBytes, partitions: BTreeMap<i32, StrBytes>) -> AlterReplicaLogDirTopicResult {
        let topic: Arc<str> = Arc::from(&*name);
        let partitions = partitions.into_iter().map(|(partition, path)| {
            let name = TopicPartition { topic: Arc::clone(&topic), partition };
            let code = self.replicas.alter_log_dir(&name, &path).err().unwrap_or(ErrorCode::NONE);
            if code != ErrorCode::NONE {
                tracing::warn!("Unable to alter log dirs for {name}: {code}");
            }
            AlterReplicaLogDirPartitionResult::default()
                .with_partition_index(partition)
                .with_error_code(code.0)
        });
        let partitions = partitions.collect();
        AlterReplicaLogDirTopicResult::default().with_topic_name(TopicName(name)).with_partitions(partitions)
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::{Fact, Image};
    use ottla_protocol::{
        messages::{
            DescribeLogDirsRequest,
            alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
            describe_log_dirs_request::DescribableLogDirTopic,
        },
        persisted::metadata::{MetadataRecord, PartitionRecord, TopicRecord},
    };
    use ottla_replica::{DirSettings, ReplicaOptions};
    use ottla_storage::{DirOptions, LogDir, MetaProperties};
    use ottla_types::Clock;
    use uuid::Uuid;

    use super::*;
    use crate::api::{
        describe_log_dirs::DescribeLogDirs,
        testing::{Stopped, ask},
    };

    struct Node {
        dirs: tempfile::TempDir,
        replicas: Arc<ReplicaManager>,
    }

    impl Node {
        /// Three dirs, the third of which takes no new replicas, and a topic `t` of four partitions, the last of them
        /// on another broker. A fourth dir could not be opened.
        fn new() -> Self {
            let dirs = tempfile::tempdir().expect("a temporary directory");
            let clock: Arc<dyn Clock> = Arc::new(Stopped);
            let open = |(number, name)| {
                let path = dirs.path().join(name);
                let directory_id = Some(Uuid::from_u128(number));
                let meta = MetaProperties { cluster_id: "test".into(), node_id: 1, directory_id };
                meta.format(&path).expect("formats");
                LogDir::open(path, DirOptions::default(), clock.clone()).expect("opens")
            };
            let open = [(1000, "a"), (1001, "b"), (1002, "c")].map(open).into();
            let options = ReplicaOptions {
                dirs: DirSettings { cordoned: vec![dirs.path().join("c")], ..DirSettings::default() },
                offline_dirs: vec![dirs.path().join("d")],
                ..ReplicaOptions::new(1)
            };
            let replicas = ReplicaManager::open(options, open, clock).expect("opens");
            let mut image = Image::new();
            let mut apply = |record: MetadataRecord| image.apply(&Fact::at_level(record, i16::MAX));
            let id = Uuid::from_u128(77);
            apply(TopicRecord::default().with_name("t".to_owned().into()).with_topic_id(id).into());
            for partition in 0..4 {
                let holder = if partition == 3 { 2 } else { 1 };
                let record = PartitionRecord::default()
                    .with_topic_id(id)
                    .with_partition_id(partition)
                    .with_replicas(vec![holder])
                    .with_isr(vec![holder])
                    .with_leader(holder)
                    .with_leader_epoch(0)
                    .with_partition_epoch(0)
                    .with_directories(vec![Uuid::from_u128(1)]);
                apply(record.into());
            }
            replicas.apply_image(&Arc::new(image));
            Self { dirs, replicas }
        }

        fn path(&self, name: &str) -> String {
            self.dirs.path().join(name).to_string_lossy().into_owned()
        }

        async fn alter(&self, path: &str, topic: &str, partition: i32) -> Vec<(String, i32, i16)> {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
                .with_partitions(vec![partition]);
            let dir = AlterReplicaLogDir::default()
                .with_path(StrBytes::from_string(path.to_owned()))
                .with_topics(vec![topic]);
            let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
            let answer = ask(&AlterReplicaLogDirs::new(self.replicas.clone()), 2, request).await;
            let each = answer.results.iter().flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|it| (topic.topic_name.to_string(), it.partition_index, it.error_code))
            });
            each.collect()
        }

        /// Of each dir: name, code, whether it is cordoned, partitions.
        async fn describe(&self, wanted: Option<&[(&str, &[i32])]>) -> Vec<(String, i16, bool, Vec<i32>)> {
            let dirs: Vec<_> = ["a", "b", "c", "d"].map(|name| self.path(name)).into();
            let topics = wanted.map(|topics| {
                let topic = |(name, partitions): &(&str, &[i32])| {
                    DescribableLogDirTopic::default()
                        .with_topic(TopicName(StrBytes::from_string((*name).to_owned())))
                        .with_partitions(partitions.to_vec())
                };
                topics.iter().map(topic).collect()
            });
            let request = DescribeLogDirsRequest::default().with_topics(topics);
            let answer = ask(&DescribeLogDirs::new(self.replicas.clone(), &dirs), 5, request).await;
            assert_eq!(answer.error_code, 0);
            let told = answer.results.iter().map(|dir| {
                let name = dir.log_dir.rsplit('/').next().unwrap_or_default().to_owned();
                assert_eq!(dir.error_code == 0, dir.total_bytes > 0 && dir.usable_bytes >= 0);
                let all = dir.topics.iter().flat_map(|topic| &topic.partitions);
                (name, dir.error_code, dir.is_cordoned, all.map(|it| it.partition_index).collect())
            });
            told.collect()
        }
    }

    fn dir(name: &str, code: i16, cordoned: bool, partitions: &[i32]) -> (String, i16, bool, Vec<i32>) {
        (name.to_owned(), code, cordoned, partitions.to_vec())
    }

    /// Kafka 4.4.0 was asked the same.
    #[tokio::test]
    async fn refusals_are_kafkas() {
        let node = Node::new();
        let (a, b) = (node.path("a"), node.path("b"));
        let one = |code| vec![("t".to_owned(), 0, code)];
        assert_eq!(node.alter("/nowhere", "t", 0).await, one(57));
        assert_eq!(node.alter("a", "t", 0).await, one(57));
        assert_eq!(node.alter(&format!("{b}/"), "t", 0).await, one(57));
        assert_eq!(node.alter(&node.path("d"), "t", 0).await, one(56));
        assert_eq!(node.alter(&node.path("c"), "t", 0).await, one(39));
        assert_eq!(node.alter(&a, "t", 0).await, one(0), "it is there");
        assert_eq!(node.alter(&a, "nobody", 0).await, [("nobody".to_owned(), 0, 3)]);
        assert_eq!(node.alter(&a, "t", 9).await, [("t".to_owned(), 9, 3)]);
        assert_eq!(node.alter(&a, "t", 3).await, [("t".to_owned(), 3, 9)], "on another broker");
        let long = "x".repeat(245);
        assert_eq!(node.alter(&a, &long, 0).await, [(long.clone(), 0, 17)]);
    }

    #[tokio::test]
    async fn dirs_are_shown_with_what_was_asked_for() {
        let node = Node::new();
        let all = [
            dir("a", 0, false, &[0, 2]),
            dir("b", 0, false, &[1]),
            dir("c", 0, true, &[]),
            dir("d", 56, false, &[]),
        ];
        assert_eq!(node.describe(None).await, all);
        let some = [
            dir("a", 0, false, &[0]),
            dir("b", 0, false, &[1]),
            dir("c", 0, true, &[]),
            dir("d", 56, false, &[]),
        ];
        assert_eq!(node.describe(Some(&[("t", &[0, 1]), ("x", &[0])])).await, some);
        let none = [
            dir("a", 0, false, &[]),
            dir("b", 0, false, &[]),
            dir("c", 0, true, &[]),
            dir("d", 56, false, &[]),
        ];
        assert_eq!(node.describe(Some(&[])).await, none);
        node.alter(&node.path("b"), "t", 0).await;
        let moved = [dir("a", 0, false, &[2]), dir("b", 0, false, &[0, 1])];
        for _ in 0..1_000 {
            if node.describe(None).await[..2] == moved {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("it was not moved: {:?}", node.describe(None).await);
    }
}
