//! What is left after crashes, damage and loss.

mod common;

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use common::{StoppedClock, TestDir, Told, batch, load, partition, read_all, simple, topic_id};
use ottla_records::{BatchHeader, Codec, Producer, Stamped};
use ottla_storage::{Collect, DirOptions, Fault, LoadReport, Log, LogConfig, LogDir};
use ottla_types::{Clock, Offset, TopicId, TopicPartition};

const SEGMENT: &str = "topic-0/00000000000000000000.log";

fn options() -> DirOptions {
    DirOptions { recovery_threads: 1, ..DirOptions::default() }
}

fn create(files: &TestDir) -> (LogDir, Log) {
    let dir = files.open(options());
    let log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
    (dir, log)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
        }
    }
}

/// A dir that was killed: five batches, the first three of them in a checkpoint.
fn killed() -> (TestDir, Vec<Stamped>) {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let batches: Vec<Stamped> = (0..5).map(|i| simple(i, 20 + usize::try_from(i).expect("small"))).collect();
    log.append(&batches[..3]).expect("appends");
    dir.checkpoint().expect("checkpoints");
    log.append(&batches[3..]).expect("appends");
    drop((log, dir));
    (files, batches)
}

fn open_copy(original: &TestDir, damage: impl FnOnce(&Path)) -> (tempfile::TempDir, LogDir, Log, LoadReport) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    copy(original.path(), temporary.path());
    damage(&temporary.path().join(SEGMENT));
    let clock: Arc<dyn Clock> = Arc::new(StoppedClock::default());
    let dir = LogDir::open(temporary.path(), options(), clock).expect("opens");
    let collect = Collect::new(LogConfig::default());
    let report = dir.load(&collect).expect("loads");
    let log = collect.into_logs().remove(0);
    (temporary, dir, log, report)
}

/// A leader of epoch 3 wrote nothing, lost the lead, and got what it lacked of epoch 2 from the next one: were epoch 3
/// still believed to begin before that, a follower would cut off what is committed.
#[test]
fn an_epoch_without_records_is_not_remembered_past_batches_of_an_older_one() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let of_epoch_2 = |base| batch(base, 2, &[0], b"value", Producer::NONE, Codec::None).stamped();
    log.append(&[of_epoch_2(0)]).expect("appends");
    log.assign_epoch(3, 1);
    dir.checkpoint().expect("checkpoints");
    log.truncate_to(1).expect("has nothing to cut");
    log.append(&[of_epoch_2(1), of_epoch_2(2)]).expect("appends");
    assert_eq!(log.epochs(), [(2, 0)]);
    drop((log, dir));
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.log_end(), log.epochs()), (3, vec![(2, 0)]));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_whole_batches() {
    let (files, batches) = killed();
    let ends: Vec<usize> = batches
        .iter()
        .scan(0, |end, batch| {
            *end += batch.size_in_bytes();
            Some(*end)
        })
        .collect();
    for cut in ends[1]..=ends[4] {
        let (_temporary, dir, mut log, report) = open_copy(&files, |segment| {
            fs::File::options().write(true).open(segment).expect("opens").set_len(cut as u64).expect("cuts");
        });
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(log.log_end(), whole as Offset, "cut at {cut}");
        assert_eq!(report.truncated_bytes, (cut - ends[..whole].last().copied().unwrap_or(0)) as u64);
        let expected: Vec<u8> = batches[..whole].iter().flat_map(|batch| batch.to_bytes().to_vec()).collect();
        assert_eq!(read_all(&log.reader(), 0, 1 << 20), expected);
        log.append(&[simple(log.log_end(), 5)]).expect("goes on");
        assert_eq!(log.log_end(), whole as Offset + 1);
        drop(dir);
    }
}

#[test]
fn a_flipped_bit_ends_the_log_before_it() {
    let (files, batches) = killed();
    let before: usize = batches[..4].iter().map(Stamped::size_in_bytes).sum();
    for at in 0..batches[4].size_in_bytes() {
        let (_temporary, _dir, log, _) = open_copy(&files, |segment| {
            let mut bytes = fs::read(segment).expect("reads");
            bytes[before + at] ^= 0x10;
            fs::write(segment, bytes).expect("writes");
        });
        // Base offset and leader epoch are not covered by the checksum, as Kafka has it.
        if (8..12).contains(&at) || at >= 16 {
            assert_eq!(log.log_end(), 4, "byte {at}");
        }
        let read = read_all(&log.reader(), 0, 1 << 20);
        let expected: Vec<u8> = batches[..4].iter().flat_map(|batch| batch.to_bytes().to_vec()).collect();
        assert!(read.starts_with(&expected), "byte {at}");
    }
}

