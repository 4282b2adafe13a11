//! Power cuts, and what starts after them: what was acknowledged stays, whatever ends the next run, and when.

mod common;

use std::{fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use common::{TestDir, Told, batch, copy, load, partition, read_all, simple, topic_id};
use ottla_records::{Codec, Producer, Stamped};
use ottla_storage::{DirOptions, Family, LoadReport, Log, LogConfig, LogDir};
use ottla_types::Offset;

fn options() -> DirOptions {
    DirOptions { recovery_threads: 1, ..DirOptions::default() }
}

fn after_a_power_cut() -> DirOptions {
    DirOptions { assume_power_cut: true, ..options() }
}

fn create(files: &TestDir) -> (LogDir, Log) {
    let dir = files.open(options());
    let log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
    (dir, log)
}

fn reopen(files: &TestDir, options: DirOptions) -> (LogDir, Log, LoadReport) {
    files.reopen(options, &LogConfig::default())
}

fn append(log: &mut Log, sizes: impl IntoIterator<Item = usize>) -> Vec<Stamped> {
    let batches: Vec<Stamped> = (log.log_end()..).zip(sizes).map(|(at, size)| simple(at, size)).collect();
    log.append(&batches).expect("appends");
    batches
}

fn size_of(batches: &[Stamped]) -> usize {
    batches.iter().map(Stamped::size_in_bytes).sum()
}

fn bytes_of(batches: &[Stamped]) -> Vec<u8> {
    batches.iter().flat_map(|batch| batch.to_bytes().to_vec()).collect()
}

/// The file of the log's first segment as the device has it, where it had no more than `size` bytes.
fn cut_to(files: &TestDir, size: usize) {
    let path = files.path().join("topic-0/00000000000000000000.log");
    let file = fs::File::options().write(true).open(path).expect("opens");
    file.set_len(size as u64).expect("cuts");
}

/// A log of which the device has `lost` batches less than the last checkpoint knows; ten of them were synced.
fn lost(files: &TestDir, lost: usize) -> Vec<Stamped> {
    let (dir, mut log) = create(files);
    let mut batches = append(&mut log, [1000; 10]);
    log.flush().expect("syncs");
    batches.extend(append(&mut log, [300; 40]));
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    batches.truncate(50 - lost);
    cut_to(files, size_of(&batches));
    batches
}

/// From the last index entry among the ten batches that were synced, which is not the first one.
fn checked_from_the_synced(batches: &[Stamped], report: LoadReport) -> bool {
    (size_of(&batches[10..])..size_of(batches))
        .contains(&usize::try_from(report.checked_bytes).expect("small"))
}

/// The next start in the same boot cuts nothing off, where `count` batches had been lost before.
fn all_is_there(files: &TestDir, batches: &[Stamped], count: usize) {
    let (_dir, log, report) = reopen(files, options());
    assert_eq!((log.log_end(), report.truncated_bytes), (batches.len() as Offset, 0), "{count} were lost");
    assert!(read_all(&log.reader(), 0, 1 << 20) == bytes_of(batches), "{count} were lost");
}

/// The checkpoint of before the cut knows the file longer than it is, until others have been written in the place of the
/// batches that were lost.
#[test]
fn what_is_written_after_a_power_cut_is_not_taken_for_what_was_lost() {
    for (count, synced) in [(20, true), (40, true), (45, true), (20, false)] {
        let files = TestDir::new();
        let mut batches = lost(&files, count);
        let (dir, mut log, _) = reopen(&files, after_a_power_cut());
        assert_eq!(log.log_end(), batches.len() as Offset);
        batches.extend(append(&mut log, (0..200).map(|at| 71 + at)));
        if synced {
            assert_eq!(log.flush().expect("syncs"), batches.len() as Offset);
        }
        drop((log, dir));
        all_is_there(&files, &batches, count);
    }
}

/// A start that ends before it has opened the logs has not made them sound.
#[test]
fn a_power_cut_is_not_used_up_by_a_start_that_dies() {
    let files = TestDir::new();
    let batches = lost(&files, 0);
    // All of the file is there but one page.
    let path = files.path().join("topic-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).expect("reads");
    let hole = size_of(&batches[..25]);
    bytes[hole..hole + 400].fill(0);
    fs::write(&path, &bytes).expect("writes");
    drop(files.open(after_a_power_cut()));
    let (dir, log, report) = reopen(&files, options());
    assert_eq!((log.log_end(), report.recovered), (25, 1));
    assert_eq!(report.truncated_bytes, size_of(&batches[25..]) as u64);
    drop((log, dir));

    // Also one that says it ended cleanly, without having opened any log.
    let files = TestDir::new();
    lost(&files, 0);
    fs::write(files.path().join("topic-0/00000000000000000000.log"), &bytes).expect("writes");
    files.open(after_a_power_cut()).close(-1).expect("closes");
    let (dir, log, _) = reopen(&files, options());
    assert_eq!((dir.was_clean(), log.log_end()), (true, 25));
}

#[test]
fn what_was_checked_after_a_power_cut_is_not_checked_for_ever() {
    let files = TestDir::new();
    let batches = lost(&files, 0);
    let (dir, log, report) = reopen(&files, after_a_power_cut());
    assert!(checked_from_the_synced(&batches, report));
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    let (dir, log, report) = reopen(&files, options());
    assert_eq!((log.log_end(), report.checked_bytes, report.recovered), (50, 0, 0));
    drop((log, dir));
    // Nothing of it has been synced since: the next cut may lose it still.
    let (_dir, _log, report) = reopen(&files, after_a_power_cut());
    assert!(checked_from_the_synced(&batches, report));
}

#[test]
fn a_log_that_was_closed_is_believed_in_every_boot() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    append(&mut log, [100; 30]);
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    let (dir, mut log, report) = reopen(&files, after_a_power_cut());
    assert_eq!((dir.was_clean(), report), (true, LoadReport { logs: 1, ..LoadReport::default() }));
    // Nothing new was checkpointed in this boot: only what came is checked.
    let new = append(&mut log, [100; 3]);
    drop((log, dir));
    let (dir, log, report) = reopen(&files, options());
    assert_eq!((log.log_end(), report.checked_bytes), (33, size_of(&new) as u64));
    log.close().expect("closes");
    drop(dir);
    // The log was closed, the dir was not.
    let (_dir, log, report) = reopen(&files, after_a_power_cut());
    assert_eq!((log.log_end(), report.checked_bytes), (33, 0));
}

/// Checkpoints of before boots were noted are of an unknown one.
#[test]
fn a_checkpoint_that_names_no_boot_is_believed_as_far_as_it_was_synced() {
    let files = TestDir::new();
    let batches = lost(&files, 0);
    let dir = files.open(options());
    let key = b"c\0\x07topic-0";
    let value = dir.store().get(Family::Index, key).expect("reads").expect("there is one");
    let boot = 4 + usize::try_from(u32::from_le_bytes(value[1..5].try_into().expect("four"))).expect("small");
    assert_eq!(value[0], 2);
    let old = [&[1], &value[1 + boot + 1..]].concat();
    let mut changes = dir.store().changes();
    changes.put(Family::Index, key, &old);
    changes.commit().expect("writes");
    drop(dir);
    let (_dir, log, report) = reopen(&files, options());
    assert_eq!((log.log_end(), report.recovered, report.truncated_bytes), (50, 1, 0));
    assert!(checked_from_the_synced(&batches, report));
    assert!(read_all(&log.reader(), 0, 1 << 20) == bytes_of(&batches));
}

/// A disk that was taken out and put back has lost what a power cut would have, in the same boot; one that lies about its
/// syncs has lost more.
#[test]
fn a_checkpoint_that_the_files_deny_is_replaced_before_others_are_written() {
    for (count, cut) in [(20, false), (45, false), (45, true), (50, false), (50, true)] {
        let files = TestDir::new();
        let mut batches = lost(&files, count);
        let (dir, mut log, _) = reopen(&files, if cut { after_a_power_cut() } else { options() });
        assert_eq!(log.log_end(), batches.len() as Offset);
        batches.extend(append(&mut log, (0..200).map(|at| 71 + at)));
        log.flush().expect("syncs");
        drop((log, dir));
        all_is_there(&files, &batches, count);
    }
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 4000, ..LogConfig::default() }
}

