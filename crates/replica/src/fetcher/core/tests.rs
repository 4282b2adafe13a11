//! What a lane asks, after which answers.

use ottla_types::TopicId;
use uuid::Uuid;

use super::*;

fn key(partition: i32) -> TopicPartitionId {
    TopicPartitionId { topic: TopicId(Uuid::from_u128(1)), partition }
}

fn at(log_end: Offset) -> Position {
    Position { log_start: 0, log_end, last_epoch: 0 }
}

/// A core that follows partitions 0 to `partitions` in epoch 3.
fn core(partitions: i32) -> Core {
    let mut core = Core::new(1000);
    for partition in 0..partitions {
        core.assign(key(partition), 3, at(10));
    }
    core
}

fn fetch(core: &mut Core, now: i64) -> Asked {
    match core.next(Millis(now)) {
        Step::Fetch(asked) => asked,
        other => panic!("not a fetch: {other:?}"),
    }
}

fn named(asked: &Asked) -> Vec<(i32, Offset)> {
    asked.wishes.iter().map(|(key, wish)| (key.partition, wish.offset)).collect()
}

#[test]
fn a_session_names_what_changed_and_what_is_forgotten() {
    let mut core = core(3);
    let asked = fetch(&mut core, 0);
    assert_eq!((asked.session_id, asked.session_epoch), (0, 0));
    assert_eq!(named(&asked), [(0, 10), (1, 10), (2, 10)]);
    assert!(core.answered(Millis(1), ErrorCode::NONE, 7));
    assert_eq!(core.judge(&key(1), ErrorCode::NONE, Millis(1)), Verdict::Use(10, 3));
    core.progressed(&key(1), 3, at(15));
    let asked = fetch(&mut core, 1);
    assert_eq!((asked.session_id, asked.session_epoch), (7, 1));
    assert_eq!(named(&asked), [(1, 15)]);
    core.remove(&key(0));
    assert!(core.answered(Millis(2), ErrorCode::NONE, 7));
    let asked = fetch(&mut core, 2);
    assert_eq!((asked.session_epoch, named(&asked), asked.forgotten), (2, vec![], vec![key(0)]));
    // The leader has let the session go, then it does not know it, then it is out of step.
    assert!(core.answered(Millis(3), ErrorCode::NONE, 0));
    let asked = fetch(&mut core, 3);
    assert_eq!((asked.session_id, asked.session_epoch, asked.wishes.len()), (0, 0, 2));
    assert!(core.answered(Millis(4), ErrorCode::NONE, 9));
    fetch(&mut core, 4);
    assert!(!core.answered(Millis(5), ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0));
    let asked = fetch(&mut core, 5);
    assert_eq!((asked.session_id, asked.session_epoch, asked.wishes.len()), (9, 0, 2), "closes the old one");
    assert!(!core.answered(Millis(6), ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0));
    assert!(matches!(core.next(Millis(6)), Step::Rest(Some(_))), "twice in a row: not at once");
}

#[test]
fn errors_are_waited_out_longer_and_longer() {
    let mut core = core(2);
    let mut now = 0;
    for wait in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        fetch(&mut core, now);
        assert!(core.answered(Millis(now), ErrorCode::NONE, 7));
        core.judge(&key(0), ErrorCode::NOT_LEADER_OR_FOLLOWER, Millis(now));
        let asked = fetch(&mut core, now + wait - 1);
        assert_eq!(asked.forgotten, [key(0)], "left out for {wait} ms");
        assert!(core.answered(Millis(now), ErrorCode::NONE, 7));
        now += wait;
    }
    // One that gets on is forgiven.
    fetch(&mut core, now);
    core.answered(Millis(now), ErrorCode::NONE, 7);
    core.progressed(&key(0), 3, at(11));
    fetch(&mut core, now);
    core.answered(Millis(now), ErrorCode::NONE, 7);
    core.judge(&key(0), ErrorCode::NOT_LEADER_OR_FOLLOWER, Millis(now));
    assert_eq!(fetch(&mut core, now).forgotten, [key(0)]);
    assert_eq!(named(&fetch(&mut core, now + 10)), [(0, 11)], "the shortest wait again");
}

/// What comes of partition 0 cannot be used; whether the next poll is given up for it, once it has waited.
fn stuck(core: &mut Core, now: &mut i64, position: Position, wait: i64) -> bool {
    assert!(core.answered(Millis(*now), ErrorCode::NONE, 7));
    assert!(matches!(core.judge(&key(0), ErrorCode::NONE, Millis(*now)), Verdict::Use(..)));
    core.stuck(&key(0), 3, position, Millis(*now));
    fetch(core, *now);
    assert_eq!(core.interrupt_at(Millis(*now)), Some(Millis(*now + wait)));
    *now += wait;
    core.interrupt_at(Millis(*now));
    let given_up = core.is_left_out();
    assert!(core.answered(Millis(*now), ErrorCode::NONE, 7));
    assert_eq!(named(&fetch(core, *now)), [(0, position.log_end)]);
    given_up
}

