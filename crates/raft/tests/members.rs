//! Quorums of three and five: leaders that die, are cut off and come back having forgotten what was not synced,
//! snapshots on the way, voters that are added and removed, and messages that no sound member sends.

mod common;
mod world;

use ottla_raft::{Founding, Membership, Seen, Voter, VoterChange};
use ottla_types::NodeId;
use uuid::Uuid;
use world::{World, directory, next, voter};

#[test]
fn leaders_die_with_the_power_and_come_back() {
    for seed in 0..20 {
        let mut world = World::new(seed, if seed % 2 == 0 { 3 } else { 5 });
        world.broker();
        for round in 0..6 {
            world.create(&format!("topic-{round}"));
            let leader = world.elected();
            // In the middle of something that it may or may not have sent on.
            world.submit(leader, common::create(&format!("lost-{round}"), 1));
            if round % 2 == 0 {
                world.settle(leader);
            }
            world.kill(leader, true);
            let second = world.elected();
            assert_ne!(second, leader);
            world.create(&format!("meanwhile-{round}"));
            world.start(leader);
            world.agree();
        }
        for id in world.members.keys() {
            assert!((12..=18).contains(&world.topics(*id)), "seed {seed}: {}", world.topics(*id));
        }
    }
}

#[test]
fn a_leader_that_is_cut_off_gives_up_and_nothing_of_it_stays() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3);
        world.broker();
        world.create("before");
        let old = world.elected();
        world.isolate(old);
        let lost = world.submit(old, common::create("lost", 1));
        world.create("after");
        let new = world.leader().expect("there is one");
        assert_ne!(new, old);
        world.until(3000, |world| world.answers.contains_key(&lost));
        assert!(world.answers[&lost].is_err(), "it was never committed");
        world.cut.clear();
        world.agree();
        assert_eq!(world.topics(old), 2);
    }
}

#[test]
fn one_way_and_a_minority() {
    let mut world = World::new(7, 5);
    world.broker();
    world.create("a");
    let leader = world.elected();
    // It sends and does not hear.
    let others: Vec<NodeId> = (1..=5).filter(|id| *id != leader).collect();
    world.cut.extend(others.iter().map(|other| (*other, leader)));
    world.create("b");
    world.cut.clear();
    world.agree();
    let (one, two) = (others[0], others[1]);
    world.isolate(one);
    world.isolate(two);
    world.create("c");
    world.cut.clear();
    world.agree();
    assert!((1..=5).all(|id| world.topics(id) == 3));
}

#[test]
fn a_leader_whose_process_ended_is_replaced_at_once() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        let leader = world.elected();
        world.run(300);
        world.kill(leader, false);
        for id in (1..=3).filter(|id| *id != leader) {
            world.with(id, |core, ctx| core.lost(leader, ctx));
        }
        let before = world.now;
        world.until(1000, |world| world.leader().is_some());
        assert!(world.now - before < 200, "seed {seed}: {} ms", world.now - before);
    }
}

#[test]
fn one_who_alone_lost_the_leader_changes_nothing() {
    let mut world = World::new(3, 3);
    let leader = world.elected();
    world.run(300);
    let epoch = world.members[&leader].core.as_ref().map(|core| core.status().epoch);
    let other = (1..=3).find(|id| *id != leader).expect("three");
    world.with(other, |core, ctx| core.lost(leader, ctx));
    world.run(2000);
    assert_eq!(world.leader(), Some(leader));
    assert_eq!(world.members[&leader].core.as_ref().map(|core| core.status().epoch), epoch);
}

