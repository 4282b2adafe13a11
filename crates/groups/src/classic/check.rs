//! What holds of a group between any two turns.

use std::collections::{BTreeSet, HashMap};

use ottla_machine::TimerQueue;

use super::{ClassicGroup, State};
use crate::Timer;

impl ClassicGroup {
    /// Panics with the rule that is broken.
    pub(crate) fn check(&self, timers: &TimerQueue<Timer>) {
        let joining = self.members.values().filter(|member| member.join.is_some()).count();
        assert_eq!(self.joining, joining, "waiting joins are counted");
        let mut offers: HashMap<_, usize> = HashMap::new();
        for member in self.members.values() {
            let names: BTreeSet<_> = member.protocols.iter().map(|protocol| protocol.name.clone()).collect();
            names.into_iter().for_each(|name| *offers.entry(name).or_default() += 1);
        }
        assert_eq!(self.offers, offers, "offers are counted");
        let statics: HashMap<_, _> = self
            .members
            .values()
            .filter_map(|member| Some((member.instance_id.clone()?, member.id.clone())))
            .collect();
        assert_eq!(self.statics, statics, "instance ids stand for members");
        assert!(
            self.pending_joins.iter().all(|id| !self.members.contains_key(id)),
            "an id is pending or a member's"
        );
        match self.state {
            State::Empty => assert!(self.members.is_empty(), "an empty group has no members"),
            State::CompletingRebalance | State::Stable => {
                assert!(!self.members.is_empty(), "a generation has members")
            }
            // Everybody may have left, and the join phase waits for members that have an id, or just for the delay.
            State::PreparingRebalance => {}
        }
        if !self.members.is_empty() {
            let leader = self.leader.as_ref().expect("a group with members has a leader");
            assert!(self.members.contains_key(leader), "the leader is a member");
        }
        self.check_waiting(timers);
    }

    fn check_waiting(&self, timers: &TimerQueue<Timer>) {
        let joins = self.members.values().any(|member| member.join.is_some());
        let syncs = self.members.values().any(|member| member.sync.is_some());
        let waits = |timer| timers.get(&timer).is_some();
        match self.state {
            State::Empty | State::Stable => assert!(!joins && !syncs, "nobody waits in {:?}", self.state),
            State::PreparingRebalance => {
                assert!(!syncs, "nobody waits for an assignment in the join phase");
                assert!(waits(Timer::Join(self.id.clone())), "the join phase has a deadline");
            }
            State::CompletingRebalance => {
                assert!(!joins, "nobody waits for a generation in the sync phase");
                assert!(waits(Timer::Sync(self.id.clone())), "the sync phase has a deadline");
            }
        }
        for member in self.members.values() {
            let session = waits(Timer::Session(self.id.clone(), member.id.clone()));
            assert!(session || member.may_be_silent(), "a member that we do not keep waiting has a session");
        }
        for id in &self.pending_joins {
            assert!(waits(Timer::Session(self.id.clone(), id.clone())), "an id that was handed out expires");
        }
    }
}
