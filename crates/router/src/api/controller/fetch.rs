//! Fetch (1) on a controller's listener, versions 4–18: `__cluster_metadata-0` for those who observe the quorum (KIP-595,
//! KIP-630, KIP-853).
//!
//! Exactly one partition is asked for, the metadata log, by id. Only the leader answers with records; others say who
//! leads, and where. An observer whose history differs is told where to cut; one that is behind the log's start, or has
//! nothing while there is a snapshot, is sent to fetch that. Everything in the log is committed, so the high watermark is
//! its end. The answer comes at once when it has records or news; else when the log grows, or after `max_wait_ms`.
//!
//! Versions before 13 have no topic ids and are refused; 16 says where the leader is; 17 names the observer's directory;
//! 18 says which high watermark the observer knows (KIP-1166).

#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use ottla_metadata::ImageCell;
use ottla_partition::{EpochEnd, LeaderEpochs};
use ottla_protocol::{
    StrBytes,
    messages::{FetchRequest, TopicName, fetch_request::FetchPartition},
};
use ottla_raft::SnapshotId;
use ottla_types::{Clock, ErrorCode, LeaderEpoch, Offset, TopicId};
use tokio::{sync::watch, time::Instant};
use tracing::error;

use super::{
    super::told::Told,
    leader::{QuorumLeader, check_leader},
};
use crate::{
    Handler, MetadataLogView, Quorum, Reply, RequestContext,
    api::fetch::{FetchReply, PartitionReply, TopicReply},
};

/// Bytes of records in an answer, at most; the first batch is always given.
const MAX_BYTES: usize = 8 << 20;
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Serves the metadata log.
pub(crate) struct Fetch {
    served: Arc<Served>,
}

struct Served {
    leader: QuorumLeader,
    log: Arc<dyn MetadataLogView>,
    cluster_id: Arc<str>,
    clock: Arc<dyn Clock>,
    told: Told,
}

/// What is asked, once it is known to make sense.
struct Asked {
    from: Offset,
    last_epoch: LeaderEpoch,
    leader_epoch: LeaderEpoch,
    max_bytes: usize,
    /// The high watermark that the observer knows; the greatest offset when its version cannot say.
    known_high_watermark: Offset,
    listener: Arc<str>,
    names_endpoints: bool,
}

/// What an observer has to do with the offset and epoch it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Read on from there.
    Valid,
    /// Cut its log.
    Diverging(EpochEnd),
    /// Fetch this snapshot.
    Snapshot(SnapshotId),
}

impl Fetch {
    pub(crate) fn new(
        quorum: Arc<dyn Quorum>,
        image: Arc<ImageCell>,
        log: Arc<dyn MetadataLogView>,
        cluster_id: Arc<str>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let leader = QuorumLeader { quorum, image };
        Self { served: Arc::new(Served { leader, log, cluster_id, clock, told: Told::default() }) }
    }
}

impl Handler for Fetch {
    type Request = FetchRequest;
    type Response = FetchReply;
    const VERSIONS: RangeInclusive<i16> = 4..=18;

    fn handle(&self, ctx: &RequestContext, request: FetchRequest) -> Reply<FetchReply> {
        let served = &self.served;
        if request.cluster_id.as_ref().is_some_and(|id| id.as_str() != &*served.cluster_id) {
            let theirs = request.cluster_id.as_deref().unwrap_or_default();
            served.told.warn(format!(
                "A node at {} was refused: it is of cluster {theirs}, this node is of {}",
                ctx.peer.ip(),
                served.cluster_id
            ));
            return Reply::Now(FetchReply::refused(ErrorCode::INCONSISTENT_CLUSTER_ID));
        }
        let Some(partition) = metadata_partition(&request) else {
            return Reply::Now(FetchReply::refused(ErrorCode::INVALID_REQUEST));
        };
        let asked = Asked {
            from: partition.fetch_offset,
            last_epoch: partition.last_fetched_epoch,
            leader_epoch: partition.current_leader_epoch,
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES),
            known_high_watermark: partition.high_watermark,
            listener: Arc::clone(&ctx.listener),
            names_endpoints: names_endpoints(ctx.api_version),
        };
        let invalid = asked.from < 0 || asked.last_epoch < 0 || asked.last_epoch > asked.leader_epoch;
        let Some(wait) = u64::try_from(request.max_wait_ms).ok().filter(|_| !invalid) else {
            return Reply::Now(served.refused(&asked, ErrorCode::INVALID_REQUEST));
        };
        // Before the log is read: what is appended from here on wakes us.
        let mut status = served.leader.quorum.status();
        let (reply, is_final) = served.read(&asked, &mut status);
        self.observed(&request, partition, &reply);
        if is_final || wait == 0 {
            return Reply::Now(reply);
        }
        drop(reply);
        let served = Arc::clone(served);
        let deadline = Instant::now() + Duration::from_millis(wait);
        Reply::later(async move { served.wait(asked, status, deadline).await })
    }
}

impl Fetch {
    /// An observer that may read has shown how far it is.
    fn observed(&self, request: &FetchRequest, partition: &FetchPartition, reply: &FetchReply) {
        let replica = request.replica_state.replica_id.0.max(request.replica_id.0);
        if replica >= 0
            && reply.topics.iter().flat_map(|topic| &topic.partitions).all(PartitionReply::is_plain)
        {
            let directory = partition.replica_directory_id;
            let now = self.served.clock.wall();
            self.served.leader.quorum.observer_fetched(replica, directory, partition.fetch_offset, now);
        }
    }
}

