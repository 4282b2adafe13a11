//! Fetch (1), versions 4–18: records from an offset on, now or when there are enough.
//!
//! Partitions are read in the order they are wanted. The first batch of the answer is given whatever the limits say
//! (KIP-74); batches are always whole. The answer comes at once when there are `min_bytes`, an error, a diverging
//! epoch, nothing wanted or no time to wait; else when enough was appended, and at `max_wait_ms` in any case.
//! A partition says high watermark, last stable offset and log start unless it has an error. Only error codes that
//! consumers know are given.
//!
//! Versions: 4 isolation level; 5 log start; 7 sessions (KIP-227); 9 leader epochs (KIP-320); 11 rack; 12 last fetched
//! epoch and diverging epoch (KIP-595), flexible; 13 topic ids (KIP-516); 15 replica state (KIP-903); 16 endpoints of
//! current leaders (KIP-951); 17 directory id; 18 the follower's high watermark (KIP-1166).
//!
//! With `replica.selector.class` set, the leader sends consumers to an in-sync replica in their rack (KIP-392). A replica
//! that does not lead serves consumers that know of this (version 11 on) up to the high watermark it has heard of; what
//! lies outside of its log is OFFSET_OUT_OF_RANGE, whereupon the consumer goes back to the leader. Followers are served by
//! the leader only, and only those that hold a replica.
//!
//! Not done: tiered storage (error 109 never happens).

#[cfg(test)]
mod cluster_tests;
mod preferred;
mod reply;
#[cfg(test)]
mod tests;
mod versions;

use std::{sync::Arc, time::Duration};

use ottla_metadata::ImageCell;
use ottla_protocol::{
    StrBytes,
    messages::{FetchRequest, TopicName},
};
use ottla_replica::{
    Fetched, FollowerFetch, HostedTopic, LongPoll, ReadAs, ReadRequest, Replica, ReplicaManager,
};
use ottla_types::{ErrorCode, Millis, NO_LEADER, NodeId, TopicId};
use parking_lot::Mutex;
use tokio::time::Instant;

use preferred::Follower;
pub(crate) use preferred::RACK_AWARE;
pub(crate) use reply::{FetchReply, PartitionReply, TopicReply};
use versions::{knows_follower_fetching, names_leaders, uses_ids};

use crate::{
    Handler, Reply, RequestContext,
    api::{leaders::leader_hint, text::wire},
    fetch_session::{Begun, FetchSessions, Mode, News, PartitionKey, SessionRequest, Wanted, Watched},
};

/// Serves Fetch.
pub(crate) struct Fetch {
    shared: Arc<Shared>,
}

struct Shared {
    replicas: Arc<ReplicaManager>,
    image: Arc<ImageCell>,
    sessions: Mutex<FetchSessions>,
    max_bytes: usize,
    /// Consumers are sent to replicas in their rack.
    by_rack: bool,
}

/// What a request asks for beside its partitions.
#[derive(Clone, Debug)]
struct Terms {
    reader: ReadAs,
    /// The follower's broker epoch; -1 when it does not say (before version 15).
    broker_epoch: i64,
    /// Only leaders may answer.
    leader_only: bool,
    /// The consumer's rack, when replicas are chosen by it.
    rack: Option<StrBytes>,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
    uses_ids: bool,
    names_leaders: bool,
    listener: Arc<str>,
    session: SessionRequest,
    mode: Mode,
    now: Millis,
}

/// What was found for one wanted partition; no replica when it is not here.
struct Found {
    replica: Option<Arc<Replica>>,
    fetched: Result<Fetched, ErrorCode>,
    /// Where the consumer should read instead.
    preferred: Option<NodeId>,
    /// A follower learns nothing here until something changes.
    settled: bool,
}

impl Found {
    fn new(replica: Option<Arc<Replica>>, fetched: Result<Fetched, ErrorCode>) -> Self {
        Self { replica, fetched, preferred: None, settled: false }
    }
}