/// A machine under load gives its threads no time for a while: what nobody could hear is no silence.
#[test]
fn time_that_was_lost_deposes_nobody() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        let leader = world.elected();
        let seed = i64::try_from(seed).expect("small");
        world.run(1000 + 37 * seed);
        let epoch = |world: &World| world.members[&leader].core.as_ref().map(|core| core.status().epoch);
        let before = epoch(&world);
        for round in 0..10 {
            world.stall(1..=3, 400 + 55 * round);
            world.run(150 + 11 * seed);
            assert_eq!(world.leader(), Some(leader), "seed {seed}, round {round}");
        }
        world.run(2000);
        assert_eq!((world.leader(), epoch(&world)), (Some(leader), before), "seed {seed}");
        // Those who do have time still notice one who is gone.
        world.kill(leader, false);
        world.until(3000, |world| world.leader().is_some_and(|id| id != leader));
    }
}

#[test]
fn a_leader_that_stops_hands_over() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3);
        world.broker();
        world.create("before");
        let leader = world.elected();
        world.with(leader, |core, _| core.resign());
        let before = world.now;
        world.until(200, |world| {
            let new = world.leader().is_some_and(|id| id != leader);
            new && world.members[&leader].core.as_ref().is_some_and(ottla_raft::Core::has_resigned)
        });
        assert!(world.now - before < 50, "seed {seed}: {} ms without a leader", world.now - before);
        world.kill(leader, false);
        world.create("after");
    }
}

#[test]
fn who_was_away_for_long_gets_a_snapshot_and_may_be_killed_at_any_moment_of_it() {
    for writes in 0..8 {
        let mut world = World::empty(writes);
        world.max_entries = 20;
        let founding = Founding::Dynamic((1..=3).map(voter).collect());
        (1..=3).for_each(|id| world.add(id, founding.clone()));
        world.broker();
        world.create("before");
        let leader = world.elected();
        let away = (1..=3).find(|id| *id != leader).expect("three");
        world.kill(away, false);
        for round in 0..40 {
            world.create(&format!("topic-{round}"));
        }
        world.start(away);
        world.members[&away].disk.fail_after(writes);
        world.run(3000);
        let killed = world.members[&away].core.is_none();
        world.kill(away, writes % 2 == 0);
        world.start(away);
        world.agree();
        assert_eq!(world.topics(away), 41, "after {writes} writes, killed: {killed}");
        world.kill(away, true);
        world.start(away);
        world.agree();
        assert_eq!(world.topics(away), 41);
    }
}

/// Who votes is synced at once, the metadata log is not: after a power cut changes that were made are applied anew.
#[test]
fn a_power_cut_does_not_change_the_voters_once_more() {
    let mut world = World::new(5, 2);
    world.broker();
    let leader = world.elected();
    let other = 3 - leader;
    let remove = |id: NodeId| VoterChange::Remove { id, directory_id: directory(id) };
    let add = VoterChange::Add { voter: voter(other), wait: true, timeout_ms: 2000 };
    for change in [remove(other), add, remove(leader)] {
        let token = world.change(leader, change);
        world.until(5000, |world| world.changed.contains_key(&token));
        assert_eq!(world.changed[&token], Ok(()));
        world.run(50);
    }
    world.until(5000, |world| world.leader() == Some(other));
    world.create("before");
    world.kill(other, true);
    world.start(other);
    world.run(1000);
    assert!(world.members[&other].faults.is_empty(), "{:?}", world.members[&other].faults);
    world.create("after");
    world.agree();
}

/// The leader that was asked to remove it is gone before that holds: whoever comes next makes it hold.
#[test]
fn a_voter_that_made_its_own_removal_hold_leads_no_more() {
    let mut chosen = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, 5);
        world.broker();
        let leader = world.elected();
        let gone = (1..=5).find(|id| *id != leader).expect("five");
        world.change(leader, VoterChange::Remove { id: gone, directory_id: directory(gone) });
        world.pass();
        world.kill(leader, false);
        let led_by = |world: &World, id: NodeId| world.members[&id].core.as_ref()?.leader();
        world.until(5000, |world| led_by(world, gone).is_some_and(|id| id != leader));
        chosen += i32::from(led_by(&world, gone) == Some(gone));
        world.create("after");
        world.run(3000);
        assert!(world.leader().is_some_and(|id| id != gone), "seed {seed}");
        let voters = world.with(gone, |core, _| core.membership().voters.clone()).expect("runs");
        assert!(voters.len() == 4 && voters.iter().all(|voter| voter.id != gone), "seed {seed}");
    }
    assert!(chosen > 0, "it was elected now and then");
}

