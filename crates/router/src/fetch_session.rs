//! Fetch sessions (KIP-227): what a client fetches, remembered, so that requests name only what changed and answers
//! only what is new.
//!
//! Pure: a cache that is told the time. It knows nothing of replicas; the Fetch handler asks it what to read and shows
//! it what was found. Of a follower's session only those partitions are read that are not settled or have changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ottla_protocol::messages::TopicName;
use ottla_replica::{Changes, Mark};
use ottla_types::{ErrorCode, LeaderEpoch, Millis, Offset, TopicId};

/// How long a session is safe from being replaced by a larger one, and how long it must be idle to be replaced by any.
const EVICTION_MS: i64 = 120_000;
/// The session epoch of a request that asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// The session epoch of a request that ends its session, or wants none.
const FINAL_EPOCH: i32 = -1;

/// Which partition, by id where the request has ids and by name where it has names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PartitionKey {
    /// Zero in requests before version 13.
    pub(crate) topic_id: TopicId,
    /// Empty in requests from version 13 on.
    pub(crate) topic: TopicName,
    /// The partition's number.
    pub(crate) partition: i32,
}

/// What is wanted of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Which partition.
    pub(crate) key: PartitionKey,
    /// From where on.
    pub(crate) fetch_offset: Offset,
    /// At most so many bytes.
    pub(crate) max_bytes: i32,
    /// The leader epoch the client believes in; -1 for none.
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// Epoch of the last record it has; -1 for none.
    pub(crate) last_fetched_epoch: LeaderEpoch,
    /// Where its own log starts, when it is a follower.
    pub(crate) log_start: Offset,
}

/// What was found for one partition, as far as sessions care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Bytes of records.
    pub(crate) bytes: usize,
    /// High watermark.
    pub(crate) high_watermark: Offset,
    /// Log start.
    pub(crate) log_start: Offset,
    /// Error, diverging epoch: must be told in any case.
    pub(crate) exceptional: bool,
    /// An error: told again every time, and everything is told when it is over.
    pub(crate) error: bool,
    /// Nothing will come of reading it again until it changes; counts for followers only.
    pub(crate) settled: bool,
}

/// What a request says about its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionRequest {
    /// 0 for none.
    pub(crate) id: i32,
    /// -1 to end it, 0 to begin one, else the number of the request.
    pub(crate) epoch: i32,
    /// Whether the request names topics by id.
    pub(crate) uses_ids: bool,
    /// A follower: its sessions are not replaced by those of consumers.
    pub(crate) follower: bool,
    /// Of what no replica reports by itself: another number, and everything is read.
    pub(crate) generation: u64,
}

/// What a session's replicas reported is known up to here.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Where they report.
    pub(crate) changes: Arc<Changes>,
    /// Appends up to this one are known.
    pub(crate) mark: Mark,
}

/// What is to be done about a request.
#[derive(Debug)]
pub(crate) struct Begun {
    /// How to answer it.
    pub(crate) mode: Mode,
    /// What to read, in order.
    pub(crate) wanted: Vec<Wanted>,
    /// For a follower's session: what else comes up is found out here.
    pub(crate) watched: Option<Watched>,
}

/// How a request is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All partitions, no session.
    Sessionless,
    /// All partitions, and a session from here on if there is room.
    Full,
    /// Only partitions with news.
    Incremental {
        /// The session.
        id: i32,
        /// Its epoch, after this request.
        epoch: i32,
    },
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: Offset,
    log_start: Offset,
}

/// Which partitions of a follower's session are to be read.
#[derive(Debug, Default)]
struct Hot {
    changes: Arc<Changes>,
    places: BTreeSet<u64>,
    /// When everything was read last, and of which generation that was.
    walked: Option<(u64, Millis)>,
}

#[derive(Debug)]
struct Session {
    uses_ids: bool,
    follower: bool,
    epoch: i32,
    created: Millis,
    last_used: Millis,
    /// In the order they are read in; those that had records go to the end.
    order: BTreeMap<u64, Cached>,
    places: HashMap<PartitionKey, u64>,
    next_place: u64,
    /// For followers that name topics by id.
    hot: Option<Hot>,
}