impl Fetch {
    /// `max_bytes` is `fetch.max.bytes`, `session_slots` is `max.incremental.fetch.session.cache.slots`; session ids are
    /// drawn from `seed`. `by_rack`: `replica.selector.class` is the one that goes by racks.
    #[must_use]
    pub(crate) fn new(
        replicas: Arc<ReplicaManager>,
        image: Arc<ImageCell>,
        (max_bytes, session_slots, seed): (usize, usize, u64),
        by_rack: bool,
    ) -> Self {
        let sessions = Mutex::new(FetchSessions::new(session_slots, seed, replicas.walk_ms()));
        Self { shared: Arc::new(Shared { replicas, image, sessions, max_bytes, by_rack }) }
    }
}

impl Handler for Fetch {
    type Request = FetchRequest;
    type Response = FetchReply;
    const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;

    fn handle(&self, ctx: &RequestContext, request: FetchRequest) -> Reply<FetchReply> {
        let shared = &self.shared;
        let uses_ids = uses_ids(ctx.api_version);
        let Some(reader) = reader(&request) else {
            return Reply::Now(FetchReply::refused(ErrorCode::UNKNOWN_SERVER_ERROR));
        };
        let session = SessionRequest {
            id: request.session_id,
            epoch: request.session_epoch,
            uses_ids,
            follower: matches!(reader, ReadAs::Follower(_)),
            generation: shared.replicas.generation(),
        };
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(shared.max_bytes);
        let is_consumer = !matches!(reader, ReadAs::Follower(_));
        let may_follow = is_consumer && knows_follower_fetching(ctx.api_version);
        let rack = Some(&request.rack_id).filter(|rack| may_follow && shared.by_rack && !rack.is_empty());
        let mut terms = Terms {
            reader,
            broker_epoch: request.replica_state.replica_epoch,
            leader_only: !may_follow,
            rack: rack.map(|rack| wire(rack)),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            max_bytes,
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            uses_ids,
            names_leaders: names_leaders(ctx.api_version),
            listener: Arc::clone(&ctx.listener),
            session,
            mode: Mode::Sessionless,
            now: ctx.now,
        };
        let (wanted, forgotten) = partitions(request);
        let begun = shared.sessions.lock().begin(session, wanted, forgotten, ctx.now);
        let Begun { mode, wanted, watched } = match begun {
            Ok(begun) => begun,
            Err(code) => return Reply::Now(FetchReply::refused(code)),
        };
        terms.mode = mode;
        let found = shared.read(&wanted, &terms, watched.as_ref(), true);
        let nothing = wanted.is_empty() && watched.is_none();
        if terms.max_wait.is_zero() || nothing || is_enough(&found, &terms) {
            return Reply::Now(shared.reply(wanted, found, &terms));
        }
        let deadline = Instant::now() + terms.max_wait;
        let shared = Arc::clone(shared);
        let holds = wanted.capacity() * size_of::<Wanted>();
        let reply = Reply::later(async move {
            match shared.wait((wanted, found), watched, &terms, deadline).await {
                Ok((wanted, found)) => shared.reply(wanted, found, &terms),
                Err(code) => FetchReply::refused(code),
            }
        });
        reply.holding(holds)
    }
}