#[test]
fn what_cannot_be_used_waits_longer_each_time_and_in_the_end_for_the_poll() {
    let (mut core, mut now) = (core(2), 0);
    fetch(&mut core, now);
    for wait in [10, 20, 40, 80, 160] {
        assert!(stuck(&mut core, &mut now, at(10), wait));
    }
    for wait in [320, 640, 1000, 1000] {
        assert!(!stuck(&mut core, &mut now, at(10), wait));
    }
    assert!(!stuck(&mut core, &mut now, at(9), 1000), "somewhere else, but no further");
    assert!(stuck(&mut core, &mut now, at(11), 10), "a part of it could be used");
    // It is followed anew: what was said in the term before is nothing against it.
    assert!(core.answered(Millis(now), ErrorCode::NONE, 7));
    core.assign(key(0), 4, at(8));
    core.stuck(&key(0), 3, at(12), Millis(now));
    assert_eq!(named(&fetch(&mut core, now)), [(0, 8)]);
}

#[test]
fn answers_to_earlier_assignments_are_ignored() {
    let mut core = core(1);
    fetch(&mut core, 0);
    core.assign(key(0), 4, at(8));
    assert!(core.answered(Millis(1), ErrorCode::NONE, 7));
    assert_eq!(core.judge(&key(0), ErrorCode::NONE, Millis(1)), Verdict::Ignore);
    core.progressed(&key(0), 3, at(12));
    assert_eq!(named(&fetch(&mut core, 1)), [(0, 8)]);
    assert_eq!(core.judge(&key(9), ErrorCode::NONE, Millis(1)), Verdict::Ignore);
}

#[test]
fn what_is_out_of_range_is_looked_up() {
    let mut core = core(2);
    fetch(&mut core, 0);
    core.answered(Millis(0), ErrorCode::NONE, 7);
    core.judge(&key(1), ErrorCode::OFFSET_OUT_OF_RANGE, Millis(0));
    assert_eq!(core.next(Millis(0)), Step::Locate(vec![(key(1), 3)]));
    core.located(&key(1), 3, at(4), Millis(1));
    let asked = fetch(&mut core, 1);
    assert_eq!(named(&asked), [(1, 4)]);
    core.answered(Millis(1), ErrorCode::NONE, 7);
    // Its place led to nothing: not again at once.
    core.judge(&key(1), ErrorCode::OFFSET_OUT_OF_RANGE, Millis(2));
    assert!(matches!(core.next(Millis(2)), Step::Locate(_)));
    core.located(&key(1), 3, at(4), Millis(2));
    assert_eq!(fetch(&mut core, 2).forgotten, [key(1)]);
}

#[test]
fn a_poll_under_way_is_given_up_for_a_new_partition_but_not_all_the_time() {
    let mut core = core(1);
    fetch(&mut core, 1000);
    assert_eq!(core.interrupt_at(Millis(1000)), None);
    core.assign(key(1), 3, at(0));
    assert_eq!(core.interrupt_at(Millis(1001)), Some(Millis(1001)));
    core.interrupted(Millis(1001));
    assert_eq!(fetch(&mut core, 1001).wishes.len(), 2);
    core.assign(key(2), 3, at(0));
    assert_eq!(core.interrupt_at(Millis(1002)), Some(Millis(1051)));
}

#[test]
fn what_is_throttled_pauses_while_it_lags_and_interrupts_nobody() {
    let mut core = core(3);
    core.caught_up(&key(1), true);
    let throttled = |key: &TopicPartitionId| key.partition < 2;
    core.throttle(Millis(1000), throttled);
    let asked = fetch(&mut core, 1000);
    assert_eq!(named(&asked), [(1, 10), (2, 10)], "in sync, or not throttled");
    // The poll that is under way is not given up when its time has come.
    let _ = core.interrupt_at(Millis(1100));
    assert!(!core.is_left_out());
    assert!(core.answered(Millis(1101), ErrorCode::NONE, 7));
    core.throttle(Millis(1101), throttled);
    assert_eq!(named(&fetch(&mut core, 1101)), [], "still above");
    assert!(core.answered(Millis(1150), ErrorCode::NONE, 7));
    assert_eq!(named(&fetch(&mut core, 1150)), [], "no longer above, but waits out its pause");
    assert!(core.answered(Millis(1201), ErrorCode::NONE, 7));
    assert_eq!(named(&fetch(&mut core, 1201)), [(0, 10)]);
    // It falls behind: the quota is for it, too.
    core.caught_up(&key(1), false);
    assert!(core.answered(Millis(1300), ErrorCode::NONE, 7));
    core.throttle(Millis(1300), |_| true);
    assert_eq!(core.next(Millis(1300)), Step::Rest(Some(Millis(1400))));
}

#[test]
fn a_leader_that_does_not_answer_is_left_alone() {
    let mut core = core(1);
    fetch(&mut core, 0);
    core.unanswered(Millis(0));
    assert_eq!(core.next(Millis(0)), Step::Rest(Some(Millis(10))));
    fetch(&mut core, 10);
    core.unanswered(Millis(10));
    assert_eq!(core.next(Millis(10)), Step::Rest(Some(Millis(30))));
    core.reconnect();
    assert_eq!(fetch(&mut core, 11).session_epoch, 0);
    let mut nothing = Core::new(1000);
    assert_eq!(nothing.next(Millis(0)), Step::Rest(None));
}

#[test]
fn an_answer_from_before_a_reconnection_does_not_count() {
    let mut core = core(2);
    fetch(&mut core, 0);
    core.reconnect();
    assert!(!core.answered(Millis(1), ErrorCode::NONE, 7));
    let asked = fetch(&mut core, 1);
    assert_eq!(
        (asked.session_id, asked.session_epoch, named(&asked).len()),
        (0, 0, 2),
        "all of it is asked anew"
    );
    assert!(core.answered(Millis(2), ErrorCode::NONE, 8));
    assert_eq!(fetch(&mut core, 2).session_epoch, 1);
}