/// A log of ten batches, three in a segment, of which the first `synced` were synced, and the first `known` are known to
/// the last checkpoint.
fn segments(files: &TestDir, synced: usize, known: usize) -> Vec<Stamped> {
    let dir = files.open(options());
    let mut log = dir.create_log(&partition(), topic_id(), Arc::new(small_segments())).expect("creates");
    let mut batches = Vec::new();
    for count in 1..=10 {
        batches.extend(append(&mut log, [1000]));
        if count == synced {
            log.flush().expect("syncs");
        }
        if count == known {
            dir.checkpoint().expect("checkpoints");
        }
    }
    let bases: Vec<Offset> = log.reader().segments().iter().map(|segment| segment.base_offset).collect();
    assert_eq!(bases, [0, 3, 6, 9]);
    batches
}

/// A file came back shorter, and others that were begun behind it did too, or at least their names.
#[test]
fn files_behind_one_that_was_longer_are_not_of_the_log() {
    let (synced, known) = ([0, 2, 4, 10], [5, 10]);
    for (synced, known) in synced.into_iter().flat_map(|synced| known.map(|known| (synced, known))) {
        for (cut, left, empty) in [(true, 3, false), (true, 4, false), (true, 4, true), (false, 3, false)] {
            let what = format!("{synced} synced, {known} known, {left} left, {cut} {empty}");
            let files = TestDir::new();
            let mut batches = segments(&files, synced, known);
            batches.truncate(left);
            let file = |base: usize| files.path().join(format!("topic-0/{base:020}.log"));
            let to = |base, size| {
                let file = fs::File::options().write(true).open(file(base)).expect("opens");
                file.set_len(size as u64).expect("cuts");
            };
            to(3, size_of(&batches[3..]));
            if empty {
                to(6, 0);
                to(9, 0);
            }
            let options_then = if cut { after_a_power_cut() } else { options() };
            let (dir, mut log, _) = files.reopen(options_then, &small_segments());
            assert_eq!(log.log_end(), left as Offset, "{what}");
            assert!(!file(6).exists() && !file(9).exists(), "{what}");
            batches.extend(append(&mut log, [800; 7]));
            log.flush().expect("syncs");
            drop((log, dir));
            let (_dir, log, report) = files.reopen(options(), &small_segments());
            assert_eq!((log.log_end(), report.truncated_bytes), (left as Offset + 7, 0), "{what}");
            assert!(read_all(&log.reader(), 0, 1 << 20) == bytes_of(&batches), "{what}");
        }
    }
}