impl Shared {
    /// Reads everything that is wanted, within the limits.
    /// Where followers are is noted when they ask, `arrived`, not when they have waited.
    fn read(&self, wanted: &[Wanted], terms: &Terms, watched: Option<&Watched>, arrived: bool) -> Vec<Found> {
        let mut left = terms.max_bytes;
        let mut any = false;
        let mut topic: Option<(TopicId, TopicName, Option<Arc<HostedTopic>>)> = None;
        let mut found = Vec::with_capacity(wanted.len());
        for one in wanted {
            let key = &one.key;
            // Partitions of a topic mostly stand together.
            if !topic.as_ref().is_some_and(|(id, name, _)| *id == key.topic_id && *name == key.topic) {
                let hosted = if terms.uses_ids {
                    self.replicas.topic_by_id(key.topic_id)
                } else {
                    self.replicas.topic(&key.topic)
                };
                topic = Some((key.topic_id, key.topic.clone(), hosted));
            }
            let hosted = topic.as_ref().and_then(|(_, _, hosted)| hosted.as_ref());
            let one = match hosted.and_then(|hosted| hosted.partition(key.partition)) {
                Some(replica) => {
                    if let Some(watched) = watched {
                        replica.report_to(&watched.changes);
                    }
                    self.read_one(replica, one, terms, (left, !any), arrived)
                }
                None => Found::new(None, Err(self.absent(key, terms.uses_ids))),
            };
            if let Ok(fetched) = &one.fetched {
                left = left.saturating_sub(fetched.bytes);
                any |= fetched.bytes > 0;
            }
            found.push(one);
        }
        found
    }

    fn read_one(
        &self,
        replica: &Arc<Replica>,
        wanted: &Wanted,
        terms: &Terms,
        (left, first): (usize, bool),
        arrived: bool,
    ) -> Found {
        let held = Some(Arc::clone(replica));
        if let ReadAs::Follower(broker) = terms.reader
            && let Err(code) = check_follower(replica, broker, wanted, terms)
        {
            return Found::new(held, Err(code));
        }
        let preferred = self.preferred(replica, wanted, terms);
        let held_back = match terms.reader {
            ReadAs::Follower(broker) => self.replicas.holds_back(replica, broker),
            ReadAs::Uncommitted | ReadAs::Committed => false,
        };
        let nothing = preferred.is_some() || held_back;
        let fetched = replica.read(&ReadRequest {
            from: wanted.fetch_offset,
            // Whoever is sent elsewhere gets nothing here, nor does a follower whose quota is used up (KIP-73).
            max_bytes: if nothing { 0 } else { usize::try_from(wanted.max_bytes).unwrap_or(0).min(left) },
            at_least_one_batch: first && !nothing,
            reader: terms.reader,
            leader_only: terms.leader_only,
            current_leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
        });
        if let ReadAs::Follower(broker) = terms.reader
            && arrived
            && !fetched.is_final()
        {
            let fetch = FollowerFetch {
                broker,
                broker_epoch: terms.broker_epoch,
                offset: wanted.fetch_offset,
                log_start: wanted.log_start,
            };
            self.replicas.follower_fetched(replica, fetched.view.leader_epoch, fetch);
        }
        let settled = match terms.reader {
            // What was left out for want of room is not.
            ReadAs::Follower(broker) => {
                !fetched.is_final()
                    && fetched.view.log_end == wanted.fetch_offset
                    && replica.is_settled(broker)
            }
            ReadAs::Uncommitted | ReadAs::Committed => false,
        };
        let preferred = preferred.filter(|_| !fetched.is_final());
        Found { replica: held, fetched: Ok(fetched), preferred, settled }
    }

    /// The replica that a consumer should rather read from.
    fn preferred(&self, replica: &Replica, wanted: &Wanted, terms: &Terms) -> Option<NodeId> {
        let rack = terms.rack.as_ref()?;
        let view = replica.view();
        if !view.is_leader {
            return None;
        }
        let image = self.image.load();
        let rack_of = |id| {
            let broker = image.broker(id).filter(|broker| !broker.fenced)?;
            broker.listener(&terms.listener).and(broker.rack.as_deref())
        };
        let in_sync = replica.in_sync_followers().into_iter().map(|remote| Follower {
            id: remote.broker,
            log: remote.log_start..=remote.log_end,
            caught_up: remote.last_caught_up,
        });
        preferred::choose(rack.as_str(), self.replicas.node(), in_sync, wanted.fetch_offset, rack_of)
    }