/// What made it the sole voter is committed and, after the power cut, not applied: it may not campaign before it is.
#[test]
fn a_sole_voter_leads_again_after_a_power_cut() {
    let mut world = World::new(6, 2);
    world.broker();
    let leader = world.elected();
    let other = 3 - leader;
    let gone = VoterChange::Remove { id: other, directory_id: directory(other) };
    let token = world.change(leader, gone);
    world.until(5000, |world| world.changed.contains_key(&token));
    assert_eq!(world.changed[&token], Ok(()));
    // The one that was removed is forgotten, so that nobody is left to speak with.
    world.kill(other, false);
    world.skip(310_000);
    world.broker();
    world.create("before");
    world.kill(leader, true);
    world.start(leader);
    world.create("after");
    assert_eq!(world.topics(leader), 2);
}

#[test]
fn voters_are_added_and_removed() {
    let mut world = World::new(1, 3);
    world.broker();
    world.create("before");
    world.add(4, Founding::Join);
    let leader = world.elected();
    let add = |id: NodeId| VoterChange::Add { voter: voter(id), wait: true, timeout_ms: 2000 };
    let duplicate = Voter { directory_id: directory(77), ..voter(leader) };
    let token = world.change(leader, VoterChange::Add { voter: duplicate, wait: true, timeout_ms: 100 });
    assert_eq!(world.refused(token), 126);
    let token = world.change(leader, VoterChange::Remove { id: 1, directory_id: directory(77) });
    assert_eq!(world.refused(token), 127);
    let nameless = Voter { endpoints: Vec::new(), ..voter(4) };
    let token = world.change(leader, VoterChange::Add { voter: nameless, wait: true, timeout_ms: 100 });
    assert_eq!(world.refused(token), 42);
    let follower = (1..=3).find(|id| *id != leader).expect("three");
    let token = world.change(follower, add(4));
    assert_eq!(world.refused(token), 6);

    // One at a time; who cannot be reached is not added.
    world.isolate(4);
    let first = world.change(leader, add(4));
    let second = world.change(leader, add(5));
    assert_eq!(world.refused(second), 7);
    world.until(5000, |world| world.changed.contains_key(&first));
    assert_eq!(world.refused(first), 7);
    world.cut.clear();

    let leader = world.elected();
    let token = world.change(leader, add(4));
    world.until(5000, |world| world.changed.contains_key(&token));
    assert_eq!(world.changed[&token], Ok(()));
    world.agree();
    let members = |world: &World, id: NodeId| -> Vec<NodeId> {
        let core = world.members[&id].core.as_ref().expect("runs");
        core.membership().voters.iter().map(|voter| voter.id).collect()
    };
    assert!((1..=4).all(|id| members(&world, id) == [1, 2, 3, 4]));
    assert_eq!(world.topics(4), 1);

    // The leader itself goes: another takes over, and it follows on.
    let leader = world.elected();
    let gone = VoterChange::Remove { id: leader, directory_id: directory(leader) };
    let token = world.change(leader, gone);
    world.until(5000, |world| world.changed.contains_key(&token));
    assert_eq!(world.changed[&token], Ok(()));
    world.until(1000, |world| world.leader().is_some_and(|id| id != leader));
    world.create("after");
    world.agree();
    assert!((1..=4).all(|id| !members(&world, id).contains(&leader)));

    // All of it is found again.
    for id in 1..=4 {
        world.kill(id, true);
    }
    (1..=4).for_each(|id| world.start(id));
    world.create("again");
    world.agree();
    assert!((1..=4).all(|id| members(&world, id).len() == 3 && world.topics(id) == 3));
}

