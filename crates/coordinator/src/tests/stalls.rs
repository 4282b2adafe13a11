//! Facts that the log takes and that are not durable in time: nothing is told that may rest on them.

use super::*;

/// What is appended is not durable yet, and what is in the log may not stay.
fn stalled() -> (Arc<MemoryLog>, Arc<Shard>) {
    let log = MemoryLog::new();
    let shard = open(&log);
    log.hold();
    log.settled.send_replace(false);
    (log, shard)
}

/// What is in the log stays.
async fn certain(log: &MemoryLog) {
    log.settled.send_replace(true);
    log.release();
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn facts_that_do_not_become_durable_in_time_fail_their_answers_only() {
    let log = MemoryLog::new();
    let shard = open(&log);
    log.hold();
    let first = later(shard.submit(commit(5)));
    let read = later(shard.submit(fetch()));
    log.durable.send_modify(|state| state.1 = Some(ErrorCode::REQUEST_TIMED_OUT));
    let Ok(Ok(Answer::OffsetCommit(answer))) = first.await else { panic!("a commit's answer") };
    assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(offset(read.await.expect("answered")), 5);
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_facts_that_may_not_stay_is_not_told() {
    let (log, shard) = stalled();
    let first = later(shard.submit(commit(5)));
    let read = later(shard.submit(fetch()));
    log.durable.send_modify(|state| state.1 = Some(ErrorCode::REQUEST_TIMED_OUT));
    let Ok(Ok(Answer::OffsetCommit(answer))) = first.await else { panic!("a commit's answer") };
    assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let Ok(Ok(Answer::OffsetFetch(answer))) = read.await else { panic!("an answer") };
    assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    certain(&log).await;
    assert_eq!(offset(now(shard.submit(fetch()))), 5);
}

#[tokio::test(start_paused = true)]
async fn a_question_after_facts_have_failed_waits_until_they_are_certain() {
    let (log, shard) = stalled();
    let first = later(shard.submit(commit(5)));
    log.durable.send_modify(|state| state.1 = Some(ErrorCode::REQUEST_TIMED_OUT));
    assert!(matches!(first.await, Ok(Ok(Answer::OffsetCommit(_)))));
    // Nothing is parked at this moment.
    let read = later(shard.submit(fetch()));
    let Ok(Ok(Answer::OffsetFetch(answer))) = read.await else { panic!("an answer") };
    assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    certain(&log).await;
    assert_eq!(offset(now(shard.submit(fetch()))), 5);
}

#[tokio::test(start_paused = true)]
async fn a_long_stall_does_not_pile_up_what_clients_ask_again() {
    let (log, shard) = stalled();
    let first = later(shard.submit(commit(0)));
    log.durable.send_modify(|state| state.1 = Some(ErrorCode::REQUEST_TIMED_OUT));
    assert!(first.await.is_ok());
    for at in 1..10 {
        let (read, written) = (later(shard.submit(fetch())), later(shard.submit(commit(at))));
        assert!(read.await.is_ok() && written.await.is_ok());
        assert!(shard.parked() <= 1, "{} are parked", shard.parked());
    }
    // What is answered next waits for the last of them.
    log.settled.send_replace(true);
    log.hold();
    log.durable.send_modify(|state| state.0 -= 1);
    tokio::task::yield_now().await;
    let mut read = later(shard.submit(fetch()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(read.try_recv().is_err(), "its offset is not durable");
    log.release();
    assert_eq!(offset(read.await.expect("answered")), 9);
}

#[tokio::test(start_paused = true)]
async fn facts_that_were_taken_are_waited_for_when_later_ones_are_refused() {
    let log = MemoryLog::new();
    let shard = open(&log);
    log.hold();
    *log.refuse.lock() = Some((1, ErrorCode::NOT_ENOUGH_REPLICAS));
    let commit = later(shard.submit(large_commit()));
    let mut read = later(shard.submit(fetch()));
    tokio::task::yield_now().await;
    assert!(read.try_recv().is_err(), "the first batch is not durable");
    log.release();
    let Ok(Ok(Answer::OffsetCommit(answer))) = commit.await else { panic!("a commit's answer") };
    assert_eq!(answer.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(offset(read.await.expect("answered")), 1);
}