impl Served {
    /// The answer as of now, and whether it must not wait.
    fn read(&self, asked: &Asked, status: &mut watch::Receiver<ottla_raft::Status>) -> (FetchReply, bool) {
        // What is borrowed is given back before it is borrowed again for the answer: whoever wants to change it in
        // between would wait for ever, and the second borrower for him.
        let led = check_leader(&status.borrow_and_update(), asked.leader_epoch);
        if let Err(code) = led {
            return (self.refused(asked, code), true);
        }
        let (start, end) = (self.log.start(), self.log.end());
        let place = place(&*self.log, asked.from, asked.last_epoch);
        let mut partition = PartitionReply {
            high_watermark: end,
            log_start: start,
            ..PartitionReply::empty(0, ErrorCode::NONE)
        };
        match place {
            Place::Diverging(end) => partition.diverging = Some(end),
            Place::Snapshot(id) => partition.snapshot = Some((id.end_offset, id.epoch)),
            Place::Valid if asked.from < end => match self.log.read(asked.from, asked.max_bytes) {
                Ok(records) => partition.records = records,
                Err(e) => {
                    error!("The metadata log could not be read from offset {}: {e}", asked.from);
                    return (self.refused(asked, ErrorCode::UNKNOWN_SERVER_ERROR), true);
                }
            },
            Place::Valid => {}
        }
        let news = place != Place::Valid || asked.known_high_watermark < end;
        let is_final = news || !partition.records.is_empty();
        (self.reply(asked, partition), is_final)
    }

    async fn wait(
        &self,
        asked: Asked,
        mut status: watch::Receiver<ottla_raft::Status>,
        deadline: Instant,
    ) -> FetchReply {
        loop {
            let changed = tokio::time::timeout_at(deadline, status.changed()).await;
            let lost = !matches!(changed, Err(_) | Ok(Ok(())));
            let in_office = status.borrow().in_office;
            if lost || !in_office {
                return self.refused(&asked, ErrorCode::NOT_LEADER_OR_FOLLOWER);
            }
            let (reply, is_final) = self.read(&asked, &mut status);
            if is_final || changed.is_err() {
                return reply;
            }
        }
    }

    fn refused(&self, asked: &Asked, code: ErrorCode) -> FetchReply {
        let refused = PartitionReply::empty(0, code);
        self.reply(asked, PartitionReply { log_start: self.log.start(), ..refused })
    }

    fn reply(&self, asked: &Asked, mut partition: PartitionReply) -> FetchReply {
        let (leader, epoch) = self.leader.now();
        partition.current_leader = Some((leader, epoch));
        partition.aborted = Some(Vec::new());
        let endpoint = self.leader.endpoint(leader, &asked.listener).filter(|_| asked.names_endpoints);
        let topic = TopicReply {
            topic: TopicName(StrBytes::from_static_str(METADATA_TOPIC)),
            topic_id: TopicId::METADATA,
            partitions: vec![partition],
        };
        FetchReply {
            error: ErrorCode::NONE,
            session_id: 0,
            topics: vec![topic],
            endpoints: endpoint.into_iter().collect(),
        }
    }
}

/// Version 16 says where the leader is.
fn names_endpoints(version: i16) -> bool {
    version >= 16
}

/// The one partition a request may ask for.
fn metadata_partition(request: &FetchRequest) -> Option<&FetchPartition> {
    let [topic] = &request.topics[..] else { return None };
    let [partition] = &topic.partitions[..] else { return None };
    (TopicId(topic.topic_id) == TopicId::METADATA && partition.partition == 0).then_some(partition)
}

/// What an observer that wants `offset` next, and whose last record is of `epoch`, has to do.
fn place(log: &dyn MetadataLogView, offset: Offset, epoch: LeaderEpoch) -> Place {
    let (start, end) = (log.start(), log.end());
    let snapshot = log.latest_snapshot();
    if offset == 0
        && let Some(id) = snapshot
    {
        // Whoever has nothing gets there sooner by the snapshot than by the log.
        return Place::Snapshot(id);
    }
    if (start, offset, epoch) == (0, 0, 0) {
        return Place::Valid;
    }
    if start > 0
        && let Some(id) = snapshot
    {
        // The epoch of the last record before the start is known only from a snapshot that ends there.
        let ends_there = id.end_offset == start;
        if offset < start || ends_there && (epoch < id.epoch || offset == start && epoch != id.epoch) {
            return Place::Snapshot(id);
        }
        if ends_there && offset == start {
            return Place::Valid;
        }
    }
    let epochs = LeaderEpochs::new(log.epochs());
    let ends = match epochs.end_of(epoch, end) {
        // An epoch of the future: cut to what we have.
        EpochEnd::UNKNOWN => {
            EpochEnd { epoch: epochs.latest().map_or(0, |(latest, _)| latest), end_offset: end }
        }
        ends => ends,
    };
    if ends.epoch != epoch || ends.end_offset < offset { Place::Diverging(ends) } else { Place::Valid }
}
