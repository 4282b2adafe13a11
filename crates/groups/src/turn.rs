//! What one decision works with: the outside world as it is handed in, and what it has come to so far.

use std::sync::Arc;

use ottla_machine::{Ctx, TimerQueue, Token};
use ottla_types::{ErrorCode, Millis};

use crate::{Answer, GroupsConfig, JoinAnswer, Record, SyncAnswer, Timer};

/// One decision in the making.
pub(crate) struct Turn<'a, 'c> {
    pub(crate) config: &'a GroupsConfig,
    pub(crate) timers: &'a mut TimerQueue<Timer>,
    pub(crate) notes: &'a mut Vec<String>,
    pub(crate) ctx: &'a mut Ctx<'c>,
    pub(crate) records: Vec<Record>,
    pub(crate) answers: Vec<(Token, Answer)>,
}

impl Turn<'_, '_> {
    /// The time that is written into facts, in milliseconds since the epoch.
    pub(crate) fn wall_ms(&self) -> i64 {
        self.ctx.wall.0
    }

    /// Monotonic now and `ms` more; what is negative is now.
    pub(crate) fn after(&self, ms: i64) -> Millis {
        self.ctx.now.plus(ms.max(0))
    }

    pub(crate) fn answer(&mut self, to: Token, answer: Answer) {
        self.answers.push((to, answer));
    }

    pub(crate) fn refuse_join(&mut self, to: Token, member_id: &Arc<str>, error: ErrorCode) {
        self.answer(to, Answer::Join(JoinAnswer::refusal(member_id, error)));
    }

    pub(crate) fn refuse_sync(&mut self, to: Token, error: ErrorCode) {
        self.answer(to, Answer::Sync(SyncAnswer::refusal(error)));
    }

    /// A new member's id: what the client calls itself, and a random part that nobody guesses.
    pub(crate) fn new_member_id(&mut self, prefix: &str) -> Arc<str> {
        let random = uuid::Builder::from_random_bytes(self.ctx.random_u128().to_be_bytes()).into_uuid();
        format!("{prefix}-{random}").into()
    }
}