#[test]
fn zeros_and_rubbish_behind_the_log_are_cut_off() {
    let (files, _) = killed();
    for rubbish in [vec![0; 4096], vec![0xff; 100], (0..=255).collect::<Vec<u8>>()] {
        let (_temporary, _dir, log, report) = open_copy(&files, |segment| {
            let mut bytes = fs::read(segment).expect("reads");
            bytes.extend_from_slice(&rubbish);
            fs::write(segment, bytes).expect("writes");
        });
        assert_eq!(log.log_end(), 5);
        assert_eq!(report.truncated_bytes, rubbish.len() as u64);
    }
}

#[test]
fn segments_behind_damage_go() {
    let files = TestDir::new();
    let dir = files.open(options());
    let config = LogConfig { segment_bytes: 300, ..LogConfig::default() };
    let mut log = dir.create_log(&partition(), topic_id(), Arc::new(config)).expect("creates");
    for i in 0..12 {
        log.append(&[simple(i, 50)]).expect("appends");
    }
    let segments = log.reader().segments();
    assert!(segments.len() > 3);
    drop((log, dir));
    fs::remove_dir_all(files.path().join(common::STORE)).expect("removes");
    let damaged = files.path().join(format!("topic-0/{:020}.log", segments[1].base_offset));
    let mut bytes = fs::read(&damaged).expect("reads");
    *bytes.last_mut().expect("has bytes") ^= 1;
    fs::write(&damaged, bytes).expect("writes");
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!(log.reader().segments().len(), 2);
    assert!(log.log_end() < segments[2].base_offset);
}

fn of_producer(base: Offset, sequence: i32) -> Stamped {
    let producer = Producer { id: 9, epoch: 0, base_sequence: sequence };
    batch(base, 0, &[1], b"v", producer, Codec::None).stamped()
}

#[test]
fn the_owner_gets_its_snapshot_and_what_came_after() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[of_producer(0, 0), of_producer(1, 1)]).expect("appends");
    log.set_producer_snapshot(2, Bytes::from_static(b"two"));
    dir.checkpoint().expect("checkpoints");
    log.append(&[of_producer(2, 2)]).expect("appends");
    dir.checkpoint().expect("checkpoints");
    log.append(&[of_producer(3, 3)]).expect("appends");
    drop((log, dir));
    let (dir, log, told) = load(&files, options());
    assert_eq!(told, Told { restored: Some((2, b"two".to_vec())), batches: vec![2, 3], controls: 0 });
    // Nothing new was handed over: the same again.
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    let (_dir, _log, told) = load(&files, options());
    assert_eq!(told.restored, Some((2, b"two".to_vec())));
    assert_eq!(told.batches, [2, 3]);
}

#[test]
fn a_snapshot_stays_good_while_no_producer_writes() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    for i in 0..50 {
        log.append(&[simple(i, 10)]).expect("appends");
    }
    dir.checkpoint().expect("checkpoints");
    log.append(&[simple(50, 10)]).expect("appends");
    drop((log, dir));
    let (_dir, _log, told) = load(&files, options());
    assert_eq!(told.restored, Some((50, Vec::new())));
    assert_eq!(told.batches, [50]);
}

#[test]
fn without_the_store_every_batch_is_handed_over() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let control = ottla_records::BatchBuilder::new(2).control(true).transactional(true);
    let mut control = control.producer(Producer { id: 9, epoch: 0, base_sequence: -1 });
    control.append(1, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]), &[]);
    let control = ottla_records::Batch::parse(&control.build(), 0).expect("parses").stamped();
    log.append(&[of_producer(0, 0), simple(1, 10), control]).expect("appends");
    log.set_producer_snapshot(3, Bytes::from_static(b"three"));
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    fs::remove_dir_all(files.path().join(common::STORE)).expect("removes");
    let (dir, log, told) = load(&files, options());
    assert_eq!(told, Told { restored: None, batches: vec![0, 1, 2], controls: 1 });
    assert_eq!(log.epochs(), [(0, 0)]);
    drop((log, dir));

    // A snapshot that is not understood counts as none.
    let (dir, mut log, _) = load(&files, options());
    log.set_producer_snapshot(3, Bytes::from_static(b"not understood"));
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    let (_dir, _log, told) = load(&files, options());
    assert_eq!(told.batches, [0, 1, 2]);
}

