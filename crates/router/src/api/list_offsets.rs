//! ListOffsets (2), versions 1–11: offsets by time and by place.
//!
//! By time: the first record whose timestamp is not older, exact also inside of compressed batches; offset and timestamp
//! -1 when there is none. By place: -1 the end (high watermark, or last stable offset for read_committed), -2 the start,
//! -3 the record with the greatest timestamp (KIP-734), -4 the start of what is on this disk (KIP-405), -5 the end of
//! what is in remote storage (KIP-1005), -6 the first that is not yet there (KIP-1023). Without remote storage -4 is -2,
//! and -5 and -6 find nothing. A place that the version does not know is answered with UNSUPPORTED_VERSION, a partition
//! that is named twice with INVALID_REQUEST.
//!
//! Versions: 2 isolation level; 4 leader epochs (KIP-320); 5 OFFSET_NOT_AVAILABLE; 6 flexible; 7, 8, 9, 11 the places
//! above; 10 timeout for remote storage (KIP-1075), which has nothing to wait for here.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ottla_metadata::ImageCell;
use ottla_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};
use ottla_replica::{FoundOffset, Isolation, OffsetQuery, ReplicaManager};
use ottla_types::ErrorCode;

use crate::{Handler, Reply, RequestContext};

/// Serves ListOffsets.
pub(crate) struct ListOffsets {
    shared: Arc<Shared>,
}

struct Shared {
    replicas: Arc<ReplicaManager>,
    image: Arc<ImageCell>,
}

impl ListOffsets {
    /// Looks into `replicas`; `image` tells what is elsewhere.
    #[must_use]
    pub(crate) fn new(replicas: Arc<ReplicaManager>, image: Arc<ImageCell>) -> Self {
        Self { shared: Arc::new(Shared { replicas, image }) }
    }
}

impl Handler for ListOffsets {
    type Request = ListOffsetsRequest;
    type Response = ListOffsetsResponse;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=11;

    fn handle(&self, ctx: &RequestContext, request: ListOffsetsRequest) -> Reply<ListOffsetsResponse> {
        let version = ctx.api_version;
        let searches = |partition: &ListOffsetsPartition| {
            matches!(
                query(partition.timestamp, version),
                Some(OffsetQuery::At(_) | OffsetQuery::MaxTimestamp)
            )
        };
        if !request.topics.iter().any(|topic| topic.partitions.iter().any(searches)) {
            return Reply::Now(self.shared.answer(request, version));
        }
        // A search may read from the disk, and from many partitions: not on the thread that serves connections.
        let shared = Arc::clone(&self.shared);
        Reply::later(async move {
            let named = request.clone();
            let search = tokio::task::spawn_blocking(move || shared.answer(request, version));
            search.await.unwrap_or_else(|_| refuse_all(named, ErrorCode::KAFKA_STORAGE_ERROR))
        })
    }
}

impl Shared {
    fn answer(&self, request: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
        let isolation = match (request.replica_id.0, request.isolation_level) {
            (-1, 1) => Isolation::Committed,
            (-1, _) => Isolation::Uncommitted,
            _ => Isolation::Replica,
        };
        let twice = named_twice(&request);
        let topics = request.topics.into_iter().map(|topic| {
            let hosted = self.replicas.topic(&topic.name);
            let mut told = HashSet::new();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition_index;
                let found = if twice.contains(&(topic.name.to_string(), index)) {
                    if !told.insert(index) {
                        continue;
                    }
                    Err(ErrorCode::INVALID_REQUEST)
                } else {
                    match hosted.as_ref().and_then(|hosted| hosted.partition(index)) {
                        Some(replica) => query(partition.timestamp, version)
                            .ok_or(ErrorCode::UNSUPPORTED_VERSION)
                            .and_then(|query| {
                                let epoch = partition.current_leader_epoch;
                                self.replicas.list_offset(replica, query, isolation, epoch)
                            }),
                        None => Err(self.absent(&topic.name, index)),
                    }
                };
                partitions.push(told_as(index, found, version));
            }
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn absent(&self, topic: &str, partition: i32) -> ErrorCode {
        if self.image.load().partition(topic, partition).is_some() {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
    }
}

/// What a timestamp asks for; `None` when the version does not know that place.
fn query(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    match timestamp {
        0.. => Some(OffsetQuery::At(timestamp)),
        -1 => Some(OffsetQuery::Latest),
        -2 => Some(OffsetQuery::Earliest),
        -3 if version >= 7 => Some(OffsetQuery::MaxTimestamp),
        -4 if version >= 8 => Some(OffsetQuery::Earliest),
        -5 if version >= 9 => Some(OffsetQuery::Tiered),
        -6 if version >= 11 => Some(OffsetQuery::Tiered),
        _ => None,
    }
}

fn told_as(index: i32, found: Result<FoundOffset, ErrorCode>, version: i16) -> ListOffsetsPartitionResponse {
    let (found, code) = match found {
        Ok(found) => (found, ErrorCode::NONE),
        Err(ErrorCode::OFFSET_NOT_AVAILABLE) if !knows_offset_not_available(version) => {
            (FoundOffset::NONE, ErrorCode::LEADER_NOT_AVAILABLE)
        }
        Err(code) => (FoundOffset::NONE, code),
    };
    let mut partition = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(code.0)
        .with_timestamp(found.timestamp)
        .with_offset(found.offset);
    if has_leader_epoch(version) {
        partition.leader_epoch = found.leader_epoch;
    }
    partition
}

fn knows_offset_not_available(version: i16) -> bool {
    version >= 5
}

fn has_leader_epoch(version: i16) -> bool {
    version >= 4
}

fn named_twice(request: &ListOffsetsRequest) -> HashSet<(String, i32)> {
    let mut times: HashMap<(&str, i32), u32> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times.entry((&topic.name, partition.partition_index)).or_default() += 1;
        }
    }
    let twice = times.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|((topic, partition), _)| (topic.to_owned(), partition)).collect()
}

fn refuse_all(request: ListOffsetsRequest, code: ErrorCode) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| told_as(partition.partition_index, Err(code), i16::MAX).with_leader_epoch(-1));
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}
