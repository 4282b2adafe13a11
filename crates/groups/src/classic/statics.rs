//! A static member comes back without its member id (KIP-345): it takes the place of its former self.

use std::sync::Arc;

use ottla_machine::Token;
use ottla_types::ErrorCode;

use super::{ClassicGroup, Member, State};
use crate::{Answer, JoinGroup, Record, Timer, turn::Turn};

/// A static member as it was before it came back, for the case that the log does not take its new id.
#[derive(Clone, Debug)]
pub(super) struct FormerSelf {
    member: Member,
    led: bool,
    had_to_sync: bool,
    new_id: Arc<str>,
}

impl ClassicGroup {
    /// The instance that `old_id` stands for joins anew as `new_id`.
    pub(super) fn replace_static(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: Token,
        old_id: &Arc<str>,
        new_id: Arc<str>,
        join: JoinGroup,
    ) {
        let led_before = self.leader();
        let former_self = self.former_self(old_id, &new_id);
        let may_skip = join.supports_skipping_assignment;
        self.rename_static(turn, old_id, &new_id);
        self.update_member(turn, &new_id, from, join);
        self.restart_session(turn, &new_id);
        match self.state {
            State::Stable if self.protocol == self.choose_protocol() => {
                self.former_self = former_self;
                self.resume_static(turn, from, &new_id, &led_before, may_skip);
            }
            State::Stable => self.rebalance(turn, "a static member came back with other protocols"),
            // The leader may be assigning to the old id at this moment, so it has to be asked again.
            State::CompletingRebalance => {
                self.prepare(turn, "a static member came back during the sync phase")
            }
            State::PreparingRebalance => self.complete_join_if_all_are_here(turn),
            State::Empty => unreachable!("an empty group has no members, static or not"),
        }
    }

    /// Nothing changes for anybody else: the member is told the generation, and its new id is logged.
    fn resume_static(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: Token,
        new_id: &Arc<str>,
        led_before: &Arc<str>,
        may_skip: bool,
    ) {
        let member = self.members.get_mut(new_id).expect("the member has just been renamed");
        member.join = None;
        self.joining -= 1;
        let mut answer = self.generation_for(new_id);
        if !may_skip {
            // KIP-814: a client that cannot be told to skip the assignment is told that someone else leads. It
            // believes to be a follower and asks for its old assignment.
            answer.leader = led_before.clone();
        } else if self.is_leader(new_id) {
            answer.skip_assignment = true;
            answer.members = self.members_for_leader();
        }
        turn.records.push(Record::Group { group: self.id.clone(), value: self.snapshot() });
        turn.answer(from, Answer::Join(answer));
    }

    fn former_self(&self, old_id: &Arc<str>, new_id: &Arc<str>) -> Option<FormerSelf> {
        Some(FormerSelf {
            member: self.members.get(old_id)?.clone(),
            led: self.is_leader(old_id),
            had_to_sync: self.pending_syncs.contains(old_id),
            new_id: new_id.clone(),
        })
    }

    /// The log has taken a picture of the group: who came back is in it.
    pub(crate) fn is_logged(&mut self) {
        self.former_self = None;
    }

    /// The log did not take a picture of the group. A return that it was to tell of is undone, and nobody else notices;
    /// a generation that it was to settle is void.
    pub(crate) fn is_not_logged(&mut self, turn: &mut Turn<'_, '_>) {
        match self.former_self.take() {
            Some(former) => self.put_back(turn, former),
            None => self.unsettle(turn),
        }
    }

    fn put_back(&mut self, turn: &mut Turn<'_, '_>, former: FormerSelf) {
        let id = former.member.id.clone();
        // Its join has been answered by now, with an id that does not exist any more.
        for (_, answer) in &mut turn.answers {
            if let Answer::Join(join) = answer
                && join.member_id == former.new_id
            {
                join.member_id = Arc::from("");
            }
        }
        self.take(&former.new_id);
        turn.timers.cancel(&Timer::Session(self.id.clone(), former.new_id));
        self.insert(former.member);
        if former.led {
            self.leader = Some(id.clone());
        }
        if former.had_to_sync {
            self.pending_syncs.insert(id.clone());
        }
        self.restart_session(turn, &id);
    }

    /// Gives the member its new id. Whoever waits under the old one is fenced.
    fn rename_static(&mut self, turn: &mut Turn<'_, '_>, old_id: &Arc<str>, new_id: &Arc<str>) {
        let led = self.is_leader(old_id);
        let mut member = self.take(old_id).expect("an instance id stands for a member");
        turn.timers.cancel(&Timer::Session(self.id.clone(), old_id.clone()));
        if let Some(waiting) = member.join.take() {
            turn.refuse_join(waiting, old_id, ErrorCode::FENCED_INSTANCE_ID);
        }
        if let Some(waiting) = member.sync.take() {
            turn.refuse_sync(waiting, ErrorCode::FENCED_INSTANCE_ID);
        }
        member.id = new_id.clone();
        member.is_new = false;
        self.insert(member);
        if led {
            self.leader = Some(new_id.clone());
        }
    }
}