#[test]
fn after_a_power_cut_only_what_was_synced_is_believed() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[of_producer(0, 0), of_producer(1, 1)]).expect("appends");
    log.set_producer_snapshot(2, Bytes::from_static(b"two"));
    assert_eq!(log.flush().expect("syncs"), 2);
    log.append(&[of_producer(2, 2), of_producer(3, 3)]).expect("appends");
    log.set_producer_snapshot(4, Bytes::from_static(b"four"));
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    // The last two batches never reached the device, though the checkpoint did.
    let segment = files.path().join(SEGMENT);
    let mut bytes = fs::read(&segment).expect("reads");
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&segment, bytes).expect("writes");
    let (_dir, mut log, told) = load(&files, DirOptions { assume_power_cut: true, ..options() });
    assert_eq!(log.log_end(), 2);
    assert_eq!(told, Told { restored: Some((2, b"two".to_vec())), batches: vec![], controls: 0 });
    log.append(&[of_producer(2, 2)]).expect("goes on");
}

#[test]
fn the_log_start_survives_what_segments_do_not_tell() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&(0..5).map(|i| simple(i, 10)).collect::<Vec<_>>()).expect("appends");
    log.advance_log_start(3).expect("moves");
    assert!(matches!(log.advance_log_start(9), Err(Fault::OutOfOrder { .. })));
    drop((log, dir));
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.log_start(), log.log_end()), (3, 5));
}

#[test]
fn a_log_start_that_kafka_moved_is_taken_over() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&(0..9).map(|i| simple(i, 10)).collect::<Vec<_>>()).expect("appends");
    log.advance_log_start(3).expect("moves");
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    // Another broker's work: its own marker, its own log start.
    fs::write(files.path().join(".kafka_cleanshutdown.x"), "{\"version\":0,\"brokerEpoch\":9}")
        .expect("writes");
    fs::rename(files.path().join(".kafka_cleanshutdown.x"), files.path().join(".kafka_cleanshutdown"))
        .expect("renames");
    for start in [6, 2] {
        let text = format!("0\n1\ntopic 0 {start}\n");
        fs::write(files.path().join("log-start-offset-checkpoint"), text).expect("writes");
        let (dir, log, _) = files.reopen(options(), &LogConfig::default());
        assert_eq!((log.log_start(), log.log_end()), (start, 9));
        assert!(dir.was_clean());
        drop((log, dir));
        let (dir, log, _) = files.reopen(options(), &LogConfig::default());
        assert_eq!((log.log_start(), log.log_end()), (start, 9));
        drop((log, dir));
        fs::write(files.path().join(".kafka_cleanshutdown"), "").expect("writes");
    }
}

#[test]
fn a_removed_log_is_gone_and_can_come_back_empty() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[simple(0, 10)]).expect("appends");
    let slice = log.reader().read(0, 100, 1, true).expect("reads");
    dir.checkpoint().expect("checkpoints");
    dir.remove_log(log).expect("removes");
    assert_eq!(common::bytes_of(&slice).len(), simple(0, 10).size_in_bytes());
    let other = "bbbbbbbbbbbbbbbbbbbbbA".parse().expect("an id");
    let log = dir.create_log(&partition(), other, Arc::default()).expect("creates");
    assert_eq!(log.log_end(), 0);
    assert!(matches!(dir.create_log(&partition(), other, Arc::default()), Err(Fault::Exists { .. })));
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    let names: Vec<_> =
        fs::read_dir(files.path()).expect("lists").map(|e| e.expect("lists").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with("-delete")), "{names:?}");
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.topic_id(), log.log_end()), (other, 0));
}

#[test]
fn foreign_and_busy_directories_are_refused() {
    let files = TestDir::new();
    let dir = files.open(options());
    let clock = || Arc::clone(&files.clock) as Arc<dyn Clock>;
    assert!(matches!(LogDir::open(files.path(), options(), clock()), Err(Fault::Locked { .. })));
    drop(dir);
    let empty = tempfile::tempdir().expect("a temporary directory");
    let fault = LogDir::open(empty.path(), options(), clock()).expect_err("refused");
    assert!(matches!(fault, Fault::NotFormatted { .. }));
    assert!(fault.to_string().contains("format"), "{fault}");
}

