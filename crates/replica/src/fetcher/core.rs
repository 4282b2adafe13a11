//! What one fetcher asks its leader next. Pure: it is told what happened and when.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{ErrorCode, LeaderEpoch, Millis, Offset, TopicPartitionId};

use super::session::{Asked, Session, Wish};

/// First wait after an error; doubled from one to the next, up to `replica.fetch.backoff.ms`.
const FIRST_BACKOFF_MS: i64 = 10;
/// A long poll is interrupted for the sake of others no more often than this.
const INTERRUPT_MS: i64 = 50;
/// What is throttled is left alone for so long at a time.
const THROTTLE_MS: i64 = 100;
/// A partition that was refused more often than this waits for the poll that is under way.
const PATIENT_FROM: u32 = 6;

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    /// Epoch of the last record; -1 for none.
    pub(crate) last_epoch: LeaderEpoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Is fetched.
    Ready,
    /// Its end is not in the leader's log: where that starts and ends is asked first.
    Lost,
    /// Left alone until then.
    Waiting(Millis, Reason),
    /// Not fetched until it is assigned anew.
    Failed,
}

/// Why a partition is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It was refused.
    Refused,
    /// The same, and its end is still not in the leader's log.
    Lost,
    /// The quota is used up.
    Throttled,
}

#[derive(Clone, Debug)]
struct Followed {
    leader_epoch: LeaderEpoch,
    position: Position,
    stage: Stage,
    /// Errors since something went well.
    failures: u32,
    /// It has all that the leader has said is committed.
    caught_up: bool,
}

impl Followed {
    fn wish(&self) -> Option<Wish> {
        (self.stage == Stage::Ready).then_some(Wish {
            leader_epoch: self.leader_epoch,
            offset: self.position.log_end,
            last_epoch: self.position.last_epoch,
            log_start: self.position.log_start,
        })
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until something is assigned or the time has come.
    Rest(Option<Millis>),
    /// Ask where the leader's logs of these start and end.
    Locate(Vec<(TopicPartitionId, LeaderEpoch)>),
    /// Fetch.
    Fetch(Asked),
}

/// What to do with what the leader said of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is of an earlier assignment, or an error that has been seen to.
    Ignore,
    /// Append, or cut back: it answers what was asked at this offset, in this leader epoch.
    Use(Offset, LeaderEpoch),
}

/// One fetcher's partitions, all led by one broker.
#[derive(Debug)]
pub(crate) struct Core {
    partitions: BTreeMap<TopicPartitionId, Followed>,
    session: Session,
    ready: usize,
    lost: BTreeSet<TopicPartitionId>,
    waiting: BTreeSet<(Millis, TopicPartitionId)>,
    backoff_max_ms: i64,
    /// The whole leader is left alone until then.
    rest_until: Option<Millis>,
    failures: u32,
    /// A request is under way that does not name all that is ready.
    left_out: bool,
    interrupted: Millis,
}