#[test]
fn a_controller_that_is_there_follows_and_can_be_given_a_vote() {
    let mut world = World::new(9, 1);
    world.broker();
    world.create("before");
    world.add(2, Founding::Join);
    world.run(500);
    assert_eq!(world.topics(2), 0, "nobody knows of it");
    world.introduce(2);
    world.introduce(1);
    world.until(3000, |world| world.topics(2) == 1);
    world.run(300);
    let view = world.with(1, |core, ctx| core.quorum(ctx.wall)).expect("runs");
    let ids = |replicas: &[ottla_raft::ReplicaView]| -> Vec<_> {
        replicas.iter().map(|one| (one.id, one.directory_id)).collect()
    };
    assert_eq!(ids(&view.voters), [(1, directory(1))]);
    assert_eq!(ids(&view.observers), [(2, directory(2))]);
    assert!(view.observers[0].last_caught_up.0 > 0 && view.observers[0].log_end == view.voters[0].log_end);
    let token = world.change(1, VoterChange::Add { voter: voter(2), wait: true, timeout_ms: 1000 });
    world.until(2000, |world| world.changed.contains_key(&token));
    assert_eq!(world.changed[&token], Ok(()));
    let moved = Voter { endpoints: voter(8).endpoints, ..voter(2) };
    let token = world.change(1, VoterChange::Update { voter: moved.clone() });
    world.until(2000, |world| world.changed.contains_key(&token));
    world.agree();
    let known =
        |world: &World| -> Membership { world.members[&2].core.as_ref().expect("runs").membership().clone() };
    assert_eq!(known(&world).voters, [voter(1), moved]);
    // What it says of itself is right, and goes to the log.
    world.introduce(2);
    world.until(1000, |world| known(world).voters == [voter(1), voter(2)]);
    // Who has its number and another directory, or none, is not it and does not say where it is.
    for stranger in [directory(77), Uuid::nil()] {
        let seen = Seen { id: 2, directory_id: stranger, endpoints: voter(8).endpoints };
        world.with(1, |core, _| core.seen(seen, None)).expect("runs");
        world.run(300);
        assert_eq!(known(&world).voters, [voter(1), voter(2)]);
    }
    let token = world.change(1, VoterChange::Remove { id: 2, directory_id: directory(2) });
    world.until(2000, |world| world.changed.contains_key(&token));
    world.agree();
    assert_eq!(known(&world).voters, [voter(1)]);
    let token = world.change(1, VoterChange::Remove { id: 1, directory_id: directory(1) });
    assert_eq!(world.refused(token), 127, "the last voter stays");
}

#[test]
fn who_followed_an_earlier_leader_and_is_gone_is_not_listed() {
    let mut world = World::new(10, 1);
    world.broker();
    world.add(2, Founding::Join);
    world.introduce(2);
    let observers = |world: &mut World| {
        let view = world.with(1, |core, ctx| core.quorum(ctx.wall)).expect("runs");
        view.observers.iter().map(|one| one.id).collect::<Vec<_>>()
    };
    world.until(3000, |world| observers(world) == [2]);
    world.kill(2, false);
    world.kill(1, false);
    world.start(1);
    world.until(3000, |world| world.leader() == Some(1));
    world.run(300);
    assert!(observers(&mut world).is_empty());
    world.start(2);
    world.introduce(2);
    world.until(3000, |world| observers(world) == [2]);
}

/// Where an observer can be reached stands in no log: each new leader learns it from the observer itself.
#[test]
fn an_observer_finds_the_voters_that_were_restarted_one_by_one() {
    for told in [true, false] {
        let mut world = World::new(11, 3);
        world.by_address = true;
        world.broker();
        world.create("before");
        world.add(4, Founding::Join);
        world.until(3000, |world| world.topics(4) == 1);
        for id in 1..=3 {
            world.kill(id, false);
            if told {
                world.with(4, |core, ctx| core.lost(id, ctx));
            }
            world.start(id);
            world.run(1000);
            world.elected();
        }
        world.create("after");
        world.agree();
        assert_eq!(world.topics(4), 2, "its connection told it: {told}");
    }
}