/// Files that were removed could come back, also empty ones, behind what is written and synced next.
#[test]
fn the_removal_of_files_is_synced_with_what_is_written_next() {
    let files = TestDir::new();
    let batches = segments(&files, 4, 10);
    for (base, size) in [(3, size_of(&batches[3..4])), (6, 0), (9, 0)] {
        let path = files.path().join(format!("topic-0/{base:020}.log"));
        fs::File::options().write(true).open(path).expect("opens").set_len(size as u64).expect("cuts");
    }
    let (_dir, mut log, report) = files.reopen(after_a_power_cut(), &small_segments());
    assert_eq!((log.log_end(), report.truncated_bytes), (4, 0));
    append(&mut log, [10]);
    let path = files.path().join("topic-0");
    fs::rename(&path, files.path().join("away")).expect("renames");
    let refused = log.flush().expect_err("the directory is not there");
    assert!(refused.to_string().contains("sync"), "{refused}");
}

/// A file may also be shorter for a truncation that the store has not on the device: what came after it was synced.
#[test]
fn files_behind_one_that_was_truncated_are_of_the_log() {
    for (to, sizes) in [(2, [2500, 10, 10, 3900, 10]), (2, [10, 3900, 10, 10, 3900]), (1, [3900; 5])] {
        let files = TestDir::new();
        let mut batches = segments(&files, 0, 10);
        let old = Old::of(&files);
        let (dir, mut log, _) = files.reopen(options(), &small_segments());
        log.truncate_to(to as Offset).expect("cuts");
        batches.truncate(to);
        batches.extend(append(&mut log, sizes));
        assert_eq!(log.flush().expect("syncs"), batches.len() as Offset);
        drop((log, dir));
        old.comes_back(&files);
        let (_dir, log, _) = files.reopen(after_a_power_cut(), &small_segments());
        assert!(read_all(&log.reader(), 0, 1 << 20) == bytes_of(&batches), "{to}");
    }
}

