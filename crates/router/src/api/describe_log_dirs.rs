//! DescribeLogDirs (35), versions 1–5 (KIP-113, KIP-827, KIP-1066).
//!
//! What is in each of this broker's log dirs: logs, and the copies that are to take their places. Versions: 3 adds an
//! error of the whole, 4 the size of the volume, 5 whether the dir takes new replicas.
//!
//! Not done: authorization.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
};

use ottla_protocol::{
    StrBytes,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
};
use ottla_replica::{DescribedDir, DescribedLog, ReplicaManager};
use ottla_types::{ErrorCode, TopicPartition};

use crate::{Handler, Reply, RequestContext};

pub(crate) struct DescribeLogDirs {
    replicas: Arc<ReplicaManager>,
    /// Paths of all log dirs, offline ones too, in the order of `log.dirs`.
    dirs: Vec<std::path::PathBuf>,
}

impl DescribeLogDirs {
    pub(crate) fn new(replicas: Arc<ReplicaManager>, log_dirs: &[String]) -> Self {
        let absolute = |dir: &String| std::path::absolute(dir).unwrap_or_else(|_| dir.into());
        Self { replicas, dirs: log_dirs.iter().map(absolute).collect() }
    }
}

impl Handler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    type Response = DescribeLogDirsResponse;
    const VERSIONS: RangeInclusive<i16> = 1..=5;

    fn handle(&self, _: &RequestContext, request: DescribeLogDirsRequest) -> Reply<DescribeLogDirsResponse> {
        let wanted = request.topics.map(|topics| {
            let mut wanted: HashMap<StrBytes, HashSet<i32>> = HashMap::new();
            for topic in topics {
                wanted.entry(topic.topic.0).or_default().extend(topic.partitions);
            }
            wanted
        });
        let is_wanted = |name: &TopicPartition| match &wanted {
            None => true,
            Some(wanted) => wanted
                .get(name.topic.as_bytes())
                .is_some_and(|partitions| partitions.contains(&name.partition)),
        };
        let mut described: HashMap<_, _> =
            self.replicas.describe_dirs(is_wanted).into_iter().map(|dir| (dir.path.clone(), dir)).collect();
        let results = self.dirs.iter().map(|path| {
            let result = described.remove(path).map_or_else(
                || DescribeLogDirsResult::default().with_error_code(ErrorCode::KAFKA_STORAGE_ERROR.0),
                result,
            );
            result.with_log_dir(StrBytes::from_string(path.to_string_lossy().into_owned()))
        });
        Reply::Now(DescribeLogDirsResponse::default().with_results(results.collect()))
    }
}

fn result(dir: DescribedDir) -> DescribeLogDirsResult {
    // Of a volume larger than a number can say, Kafka says the largest number.
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for log in dir.logs {
        // They come by name.
        if topics.last().is_none_or(|topic| *topic.name.0 != *log.name.topic) {
            let name = TopicName(StrBytes::from_string(log.name.topic.to_string()));
            topics.push(DescribeLogDirsTopic::default().with_name(name));
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition(&log));
        }
    }
    DescribeLogDirsResult::default()
        .with_topics(topics)
        .with_total_bytes(bytes(dir.total_bytes))
        .with_usable_bytes(bytes(dir.usable_bytes))
        .with_is_cordoned(dir.is_cordoned)
}

fn partition(log: &DescribedLog) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(log.name.partition)
        .with_partition_size(i64::try_from(log.size).unwrap_or(i64::MAX))
        .with_offset_lag(log.lag)
        .with_is_future_key(log.is_future)
}
