//! One partition, one change.

use super::*;

const RULES: Rules = Rules { min_isr: 2, unclean_election: false, elr_enabled: true, level: 33 };

fn partition(isr: &[NodeId], leader: NodeId) -> Partition {
    Partition {
        replicas: vec![1, 2, 3],
        directories: (101..104).map(Uuid::from_u128).collect(),
        isr: isr.to_vec(),
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader,
        leader_recovery_state: LeaderRecoveryState::Recovered,
        leader_epoch: 5,
        partition_epoch: 9,
    }
}

/// What becomes of `old` when the brokers `up` are and `intent` is.
fn after(old: &Partition, rules: Rules, up: &[NodeId], intent: impl FnOnce(&mut Change<'_>)) -> Partition {
    let may_lead = |node: NodeId| up.contains(&node);
    let new_dir = |node: NodeId| Uuid::from_u128(1000 + u128::from(node.unsigned_abs()));
    let mut change = Change::new(old, rules, &may_lead, &new_dir);
    intent(&mut change);
    let mut after = old.clone();
    if let Some(record) = change.record(TopicId::ZERO, 0) {
        after.apply(&record);
    }
    after
}

#[test]
fn nothing_asked_nothing_done() {
    let old = partition(&[1, 2, 3], 1);
    assert_eq!(after(&old, RULES, &[1, 2, 3], |_| {}), old);
}

#[test]
fn who_leaves_below_the_minimum_stays_eligible_and_the_last_leader_is_remembered() {
    let old = partition(&[1, 2], 1);
    let one = after(&old, RULES, &[2], |change| change.isr = vec![2]);
    assert_eq!((&one.isr[..], &one.elr[..], one.leader), (&[2][..], &[1][..], 2));
    let none = after(&one, RULES, &[], |change| change.isr.clear());
    assert_eq!((none.isr.len(), &none.elr[..], none.leader), (0, &[1, 2][..], NO_LEADER));
    assert_eq!(none.last_known_elr, [2]);
    // An eligible one that comes back leads, and has lost nothing.
    let back = after(&none, RULES, &[1], |_| {});
    assert_eq!((&back.isr[..], &back.elr[..], back.leader), (&[1][..], &[2][..], 1));
    assert_eq!((back.last_known_elr.len(), back.leader_recovery_state), (0, LeaderRecoveryState::Recovered));
}

#[test]
fn with_nobody_eligible_only_the_last_leader_comes_back_by_itself() {
    let mut old = partition(&[], NO_LEADER);
    old.last_known_elr = vec![2];
    assert_eq!(after(&old, RULES, &[1, 3], |_| {}), old);
    let back = after(&old, RULES, &[1, 2, 3], |_| {});
    assert_eq!((&back.isr[..], back.leader), (&[2][..], 2));
    assert_eq!(back.leader_recovery_state, LeaderRecoveryState::Recovering);
    let forced = after(&old, RULES, &[1, 3], |change| change.election = Election::Unclean);
    assert_eq!((&forced.isr[..], forced.leader), (&[1][..], 1));
}

#[test]
fn without_eligible_replicas_the_last_in_sync_set_stays() {
    let rules = Rules { elr_enabled: false, ..RULES };
    let old = partition(&[1], 1);
    let none = after(&old, rules, &[2, 3], |change| change.isr.clear());
    assert_eq!((&none.isr[..], none.leader, none.elr.len()), (&[1][..], NO_LEADER, 0));
    assert_eq!(after(&none, rules, &[1, 2], |_| {}).leader, 1);
}

#[test]
fn eligible_replicas_that_were_turned_off_remain_until_one_of_them_leads() {
    let rules = Rules { elr_enabled: false, ..RULES };
    let mut old = partition(&[], NO_LEADER);
    old.elr = vec![2, 3];
    assert_eq!(after(&old, rules, &[1], |_| {}), old);
    let back = after(&old, rules, &[1, 3], |_| {});
    assert_eq!((&back.isr[..], back.leader, back.elr.len()), (&[3][..], 3, 0));
    assert_eq!(back.leader_recovery_state, LeaderRecoveryState::Recovered);
    // Not one that may have lost records, nor one that is no replica any more.
    let lost = after(&old, rules, &[2], |change| change.unclean = Some(2));
    assert_eq!((lost.leader, &lost.elr[..]), (NO_LEADER, &[3][..]));
    let gone = after(&old, rules, &[2], |change| change.replicas = vec![1, 3]);
    assert_eq!((gone.leader, &gone.elr[..]), (NO_LEADER, &[3][..]));
    // Where somebody is in sync, records may have been committed without them.
    let mut led = partition(&[1], 1);
    led.elr = vec![2];
    let none = after(&led, rules, &[2], |change| change.isr.clear());
    assert_eq!((&none.isr[..], none.leader, none.elr.len()), (&[1][..], NO_LEADER, 0));
}

#[test]
fn the_preferred_replica_leads_when_it_is_asked_for_and_in_sync() {
    let old = partition(&[1, 2, 3], 2);
    let prefer = |change: &mut Change<'_>| change.election = Election::Preferred;
    assert_eq!(after(&old, RULES, &[1, 2, 3], prefer).leader, 1);
    assert_eq!(after(&old, RULES, &[2, 3], prefer), old);
    assert_eq!(after(&partition(&[2, 3], 2), RULES, &[1, 2, 3], prefer).leader, 2);
}

#[test]
fn a_reassignment_ends_when_all_that_stay_are_in_sync() {
    let mut old = partition(&[1, 2, 3], 1);
    old.replicas = vec![4, 2, 1, 3];
    old.directories = (201..205).map(Uuid::from_u128).collect();
    old.adding_replicas = vec![4];
    old.removing_replicas = vec![1, 3];
    let same = after(&old, RULES, &[1, 2, 3, 4], |change| change.isr = vec![1, 2]);
    assert_eq!(same.replicas, old.replicas);
    let done = after(&old, RULES, &[1, 2, 3, 4], |change| change.isr = vec![1, 2, 3, 4]);
    assert_eq!((&done.replicas[..], &done.isr[..], done.leader), (&[4, 2][..], &[2, 4][..], 4));
    assert_eq!((done.adding_replicas.len(), done.removing_replicas.len()), (0, 0));
    assert_eq!(done.directories, [Uuid::from_u128(201), Uuid::from_u128(202)]);
    assert_eq!(done.leader_epoch, old.leader_epoch + 1);
}

#[test]
fn replicas_that_go_raise_the_leader_epoch_though_the_leader_stays() {
    let old = partition(&[1, 2], 1);
    let fewer = after(&old, RULES, &[1, 2, 3], |change| change.replicas = vec![1, 2]);
    assert_eq!((fewer.leader, fewer.leader_epoch), (1, 6));
}

#[test]
fn what_older_levels_cannot_say_is_not_said() {
    let old = partition(&[1, 2, 3], 1);
    let shrink = |change: &mut Change<'_>| change.isr = vec![1, 2];
    let rules = Rules { level: 11, elr_enabled: false, ..RULES };
    assert_eq!(after(&old, rules, &[1, 2, 3], shrink).leader_epoch, 6);
    assert_eq!(after(&old, RULES, &[1, 2, 3], shrink).leader_epoch, 5);
    let mut undirected = old;
    undirected.directories.clear();
    let moved = after(&undirected, rules, &[1, 2, 3], |change| change.replicas = vec![4, 1, 2, 3]);
    assert!(moved.directories.is_empty());
}