/// What was put right is so for the starts to come, also before the next regular checkpoint.
#[test]
fn a_start_that_dies_leaves_what_it_has_checked_to_the_next() {
    let files = TestDir::new();
    let batches = lost(&files, 20);
    drop(reopen(&files, after_a_power_cut()));
    let (_dir, log, report) = reopen(&files, options());
    assert_eq!((log.log_end(), report.checked_bytes, report.recovered), (batches.len() as Offset, 0, 0));
}

fn store(files: &TestDir) -> PathBuf {
    files.path().join(common::STORE)
}

/// What the store had on the device some time ago.
struct Old(tempfile::TempDir);

impl Old {
    fn of(files: &TestDir) -> Self {
        let old = tempfile::tempdir().expect("a temporary directory");
        copy(&store(files), old.path());
        Self(old)
    }

    fn comes_back(&self, files: &TestDir) {
        fs::remove_dir_all(store(files)).expect("removes");
        copy(self.0.path(), &store(files));
    }
}

/// The power cut takes the log's truncation out of the store, and leaves what was written after it in the file.
#[test]
fn epochs_of_batches_that_were_cut_off_do_not_come_back() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let append_of = |log: &mut Log, epoch: i32, count: usize| {
        for _ in 0..count {
            let at = log.log_end();
            log.append(&[batch(at, epoch, &[at], b"v", Producer::NONE, Codec::None).stamped()])
                .expect("appends");
        }
    };
    append_of(&mut log, 0, 10);
    log.flush().expect("syncs");
    append_of(&mut log, 0, 10);
    append_of(&mut log, 3, 10);
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    let old = Old::of(&files);
    let (dir, mut log, _) = reopen(&files, options());
    log.truncate_to(15).expect("cuts");
    append_of(&mut log, 2, 3);
    append_of(&mut log, 4, 30);
    drop((log, dir));
    old.comes_back(&files);
    let (_dir, log, _) = reopen(&files, after_a_power_cut());
    assert_eq!((log.log_end(), log.epochs()), (48, vec![(0, 0), (2, 15), (4, 18)]));
}

fn of_producer(base: Offset, sequence: i32) -> Stamped {
    let producer = Producer { id: 9, epoch: 0, base_sequence: sequence };
    batch(base, 0, &[1], b"v", producer, Codec::None).stamped()
}

/// The snapshot of what was synced takes the place of one that knows of lost batches, in the store, too.
#[test]
fn a_snapshot_is_not_given_back_for_another_one() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[of_producer(0, 0), of_producer(1, 1)]).expect("appends");
    log.set_producer_snapshot(2, Bytes::from_static(b"two"));
    log.flush().expect("syncs");
    log.append(&[of_producer(2, 2), of_producer(3, 3)]).expect("appends");
    log.set_producer_snapshot(4, Bytes::from_static(b"four"));
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    cut_to(&files, 2 * of_producer(0, 0).size_in_bytes());
    let two = Some((2, b"two".to_vec()));
    let (dir, mut log, told) = load(&files, after_a_power_cut());
    assert_eq!(told, Told { restored: two.clone(), ..Told::default() });
    log.append(&[of_producer(2, 2)]).expect("appends");
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    let (_dir, _log, told) = load(&files, options());
    assert_eq!(told, Told { restored: two, batches: vec![2], controls: 0 });
}