/// Who lost its leader, or alone does not hear it, takes no part in who leads.
#[test]
fn an_observer_that_lost_its_leader_deposes_nobody() {
    let mut world = World::new(12, 3);
    let leader = world.elected();
    world.add(4, Founding::Join);
    world.introduce(4);
    let follows = |world: &World| world.members[&4].core.as_ref().expect("runs").leader();
    world.until(3000, |world| follows(world) == Some(leader));
    let epoch = |world: &World| world.members[&leader].core.as_ref().expect("runs").status().epoch;
    let before = epoch(&world);
    world.with(4, |core, ctx| core.lost(leader, ctx));
    assert_eq!(follows(&world), None);
    world.until(3000, |world| follows(world) == Some(leader));
    world.isolate(4);
    world.until(3000, |world| follows(world).is_none());
    world.run(3000);
    world.cut.clear();
    world.agree();
    assert_eq!((world.leader(), epoch(&world)), (Some(leader), before));
}

#[test]
fn static_voters_stand_in_no_record_and_stay() {
    let mut world = World::empty(5);
    let founding = Founding::Static((1..=3).map(voter).collect());
    (1..=3).for_each(|id| world.add(id, founding.clone()));
    world.broker();
    world.create("topic");
    world.agree();
    let leader = world.elected();
    let token = world.change(leader, VoterChange::Remove { id: 1, directory_id: directory(1) });
    assert_eq!(world.refused(token), 35);
    (1..=3).for_each(|id| world.kill(id, true));
    (1..=3).for_each(|id| world.start(id));
    world.create("again");
    world.agree();
    assert!((1..=3).all(|id| world.topics(id) == 2));
}

/// KIP-853: `kraft.version` goes up as soon as the leader knows every voter's directory.
#[test]
fn static_voters_become_voters_of_the_log() {
    let mut world = World::empty(6);
    world.max_entries = 20;
    let founding = Founding::Static((1..=3).map(voter).collect());
    (1..=3).for_each(|id| world.add(id, founding.clone()));
    world.broker();
    world.create("topic");
    let leader = world.elected();
    let known = |world: &World, id| world.members[&id].core.as_ref().expect("runs").membership().clone();
    let upgrade = |version, validate_only| VoterChange::Upgrade { version, validate_only };
    let followers: Vec<NodeId> = (1..=3).filter(|id| *id != leader).collect();
    for follower in &followers {
        let token = world.change(leader, upgrade(1, false));
        assert_eq!(world.refused(token), 95, "not everyone was heard");
        world.introduce(*follower);
    }
    let token = world.change(leader, upgrade(1, true));
    assert_eq!(world.changed[&token], Ok(()));
    world.run(300);
    assert!((1..=3).all(|id| known(&world, id).kraft_version == 0), "it was only asked");
    let token = world.change(followers[0], upgrade(1, false));
    assert_eq!(world.refused(token), 6);
    let token = world.change(leader, upgrade(1, false));
    world.until(1000, |world| world.changed.contains_key(&token));
    assert_eq!(world.changed[&token], Ok(()));
    world.agree();
    let upgraded = Membership { kraft_version: 1, voters: (1..=3).map(voter).collect() };
    assert!((1..=3).all(|id| known(&world, id) == upgraded));
    for (version, code) in [(0, 95), (2, 95)] {
        let token = world.change(leader, upgrade(version, false));
        assert_eq!(world.refused(token), code);
    }
    let token = world.change(leader, upgrade(1, false));
    assert_eq!(world.changed[&token], Ok(()), "it stands there already");
    world.run(100);
    assert!(!world.answers.values().any(Result::is_err));

    // The configuration is not asked any more, nor need it name voters.
    (1..=3).for_each(|id| world.kill(id, true));
    for id in 1..=3 {
        world.members.get_mut(&id).expect("a member").founding = Founding::Join;
        world.start(id);
    }
    world.create("again");
    world.agree();
    assert!((1..=3).all(|id| known(&world, id) == upgraded));
}

