//! Fetch sessions (KIP-227): what a client fetches, remembered, so that requests name only what changed and answers
//! only what is new.
//!
//! Pure: a cache that is told the time. It knows nothing of replicas; the Fetch handler asks it what to read and shows
//! it what was found.

use std::collections::{BTreeMap, HashMap};

use ottla_protocol::messages::TopicName;
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
}

/// All sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    sessions: HashMap<i32, Session>,
    /// Where ids come from: a sequence that is hard to guess but needs no chance of its own.
    seed: u64,
}

impl FetchSessions {
    /// Room for `slots` sessions (`max.incremental.fetch.session.cache.slots`); ids are drawn from `seed`.
    #[must_use]
    pub(crate) fn new(slots: usize, seed: u64) -> Self {
        Self { slots, sessions: HashMap::new(), seed }
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
    ) -> Result<(Mode, Vec<Wanted>), ErrorCode> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != 0 {
                self.sessions.remove(&request.id);
            }
            let mode = if request.epoch == FINAL_EPOCH { Mode::Sessionless } else { Mode::Full };
            return Ok((mode, last_of_each(wanted)));
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
            return Ok((Mode::Sessionless, Vec::new()));
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used = now;
        let wanted = session.order.values().map(|cached| cached.wanted.clone()).collect();
        Ok((Mode::Incremental { id: request.id, epoch: session.epoch }, wanted))
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
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        Ok(found
            .map(|(key, news)| {
                let Some(&place) = session.places.get(key) else { return true };
                let tell = session.tell(place, &news);
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
            return *place;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(wanted.key.clone(), place);
        self.order.insert(place, Cached { wanted, high_watermark: -1, log_start: -1 });
        place
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
        }
    }

    fn move_to_end(&mut self, place: u64) {
        let cached = self.order.remove(&place).expect("places and order agree");
        self.places.insert(cached.wanted.key.clone(), self.next_place);
        self.order.insert(self.next_place, cached);
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