    /// Why a partition is not here: nobody knows it, or another broker has it.
    fn absent(&self, key: &PartitionKey, uses_ids: bool) -> ErrorCode {
        let image = self.image.load();
        let topic = if uses_ids { image.topic_by_id(key.topic_id) } else { image.topic(&key.topic) };
        match topic {
            None if uses_ids => ErrorCode::UNKNOWN_TOPIC_ID,
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Some(topic) if topic.partition(key.partition).is_some() => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        }
    }

    /// Waits until there is enough, or until the deadline. What was found is let go meanwhile.
    async fn wait(
        &self,
        (mut wanted, mut found): (Vec<Wanted>, Vec<Found>),
        mut watched: Option<Watched>,
        terms: &Terms,
        deadline: Instant,
    ) -> Result<(Vec<Wanted>, Vec<Found>), ErrorCode> {
        loop {
            let have: usize = found.iter().map(bytes).sum();
            let poll = LongPoll::new(terms.min_bytes.saturating_sub(have));
            let follower = matches!(terms.reader, ReadAs::Follower(_));
            let mut still = watched.as_ref().is_none_or(|watched| watched.changes.watch(&poll, watched.mark));
            for one in found.iter().filter(|_| watched.is_none()) {
                if let (Some(replica), Ok(fetched)) = (&one.replica, &one.fetched) {
                    let seen = if follower { fetched.view.log_end } else { fetched.view.high_watermark };
                    still &= poll.watch(replica, seen, follower);
                }
            }
            drop(found);
            let in_time = !still || poll.until(deadline).await;
            if let (Some(_), Mode::Incremental { id, epoch }) = (&watched, terms.mode) {
                (wanted, watched) = self.sessions.lock().again(id, epoch)?;
            }
            found = self.read(&wanted, terms, watched.as_ref(), false);
            if !in_time || is_enough(&found, terms) || Instant::now() >= deadline {
                return Ok((wanted, found));
            }
        }
    }

    fn reply(&self, wanted: Vec<Wanted>, found: Vec<Found>, terms: &Terms) -> FetchReply {
        if matches!(terms.reader, ReadAs::Follower(_)) {
            for one in &found {
                if let Some(replica) = &one.replica {
                    self.replicas.sent_to_follower(replica, bytes(one));
                }
            }
        }
        let chosen = match terms.mode {
            Mode::Incremental { id, epoch } => {
                let news = wanted.iter().zip(&found).map(|(wanted, found)| (&wanted.key, news(found)));
                match self.sessions.lock().select(id, epoch, news) {
                    Ok(chosen) => Some(chosen),
                    Err(code) => return FetchReply::refused(code),
                }
            }
            Mode::Full | Mode::Sessionless => None,
        };
        let session_id = match terms.mode {
            Mode::Sessionless => 0,
            Mode::Incremental { id, .. } => id,
            Mode::Full => {
                let told = wanted.iter().zip(&found).map(|(wanted, found)| (wanted.clone(), news(found)));
                self.sessions.lock().create(terms.session, told, terms.now)
            }
        };
        let mut reply =
            FetchReply { error: ErrorCode::NONE, session_id, topics: Vec::new(), endpoints: Vec::new() };
        for (at, (wanted, found)) in wanted.into_iter().zip(found).enumerate() {
            if chosen.as_ref().is_none_or(|chosen| chosen[at]) {
                self.add(&mut reply, wanted.key, found, terms);
            }
        }
        reply
    }

