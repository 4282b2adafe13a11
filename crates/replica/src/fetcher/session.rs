//! The follower's side of a fetch session (KIP-227): what the leader remembers of what we want.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{ErrorCode, LeaderEpoch, Offset, TopicPartitionId};

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The leader epoch we believe in.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The first offset we lack.
    pub(crate) offset: Offset,
    /// Epoch of the last record we have; -1 for none.
    pub(crate) last_epoch: LeaderEpoch,
    /// Where our log starts.
    pub(crate) log_start: Offset,
}

/// Partitions of one request: all of them or what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    pub(crate) wishes: Vec<(TopicPartitionId, Wish)>,
    pub(crate) forgotten: Vec<TopicPartitionId>,
}

/// A session with one leader.
#[derive(Debug, Default)]
pub(crate) struct Session {
    id: i32,
    /// Of the next request; 0 asks for everything anew.
    epoch: i32,
    /// What the leader remembers, or will once it has the request that is under way.
    held: BTreeMap<TopicPartitionId, Wish>,
    /// Partitions whose wish may differ from what is held.
    changed: BTreeSet<TopicPartitionId>,
    /// A request of this session is under way.
    asking: bool,
}

impl Session {
    /// Takes note that the wish for a partition is another, or that there is none any more.
    pub(crate) fn touch(&mut self, key: TopicPartitionId) {
        self.changed.insert(key);
    }

    /// What the leader was asked of a partition.
    pub(crate) fn held(&self, key: &TopicPartitionId) -> Option<&Wish> {
        self.held.get(key)
    }

    /// The next request. `wish` tells what is wanted of a partition now, `all` goes through everything wanted.
    pub(crate) fn next(
        &mut self,
        all: impl Iterator<Item = (TopicPartitionId, Wish)>,
        wish: impl Fn(&TopicPartitionId) -> Option<Wish>,
    ) -> Asked {
        self.asking = true;
        let changed = std::mem::take(&mut self.changed);
        let mut asked = Asked { session_id: self.id, session_epoch: self.epoch, ..Asked::default() };
        if self.epoch == 0 {
            asked.wishes = all.collect();
            self.held = asked.wishes.iter().copied().collect();
            return asked;
        }
        for key in changed {
            match wish(&key) {
                Some(wish) if self.held.get(&key) != Some(&wish) => {
                    self.held.insert(key, wish);
                    asked.wishes.push((key, wish));
                }
                Some(_) => {}
                None => {
                    if self.held.remove(&key).is_some() {
                        asked.forgotten.push(key);
                    }
                }
            }
        }
        asked
    }

    /// Whether an answer is awaited; what else comes answers what was asked before this session.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking
    }

    /// The leader answered. False when the answer holds nothing: everything is to be asked anew.
    pub(crate) fn answered(&mut self, error: ErrorCode, session_id: i32) -> bool {
        self.asking = false;
        match error {
            ErrorCode::NONE if session_id == 0 => {
                // There is no session, or no longer one; what the answer tells holds all the same.
                (self.id, self.epoch) = (0, 0);
                true
            }
            ErrorCode::NONE => {
                self.id = session_id;
                self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
                true
            }
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => {
                (self.id, self.epoch) = (0, 0);
                false
            }
            _ => {
                self.lost();
                false
            }
        }
    }

    /// Whether the leader has this request or not is not known: the session is closed and another begun.
    pub(crate) fn lost(&mut self) {
        self.asking = false;
        self.epoch = 0;
    }
}
