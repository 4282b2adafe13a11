//! Joining: who is let in, who gets an id first, whose join starts a rebalance, who is told what it knows already.

use std::sync::Arc;

use ottla_machine::Token;
use ottla_types::ErrorCode;

use super::{ClassicGroup, Member, State};
use crate::{Answer, JoinAnswer, JoinGroup, Timer, turn::Turn};

impl ClassicGroup {
    /// A member, or one that wants to be, joins. Limits of the session timeout have been checked.
    pub(crate) fn join(&mut self, turn: &mut Turn<'_, '_>, from: Token, join: JoinGroup) {
        if !self.has_room_for(&join.member_id, turn.config.max_size) {
            self.drop_kicked_out(turn, &join.member_id);
            turn.refuse_join(from, &Arc::from(""), ErrorCode::GROUP_MAX_SIZE_REACHED);
        } else if !self.supports(&join.protocol_type, &join.protocols) {
            turn.refuse_join(from, &join.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        } else if join.member_id.is_empty() {
            self.join_without_id(turn, from, join);
        } else if self.pending_joins.contains(&join.member_id) && join.group_instance_id.is_none() {
            let member_id = join.member_id.clone();
            self.add_member(turn, from, member_id, join);
        } else {
            match self.validate_member(&join.member_id, join.group_instance_id.as_ref()) {
                Ok(()) => self.join_again(turn, from, join),
                Err(error) => turn.refuse_join(from, &join.member_id, error),
            }
        }
    }

    /// `group.max.size`. During a join phase those that wait are counted: the group may be over the limit already, and
    /// then the last to come are the ones to go.
    fn has_room_for(&self, member_id: &str, max_size: usize) -> bool {
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                self.members.get(member_id).is_some_and(|member| member.join.is_some())
                    || self.joining < max_size
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max_size
            }
        }
    }

    fn drop_kicked_out(&mut self, turn: &mut Turn<'_, '_>, member_id: &Arc<str>) {
        self.remove(turn, member_id);
        self.complete_join_if_all_are_here(turn);
    }

    fn join_without_id(&mut self, turn: &mut Turn<'_, '_>, from: Token, join: JoinGroup) {
        let Some(instance_id) = join.group_instance_id.clone() else {
            let member_id = turn.new_member_id(&join.client_id);
            if !join.requires_known_member_id {
                return self.add_member(turn, from, member_id, join);
            }
            // KIP-394: a client that never gets our answer leaves a mere id behind, not a member to wait for.
            let session_end = turn.after(join.session_timeout_ms.into());
            turn.timers.set(Timer::Session(self.id.clone(), member_id.clone()), session_end);
            turn.refuse_join(from, &member_id, ErrorCode::MEMBER_ID_REQUIRED);
            self.pending_joins.insert(member_id);
            return;
        };
        let member_id = turn.new_member_id(&instance_id);
        match self.statics.get(&instance_id).cloned() {
            Some(old_id) => self.replace_static(turn, from, &old_id, member_id, join),
            None => self.add_member(turn, from, member_id, join),
        }
    }

    fn add_member(&mut self, turn: &mut Turn<'_, '_>, from: Token, member_id: Arc<str>, join: JoinGroup) {
        if let Some(delay) = self.initial_delay.as_mut() {
            delay.someone_came = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let reason = "a new member joins";
        // No heartbeat can come before the join is answered; a client that has gone away meanwhile is noticed so.
        let patience = turn.after(turn.config.new_member_join_timeout_ms.into());
        turn.timers.set(Timer::Session(self.id.clone(), member_id.clone()), patience);
        self.insert(Member::joining(member_id, join, from));
        self.rebalance(turn, reason);
    }

    /// A join of a member that we know.
    fn join_again(&mut self, turn: &mut Turn<'_, '_>, from: Token, join: JoinGroup) {
        let member = &self.members[&join.member_id];
        let changed = member.protocols != join.protocols;
        match self.state {
            State::PreparingRebalance => self.renew(turn, from, join),
            // The answer to its join got lost.
            State::CompletingRebalance if !changed => self.tell_generation(turn, from, &join.member_id),
            State::CompletingRebalance => self.renew(turn, from, join),
            // The leader may know of something that the coordinator does not, such as new partitions.
            State::Stable if changed || self.is_leader(&join.member_id) => self.renew(turn, from, join),
            State::Stable => self.tell_generation(turn, from, &join.member_id),
            State::Empty => turn.refuse_join(from, &join.member_id, ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    fn renew(&mut self, turn: &mut Turn<'_, '_>, from: Token, join: JoinGroup) {
        let member_id = join.member_id.clone();
        self.update_member(turn, &member_id, from, join);
        self.rebalance(turn, "a member joins again");
    }

    /// Takes over what a member's new join says. An older join of it that still waits is told to try again.
    pub(super) fn update_member(
        &mut self,
        turn: &mut Turn<'_, '_>,
        id: &Arc<str>,
        from: Token,
        join: JoinGroup,
    ) {
        let member = self.members.get_mut(id).expect("the caller has looked the member up");
        let before = std::mem::replace(&mut member.protocols, join.protocols);
        let now = member.protocols.clone();
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.session_timeout_ms = join.session_timeout_ms;
        match member.join.replace(from) {
            Some(older) => turn.refuse_join(older, id, ErrorCode::REBALANCE_IN_PROGRESS),
            None => self.joining += 1,
        }
        self.count_offers(&before, false);
        self.count_offers(&now, true);
    }

    /// Answers with the generation as it stands.
    pub(super) fn tell_generation(&self, turn: &mut Turn<'_, '_>, to: Token, member_id: &Arc<str>) {
        turn.answer(to, Answer::Join(self.generation_for(member_id)));
    }

    pub(super) fn generation_for(&self, member_id: &Arc<str>) -> JoinAnswer {
        let leads = self.is_leader(member_id) && self.state == State::CompletingRebalance;
        JoinAnswer {
            error: ErrorCode::NONE,
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if leads { self.members_for_leader() } else { Vec::new() },
        }
    }
}