#[test]
fn a_segment_kafka_wrote_to_since_is_read_anew() {
    let (files, batches) = killed();
    // Kafka appended a batch and rebuilt its index; our checkpoint knows nothing of it.
    let extra = simple(5, 9);
    let (_temporary, _dir, log, report) = open_copy(&files, |segment| {
        let mut bytes = fs::read(segment).expect("reads");
        bytes.extend_from_slice(&extra.to_bytes());
        fs::write(segment, &bytes).expect("writes");
        fs::write(segment.with_extension("index"), b"").expect("writes");
    });
    assert_eq!(log.log_end(), 6);
    let all: usize = batches.iter().map(Stamped::size_in_bytes).sum::<usize>() + extra.size_in_bytes();
    assert_eq!(report.checked_bytes, all as u64);
    assert!(!_temporary.path().join("topic-0/00000000000000000000.index").exists());
}

#[test]
fn old_message_formats_are_named_not_cut_off() {
    let files = TestDir::new();
    let (dir, log) = create(&files);
    drop((log, dir));
    let mut message = vec![0u8; 12 + 22];
    message[11] = 22;
    message[16] = 1;
    fs::write(files.path().join(SEGMENT), message).expect("writes");
    let dir = files.open(options());
    let fault = dir.load(&Collect::default()).expect_err("refused");
    assert!(matches!(fault, Fault::Segment { .. }), "{fault}");
}

#[test]
fn segments_roll_by_time_index_and_offset() {
    let files = TestDir::new();
    let dir = files.open(options());
    let config = LogConfig {
        segment_ms: 1000,
        segment_jitter_ms: 100,
        segment_index_bytes: 24,
        index_interval_bytes: 1000,
        ..LogConfig::default()
    };
    let mut log = dir.create_log(&partition(), topic_id(), Arc::new(config)).expect("creates");
    let at =
        |base, time, size| batch(base, 0, &[time], &vec![0; size], Producer::NONE, Codec::None).stamped();
    assert!(!log.append(&[at(0, 5000, 1)]).expect("appends").rolled);
    assert!(!log.append(&[at(1, 5900, 1)]).expect("appends").rolled);
    assert!(log.append(&[at(2, 5901, 1)]).expect("appends").rolled);
    // Records without timestamps: by the clock.
    assert!(log.append(&[at(3, 9000, 1)]).expect("appends").rolled);
    log.update_config(Arc::new(LogConfig { segment_ms: i64::MAX, ..(**log.config()).clone() }));
    assert!(!log.append(&[at(4, 9000, 5000)]).expect("appends").rolled);
    assert!(log.append(&[at(5, 9000, 1)]).expect("appends").rolled, "three index entries do not fit");
    let far = 5 + i64::from(i32::MAX);
    assert!(!log.append(&[at(far, 9000, 1)]).expect("appends").rolled);
    assert!(log.append(&[at(far + 1, 9000, 1)]).expect("appends").rolled);
    assert_eq!(log.reader().segments().last().map(|segment| segment.base_offset), Some(far + 1));
}

#[test]
fn many_logs_load_on_several_threads() {
    let files = TestDir::new();
    let dir = files.open(DirOptions { max_open_files: 8, ..DirOptions::default() });
    let mut logs: Vec<Log> = (0..100)
        .map(|i| {
            dir.create_log(&TopicPartition::new("many", i), topic_id(), Arc::default()).expect("creates")
        })
        .collect();
    for log in &mut logs {
        log.append(&[simple(0, 100)]).expect("appends");
        log.set_high_watermark(1);
    }
    assert_eq!(dir.dirty().len(), 100);
    assert_eq!(dir.checkpoint().expect("checkpoints").logs, 100);
    assert_eq!(dir.checkpoint().expect("checkpoints").logs, 0);
    dir.write_kafka_checkpoints().expect("writes");
    drop((logs, dir));
    let dir = files.open(DirOptions { recovery_threads: 4, ..DirOptions::default() });
    let collect = Collect::default();
    let report = dir.load(&collect).expect("loads");
    assert_eq!(report, LoadReport { logs: 100, ..LoadReport::default() });
    let logs = collect.into_logs();
    assert!(logs.iter().all(|log| log.log_end() == 1 && log.checkpointed_high_watermark() == Some(1)));
}

