//! Being there and going away: heartbeats, sessions, leaving, and who may commit offsets.

use std::sync::Arc;

use ottla_types::ErrorCode;

use super::{ClassicGroup, State};
use crate::{Heartbeat, LeavingMember, LeftMember, OffsetCommit, Timer, turn::Turn};

impl ClassicGroup {
    /// A member says it is alive, and learns whether it has to join again.
    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_, '_>, heartbeat: &Heartbeat) -> ErrorCode {
        if let Err(error) = self.validate_member(&heartbeat.member_id, heartbeat.group_instance_id.as_ref()) {
            return error;
        }
        if heartbeat.generation_id != self.generation {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        self.restart_session(turn, &heartbeat.member_id);
        match self.state {
            State::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            // Clients heartbeat as soon as their join is answered.
            State::CompletingRebalance | State::Stable => ErrorCode::NONE,
            State::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
        }
    }

    pub(super) fn restart_session(&self, turn: &mut Turn<'_, '_>, member_id: &Arc<str>) {
        let session_ms = i64::from(self.members[member_id].session_timeout_ms);
        turn.timers.set(Timer::Session(self.id.clone(), member_id.clone()), turn.after(session_ms));
    }

    /// Sessions of all members begin: a coordinator has just taken over.
    pub(crate) fn restart_sessions(&self, turn: &mut Turn<'_, '_>) {
        for member_id in self.members.keys() {
            self.restart_session(turn, member_id);
        }
    }

    /// A member has been silent for too long, or an id that was handed out has not been used.
    pub(crate) fn session_is_over(&mut self, turn: &mut Turn<'_, '_>, member_id: &Arc<str>) {
        if self.pending_joins.remove(member_id) {
            return self.complete_join_if_all_are_here(turn);
        }
        if self.members.get(member_id).is_some_and(|member| !member.may_be_silent()) {
            turn.notes.push(format!(
                "Member {member_id} in group {} has failed, removing it from the group",
                self.id
            ));
            self.remove(turn, member_id);
            self.somebody_left(turn);
        }
    }

    /// Members leave, or an operator removes static ones by instance id.
    pub(crate) fn leave(&mut self, turn: &mut Turn<'_, '_>, members: Vec<LeavingMember>) -> Vec<LeftMember> {
        let mut left = Vec::with_capacity(members.len());
        for leaving in members {
            let error = self.leave_one(turn, &leaving);
            left.push(LeftMember {
                member_id: leaving.member_id,
                group_instance_id: leaving.group_instance_id,
                error,
            });
        }
        if left.iter().any(|member| member.error == ErrorCode::NONE) {
            self.somebody_left(turn);
        }
        left
    }

    fn leave_one(&mut self, turn: &mut Turn<'_, '_>, leaving: &LeavingMember) -> ErrorCode {
        let member_id = if leaving.member_id.is_empty() {
            let known = leaving.group_instance_id.as_ref().and_then(|instance| self.statics.get(instance));
            let Some(member_id) = known else { return ErrorCode::UNKNOWN_MEMBER_ID };
            member_id.clone()
        } else {
            leaving.member_id.clone()
        };
        if !self.pending_joins.contains(&member_id)
            && let Err(error) = self.validate_member(&member_id, leaving.group_instance_id.as_ref())
        {
            return error;
        }
        self.remove(turn, &member_id);
        ErrorCode::NONE
    }

    fn somebody_left(&mut self, turn: &mut Turn<'_, '_>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare(turn, "a member left"),
            State::PreparingRebalance => self.complete_join_if_all_are_here(turn),
            State::Empty => {}
        }
    }

    /// Whether these offsets may be committed: by a member of this generation, or by anybody when the group is empty.
    pub(crate) fn validate_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        if commit.generation_id < 0 && self.state == State::Empty {
            return Ok(());
        }
        if commit.generation_id < 0 && commit.member_id.is_empty() && commit.group_instance_id.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.validate_member(&commit.member_id, commit.group_instance_id.as_ref())?;
        if commit.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        // The member knows of the generation but not of its assignment: what it commits it no longer owns.
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// A commit is as good as a heartbeat.
    pub(crate) fn committed_by(&self, turn: &mut Turn<'_, '_>, member_id: &Arc<str>) {
        if matches!(self.state, State::Stable | State::PreparingRebalance)
            && self.members.contains_key(member_id)
        {
            self.restart_session(turn, member_id);
        }
    }
}
