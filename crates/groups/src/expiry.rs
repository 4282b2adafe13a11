//! Offsets expire (KIP-211), and a group that is empty and has none left goes with them.
//!
//! Kafka looks at every group every `offsets.retention.check.interval.ms`. Here every group has one deadline, the time
//! at which its next offset may expire, so that a coordinator with nothing to expire does nothing.

use std::sync::Arc;

use crate::{
    CommittedOffset, OffsetCommit, Record, State, Timer,
    classic::{CONSUMER, ClassicGroup},
    groups::Group,
    turn::Turn,
};

/// What an offset's age is counted from.
enum Base<'a> {
    /// Offsets of this group do not expire now.
    Never,
    /// The group has become empty at this time, if it is known; else the commit.
    Emptied(Option<i64>),
    /// The commit: nobody manages this group.
    Commit,
    /// The commit, for topics that no member reads any more.
    Unread(&'a std::collections::BTreeSet<Arc<str>>),
}

fn base(group: &ClassicGroup) -> Base<'_> {
    match (&group.protocol_type, group.state, &group.subscribed) {
        (None, _, _) => Base::Commit,
        (Some(_), State::Empty, _) => Base::Emptied(group.state_since_ms),
        (Some(kind), State::Stable, Some(topics)) if &**kind == CONSUMER => Base::Unread(topics),
        _ => Base::Never,
    }
}

/// When this offset expires by the wall clock, if it does.
fn expires_at(base: &Base<'_>, topic: &Arc<str>, offset: &CommittedOffset, retention_ms: i64) -> Option<i64> {
    let from = match base {
        Base::Never => return None,
        Base::Unread(topics) if topics.contains(topic) => return None,
        Base::Unread(_) | Base::Commit => offset.commit_timestamp_ms,
        Base::Emptied(since) => since.unwrap_or(offset.commit_timestamp_ms),
    };
    Some(offset.expire_timestamp_ms.unwrap_or_else(|| from.saturating_add(retention_ms)))
}

/// After a commit: the group's deadline is not later than what this commit gives. Later commits only move the real
/// deadline back, which is found out when it comes.
pub(crate) fn expect_expiry(turn: &mut Turn<'_, '_>, commit: &OffsetCommit) {
    let in_ms = commit.retention_time_ms.unwrap_or(turn.config.offsets_retention_ms);
    look_within(turn, &commit.group_id, in_ms);
}

/// The group is looked at in `in_ms` at the latest, as far as looks may be so close to each other.
pub(crate) fn look_within(turn: &mut Turn<'_, '_>, group: &Arc<str>, in_ms: i64) {
    let at = turn.after(in_ms.max(turn.config.offsets_retention_check_interval_ms));
    let timer = Timer::Expiry(group.clone());
    if turn.timers.get(&timer).is_none_or(|set| set > at) {
        turn.timers.set(timer, at);
    }
}

impl Group {
    /// Sets the group's deadline anew, if it has anything that can expire.
    pub(crate) fn schedule_expiry(&self, turn: &mut Turn<'_, '_>) {
        let timer = Timer::Expiry(self.classic.id.clone());
        let retention_ms = turn.config.offsets_retention_ms;
        let base = base(&self.classic);
        let next = self
            .offsets
            .iter()
            .filter_map(|(topic, _, offset)| expires_at(&base, topic, offset, retention_ms));
        let next = next.min().map(|at| at.saturating_sub(turn.wall_ms()));
        // An empty group without offsets lives until the next look at it.
        let next =
            next.or_else(|| (self.offsets.is_empty() && self.classic.state == State::Empty).then_some(0));
        match next {
            Some(in_ms) => {
                let at = turn.after(in_ms.max(turn.config.offsets_retention_check_interval_ms));
                turn.timers.set(timer, at);
            }
            None => turn.timers.cancel(&timer),
        }
    }

    /// Drops what has expired. The clock may have been set meanwhile, so the deadline proves nothing by itself.
    pub(crate) fn expire(&self, turn: &mut Turn<'_, '_>) {
        let now = turn.wall_ms();
        let base = base(&self.classic);
        let retention_ms = turn.config.offsets_retention_ms;
        let mut stays = false;
        for (topic, partition, offset) in self.offsets.iter() {
            let expired = expires_at(&base, topic, offset, retention_ms).is_some_and(|at| at <= now);
            if expired && !self.offsets.is_unstable(topic, partition) {
                let (group, topic) = (self.classic.id.clone(), topic.clone());
                turn.records.push(Record::OffsetTombstone { group, topic, partition });
            } else {
                stays = true;
            }
        }
        if !stays && self.classic.is_deserted() && !self.offsets.has_unstable() {
            turn.records.push(Record::GroupTombstone { group: self.classic.id.clone() });
        }
    }
}