/// Who was a static voter keeps raft's plain name, and another process of its node is not taken for it.
#[test]
fn an_upgraded_voter_leaves_comes_back_and_is_replaced() {
    for seed in 0..8 {
        let mut world = World::empty(seed);
        world.max_entries = 20;
        let founding = Founding::Static((1..=3).map(voter).collect());
        (1..=3).for_each(|id| world.add(id, founding.clone()));
        world.broker();
        world.create("topic");
        (1..=3).for_each(|id| world.introduce(id));
        let leader = world.elected();
        let change = |world: &mut World, change| {
            let leader = world.elected();
            let token = world.change(leader, change);
            world.until(5000, |world| world.changed.contains_key(&token));
            assert_eq!(world.changed[&token], Ok(()), "seed {seed}");
            world.agree();
        };
        let voters =
            |world: &World| world.members[&leader].core.as_ref().expect("runs").membership().voters.clone();
        change(&mut world, VoterChange::Upgrade { version: 1, validate_only: false });
        let gone = (1..=3).find(|id| *id != leader).expect("three");
        let remove = |directory_id| VoterChange::Remove { id: gone, directory_id };
        let add = |voter| VoterChange::Add { voter, wait: true, timeout_ms: 2000 };
        change(&mut world, remove(directory(gone)));
        assert_eq!(voters(&world).len(), 2);
        change(&mut world, add(voter(gone)));
        assert_eq!(voters(&world), (1..=3).map(voter).collect::<Vec<_>>());

        // It is forgotten in between: by a leader that is another process, or one that did not hear it for long.
        change(&mut world, remove(directory(gone)));
        let others: Vec<NodeId> = (1..=3).filter(|id| *id != gone).collect();
        if seed > 0 {
            others.iter().for_each(|id| world.kill(*id, false));
            others.iter().for_each(|id| world.start(*id));
        } else {
            world.kill(gone, false);
            world.skip(310_000);
            // Its session ended in that time.
            world.broker();
            world.start(gone);
        }
        world.elected();
        world.introduce(gone);
        world.agree();
        change(&mut world, add(voter(gone)));
        let name = world.with(gone, |core, _| core.name()).expect("runs");
        assert_eq!(name, ottla_raft::raft_id(gone, Uuid::nil()), "what its disk says");
        world.kill(others[0], false);
        world.create("with-its-vote");
        world.start(others[0]);
        world.agree();

        // Its disk is replaced. The new one follows at once, and votes when the old one's vote is taken from it.
        let replaced = Voter { directory_id: directory(77), ..voter(gone) };
        world.kill(gone, true);
        world.add_in(gone, directory(77), Founding::Join);
        world.elected();
        world.introduce(gone);
        (1..=3).filter(|id| *id != gone).for_each(|id| world.introduce(id));
        world.until(3000, |world| world.topics(gone) == 2);
        assert_eq!(voters(&world), (1..=3).map(voter).collect::<Vec<_>>());
        change(&mut world, remove(directory(gone)));
        if seed % 2 == 0 {
            // A leader that never heard the old one.
            (1..=3).filter(|id| *id != gone).for_each(|id| world.kill(id, false));
            (1..=3).filter(|id| *id != gone).for_each(|id| world.start(id));
            (1..=3).for_each(|id| world.introduce(id));
            world.agree();
        }
        change(&mut world, add(replaced.clone()));
        assert!(voters(&world).contains(&replaced));
        world.kill(gone, true);
        world.create("without");
        world.start(gone);
        world.create("with");
        world.agree();
        assert_eq!(world.topics(gone), 4);
        let counted = world.with(gone, |core, _| core.name()).expect("runs");
        assert_eq!(counted, ottla_raft::raft_id(gone, directory(77)));
    }
}