/// Where the files of epochs cannot be written, all of them stay to be written, and the logs beside them get theirs.
#[test]
fn a_file_of_epochs_that_is_refused_is_written_later_and_keeps_no_other_back() {
    let files = TestDir::new();
    let dir = files.open(options());
    let mut logs: Vec<Log> = (0..4)
        .map(|n| dir.create_log(&TopicPartition::new("topic", n), topic_id(), Arc::default()))
        .collect::<Result<_, _>>()
        .expect("creates");
    for log in &mut logs {
        log.append(&[simple(0, 20)]).expect("appends");
    }
    let path = |n: i32, name: &str| files.path().join(format!("topic-{n}/leader-epoch-checkpoint{name}"));
    let written = || (0..4).map(|n| path(n, "").exists()).collect::<Vec<_>>();
    let refused = [0, 2];
    for n in refused {
        fs::create_dir(path(n, ".tmp")).expect("creates");
    }
    let fault = dir.checkpoint().expect_err("there are directories in the way");
    assert!(fault.to_string().contains("topic-0"), "the first: {fault}");
    assert_eq!(written(), [false, true, false, true]);
    for n in refused {
        fs::remove_dir(path(n, ".tmp")).expect("removes");
    }
    assert_eq!(dir.checkpoint().expect("checkpoints").logs, 2);
    assert_eq!(written(), [true; 4]);
}

#[test]
fn a_header_is_all_a_tail_batch_adds() {
    // The head that was stamped and the payload that came in are what is served.
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let big = simple(0, 100_000);
    let pin = dir.pin(big.rest.len());
    log.append_pinned(std::slice::from_ref(&big), &pin).expect("appends");
    let slice = log.reader().read(0, 1, 1, true).expect("reads");
    assert_eq!(slice.parts.len(), 2);
    assert_eq!(slice.parts[0].len(), BatchHeader::LEN);
    assert_eq!(common::bytes_of(&slice), big.to_bytes());
    assert!(log.reader().read(0, 1, 1, false).expect("reads").is_empty());
}

#[test]
fn an_unfinished_creation_goes_but_offsets_do_not() {
    let files = TestDir::new();
    let (dir, log) = create(&files);
    drop((log, dir));
    let metadata = files.path().join("topic-0/partition.metadata");
    fs::write(&metadata, "").expect("writes");
    let dir = files.open(options());
    let log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates over what is left");
    drop((log, dir));
    fs::write(&metadata, "").expect("writes");
    let dir = files.open(options());
    let collect = Collect::new(LogConfig::default());
    assert_eq!(dir.load(&collect).expect("loads").logs, 0);
    assert!(collect.into_logs().is_empty() && !files.path().join("topic-0").exists());

    // Nothing is in this log, but it does not begin at 0.
    let mut log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
    log.append(&[simple(0, 10)]).expect("appends");
    log.advance_log_start(1).expect("advances");
    drop((log, dir));
    fs::remove_file(files.path().join(SEGMENT)).expect("removes");
    fs::remove_file(&metadata).expect("removes");
    let (_dir, mut log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.topic_id(), log.log_start(), log.log_end()), (TopicId::ZERO, 1, 1));
    log.adopt(topic_id()).expect("adopts");
    log.adopt(TopicId::METADATA).expect("is no orphan any more");
    assert_eq!((log.topic_id(), log.reader().topic_id()), (topic_id(), topic_id()));
}

#[test]
fn a_stray_is_kept_and_not_opened() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[simple(0, 10)]).expect("appends");
    let kept = dir.stray_log(log).expect("renames");
    assert!(kept.to_string_lossy().ends_with("-stray") && kept.join("partition.metadata").exists());
    let log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("the name is free");
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    let (dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!(log.log_end(), 0);
    assert!(kept.exists());

    // The way back.
    drop((log, dir));
    fs::remove_dir_all(files.path().join("topic-0")).expect("removes");
    fs::rename(&kept, files.path().join("topic-0")).expect("renames");
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.topic_id(), log.log_end()), (topic_id(), 1));
}

