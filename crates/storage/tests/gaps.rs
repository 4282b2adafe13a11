//! Gaps in the offsets that no segment spans: what a replica meets that follows a log compacted over years.

mod common;

use std::{fs, sync::Arc};

use common::{TestDir, partition, read_all, simple, topic_id};
use ottla_records::Stamped;
use ottla_storage::{DirOptions, Fault, Log, LogConfig, LogDir};
use ottla_types::Offset;

/// More than a segment can hold.
const FAR: Offset = 3 << 30;

fn options() -> DirOptions {
    DirOptions { tail_bytes: 0, recovery_threads: 1, ..DirOptions::default() }
}

fn create(files: &TestDir) -> (LogDir, Log) {
    let dir = files.open(options());
    let log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
    (dir, log)
}

fn bytes(batches: &[Stamped]) -> Vec<u8> {
    batches.iter().flat_map(|batch| batch.head.iter().chain(batch.rest.iter())).copied().collect()
}

/// Three batches close together, three far behind, one farther still.
fn batches() -> Vec<Stamped> {
    [0, 1, 2, FAR, FAR + 1, FAR + 7, 3 * FAR].map(|base| simple(base, 50)).to_vec()
}

fn bases(log: &Log) -> Vec<Offset> {
    log.reader().segments().iter().map(|segment| segment.base_offset).collect()
}

fn file(files: &TestDir, base: Offset) -> std::path::PathBuf {
    files.path().join(format!("topic-0/{base:020}.log"))
}

/// As after a kill.
fn again(files: &TestDir, (dir, log): (LogDir, Log)) -> (LogDir, Log) {
    drop((log, dir));
    let (dir, log, _) = files.reopen(options(), &LogConfig::default());
    (dir, log)
}

#[test]
fn a_segment_begins_where_the_one_before_cannot_reach() {
    for (together, checkpoint) in [(true, true), (true, false), (false, true), (false, false)] {
        let files = TestDir::new();
        let (dir, mut log) = create(&files);
        let batches = batches();
        if together {
            log.append(&batches).expect("appends");
        } else {
            for one in &batches {
                log.append(std::slice::from_ref(one)).expect("appends");
            }
        }
        if checkpoint {
            dir.checkpoint().expect("checkpoints");
        }
        let check = |log: &Log| {
            assert_eq!((bases(log), log.log_end()), (vec![0, FAR, 3 * FAR], 3 * FAR + 1));
            let reader = log.reader();
            assert_eq!(read_all(&reader, 0, 60), bytes(&batches));
            assert_eq!(read_all(&reader, 100, 1000), bytes(&batches[3..]), "from within the gap");
        };
        check(&log);
        let (dir, mut log) = again(&files, (dir, log));
        check(&log);
        log.flush().expect("syncs");
        dir.checkpoint().expect("checkpoints");
        drop((log, dir));
        let power_cut = DirOptions { assume_power_cut: true, ..options() };
        let (_dir, mut log, _) = files.reopen(power_cut, &LogConfig::default());
        check(&log);
        log.advance_log_start(FAR + 1).expect("moves");
        assert_eq!(log.delete_below_start().expect("deletes").segments, 1);
        assert_eq!(read_all(&log.reader(), FAR + 1, 1000), bytes(&batches[4..]));
    }
}

/// The segment behind the gap goes as a whole: its name is an offset that the log does not reach any more.
#[test]
fn a_log_is_cut_within_a_gap() {
    for to in [3, 100, FAR, FAR + 1, 2 * FAR, 3 * FAR] {
        let files = TestDir::new();
        let (dir, mut log) = create(&files);
        let batches = batches();
        log.append(&batches).expect("appends");
        dir.checkpoint().expect("checkpoints");
        log.truncate_to(to).expect("truncates");
        let mut left: Vec<Stamped> =
            batches.into_iter().take_while(|batch| batch.header.base_offset < to).collect();
        let (dir, mut log) = again(&files, (dir, log));
        assert_eq!((log.log_end(), read_all(&log.reader(), 0, 1000)), (to, bytes(&left)), "cut to {to}");
        for next in [to, to + 1] {
            left.push(simple(next, 70));
            log.append(&left[left.len() - 1..]).expect("appends");
        }
        let (_dir, log) = again(&files, (dir, log));
        assert_eq!((log.log_end(), read_all(&log.reader(), 0, 1000)), (to + 2, bytes(&left)), "cut to {to}");
    }
}

/// Another leader's log has batches where the first one's had none.
#[test]
fn a_segment_that_was_begun_in_vain_is_not_in_the_way() {
    for checkpoint in [true, false] {
        let files = TestDir::new();
        let (dir, mut log) = create(&files);
        log.append(&batches()[..3]).expect("appends");
        fs::create_dir(file(&files, FAR)).expect("creates");
        let refused = log.append(&batches()[3..4]).expect_err("there is a directory in the way");
        assert!(matches!(refused, Fault::Io { .. }), "{refused}");
        // What a full disk leaves.
        fs::remove_dir(file(&files, FAR)).expect("removes");
        fs::write(file(&files, FAR), b"").expect("writes");
        if checkpoint {
            dir.checkpoint().expect("checkpoints");
        }
        // Its last offset is one the segment could hold, its first one is not.
        let mut builder = ottla_records::BatchBuilder::new(FAR - 1);
        builder.append(0, None, None, &[]);
        builder.append(0, None, None, &[]);
        let across = ottla_records::Batch::parse(&builder.build(), 0).expect("parses").stamped();
        let mut expected = batches()[..3].to_vec();
        expected.extend([across, simple(FAR + 1, 10)]);
        log.append(&expected[3..]).expect("appends");
        assert_eq!(bases(&log), [0, FAR - 1]);
        assert!(!file(&files, FAR).exists());
        let (_dir, log) = again(&files, (dir, log));
        assert_eq!((log.log_end(), read_all(&log.reader(), 0, 1000)), (FAR + 2, bytes(&expected)));
    }
}