#[test]
fn a_snapshot_of_batches_that_were_cut_off_does_not_come_back() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    log.append(&[of_producer(0, 0)]).expect("appends");
    log.set_producer_snapshot(1, Bytes::from_static(b"one"));
    log.flush().expect("syncs");
    log.append(&[of_producer(1, 1), of_producer(2, 2), of_producer(3, 3)]).expect("appends");
    log.set_producer_snapshot(4, Bytes::from_static(b"four"));
    dir.checkpoint().expect("checkpoints");
    drop((log, dir));
    let old = Old::of(&files);
    let (dir, mut log, _) = load(&files, options());
    log.truncate_to(2).expect("cuts");
    let others: Vec<Stamped> = (2..9).map(|at| simple(at, 10)).collect();
    log.append(&others).expect("appends");
    drop((log, dir));
    old.comes_back(&files);
    let (_dir, log, told) = load(&files, after_a_power_cut());
    assert_eq!(log.log_end(), 9);
    assert_eq!(told, Told { restored: Some((1, b"one".to_vec())), batches: (1..9).collect(), controls: 0 });
}

/// What holds while no producer writes, holds at least for what was synced.
#[test]
fn a_quiet_snapshot_outlives_a_power_cut() {
    for blob in [Bytes::new(), Bytes::from_static(b"one")] {
        let files = TestDir::new();
        let (dir, mut log) = create(&files);
        if blob.is_empty() {
            log.append(&[simple(0, 10)]).expect("appends");
        } else {
            log.append(&[of_producer(0, 0)]).expect("appends");
            log.set_producer_snapshot(1, blob.clone());
        }
        append(&mut log, [10; 6]);
        log.flush().expect("syncs");
        append(&mut log, [10; 3]);
        dir.checkpoint().expect("checkpoints");
        drop((log, dir));
        let (_dir, _log, told) = load(&files, after_a_power_cut());
        assert_eq!(told, Told { restored: Some((7, blob.to_vec())), batches: vec![7, 8, 9], controls: 0 });
    }
}

/// A log that was killed before its first checkpoint is not synced as far as the one was that had its name before.
#[test]
fn a_log_without_a_checkpoint_counts_as_not_synced() {
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    append(&mut log, [10; 5]);
    log.close().expect("closes");
    dir.close(-1).expect("closes");
    let (dir, log, _) = reopen(&files, options());
    dir.remove_log(log).expect("removes");
    let other = "bbbbbbbbbbbbbbbbbbbbbA".parse().expect("an id");
    let mut log = dir.create_log(&partition(), other, Arc::default()).expect("creates");
    append(&mut log, [10; 5]);
    drop((log, dir));
    let (dir, mut log, _) = reopen(&files, options());
    let told = || {
        dir.write_kafka_checkpoints().expect("writes");
        fs::read_to_string(files.path().join("recovery-point-offset-checkpoint")).expect("reads")
    };
    assert!(told().ends_with("topic 0 0\n"));
    log.flush().expect("syncs");
    assert!(told().ends_with("topic 0 5\n"));
}

/// A move to another dir that was cut short leaves what was known of the log that moved; the partition may come back.
#[test]
fn a_new_log_is_not_taken_for_one_that_had_its_place() {
    let files = TestDir::new();
    lost(&files, 0);
    fs::remove_dir_all(files.path().join("topic-0")).expect("removes");
    let (dir, mut log) = create(&files);
    let batches = append(&mut log, (0..200).map(|at| 371 + at));
    drop((log, dir));
    let (_dir, log, report) = reopen(&files, options());
    assert_eq!((log.log_end(), report.truncated_bytes), (200, 0));
    assert!(read_all(&log.reader(), 0, 1 << 20) == bytes_of(&batches));
}
