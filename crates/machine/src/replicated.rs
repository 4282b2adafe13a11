//! Runs a machine over a log: what is ahead, what is committed, who waits for which fact.

use std::collections::VecDeque;

use ottla_types::Millis;

use crate::{Ctx, Decision, Machine, Token};

struct Office<M: Machine> {
    /// `committed` plus everything this leader's log has accepted.
    ahead: M::State,
    soft: M::Soft,
    accepted: u64,
    parked: VecDeque<(u64, Token, M::Answer)>,
}

/// A machine with its two views of the state: `committed`, and in office `ahead` of it.
///
/// The driver's turn is: [`draft`](Self::draft), hand the facts to the log, [`accept`](Self::accept) when it took them,
/// [`commit`](Self::commit) each fact as it is committed, [`poll_answer`](Self::poll_answer) until it is empty.
pub struct Replicated<M: Machine> {
    committed: M::State,
    applied: u64,
    office: Option<Office<M>>,
}

impl<M: Machine> Replicated<M> {
    /// A machine out of office, on what the log's committed prefix says.
    #[must_use]
    pub fn new(committed: M::State) -> Self {
        Self { committed, applied: 0, office: None }
    }

    /// The state that the committed facts give.
    #[must_use]
    pub fn committed(&self) -> &M::State {
        &self.committed
    }

    /// Whether commands are decided here.
    #[must_use]
    pub fn in_office(&self) -> bool {
        self.office.is_some()
    }

    /// To be called only when an entry of our own term has been applied, so that `committed` is all there is.
    pub fn take_office(&mut self, now: Millis) {
        let soft = M::take_office(&self.committed, now);
        let ahead = self.committed.clone();
        self.office = Some(Office { ahead, soft, accepted: self.applied, parked: VecDeque::new() });
    }

    /// Forgets all that is not committed. The driver fails every token it still holds.
    pub fn leave_office(&mut self) {
        self.office = None;
    }

    /// Replaces the committed state, as a snapshot from the leader does. Only out of office.
    pub fn install(&mut self, committed: M::State) {
        assert!(self.office.is_none(), "a snapshot is installed by followers only");
        self.committed = committed;
    }

    /// Decides, and changes nothing but soft state. `None` when not in office.
    pub fn draft(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Token,
        command: M::Command,
    ) -> Option<Decision<M::Record, M::Answer>> {
        let office = self.office.as_mut()?;
        Some(M::decide(&office.ahead, &mut office.soft, ctx, from, command))
    }

    /// The log took the facts of the latest draft.
    pub fn accept(&mut self, decision: Decision<M::Record, M::Answer>) {
        let office = self.office.as_mut().expect("accept follows draft, in one term of office");
        for record in &decision.records {
            M::apply(&mut office.ahead, record);
        }
        office.accepted += decision.records.len() as u64;
        let at = office.accepted;
        office.parked.extend(decision.answers.into_iter().map(|(token, answer)| (at, token, answer)));
    }

    /// The log committed one more fact.
    pub fn commit(&mut self, record: &M::Record) {
        M::apply(&mut self.committed, record);
        self.applied += 1;
    }

    /// The next answer that may now be given, in the order of the decisions.
    pub fn poll_answer(&mut self) -> Option<(Token, M::Answer)> {
        let office = self.office.as_mut()?;
        let ready = office.parked.front().is_some_and(|(at, _, _)| *at <= self.applied);
        ready.then(|| office.parked.pop_front()).flatten().map(|(_, token, answer)| (token, answer))
    }

    /// When [`due`](Self::due) wants to be called next. `None` out of office.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.office.as_ref().and_then(|office| M::deadline(&office.soft))
    }

    /// Commands that the passing of time gives, to be drafted like any other.
    pub fn due(&mut self, now: Millis) -> Vec<M::Command> {
        self.office.as_mut().map(|office| M::due(&office.ahead, &mut office.soft, now)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
