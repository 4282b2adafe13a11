//! The driver over a real log dir: what is in `__cluster_metadata-0` after a start, topics, a kill and a restart.

mod common;

use std::{path::Path, sync::Arc};

use common::{Node, Setup};
use ottla_raft::{FactLog, Fault, SegmentLog};
use ottla_records::Batch;
use ottla_storage::{DirOptions, LogConfig, LogDir, MetaProperties};
use ottla_types::{NodeId, SystemClock};
use uuid::Uuid;

fn format(dir: &Path) {
    let properties = MetaProperties {
        cluster_id: "5L6g3nShT-eMCtK--X86sw".into(),
        node_id: 1,
        directory_id: Some(Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef)),
    };
    properties.format(dir).expect("formatted");
}

fn start(dir: &Path) -> (LogDir, Node) {
    let (logs, node) = try_start(dir, 10_000);
    (logs, node.expect("recovers"))
}

fn try_start(dir: &Path, max_entries: u64) -> (LogDir, Result<Node, Fault>) {
    try_start_among(vec![1], dir, max_entries)
}

fn try_start_among(voters: Vec<NodeId>, dir: &Path, max_entries: u64) -> (LogDir, Result<Node, Fault>) {
    let logs = LogDir::open(dir, DirOptions::default(), Arc::new(SystemClock::new())).expect("opens");
    let log = SegmentLog::open(&logs, LogConfig::default()).expect("a metadata log");
    let setup = Setup { voters, dir: log.path(), max_entries, ..Setup::alone(dir) };
    let node = setup.try_start_on(logs.store().clone(), log, |_| {});
    (logs, node)
}

/// Changes one letter of a topic's name in the metadata log, in a part that the next start does not look at of itself.
fn damage(dir: &Path, topic: &str) -> Vec<u8> {
    let segment = dir.join("__cluster_metadata-0/00000000000000000000.log");
    let sound = std::fs::read(&segment).expect("a segment");
    let mut damaged = sound.clone();
    let at = sound.windows(topic.len()).position(|bytes| bytes == topic.as_bytes()).expect("the topic");
    damaged[at] ^= 1;
    std::fs::write(&segment, damaged).expect("written");
    sound
}

/// With `OTTLA_KEEP_METADATA` set to a directory the log stays there, for Kafka's own tools to be pointed at.
#[test]
fn a_log_dir_is_founded_and_found_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    #[expect(clippy::disallowed_methods, reason = "a test that a developer may ask to leave its files")]
    let keep = std::env::var("OTTLA_KEEP_METADATA");
    let dir = keep.as_deref().map_or(temporary.path(), Path::new);
    format(dir);
    let (logs, node) = start(dir);
    let epoch = node.join(-1);
    node.create("orders", 3);
    node.create("payments", 1);
    let before = node.image();
    node.running.handle.snapshot().expect("queued");
    node.create("after-the-snapshot", 1);
    node.running.stop();
    drop(logs);

    let (logs, node) = start(dir);
    // The epoch is not the one that is registered: the end was not a clean one.
    node.join(epoch - 1);
    let after = node.image();
    assert_eq!(after.topics.len(), 3);
    let id = |image: &ottla_metadata::Image| image.topic("orders").map(|topic| topic.id);
    assert_eq!(id(&after), id(&before));
    let orders = after.partition("orders", 0).expect("there");
    assert_eq!((orders.leader, &orders.isr[..]), (1, &[1][..]));
    assert!(orders.leader_epoch > 0 && orders.partition_epoch > 0);
    node.running.stop();
    drop(logs);
}

/// The log's files on the disk: the offsets they begin at.
fn segments(dir: &Path) -> Vec<i64> {
    let listed = std::fs::read_dir(dir.join("__cluster_metadata-0")).expect("listed").flatten();
    let names = listed.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut bases: Vec<i64> =
        names.filter_map(|name| name.strip_suffix(".log").and_then(|base| base.parse().ok())).collect();
    bases.sort_unstable();
    bases
}

/// `metadata.max.retention.bytes`: with each snapshot that goes, the segments before the next one leave the disk.
#[test]
fn snapshots_keep_the_log_on_the_disk_short() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    format(dir);
    let open = || {
        let logs = LogDir::open(dir, DirOptions::default(), Arc::new(SystemClock::new())).expect("opens");
        let config = LogConfig { segment_bytes: 1500, ..LogConfig::default() };
        let log = SegmentLog::open(&logs, config).expect("a metadata log");
        let reader = log.reader();
        let setup = Setup {
            dir: log.path(),
            max_entries: 20,
            max_bytes_between_snapshots: 2000,
            ..Setup::alone(dir)
        };
        let node = setup.try_start_on(logs.store().clone(), log, |_| {}).expect("recovers");
        (logs, node, reader)
    };
    let mut epoch = -1;
    let mut begins = 0;
    for round in 0..3 {
        let (logs, node, reader) = open();
        epoch = node.join(epoch);
        for number in 0..20 {
            node.create(&format!("topic-{round}-{number}"), 3);
        }
        let end = node.image().position.offset + 1;
        assert_eq!(node.image().topics.len(), 20 * (round + 1));
        node.running.stop();
        let bases = segments(dir);
        assert!(bases[0] > begins && bases[0] <= reader.log_start(), "{bases:?} in round {round}");
        let held = reader.segments().iter().map(|segment| segment.base_offset).collect::<Vec<_>>();
        assert_eq!(bases, held, "the disk holds what the log holds");
        // The segment that was written to when the start came to its end goes next time.
        assert!(bases.get(2).is_none_or(|next| *next > reader.log_start()), "{bases:?} are below the start");
        let snapshot = ottla_raft::checkpoint::newest(&dir.join("__cluster_metadata-0")).expect("listed");
        let snapshot = snapshot.expect("there is a snapshot");
        assert!((reader.log_start()..=end).contains(&snapshot.end_offset), "nothing is missing behind it");
        begins = bases[0];
        drop((reader, logs));
    }
}