/// What happened, and how.
type Damage = (&'static str, fn(&Path));

/// What may become of a store: each leaves it so that RocksDB does not open it.
fn store_damages() -> [Damage; 5] {
    fn named(store: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(store).expect("lists").map(|entry| entry.expect("lists").path());
        entries
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
            .collect()
    }
    [
        ("CURRENT is garbage", |store| fs::write(store.join("CURRENT"), b"no manifest").expect("writes")),
        ("CURRENT is gone", |store| fs::remove_file(store.join("CURRENT")).expect("removes")),
        ("CURRENT is empty", |store| fs::write(store.join("CURRENT"), b"").expect("writes")),
        ("the manifest is garbage", |store| {
            named(store, "MANIFEST").iter().for_each(|path| fs::write(path, [0x5a; 400]).expect("writes"));
        }),
        ("the manifest is gone", |store| {
            named(store, "MANIFEST").iter().for_each(|path| fs::remove_file(path).expect("removes"));
        }),
    ]
}

fn set_aside(dir: &Path) -> usize {
    let names = fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists").file_name());
    names.filter(|name| name.to_string_lossy().contains(".damaged-")).count()
}

#[test]
fn a_store_that_does_not_open_is_set_aside_and_built_anew() {
    let (original, batches) = killed();
    for (what, damage) in store_damages() {
        let (temporary, dir, mut log, _) = open_copy(&original, |segment| {
            let dir = segment.parent().and_then(Path::parent).expect("in a dir");
            damage(&dir.join(common::STORE));
        });
        assert_eq!(set_aside(temporary.path()), 1, "{what}");
        let expected: Vec<u8> = batches.iter().flat_map(|batch| batch.to_bytes().to_vec()).collect();
        assert_eq!(read_all(&log.reader(), 0, 1 << 20), expected, "{what}");
        log.append(&[simple(5, 9)]).expect("appends");
        dir.checkpoint().expect("checkpoints");
        drop((log, dir));
        // It is a store like any other now.
        let clock: Arc<dyn Clock> = Arc::new(StoppedClock::default());
        let dir = LogDir::open(temporary.path(), options(), clock).expect("opens again");
        let collect = Collect::new(LogConfig::default());
        dir.load(&collect).expect("loads");
        assert_eq!(collect.into_logs()[0].log_end(), 6, "{what}");
        assert_eq!(set_aside(temporary.path()), 1, "{what}");
    }
}

#[test]
fn a_store_with_a_lost_table_is_set_aside() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[simple(0, 9)]).expect("appends");
    dir.checkpoint().expect("checkpoints");
    // Enough for tables to be written.
    for round in 0..40u8 {
        let mut changes = dir.store().changes();
        for key in 0..8u8 {
            changes.put(ottla_storage::Family::Raft, &[b'x', round, key], &[round ^ key; 64 << 10]);
        }
        changes.commit_synced().expect("writes");
    }
    dir.store().quiesce();
    drop((log, dir));
    let store = files.path().join(common::STORE);
    let entries = fs::read_dir(&store).expect("lists").map(|entry| entry.expect("lists").path());
    let tables: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "sst")).collect();
    assert!(!tables.is_empty(), "a table was written");
    tables.iter().for_each(|path| fs::remove_file(path).expect("removes"));
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.log_end(), set_aside(files.path())), (1, 1));
}

#[test]
fn a_store_that_the_system_does_not_let_open_is_left_alone() {
    let (original, _) = killed();
    let store = original.path().join(common::STORE);
    // A directory in the place of the lock file: RocksDB can not have it, and its files are sound.
    fs::remove_file(store.join("LOCK")).expect("removes");
    fs::create_dir(store.join("LOCK")).expect("creates");
    let clock: Arc<dyn Clock> = Arc::new(StoppedClock::default());
    let refused = LogDir::open(original.path(), options(), clock);
    assert!(matches!(refused, Err(Fault::Store { .. })));
    assert_eq!(set_aside(original.path()), 0);
}

/// Five segments of one batch each, the log start in the fourth, as the last checkpoint knew them.
fn long_log(files: &TestDir) -> (LogDir, Log) {
    let dir = files.open(DirOptions { tail_bytes: 0, ..options() });
    let mut log = dir.create_log(&partition(), topic_id(), Arc::new(short_segments())).expect("creates");
    for offset in 0..5 {
        log.append(&[simple(offset, 600)]).expect("appends");
    }
    assert_eq!(log.reader().segments().len(), 5);
    dir.checkpoint().expect("checkpoints");
    log.advance_log_start(3).expect("moves");
    (dir, log)
}

fn short_segments() -> LogConfig {
    LogConfig { segment_bytes: 1000, ..LogConfig::default() }
}