impl Core {
    pub(crate) fn new(backoff_max_ms: i64) -> Self {
        Self {
            partitions: BTreeMap::new(),
            session: Session::default(),
            ready: 0,
            lost: BTreeSet::new(),
            waiting: BTreeSet::new(),
            backoff_max_ms: backoff_max_ms.max(1),
            rest_until: None,
            failures: 0,
            left_out: false,
            interrupted: Millis(i64::MIN / 2),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Follows a partition from `position` on, whatever was known of it.
    pub(crate) fn assign(&mut self, key: TopicPartitionId, leader_epoch: LeaderEpoch, position: Position) {
        self.remove(&key);
        let stage = Stage::Failed;
        self.partitions
            .insert(key, Followed { leader_epoch, position, stage, failures: 0, caught_up: false });
        self.enter(key, Stage::Ready);
    }

    /// Follows a partition no longer.
    pub(crate) fn remove(&mut self, key: &TopicPartitionId) {
        if self.partitions.contains_key(key) {
            self.enter(*key, Stage::Failed);
            self.partitions.remove(key);
        }
    }

    /// The leader is another process now, or elsewhere: nothing it was asked counts.
    pub(crate) fn reconnect(&mut self) {
        self.session = Session::default();
        self.rest_until = None;
        self.failures = 0;
    }

    fn enter(&mut self, key: TopicPartitionId, stage: Stage) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        match followed.stage {
            Stage::Ready => self.ready -= 1,
            Stage::Lost => {
                self.lost.remove(&key);
            }
            Stage::Waiting(until, _) => {
                self.waiting.remove(&(until, key));
            }
            Stage::Failed => {}
        }
        // What was throttled comes with the next poll; none is given up for it.
        let patient = matches!(followed.stage, Stage::Waiting(_, Reason::Throttled));
        followed.stage = stage;
        match stage {
            Stage::Ready => {
                self.ready += 1;
                self.left_out |= followed.failures < PATIENT_FROM && !patient;
            }
            Stage::Lost => {
                self.lost.insert(key);
                self.left_out |= followed.failures < PATIENT_FROM;
            }
            Stage::Waiting(until, _) => {
                self.waiting.insert((until, key));
            }
            Stage::Failed => {}
        }
        self.session.touch(key);
    }

    fn wake(&mut self, now: Millis) {
        while let Some(&(until, key)) = self.waiting.first()
            && until <= now
        {
            let lost = matches!(self.partitions[&key].stage, Stage::Waiting(_, Reason::Lost));
            self.enter(key, if lost { Stage::Lost } else { Stage::Ready });
        }
    }

    /// The quota is used up: those that are throttled are left out for a while, unless they are in sync (KIP-73). To be
    /// said before [`next`](Self::next), as long as it is so.
    pub(crate) fn throttle(&mut self, now: Millis, is_throttled: impl Fn(&TopicPartitionId) -> bool) {
        self.wake(now);
        let lagging = self.partitions.iter().filter(|(_, one)| one.stage == Stage::Ready && !one.caught_up);
        let held: Vec<_> = lagging.map(|(key, _)| *key).filter(|key| is_throttled(key)).collect();
        for key in held {
            self.enter(key, Stage::Waiting(now.plus(THROTTLE_MS), Reason::Throttled));
        }
    }

    /// Whether a partition has all that its leader says is committed.
    pub(crate) fn caught_up(&mut self, key: &TopicPartitionId, is_so: bool) {
        if let Some(followed) = self.partitions.get_mut(key) {
            followed.caught_up = is_so;
        }
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Millis) -> Step {
        if let Some(until) = self.rest_until {
            if now < until {
                return Step::Rest(Some(until));
            }
            self.rest_until = None;
        }
        self.wake(now);
        self.left_out = false;
        if !self.lost.is_empty() {
            let lost = self.lost.iter().map(|key| (*key, self.partitions[key].leader_epoch));
            return Step::Locate(lost.collect());
        }
        if self.ready == 0 {
            self.session.lost();
            return Step::Rest(self.waiting.first().map(|(until, _)| *until));
        }
        let all = self.partitions.iter().filter_map(|(key, followed)| Some((*key, followed.wish()?)));
        let partitions = &self.partitions;
        Step::Fetch(self.session.next(all, |key| partitions.get(key)?.wish()))
    }

    /// While a fetch is under way: when it is to be given up because something else is to be asked. `None` while
    /// nothing is.
    pub(crate) fn interrupt_at(&mut self, now: Millis) -> Option<Millis> {
        self.wake(now);
        let spaced = self.interrupted.plus(INTERRUPT_MS).max(now);
        if self.left_out {
            return Some(spaced);
        }
        self.waiting.first().map(|(until, _)| spaced.max(*until))
    }

    /// The fetch under way was given up. Forgets that it was ever asked.
    pub(crate) fn interrupted(&mut self, now: Millis) {
        self.interrupted = now;
        self.session.lost();
    }

    /// Whether a fetch that is under way is worth giving up now.
    pub(crate) fn is_left_out(&self) -> bool {
        self.left_out
    }

    /// No answer, or none that can be read: the leader is left alone for a while.
    pub(crate) fn unanswered(&mut self, now: Millis) {
        self.session.lost();
        self.rest(now);
    }

    fn rest(&mut self, now: Millis) {
        self.rest_until = Some(now.plus(self.backoff(self.failures)));
        self.failures = self.failures.saturating_add(1);
    }

    fn backoff(&self, failures: u32) -> i64 {
        FIRST_BACKOFF_MS.saturating_mul(1 << failures.min(20)).min(self.backoff_max_ms)
    }

    /// The fetch was answered. False when the answer holds nothing, or is of a connection that is no more.
    pub(crate) fn answered(&mut self, now: Millis, error: ErrorCode, session_id: i32) -> bool {
        if !self.session.is_asking() {
            return false;
        }
        let whole = self.session.answered(error, session_id);
        if whole {
            self.failures = 0;
        } else {
            // The first time is how a session ends: asked anew at once.
            if self.failures > 0 {
                self.rest(now);
            }
            self.failures = self.failures.max(1);
        }
        whole
    }

    /// What the leader said of a partition: use it or not. Errors are seen to here.
    pub(crate) fn judge(&mut self, key: &TopicPartitionId, error: ErrorCode, now: Millis) -> Verdict {
        let Some(followed) = self.partitions.get(key) else { return Verdict::Ignore };
        let asked = self.session.held(key).copied();
        let Some(asked) = asked.filter(|asked| followed.wish() == Some(*asked)) else {
            return Verdict::Ignore;
        };
        match error {
            ErrorCode::NONE => return Verdict::Use(asked.offset, asked.leader_epoch),
            ErrorCode::OFFSET_OUT_OF_RANGE if followed.failures == 0 => self.enter(*key, Stage::Lost),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.refused(key, true, now),
            _ => self.refused(key, false, now),
        }
        Verdict::Ignore
    }

    /// A partition did not get on; it is left alone for a while.
    pub(crate) fn refused(&mut self, key: &TopicPartitionId, lost: bool, now: Millis) {
        let Some(followed) = self.partitions.get_mut(key) else { return };
        followed.failures = followed.failures.saturating_add(1);
        let failures = followed.failures - 1;
        let until = now.plus(self.backoff(failures));
        let reason = if lost { Reason::Lost } else { Reason::Refused };
        self.enter(*key, Stage::Waiting(until, reason));
    }

    /// What came of a partition could not be used, or not all of it: it is asked from where it is now, and not at once.
    /// What failed before is forgotten only when it is further now, or the same again would look like the first time.
    pub(crate) fn stuck(
        &mut self,
        key: &TopicPartitionId,
        leader_epoch: LeaderEpoch,
        position: Position,
        now: Millis,
    ) {
        let Some(followed) = self.partitions.get_mut(key) else { return };
        if followed.leader_epoch != leader_epoch {
            return;
        }
        if position.log_end > followed.position.log_end {
            followed.failures = 0;
        }
        followed.position = position;
        self.refused(key, false, now);
    }

    /// A partition cannot be followed (its disk failed), until it is assigned anew.
    pub(crate) fn failed(&mut self, key: &TopicPartitionId) {
        self.enter(*key, Stage::Failed);
    }

    /// A partition was followed up to here, in the leader epoch it was fetched in.
    pub(crate) fn progressed(
        &mut self,
        key: &TopicPartitionId,
        leader_epoch: LeaderEpoch,
        position: Position,
    ) {
        let Some(followed) = self.partitions.get_mut(key) else { return };
        if followed.leader_epoch != leader_epoch {
            return;
        }
        followed.failures = 0;
        if followed.stage != Stage::Ready {
            followed.position = position;
            self.enter(*key, Stage::Ready);
            // It is asked with the next request anyway.
        } else if followed.position != position {
            followed.position = position;
            self.session.touch(*key);
        }
    }

    /// The same after its place in the leader's log was looked up: what failed before is not forgotten when it led to
    /// nothing.
    pub(crate) fn located(
        &mut self,
        key: &TopicPartitionId,
        leader_epoch: LeaderEpoch,
        position: Position,
        now: Millis,
    ) {
        let Some(followed) = self.partitions.get_mut(key) else { return };
        if followed.leader_epoch != leader_epoch || followed.stage != Stage::Lost {
            return;
        }
        if followed.position == position {
            return self.refused(key, false, now);
        }
        followed.position = position;
        self.enter(*key, Stage::Ready);
    }
}

#[cfg(test)]
mod tests;
