//! All groups of one shard: takes commands to their group, keeps the deadlines.

use std::{collections::HashMap, sync::Arc};

use ottla_machine::{Ctx, Decision, TimerQueue, Token};
use ottla_types::{ErrorCode, Millis};

use crate::{
    Answer, Command, GroupSnapshot, GroupsConfig, Heartbeat, JoinAnswer, JoinGroup, LeaveAnswer, LeaveGroup,
    LeftMember, OffsetCommit, OffsetCommitAnswer, OffsetFetch, OffsetFetchAnswer, Record, State, SyncAnswer,
    SyncGroup, Timer,
    classic::ClassicGroup,
    expiry,
    offsets::{self, OffsetTable},
    query,
    replay::OpenTransactions,
    turn::Turn,
};

/// One group and its offsets.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) classic: ClassicGroup,
    pub(crate) offsets: OffsetTable,
}

impl Group {
    fn new(id: Arc<str>) -> Self {
        Self { classic: ClassicGroup::new(id), offsets: OffsetTable::default() }
    }
}

/// The groups of one partition of `__consumer_offsets`.
///
/// First [`replay`](Self::replay) the partition, then [`take_office`](Self::take_office). After that a turn is
/// [`decide`](Self::decide), hand the facts to the log as one batch, and [`accept`](Self::accept) them if it took them or
/// [`refused`](Self::refused) if it did not; the answers are given when the facts are durable. When
/// [`deadline`](Self::deadline) has come, every command of [`due`](Self::due) has its turn.
#[derive(Clone, Debug)]
pub struct Groups {
    config: Arc<GroupsConfig>,
    pub(crate) groups: HashMap<Arc<str>, Group>,
    timers: TimerQueue<Timer>,
    /// For the operator; taken by the driver after every turn.
    notes: Vec<String>,
    pub(crate) open: OpenTransactions,
}

impl Groups {
    /// No groups.
    #[must_use]
    pub fn new(config: Arc<GroupsConfig>) -> Self {
        Self {
            config,
            groups: HashMap::new(),
            timers: TimerQueue::default(),
            notes: Vec::new(),
            open: OpenTransactions::default(),
        }
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The partition has been replayed to its end: sessions and deadlines begin.
    pub fn take_office(&mut self, ctx: &mut Ctx<'_>) -> Decision<Record, Answer> {
        let mut turn = turn(&self.config, &mut self.timers, &mut self.notes, ctx);
        for group in self.groups.values_mut() {
            group.classic.restart_sessions(&mut turn);
            group.classic.shrink_if_too_large(&mut turn);
            group.schedule_expiry(&mut turn);
        }
        finish(turn)
    }

    /// Decides on one command. Offsets do not change before [`accept`](Self::accept).
    pub fn decide(&mut self, ctx: &mut Ctx<'_>, from: Token, command: Command) -> Decision<Record, Answer> {
        match command {
            Command::JoinGroup(join) => self.join(ctx, from, join),
            Command::SyncGroup(sync) => self.sync(ctx, from, sync),
            Command::Heartbeat(heartbeat) => self.heartbeat(ctx, from, &heartbeat),
            Command::LeaveGroup(leave) => self.leave(ctx, from, leave),
            Command::OffsetCommit(commit) => self.commit(ctx, from, &commit),
            Command::OffsetFetch(fetch) => Decision::answer(from, Answer::OffsetFetch(self.fetch(&fetch))),
            Command::DescribeGroup(id) => {
                let described = self.groups.get(&id).map(|group| group.classic.describe());
                Decision::answer(from, Answer::Describe(described))
            }
            Command::ListGroups(filter) => {
                Decision::answer(from, Answer::List(query::list(self.groups.values(), &filter)))
            }
            Command::TopicsDeleted(topics) => self.topics_deleted(ctx, from, &topics),
            Command::Due(timer) => self.on_due(ctx, &timer),
        }
    }

    /// The log took these facts.
    pub fn accept(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Offset { group, topic, partition, value } => {
                    self.group_or_new(group).offsets.set(topic, *partition, value.clone());
                }
                Record::OffsetTombstone { group, topic, partition } => {
                    if let Some(group) = self.groups.get_mut(group) {
                        group.offsets.remove(topic, *partition);
                    }
                }
                Record::GroupTombstone { group } => {
                    self.groups.remove(group);
                    self.timers.cancel(&Timer::Expiry(group.clone()));
                }
                Record::Group { group, .. } => {
                    if let Some(group) = self.groups.get_mut(group) {
                        group.classic.is_logged();
                    }
                }
            }
        }
    }

    /// The log did not take the facts of this decision: its answers say so, a generation it was to settle is void, and a
    /// static member that came back has not.
    pub fn refused(
        &mut self,
        ctx: &mut Ctx<'_>,
        decision: Decision<Record, Answer>,
        error: ErrorCode,
    ) -> Decision<Record, Answer> {
        let mut turn = turn(&self.config, &mut self.timers, &mut self.notes, ctx);
        turn.answers
            .extend(decision.answers.into_iter().map(|(token, answer)| (token, answer.failed(error))));
        for record in &decision.records {
            if let Record::Group { group, .. } = record
                && let Some(group) = self.groups.get_mut(group)
            {
                group.classic.is_not_logged(&mut turn);
            }
        }
        finish(turn)
    }

    /// What an operator would like to read of the turns since this was asked last: rebalances and how they ended.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// When [`due`](Self::due) wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.timers.deadline()
    }

    /// Commands that the passing of time gives.
    pub fn due(&mut self, now: Millis) -> Vec<Command> {
        std::iter::from_fn(|| self.timers.pop_due(now)).map(Command::Due).collect()
    }

    pub(crate) fn group_or_new(&mut self, id: &Arc<str>) -> &mut Group {
        self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()))
    }
}