/// ADR 0009: the only voter goes on from the metadata log, in a later term, when its store is damaged.
#[test]
fn a_lone_voter_goes_on_without_its_store() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    format(dir);
    let (logs, node) = start(dir);
    node.join(-1);
    node.create("orders", 3);
    node.running.handle.snapshot().expect("queued");
    node.create("payments", 1);
    let before = node.image();
    node.running.stop();
    drop(logs);
    for round in 0..2 {
        std::fs::write(dir.join("__cluster_metadata-2147483647/CURRENT"), b"garbage").expect("written");
        let (logs, node) = start(dir);
        let after = node.image();
        let of = |image: &ottla_metadata::Image, name: &str| image.topic(name).map(|topic| topic.id);
        for name in ["orders", "payments"] {
            assert!(of(&after, name).is_some() && of(&after, name) == of(&before, name), "{name}, {round}");
        }
        node.create(&format!("later-{round}"), 1);
        node.running.stop();
        drop(logs);
    }
    let (logs, node) = start(dir);
    assert_eq!(node.image().topics.len(), 4);
    node.running.stop();
    drop(logs);
}

#[test]
fn a_flipped_bit_is_written_over_from_rafts_log() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    format(dir);
    let (logs, node) = start(dir);
    let epoch = node.join(-1);
    node.create("orders", 3);
    node.create("payments", 1);
    logs.checkpoint().expect("written");
    node.running.stop();
    drop(logs);
    let sound = damage(dir, "orders");

    let (logs, node) = start(dir);
    node.join(epoch - 1);
    let image = node.image();
    assert!(image.topic("orders").is_some() && image.topic("payments").is_some(), "{:?}", image.topics);
    node.running.stop();
    drop(logs);
    let segment = dir.join("__cluster_metadata-0/00000000000000000000.log");
    assert!(std::fs::read(segment).expect("a segment").starts_with(&sound));
}

#[test]
fn a_flipped_bit_that_rafts_log_cannot_mend_stops_the_start_and_is_named() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    format(dir);
    let (logs, node) = try_start(dir, 1);
    let node = node.expect("recovers");
    node.join(-1);
    node.create("orders", 3);
    for number in 0..4 {
        node.create(&format!("more-{number}"), 1);
    }
    logs.checkpoint().expect("written");
    node.running.stop();
    drop(logs);
    let sound = damage(dir, "orders");

    let (logs, refused) = try_start(dir, 1);
    let fault = refused.err().expect("the damage is seen");
    assert!(matches!(fault, Fault::Damaged { offset, .. } if offset > 0), "{fault}");
    drop(logs);
    // With the copy that the message asks for, all is there again.
    std::fs::write(dir.join("__cluster_metadata-0/00000000000000000000.log"), sound).expect("written");
    let (_logs, node) = start(dir);
    assert_eq!(node.image().topics.len(), 5);
    node.running.stop();
}

/// Writes the metadata log's last batch once more, as a Kafka controller that leads in `epoch` would.
fn written_by_kafka(dir: &Path, batch: Option<Batch>, epoch: i32) -> Batch {
    let logs = LogDir::open(dir, DirOptions::default(), Arc::new(SystemClock::new())).expect("opens");
    let mut log = SegmentLog::open(&logs, LogConfig::default()).expect("a metadata log");
    let mut last = batch;
    if last.is_none() {
        log.read(0, &mut |batch| {
            last = Some(batch);
            Ok(())
        })
        .expect("read");
    }
    let last = last.expect("there is one");
    log.append(&[last.stamp(log.end(), epoch)]).expect("written");
    log.sync().expect("synced");
    last
}

#[test]
fn only_a_lone_voter_goes_on_from_where_a_kafka_controller_has_led_since() {
    const EPOCH: i32 = 99;
    let (lone, several) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    format(lone.path());
    let (logs, node) = start(lone.path());
    let broker_epoch = node.join(-1);
    node.create("orders", 1);
    node.running.stop();
    drop(logs);
    let batch = written_by_kafka(lone.path(), None, EPOCH);
    let (logs, node) = start(lone.path());
    node.join(broker_epoch - 1);
    node.create("later", 1);
    assert_eq!(node.image().topics.len(), 2);
    assert!(node.running.handle.status().borrow().epoch > EPOCH);
    node.running.stop();
    drop(logs);

    format(several.path());
    let begin = || try_start_among(vec![1, 2, 3], several.path(), 10_000);
    let (logs, node) = begin();
    node.expect("begins").running.stop();
    drop(logs);
    written_by_kafka(several.path(), Some(batch), EPOCH);
    let (_logs, refused) = begin();
    let fault = refused.err().expect("others may have gone on from somewhere else");
    assert!(matches!(fault, Fault::Overtaken { .. }), "{fault}");
    assert!(fault.to_string().contains("only a lone voter can go on"), "{fault}");
}
