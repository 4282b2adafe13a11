//! A quorum of one: founding, restarting, crashes between its two logs.

mod common;

use common::{Disk, Setup};
use ottla_controller::{Command, MAX_PARTITIONS_PER_REQUEST};
use ottla_metadata::feature;
use ottla_raft::{SubmitError, Voter, VoterChange, VoterEndpoint};

#[test]
fn founds_the_cluster_and_finds_it_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::default();
    let node = Setup::alone(dir.path()).start(disk.clone(), |_| {});
    let epoch = node.join(-1);
    node.create("first", 3);
    let before = node.image();
    assert_eq!(before.feature_level(feature::METADATA_VERSION), 33);
    assert_eq!(before.feature_level(feature::TRANSACTION_VERSION), 2);
    assert_eq!(before.partition("first", 2).map(|partition| partition.leader), Some(1));
    assert_eq!(before.broker(1).map(|broker| broker.epoch), Some(epoch));
    node.running.stop();

    let node = Setup::alone(dir.path()).start(disk, |_| {});
    let status = common::block_on(async {
        let mut status = node.running.handle.status();
        status.wait_for(|status| status.in_office).await.expect("runs").clone()
    });
    assert_eq!((status.leader, status.epoch), (Some(1), 2), "a new term");
    let after = node.image();
    assert_eq!(after.topic("first"), before.topic("first"));
    node.join(epoch);
    assert_eq!(node.image().partition("first", 0).map(|partition| partition.leader), Some(1));
    node.running.stop();
}

/// Whatever the metadata log lost of its tail comes back byte for byte from raft's log, once.
#[test]
fn a_crash_between_the_logs_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::default();
    let node = Setup::alone(dir.path()).start(disk.clone(), |_| {});
    node.join(-1);
    for name in ["a", "b", "c"] {
        node.create(name, 2);
    }
    node.running.stop();
    let whole: Vec<_> = disk.0.lock().expect("no panic").batches().to_vec();
    for lost in (0..=12).chain([usize::MAX]) {
        disk.0.lock().expect("no panic").forget_last(lost);
        let node = Setup::alone(dir.path()).start(disk.clone(), |_| {});
        common::block_on(async {
            let mut status = node.running.handle.status();
            status.wait_for(|status| status.in_office).await.map(drop).expect("runs");
        });
        assert_eq!(node.image().topics.len(), 3);
        node.running.stop();
        let log = disk.0.lock().expect("no panic").clone();
        for (was, is) in whole.iter().zip(log.batches()) {
            assert_eq!((was.header, was.payload()), (is.header, is.payload()), "after losing {lost}");
        }
        assert!(log.batches().len() > whole.len(), "and a new term was opened");
    }
}

#[test]
fn compaction_and_snapshots_keep_the_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::default();
    let setup = || Setup { max_entries: 5, max_bytes_between_snapshots: 2000, ..Setup::alone(dir.path()) };
    let node = setup().start(disk.clone(), |_| {});
    let mut epoch = node.join(-1);
    for round in 0..20 {
        node.create(&format!("topic-{round}"), 3);
    }
    let before = node.image();
    node.running.stop();
    let snapshots = std::fs::read_dir(dir.path()).expect("listed").flatten();
    let checkpoints =
        snapshots.filter(|file| file.file_name().to_string_lossy().ends_with(".checkpoint")).count();
    assert_eq!(checkpoints, 1, "older snapshots are removed");
    for _ in 0..3 {
        let node = setup().start(disk.clone(), |_| {});
        epoch = node.join(epoch);
        let after = node.image();
        assert_eq!(after.topics.len(), 20);
        let ids = |image: &ottla_metadata::Image| image.topic("topic-7").map(|topic| topic.id);
        assert_eq!(ids(&after), ids(&before));
        node.running.stop();
    }
}

/// Nothing wakes a lone voter that would tell it later.
#[test]
fn who_votes_is_told_as_soon_as_it_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Setup::alone(dir.path()).start(Disk::default(), |_| {});
    node.join(-1);
    let handle = &node.running.handle;
    let mut voter = Voter { id: 1, directory_id: uuid::Uuid::from_u128(1), endpoints: Vec::new() };
    for port in [9093, 9094, 9095] {
        voter.endpoints = vec![VoterEndpoint { name: "CONTROLLER".into(), host: "here".into(), port }];
        let update = VoterChange::Update { voter: voter.clone() };
        common::block_on(handle.change_voters(update)).expect("updated");
        assert_eq!(handle.quorum().voters[0].endpoints, voter.endpoints);
    }
    node.running.stop();
}

#[test]
fn commands_that_wait_are_answered_in_order_and_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Setup::alone(dir.path()).start(Disk::default(), |_| {});
    node.join(-1);
    let answers: Vec<_> =
        (0..200).map(|n| node.running.handle.submit(common::create(&format!("t{n}"), 1))).collect();
    for answer in answers {
        common::block_on(answer).expect("carried out");
    }
    assert_eq!(node.image().topics.len(), 200);
    let view = node.running.handle.quorum();
    assert_eq!(view.voters[0].log_end, view.high_watermark, "a leader has what it committed");
    let too_many = i32::try_from(MAX_PARTITIONS_PER_REQUEST + 1).expect("small");
    let ottla_controller::Answer::CreateTopics(answer) = node.ask(common::create("huge", too_many)) else {
        panic!("another kind")
    };
    assert_eq!(answer.topics[0].error_code, ottla_types::ErrorCode::POLICY_VIOLATION.0);
    let handle = node.running.handle.clone();
    node.running.stop();
    let late = common::block_on(handle.submit(Command::Activate));
    assert_eq!(late, Err(SubmitError::Stopped));
}