/// What each command comes to. Rules are elsewhere: here a group is found, or its absence answered.
impl Groups {
    fn join(&mut self, ctx: &mut Ctx<'_>, from: Token, join: JoinGroup) -> Decision<Record, Answer> {
        let refusal = if join.group_id.is_empty() {
            Some(ErrorCode::INVALID_GROUP_ID)
        } else if !self.config.allows_session(join.session_timeout_ms) {
            Some(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if !join.member_id.is_empty() && !self.groups.contains_key(&join.group_id) {
            Some(ErrorCode::UNKNOWN_MEMBER_ID)
        } else {
            None
        };
        if let Some(error) = refusal {
            return Decision::answer(from, Answer::Join(JoinAnswer::refusal(&join.member_id, error)));
        }
        let id = join.group_id.clone();
        let is_new = !self.groups.contains_key(&id);
        self.group_or_new(&id);
        let mut decision = self.on_group(ctx, &id, |group, turn| group.classic.join(turn, from, join));
        if is_new {
            let classic = &self.groups[&id].classic;
            if classic.is_deserted() {
                self.groups.remove(&id);
                self.timers.cancel(&Timer::Expiry(id));
            } else if decision.records.is_empty() {
                // Kafka logs that there is such a group as soon as someone knocks.
                let value = GroupSnapshot { state_since_ms: Some(ctx.wall.0), ..GroupSnapshot::default() };
                decision.records.push(Record::Group { group: id, value });
            }
        }
        decision
    }

    fn sync(&mut self, ctx: &mut Ctx<'_>, from: Token, sync: SyncGroup) -> Decision<Record, Answer> {
        let id = sync.group_id.clone();
        match self.find(&id) {
            Ok(()) => self.on_group(ctx, &id, |group, turn| group.classic.sync(turn, from, sync)),
            Err(error) => Decision::answer(from, Answer::Sync(SyncAnswer::refusal(error))),
        }
    }

    fn heartbeat(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Token,
        heartbeat: &Heartbeat,
    ) -> Decision<Record, Answer> {
        match self.find(&heartbeat.group_id) {
            Ok(()) => self.on_group(ctx, &heartbeat.group_id, |group, turn| {
                let error = group.classic.heartbeat(turn, heartbeat);
                turn.answer(from, Answer::Heartbeat(error));
            }),
            Err(error) => Decision::answer(from, Answer::Heartbeat(error)),
        }
    }

    fn leave(&mut self, ctx: &mut Ctx<'_>, from: Token, leave: LeaveGroup) -> Decision<Record, Answer> {
        match self.find(&leave.group_id) {
            Ok(()) => self.on_group(ctx, &leave.group_id, |group, turn| {
                let members = group.classic.leave(turn, leave.members);
                turn.answer(from, Answer::Leave(LeaveAnswer { error: ErrorCode::NONE, members }));
            }),
            Err(ErrorCode::UNKNOWN_MEMBER_ID) => {
                let members = leave.members.into_iter().map(LeftMember::unknown).collect();
                Decision::answer(from, Answer::Leave(LeaveAnswer { error: ErrorCode::NONE, members }))
            }
            Err(error) => Decision::answer(from, Answer::Leave(LeaveAnswer { error, members: Vec::new() })),
        }
    }

    /// Requests about members need a group: no name is a fault of its own, an unknown group has no members.
    fn find(&self, id: &Arc<str>) -> Result<(), ErrorCode> {
        if id.is_empty() {
            Err(ErrorCode::INVALID_GROUP_ID)
        } else if self.groups.contains_key(id) {
            Ok(())
        } else {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
    }

    fn commit(&mut self, ctx: &mut Ctx<'_>, from: Token, commit: &OffsetCommit) -> Decision<Record, Answer> {
        let valid = match self.groups.get(&commit.group_id) {
            Some(group) => group.classic.validate_commit(commit),
            // A consumer without group management, or a tool: the group comes into being with its offsets.
            None if commit.generation_id < 0 => Ok(()),
            None if commit.tells_unknown_group => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            None => Err(ErrorCode::ILLEGAL_GENERATION),
        };
        let mut turn = turn(&self.config, &mut self.timers, &mut self.notes, ctx);
        let (error, topics) = match valid {
            Err(error) => (error, Vec::new()),
            Ok(()) => {
                if let Some(group) = self.groups.get(&commit.group_id) {
                    group.classic.committed_by(&mut turn, &commit.member_id);
                }
                let told = offsets::commit(&mut turn, commit);
                expiry::expect_expiry(&mut turn, commit);
                (ErrorCode::NONE, told)
            }
        };
        turn.answer(from, Answer::OffsetCommit(OffsetCommitAnswer { error, topics }));
        finish(turn)
    }

    fn fetch(&self, fetch: &OffsetFetch) -> OffsetFetchAnswer {
        let nothing = OffsetTable::default();
        let offsets = self.groups.get(&fetch.group_id).map_or(&nothing, |group| &group.offsets);
        let topics = match &fetch.topics {
            Some(topics) => offsets.fetch(topics, fetch.require_stable),
            None => offsets.fetch_all(fetch.require_stable),
        };
        OffsetFetchAnswer { error: ErrorCode::NONE, topics }
    }

    fn topics_deleted(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Token,
        topics: &[Arc<str>],
    ) -> Decision<Record, Answer> {
        let mut turn = turn(&self.config, &mut self.timers, &mut self.notes, ctx);
        let mut ids: Vec<&Arc<str>> = self.groups.keys().collect();
        ids.sort();
        for id in ids {
            let before = turn.records.len();
            for topic in topics {
                let gone = self.groups[id].offsets.partitions_of(topic).into_iter().map(|partition| {
                    Record::OffsetTombstone { group: id.clone(), topic: topic.clone(), partition }
                });
                turn.records.extend(gone);
            }
            if turn.records.len() > before {
                // These may have been its last, and then an empty group goes at the next look.
                expiry::look_within(&mut turn, id, 0);
            }
        }
        turn.answer(from, Answer::Done(ErrorCode::NONE));
        finish(turn)
    }

    fn on_due(&mut self, ctx: &mut Ctx<'_>, timer: &Timer) -> Decision<Record, Answer> {
        let (Timer::Session(id, _) | Timer::Join(id) | Timer::Sync(id) | Timer::Expiry(id)) = timer;
        // Of several that were due at once, an earlier one may have set this one anew.
        if !self.groups.contains_key(id) || self.timers.get(timer).is_some() {
            return Decision::nothing();
        }
        self.on_group(ctx, id, |group, turn| match timer {
            Timer::Session(_, member_id) => group.classic.session_is_over(turn, member_id),
            Timer::Join(_) => group.classic.join_phase_is_over(turn),
            Timer::Sync(_) => group.classic.sync_phase_is_over(turn),
            Timer::Expiry(_) => {
                group.expire(turn);
                group.schedule_expiry(turn);
            }
        })
    }

    /// Runs `rule` on a group that is there. What may expire depends on the group's state.
    fn on_group(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: &Arc<str>,
        rule: impl FnOnce(&mut Group, &mut Turn<'_, '_>),
    ) -> Decision<Record, Answer> {
        let mut turn = turn(&self.config, &mut self.timers, &mut self.notes, ctx);
        let group = self.groups.get_mut(id).expect("the caller has found the group");
        let before = (group.classic.state, group.classic.generation);
        rule(group, &mut turn);
        let after = (group.classic.state, group.classic.generation);
        if before != after || after == (State::Empty, 0) {
            group.schedule_expiry(&mut turn);
        }
        finish(turn)
    }
}

fn turn<'a, 'c>(
    config: &'a GroupsConfig,
    timers: &'a mut TimerQueue<Timer>,
    notes: &'a mut Vec<String>,
    ctx: &'a mut Ctx<'c>,
) -> Turn<'a, 'c> {
    Turn { config, timers, notes, ctx, records: Vec::new(), answers: Vec::new() }
}

fn finish(turn: Turn<'_, '_>) -> Decision<Record, Answer> {
    Decision { records: turn.records, answers: turn.answers }
}

#[cfg(test)]
mod tests;
