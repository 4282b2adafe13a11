//! From what a coordinator says now or later to a reply that is sent now or later.

use ottla_coordinator::{Outcome, Pending};

use crate::Reply;

/// The reply that `answer` makes of the outcome.
pub(crate) fn reply<R: Send + 'static>(
    pending: Pending,
    answer: impl FnOnce(Outcome) -> R + Send + 'static,
) -> Reply<R> {
    match pending {
        Pending::Now(outcome) => Reply::Now(answer(outcome)),
        later @ Pending::Later(_) => Reply::later(async move { answer(later.outcome().await) }),
    }
}

/// The reply that `answer` makes of several outcomes, in their order.
pub(crate) fn reply_all<R: Send + 'static>(
    pending: Vec<Pending>,
    answer: impl FnOnce(Vec<Outcome>) -> R + Send + 'static,
) -> Reply<R> {
    if pending.iter().all(|pending| matches!(pending, Pending::Now(_))) {
        let now = pending.into_iter().map(|pending| match pending {
            Pending::Now(outcome) => outcome,
            Pending::Later(_) => unreachable!("all are known, says the line above"),
        });
        return Reply::Now(answer(now.collect()));
    }
    Reply::later(async move {
        let mut outcomes = Vec::with_capacity(pending.len());
        for pending in pending {
            outcomes.push(pending.outcome().await);
        }
        answer(outcomes)
    })
}
