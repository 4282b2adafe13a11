//! The sync phase: followers wait for the leader's assignment, everybody is told its own.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use ottla_machine::Token;
use ottla_types::ErrorCode;

use super::{ClassicGroup, State};
use crate::{Answer, Record, SyncAnswer, SyncGroup, Timer, turn::Turn};

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings everybody's.
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_, '_>, from: Token, sync: SyncGroup) {
        if let Err(error) = self.validate_sync(&sync) {
            return turn.refuse_sync(from, error);
        }
        match self.state {
            State::Empty => turn.refuse_sync(from, ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => turn.refuse_sync(from, ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance => {
                self.has_synced(turn, &sync.member_id);
                let member = self.members.get_mut(&sync.member_id).expect("the sync has been validated");
                if let Some(older) = member.sync.replace(from) {
                    turn.refuse_sync(older, ErrorCode::REBALANCE_IN_PROGRESS);
                }
                if self.is_leader(&sync.member_id) {
                    self.settle(turn, sync.assignments);
                }
            }
            State::Stable => {
                self.has_synced(turn, &sync.member_id);
                self.tell_assignment(turn, from, &sync.member_id);
            }
        }
    }

    fn validate_sync(&self, sync: &SyncGroup) -> Result<(), ErrorCode> {
        self.validate_member(&sync.member_id, sync.group_instance_id.as_ref())?;
        if sync.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        // KIP-559: a member that believes in another protocol would misread the assignment.
        let differs = |said: &Option<Arc<str>>, known: &Option<Arc<str>>| said.is_some() && said != known;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol_name, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    /// The leader has spoken: the generation is settled, logged, and told to all who wait. Members it forgot get nothing.
    fn settle(&mut self, turn: &mut Turn<'_, '_>, assignments: Vec<(Arc<str>, Bytes)>) {
        let mut assignments: HashMap<Arc<str>, Bytes> = assignments.into_iter().collect();
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        turn.notes.push(format!(
            "Assignment received from leader {} for group {} for generation {}; the group has {} members",
            self.leader(),
            self.id,
            self.generation,
            self.members.len()
        ));
        turn.records.push(Record::Group { group: self.id.clone(), value: self.snapshot() });
        self.enter(State::Stable, turn.wall_ms());
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("nobody leaves while syncs are answered");
            if let Some(waiting) = member.sync.take() {
                self.tell_assignment(turn, waiting, &id);
                self.restart_session(turn, &id);
            }
        }
    }

    fn tell_assignment(&self, turn: &mut Turn<'_, '_>, to: Token, member_id: &str) {
        let answer = SyncAnswer {
            error: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: self.members[member_id].assignment.clone(),
        };
        turn.answer(to, Answer::Sync(answer));
    }

    fn has_synced(&mut self, turn: &mut Turn<'_, '_>, member_id: &str) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            turn.timers.cancel(&Timer::Sync(self.id.clone()));
        }
    }

    /// The sync phase does not come to an end: all assignments are void, and whoever waits for one is told so.
    pub(super) fn fail_syncs(&mut self, turn: &mut Turn<'_, '_>, error: ErrorCode) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("nobody leaves while syncs are answered");
            member.assignment = Bytes::new();
            if let Some(waiting) = member.sync.take() {
                turn.refuse_sync(waiting, error);
                self.restart_session(turn, &id);
            }
        }
    }

    /// The sync phase has waited long enough: members that were told the generation and have not come for their
    /// assignment are dropped, and the rest starts over.
    pub(crate) fn sync_phase_is_over(&mut self, turn: &mut Turn<'_, '_>) {
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.pending_syncs.is_empty()
        {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_syncs) {
            self.remove(turn, &member_id);
        }
        self.prepare(turn, "members did not sync in time");
    }

    /// The log did not take the picture of the settled generation: it never was, and everybody joins again.
    pub(super) fn unsettle(&mut self, turn: &mut Turn<'_, '_>) {
        if self.state == State::Stable {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            self.prepare(turn, "the assignment could not be stored");
        }
    }
}