/// Every lost directory leaves a member behind that is forgotten only after minutes; more than may follow at a time.
#[test]
fn a_node_that_lost_its_directory_again_and_again_still_follows() {
    let mut world = World::new(5, 3);
    world.broker();
    for round in 0..20 {
        world.add_in(4, directory(100 + round), Founding::Join);
        (1..=4).for_each(|id| world.introduce(id));
        world.create(&format!("topic-{round}"));
        let topics = usize::try_from(round).expect("few") + 1;
        world.until(3000, |world| {
            world.introduce(4);
            world.topics(4) == topics
        });
        world.kill(4, true);
    }
}

/// Whatever arrives: nobody panics, nobody's disk is spoilt, and the quorum works on.
#[test]
fn messages_that_no_sound_member_sends_do_no_harm() {
    for seed in 0..30u64 {
        let mut world = World::new(seed, 3);
        world.max_entries = 20;
        world.broker();
        let mut chance = seed ^ 0x5eed;
        for round in 0..12 {
            world.create(&format!("topic-{round}"));
            for _ in 0..20 {
                world.pass();
                let mut wrong: Vec<_> = world.net.iter().cloned().collect();
                wrong.extend((0..3).map(|_| random(&mut chance)));
                for mut message in wrong {
                    spoil(&mut message, &mut chance);
                    let to = i32::try_from(1 + next(&mut chance) % 3).expect("small");
                    world.with(to, |core, ctx| {
                        if !next(&mut chance).is_multiple_of(8) {
                            message.to = core.name();
                        }
                        core.step(message, ctx);
                    });
                }
            }
            for (id, member) in &world.members {
                assert!(member.faults.is_empty(), "seed {seed}, node {id}: {:?}", member.faults);
            }
        }
    }
}

fn random(chance: &mut u64) -> ottla_raft::Message {
    let name =
        |chance: &mut u64| ottla_raft::raft_id(i32::try_from(next(chance) % 5).expect("small"), directory(1));
    ottla_raft::Message {
        msg_type: i32::try_from(next(chance) % 22).expect("small"),
        from: name(chance),
        term: next(chance) % 4,
        index: next(chance) % 100,
        commit: next(chance) % 100,
        log_term: next(chance) % 4,
        ..ottla_raft::Message::default()
    }
}

/// Changes one thing. Terms stay below what would make a new leader of it, else it would be no wonder that all obey.
fn spoil(message: &mut ottla_raft::Message, chance: &mut u64) {
    let numbers = [0, 1, 2, 3, 17, 1 << 31, 1 << 40, 1 << 62, u64::MAX - 1, u64::MAX];
    let number = numbers[usize::try_from(next(chance) % 10).expect("small")];
    match next(chance) % 14 {
        0 => message.index = number,
        1 => message.commit = number,
        2 => message.log_term = number,
        3 => message.reject_hint = number,
        4 => message.request_snapshot = number,
        5 => message.reject = !message.reject,
        6 => message.msg_type = i32::try_from(next(chance) % 22).expect("small"),
        7 => message.from = number,
        8 => message.context = vec![7; 100],
        9 => message.commit_term = number,
        10 => {
            for entry in message.entries.iter_mut() {
                entry.index = number;
            }
        }
        11 => {
            for entry in message.entries.iter_mut() {
                entry.entry_type = i32::try_from(number % 5).expect("small");
                entry.data = vec![9; 70];
            }
        }
        12 => message.term = if number > 3 { number } else { message.term },
        _ => {
            if let Some(snapshot) = message.snapshot.as_mut() {
                snapshot.data = vec![1; 40];
            }
        }
    }
}
