//! The join phase: how it begins, how long it waits, how it ends in a new generation.

use std::sync::Arc;

use ottla_machine::Token;
use ottla_types::ErrorCode;

use super::{ClassicGroup, State};
use crate::{Answer, Record, Timer, turn::Turn};

/// The first rebalance of an empty group waits for more members (KIP-134).
#[derive(Clone, Debug)]
pub(super) struct InitialDelay {
    /// How long it waits this time.
    round_ms: i64,
    /// How much longer it may wait in all, after this time.
    remaining_ms: i64,
    /// A member came since the round began, so one more round is worth it.
    pub(super) someone_came: bool,
}

impl ClassicGroup {
    /// Something changed that needs a new generation.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_, '_>, reason: &str) {
        match self.state {
            State::PreparingRebalance => self.complete_join_if_all_are_here(turn),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(turn, reason),
        }
    }

    /// Begins the join phase.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_, '_>, reason: &str) {
        turn.notes.push(format!(
            "Preparing to rebalance group {} in state {} with old generation {} (reason: {reason})",
            self.id,
            self.state.name(),
            self.generation
        ));
        if self.state == State::CompletingRebalance {
            self.fail_syncs(turn, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        turn.timers.cancel(&Timer::Sync(self.id.clone()));
        let initial = self.state == State::Empty;
        self.enter(State::PreparingRebalance, turn.wall_ms());
        if initial {
            let delay_ms = i64::from(turn.config.initial_rebalance_delay_ms);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.initial_delay = Some(InitialDelay { round_ms: delay_ms, remaining_ms, someone_came: false });
            turn.timers.set(Timer::Join(self.id.clone()), turn.after(delay_ms));
        } else if self.all_have_joined() {
            self.complete_join(turn);
        } else {
            self.wait_for_joins(turn);
        }
    }

    /// In a join phase that waits for known members: ends it when the last of them is here.
    pub(super) fn complete_join_if_all_are_here(&mut self, turn: &mut Turn<'_, '_>) {
        if self.state == State::PreparingRebalance && self.initial_delay.is_none() && self.all_have_joined() {
            self.complete_join(turn);
        }
    }

    /// The join phase has waited long enough.
    pub(crate) fn join_phase_is_over(&mut self, turn: &mut Turn<'_, '_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        if let Some(delay) = self.initial_delay.as_mut()
            && delay.someone_came
            && delay.remaining_ms > 0
        {
            let next_ms = i64::from(turn.config.initial_rebalance_delay_ms).min(delay.remaining_ms);
            delay.remaining_ms = (delay.remaining_ms - delay.round_ms).max(0);
            delay.round_ms = next_ms;
            delay.someone_came = false;
            turn.timers.set(Timer::Join(self.id.clone()), turn.after(next_ms));
            return;
        }
        self.complete_join(turn);
    }

    fn wait_for_joins(&mut self, turn: &mut Turn<'_, '_>) {
        turn.timers.set(Timer::Join(self.id.clone()), turn.after(self.rebalance_timeout_ms()));
    }

    /// Ends the join phase: whoever has not come is dropped, static members apart, and the rest is a new generation.
    fn complete_join(&mut self, turn: &mut Turn<'_, '_>) {
        turn.timers.cancel(&Timer::Join(self.id.clone()));
        self.initial_delay = None;
        self.drop_absent(turn);
        if !self.members.is_empty() && !self.elect_a_leader_who_is_here() {
            // Only static members are left and none has come. Their sessions decide.
            return self.wait_for_joins(turn);
        }
        self.generation = self.generation.wrapping_add(1).max(0);
        self.pending_syncs.clear();
        self.protocol = self.choose_protocol();
        self.subscribed = self.read_subscriptions();
        if self.members.is_empty() {
            self.enter(State::Empty, turn.wall_ms());
            turn.notes.push(format!("Group {} with generation {} is now empty", self.id, self.generation));
            turn.records.push(Record::Group { group: self.id.clone(), value: self.snapshot() });
            return;
        }
        self.enter(State::CompletingRebalance, turn.wall_ms());
        let (id, generation, members) = (&self.id, self.generation, self.members.len());
        turn.notes.push(format!("Stabilized group {id} generation {generation} with {members} members"));
        self.answer_joins(turn);
        turn.timers.set(Timer::Sync(self.id.clone()), turn.after(self.rebalance_timeout_ms()));
    }

    fn drop_absent(&mut self, turn: &mut Turn<'_, '_>) {
        let absent = |member: &&super::Member| member.join.is_none() && !member.is_static();
        let absent: Vec<Arc<str>> =
            self.members.values().filter(absent).map(|member| member.id.clone()).collect();
        for member_id in absent {
            self.remove(turn, &member_id);
        }
    }

    fn elect_a_leader_who_is_here(&mut self) -> bool {
        let is_here = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.join.is_some());
        if !self.leader.as_ref().is_some_and(is_here) {
            let Some(next) = self.members.values().find(|member| member.join.is_some()) else { return false };
            self.leader = Some(next.id.clone());
        }
        true
    }

    fn answer_joins(&mut self, turn: &mut Turn<'_, '_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("nobody leaves while joins are answered");
            member.is_new = false;
            if let Some(waiting) = member.join.take() {
                self.joining -= 1;
                self.tell_generation(turn, waiting, &id);
            }
            self.restart_session(turn, &id);
            self.pending_syncs.insert(id);
        }
    }

    /// Takes a member out and tells whoever waits for it. Its timer goes with it.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_, '_>, member_id: &Arc<str>) {
        turn.timers.cancel(&Timer::Session(self.id.clone(), member_id.clone()));
        let Some(member) = self.take(member_id) else { return };
        self.let_go(turn, member.join, member.sync);
    }

    /// A removed member that is still there joins anew, without an id.
    fn let_go(&self, turn: &mut Turn<'_, '_>, join: Option<Token>, sync: Option<Token>) {
        if let Some(waiting) = join {
            turn.refuse_join(waiting, &Arc::from(""), ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if let Some(waiting) = sync {
            turn.answer(waiting, Answer::Sync(crate::SyncAnswer::refusal(ErrorCode::UNKNOWN_MEMBER_ID)));
        }
    }

    /// A coordinator that starts with a group larger than `group.max.size` makes it shrink.
    pub(crate) fn shrink_if_too_large(&mut self, turn: &mut Turn<'_, '_>) {
        if self.members.len() > turn.config.max_size {
            self.rebalance(turn, "the group is larger than group.max.size");
        }
    }
}
