//! Replicated machines: decide on the leader, log facts, apply everywhere.
//!
//! Nothing here does I/O, reads a clock or draws a random number. A driver hands commands in, writes the facts that
//! come back to a log, says when the log has taken and committed them, and gives the answers when they are due.

mod replicated;
mod timers;

pub use replicated::Replicated;
pub use timers::TimerQueue;

use ottla_types::Millis;

/// Whom to answer. Chosen by the driver, which keeps the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a core may see of the outside world while deciding.
pub struct Ctx<'a> {
    /// Monotonic milliseconds: what timeouts and sessions are counted in.
    pub now: Millis,
    /// Wall clock: what may be written into facts.
    pub wall: Millis,
    /// Chance, for ids. What is drawn is logged, so replay never draws.
    pub rng: &'a mut dyn FnMut() -> u64,
}

impl Ctx<'_> {
    /// 128 random bits, for ids.
    pub fn random_u128(&mut self) -> u128 {
        (u128::from((self.rng)()) << 64) | u128::from((self.rng)())
    }
}

/// Facts to log as one atomic batch, and answers to give once they (and all facts before them) are durable.
///
/// A command that has to wait (a join, until the rebalance ends) is not answered by its own decision but by a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<R, A> {
    /// The facts, in order.
    pub records: Vec<R>,
    /// Who is told what, once the facts are committed.
    pub answers: Vec<(Token, A)>,
}

impl<R, A> Decision<R, A> {
    /// Nothing to log, nobody to answer.
    #[must_use]
    pub fn nothing() -> Self {
        Self { records: Vec::new(), answers: Vec::new() }
    }

    /// Nothing to log: an answer at once (in its turn).
    #[must_use]
    pub fn answer(to: Token, answer: A) -> Self {
        Self { records: Vec::new(), answers: vec![(to, answer)] }
    }

    /// Facts, and one answer when they are durable.
    #[must_use]
    pub fn with(records: Vec<R>, to: Token, answer: A) -> Self {
        Self { records, answers: vec![(to, answer)] }
    }
}

/// A deterministic replicated machine.
pub trait Machine {
    /// Hard state: a pure function of the log.
    type State: Clone;
    /// Soft state: sessions, timers, who is waiting. Leader only; rebuilt from `State` on taking office.
    type Soft;
    /// What is asked of the machine.
    type Command;
    /// A fact: what was decided.
    type Record;
    /// What is told to whoever asked.
    type Answer;

    /// Starts a term of office on all that is committed.
    fn take_office(state: &Self::State, now: Millis) -> Self::Soft;
    /// Never fails: a refusal is an answer, and waits its turn like any other.
    fn decide(
        state: &Self::State,
        soft: &mut Self::Soft,
        ctx: &mut Ctx<'_>,
        from: Token,
        command: Self::Command,
    ) -> Decision<Self::Record, Self::Answer>;
    /// The only way hard state changes. Infallible: a logged fact is a fact.
    fn apply(state: &mut Self::State, record: &Self::Record);
    /// When `due` wants to be called next.
    fn deadline(soft: &Self::Soft) -> Option<Millis>;
    /// Commands that the passing of time gives.
    fn due(state: &Self::State, soft: &mut Self::Soft, now: Millis) -> Vec<Self::Command>;
}
