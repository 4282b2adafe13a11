//! A counter that refuses to go below zero, run over a log that loses what it had not committed.

use ottla_types::Millis;

use super::*;

struct Counter;

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Is(i64),
    Refused,
}

impl Machine for Counter {
    type State = i64;
    type Soft = Option<Millis>;
    type Command = i64;
    type Record = i64;
    type Answer = Answer;

    fn take_office(_: &i64, now: Millis) -> Option<Millis> {
        Some(now.plus(100))
    }
    fn decide(
        state: &i64,
        _: &mut Option<Millis>,
        _: &mut Ctx<'_>,
        from: Token,
        by: i64,
    ) -> Decision<i64, Answer> {
        match state + by {
            _ if by == 0 => Decision::answer(from, Answer::Is(*state)),
            next if next < 0 => Decision::answer(from, Answer::Refused),
            next => Decision::with(vec![by], from, Answer::Is(next)),
        }
    }
    fn apply(state: &mut i64, by: &i64) {
        *state += by;
    }
    fn deadline(soft: &Option<Millis>) -> Option<Millis> {
        *soft
    }
    fn due(_: &i64, soft: &mut Option<Millis>, now: Millis) -> Vec<i64> {
        if soft.is_some_and(|at| at <= now) {
            *soft = None;
            return vec![1];
        }
        vec![]
    }
}

fn draft(machine: &mut Replicated<Counter>, token: u64, by: i64) -> Option<Vec<i64>> {
    let mut ctx = Ctx { now: Millis(0), wall: Millis(0), rng: &mut || 4 };
    let decision = machine.draft(&mut ctx, Token(token), by)?;
    let records = decision.records.clone();
    machine.accept(decision);
    Some(records)
}

#[test]
fn answers_wait_for_their_facts_and_for_all_before_them() {
    let mut machine = Replicated::<Counter>::new(0);
    assert_eq!(draft(&mut machine, 1, 5), None, "out of office nothing is decided");
    machine.take_office(Millis(0));
    assert_eq!(draft(&mut machine, 1, 5), Some(vec![5]));
    assert_eq!(draft(&mut machine, 2, -9), Some(vec![]), "a refusal logs nothing");
    assert_eq!(draft(&mut machine, 3, -5), Some(vec![-5]), "decided on what is ahead");
    assert_eq!(machine.poll_answer(), None);
    machine.commit(&5);
    assert_eq!(machine.poll_answer(), Some((Token(1), Answer::Is(5))));
    assert_eq!(machine.poll_answer(), Some((Token(2), Answer::Refused)));
    assert_eq!(machine.poll_answer(), None);
    machine.commit(&-5);
    assert_eq!(machine.poll_answer(), Some((Token(3), Answer::Is(0))));
    assert_eq!(*machine.committed(), 0);
}

#[test]
fn losing_office_forgets_what_was_not_committed() {
    let mut machine = Replicated::<Counter>::new(0);
    machine.take_office(Millis(0));
    draft(&mut machine, 1, 5);
    machine.commit(&5);
    draft(&mut machine, 2, 7);
    machine.leave_office();
    assert_eq!(machine.poll_answer(), None);
    assert_eq!(machine.deadline(), None);
    machine.take_office(Millis(0));
    draft(&mut machine, 3, 0);
    assert_eq!(machine.poll_answer(), Some((Token(3), Answer::Is(5))));
    assert_eq!(machine.due(Millis(99)), Vec::<i64>::new());
    assert_eq!(machine.due(Millis(100)), vec![1]);
}