/// All sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    sessions: HashMap<i32, Session>,
    /// Where ids come from: a sequence that is hard to guess but needs no chance of its own.
    seed: u64,
    /// A follower's session is read as a whole this often, in ms.
    walk_ms: i64,
}

impl FetchSessions {
    /// Room for `slots` sessions (`max.incremental.fetch.session.cache.slots`); ids are drawn from `seed`. Followers'
    /// sessions are read as a whole every `walk_ms`.
    #[must_use]
    pub(crate) fn new(slots: usize, seed: u64, walk_ms: i64) -> Self {
        Self { slots, sessions: HashMap::new(), seed, walk_ms }
    }

    /// Takes a request: what to read, in order, and how to answer.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`: for the response as
    /// a whole, which then has session id 0 and no topics.
    pub(crate) fn begin(
        &mut self,
        request: SessionRequest,
        wanted: Vec<Wanted>,
        forgotten: impl IntoIterator<Item = PartitionKey>,
        now: Millis,
    ) -> Result<Begun, ErrorCode> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != 0 {
                self.sessions.remove(&request.id);
            }
            let mode = if request.epoch == FINAL_EPOCH { Mode::Sessionless } else { Mode::Full };
            return Ok(Begun { mode, wanted: last_of_each(wanted), watched: None });
        }
        let session = self.sessions.get_mut(&request.id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_ids != request.uses_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        for one in wanted {
            session.want(one);
        }
        for key in forgotten {
            session.forget(&key);
        }
        if session.order.is_empty() {
            self.sessions.remove(&request.id);
            return Ok(Begun { mode: Mode::Sessionless, wanted: Vec::new(), watched: None });
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used = now;
        session.walk_if_due(request.generation, now, self.walk_ms);
        let (wanted, watched) = session.wanted_now();
        Ok(Begun { mode: Mode::Incremental { id: request.id, epoch: session.epoch }, wanted, watched })
    }

    /// What a follower's request that waits is to read now.
    ///
    /// # Errors
    /// As those of [`select`](Self::select).
    pub(crate) fn again(&mut self, id: i32, epoch: i32) -> Result<(Vec<Wanted>, Option<Watched>), ErrorCode> {
        Ok(self.current(id, epoch)?.wanted_now())
    }

    fn current(&mut self, id: i32, epoch: i32) -> Result<&mut Session, ErrorCode> {
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        Ok(session)
    }

    /// Begins a session over what a full request wanted and was told. Returns its id; 0 when there is no room.
    pub(crate) fn create(
        &mut self,
        request: SessionRequest,
        told: impl ExactSizeIterator<Item = (Wanted, News)>,
        now: Millis,
    ) -> i32 {
        if self.sessions.len() >= self.slots && !self.make_room(request.follower, told.len(), now) {
            return 0;
        }
        let mut session = Session {
            uses_ids: request.uses_ids,
            follower: request.follower,
            epoch: next_epoch(INITIAL_EPOCH),
            created: now,
            last_used: now,
            order: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            hot: (request.follower && request.uses_ids).then(Hot::default),
        };
        for (wanted, news) in told {
            let place = session.want(wanted);
            session.tell(place, &news);
        }
        let id = self.new_id();
        self.sessions.insert(id, session);
        id
    }

    /// Of what was found for an incremental request: which partitions the answer is to hold. Notes that they were told.
    ///
    /// # Errors
    /// `INVALID_FETCH_SESSION_EPOCH` when a later request of the session overtook this one,
    /// `FETCH_SESSION_ID_NOT_FOUND` when the session is gone.
    pub(crate) fn select<'a>(
        &mut self,
        id: i32,
        epoch: i32,
        found: impl Iterator<Item = (&'a PartitionKey, News)>,
    ) -> Result<Vec<bool>, ErrorCode> {
        let session = self.current(id, epoch)?;
        Ok(found
            .map(|(key, news)| {
                let Some(&place) = session.places.get(key) else { return true };
                let tell = session.tell(place, &news);
                if news.settled {
                    session.cool(place);
                }
                if news.bytes > 0 {
                    session.move_to_end(place);
                }
                tell
            })
            .collect())
    }

    /// Makes room for a session of `size` partitions, by Kafka's rules: at the cost of the one idle for longest, if it
    /// is idle for long; else of a smaller one, older than the eviction time; consumers' before followers'.
    fn make_room(&mut self, follower: bool, size: usize, now: Millis) -> bool {
        let idle = self.sessions.iter().min_by_key(|(id, session)| (session.last_used, **id));
        let victim = match idle {
            Some((id, session)) if now.since(session.last_used) > EVICTION_MS => Some(*id),
            _ => self
                .sessions
                .iter()
                .filter(|(_, session)| {
                    now.since(session.created) > EVICTION_MS || (follower && !session.follower)
                })
                .map(|(id, session)| (session.follower, session.order.len(), session.created, *id))
                .min()
                .filter(|(held_by_follower, held, ..)| (*held_by_follower, *held) < (follower, size))
                .map(|(.., id)| id),
        };
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }

    fn new_id(&mut self) -> i32 {
        loop {
            // splitmix64
            self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let id = ((mixed ^ (mixed >> 31)) >> 33) as i32;
            if id > 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Session {
    fn want(&mut self, wanted: Wanted) -> u64 {
        if let Some(place) = self.places.get(&wanted.key) {
            self.order.get_mut(place).expect("places and order agree").wanted = wanted;
            if let Some(hot) = &mut self.hot {
                hot.places.insert(*place);
            }
            return *place;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(wanted.key.clone(), place);
        self.order.insert(place, Cached { wanted, high_watermark: -1, log_start: -1 });
        if let Some(hot) = &mut self.hot {
            hot.places.insert(place);
        }
        place
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
            self.cool(place);
        }
    }

    /// Everything is to be read, if it is time for that.
    fn walk_if_due(&mut self, generation: u64, now: Millis, every_ms: i64) {
        let Some(hot) = &mut self.hot else { return };
        let in_time =
            |(at, when): (u64, Millis)| at == generation && (0..every_ms).contains(&now.since(when));
        if !hot.walked.is_some_and(in_time) {
            hot.walked = Some((generation, now));
            hot.places.extend(self.order.keys());
        }
    }

    /// What is to be read now, in order.
    fn wanted_now(&mut self) -> (Vec<Wanted>, Option<Watched>) {
        let Some(hot) = &mut self.hot else {
            return (self.order.values().map(|cached| cached.wanted.clone()).collect(), None);
        };
        let (changed, mark) = hot.changes.take();
        let places = changed.into_iter().filter_map(|id| {
            let key =
                PartitionKey { topic_id: id.topic, topic: TopicName::default(), partition: id.partition };
            self.places.get(&key).copied()
        });
        hot.places.extend(places);
        let wanted = hot.places.iter().map(|place| self.order[place].wanted.clone()).collect();
        (wanted, Some(Watched { changes: Arc::clone(&hot.changes), mark }))
    }

    fn cool(&mut self, place: u64) {
        if let Some(hot) = &mut self.hot {
            hot.places.remove(&place);
        }
    }

    fn move_to_end(&mut self, place: u64) {
        let cached = self.order.remove(&place).expect("places and order agree");
        self.places.insert(cached.wanted.key.clone(), self.next_place);
        self.order.insert(self.next_place, cached);
        if let Some(hot) = &mut self.hot
            && hot.places.remove(&place)
        {
            hot.places.insert(self.next_place);
        }
        self.next_place += 1;
    }

    /// Whether the client is to be told, and notes it.
    fn tell(&mut self, place: u64, news: &News) -> bool {
        let cached = self.order.get_mut(&place).expect("places and order agree");
        let tell = news.bytes > 0
            || news.exceptional
            || news.error
            || news.high_watermark != cached.high_watermark
            || news.log_start != cached.log_start;
        // After an error everything is told anew.
        cached.high_watermark = if news.error { -1 } else { news.high_watermark };
        cached.log_start = news.log_start;
        tell
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// A partition named twice is read once: where it first stood, as it was last said.
fn last_of_each(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut places = HashMap::with_capacity(wanted.len());
    let mut kept: Vec<Wanted> = Vec::with_capacity(wanted.len());
    for one in wanted {
        match places.get(&one.key) {
            Some(&place) => kept[place] = one,
            None => {
                places.insert(one.key.clone(), kept.len());
                kept.push(one);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests;