    fn add(&self, reply: &mut FetchReply, key: PartitionKey, found: Found, terms: &Terms) {
        let mut partition = PartitionReply::of(key.partition, found.fetched);
        partition.preferred_replica = found.preferred.unwrap_or(NO_LEADER);
        let elsewhere =
            matches!(partition.error, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
        if elsewhere && terms.names_leaders {
            let image = self.image.load();
            let topic =
                if terms.uses_ids { image.topic_by_id(key.topic_id) } else { image.topic(&key.topic) };
            if let Some((leader, endpoint)) =
                topic.and_then(|topic| leader_hint(&image, topic, key.partition, &terms.listener))
            {
                partition.current_leader = Some(leader);
                // A follower knows where brokers are, and Kafka tells it nothing of that.
                if let Some(endpoint) = endpoint
                    && !matches!(terms.reader, ReadAs::Follower(_))
                    && !reply.endpoints.iter().any(|held| held.node == endpoint.node)
                {
                    reply.endpoints.push(endpoint);
                }
            }
        }
        match reply.topics.last_mut() {
            Some(topic) if topic.topic_id == key.topic_id && topic.topic == key.topic => {
                topic.partitions.push(partition);
            }
            _ => reply.topics.push(TopicReply {
                topic: key.topic,
                topic_id: key.topic_id,
                partitions: vec![partition],
            }),
        }
    }
}

/// Whether a broker's fetch is to be answered, in Kafka's order: its leader epoch, our leadership, its replica.
fn check_follower(
    replica: &Replica,
    broker: NodeId,
    wanted: &Wanted,
    terms: &Terms,
) -> Result<(), ErrorCode> {
    let view = replica.view();
    Replica::check_epoch(&view, wanted.current_leader_epoch)?;
    if !view.is_leader {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    // With an epoch it may have heard of its replica before we have, and asks again.
    replica.check_follower(broker, terms.broker_epoch, wanted.current_leader_epoch >= 0)
}

/// Who reads; `None` for an isolation level that does not exist.
fn reader(request: &FetchRequest) -> Option<ReadAs> {
    let replica = request.replica_state.replica_id.0.max(request.replica_id.0);
    match request.isolation_level {
        _ if replica >= 0 => Some(ReadAs::Follower(replica)),
        0 => Some(ReadAs::Uncommitted),
        1 => Some(ReadAs::Committed),
        _ => None,
    }
}

/// Names are copied, once per topic: sessions and those who wait would hold the frame by them.
fn partitions(request: FetchRequest) -> (Vec<Wanted>, Vec<PartitionKey>) {
    let mut wanted = Vec::new();
    for topic in request.topics {
        let name = TopicName(wire(&topic.topic));
        for partition in topic.partitions {
            wanted.push(Wanted {
                key: PartitionKey {
                    topic_id: TopicId(topic.topic_id),
                    topic: name.clone(),
                    partition: partition.partition,
                },
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start: partition.log_start_offset,
            });
        }
    }
    let forgotten = request.forgotten_topics_data.into_iter().flat_map(|topic| {
        let (id, name) = (TopicId(topic.topic_id), TopicName(wire(&topic.topic)));
        topic.partitions.into_iter().map(move |partition| PartitionKey {
            topic_id: id,
            topic: name.clone(),
            partition,
        })
    });
    (wanted, forgotten.collect())
}

fn bytes(found: &Found) -> usize {
    found.fetched.as_ref().map_or(0, |fetched| fetched.bytes)
}

/// Whether there is something to answer that must not wait any longer.
fn is_enough(found: &[Found], terms: &Terms) -> bool {
    found.iter().any(|found| found.preferred.is_some())
        || found.iter().any(|found| found.fetched.as_ref().map_or(true, Fetched::is_final))
        || found.iter().map(bytes).sum::<usize>() >= terms.min_bytes
}

fn news(found: &Found) -> News {
    match &found.fetched {
        Err(_) => {
            let (high_watermark, log_start) = (-1, -1);
            News { bytes: 0, high_watermark, log_start, exceptional: true, error: true, settled: false }
        }
        Ok(fetched) => News {
            bytes: fetched.bytes,
            high_watermark: fetched.view.high_watermark,
            log_start: fetched.view.log_start,
            exceptional: fetched.is_final() || found.preferred.is_some(),
            error: fetched.error != ErrorCode::NONE,
            settled: found.settled,
        },
    }
}