fn segment_files(files: &TestDir) -> Vec<String> {
    let listed = fs::read_dir(files.path().join("topic-0")).expect("lists");
    let names = listed.map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.contains(".log")).collect();
    names.sort();
    names
}

fn segment_names(bases: &[Offset]) -> Vec<String> {
    bases.iter().map(|base| format!("{base:020}.log")).collect()
}

#[test]
fn segments_below_the_log_start_are_deleted_while_they_are_read() {
    let files = TestDir::new();
    let (dir, mut log) = long_log(&files);
    let reader = log.reader();
    let index = files.path().join("topic-0/00000000000000000001.timeindex");
    fs::write(&index, b"Kafka's").expect("writes");
    log.flush().expect("syncs");
    dir.checkpoint().expect("checkpoints");
    let held = reader.read(3, 10_000, 5, true).expect("reads");
    let deleted = log.delete_below_start().expect("deletes");
    assert_eq!((deleted.segments, deleted.bytes), (3, 3 * simple(0, 600).size_in_bytes() as u64));
    assert_eq!(segment_files(&files), segment_names(&[3, 4]));
    assert!(!index.exists());
    assert_eq!(log.delete_below_start().expect("nothing is left to do").segments, 0);
    assert_eq!(common::bytes_of(&held).len(), simple(3, 600).size_in_bytes());
    assert!(matches!(
        reader.read(2, 1, 5, true),
        Err(ottla_storage::ReadError::OutOfRange { log_start: 3, .. })
    ));
    assert_eq!(read_all(&reader, 3, 1 << 20).len(), 2 * simple(3, 600).size_in_bytes());
    let hit = reader.find_by_timestamp(0).expect("searches").expect("a record");
    assert_eq!(hit.offset, 3);
    // All of it below the start: what is written to stays.
    log.advance_log_start(5).expect("moves");
    assert_eq!(log.delete_below_start().expect("deletes").segments, 1);
    assert_eq!(segment_files(&files), segment_names(&[4]));
    log.append(&[simple(5, 10)]).expect("appends");
    drop((held, reader, log, dir));
    let (_dir, log, report) = files.reopen(options(), &short_segments());
    assert_eq!((log.log_start(), log.log_end()), (5, 6));
    assert_eq!(report.checked_bytes, simple(5, 10).size_in_bytes() as u64, "only what no checkpoint knew");
}

/// Whatever part of a deletion a crash left behind, the log begins where its start was moved.
#[test]
fn a_deletion_at_the_head_that_a_crash_cut_short_is_ended_at_the_next_start() {
    for (kept, checkpointed) in [(0, true), (1, true), (3, true), (0, false), (2, false)] {
        let files = TestDir::new();
        let (dir, mut log) = long_log(&files);
        log.flush().expect("syncs");
        dir.checkpoint().expect("checkpoints");
        let partition_dir = files.path().join("topic-0");
        let segment = |base: i64| partition_dir.join(format!("{base:020}.log"));
        let copies: Vec<_> = (0..3).map(|base| fs::read(segment(base)).expect("reads")).collect();
        if checkpointed {
            // The checkpoint knows of the deletion, the names of the last `kept` files came back.
            log.delete_below_start().expect("deletes");
            drop((log, dir));
            for base in 3 - kept..3 {
                fs::write(segment(base), &copies[usize::try_from(base).expect("small")]).expect("writes");
            }
        } else {
            // The process died when it had renamed all but the last `kept`.
            drop((log, dir));
            for base in 0..3 - kept {
                fs::rename(segment(base), segment(base).with_extension("log.deleted")).expect("renames");
            }
        }
        let (_dir, mut log, report) = files.reopen(options(), &short_segments());
        assert_eq!((log.log_start(), log.log_end()), (3, 5), "{kept} {checkpointed}");
        assert_eq!((report.checked_bytes, report.truncated_bytes), (0, 0), "{kept} {checkpointed}");
        log.delete_below_start().expect("deletes");
        assert_eq!(segment_files(&files), segment_names(&[3, 4]), "{kept} {checkpointed}");
        log.append(&[simple(5, 10)]).expect("appends");
        assert_eq!(
            read_all(&log.reader(), 3, 1 << 20).len(),
            2 * simple(3, 600).size_in_bytes() + simple(5, 10).size_in_bytes()
        );
    }
}
