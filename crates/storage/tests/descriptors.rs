//! Where file descriptors run out, which says nothing of the disk. A process of its own: the limit is of the whole
//! process.

mod common;

use std::{
    fs::{self, File},
    sync::Arc,
};

use common::{TestDir, batch, partition, read_all, topic_id};
use ottla_records::{Codec, Producer, Stamped};
use ottla_storage::{DirOptions, Fault, Log, LogConfig, LogDir, Slice};
use ottla_types::Offset;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// No descriptor is left as long as this is there.
struct Full {
    held: Vec<File>,
    limit: Rlimit,
}

impl Full {
    fn new() -> Self {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), ..limit }).expect("may be less");
        let held = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        Self { held, limit }
    }

    fn again(&mut self) {
        self.held.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    }

    fn give_back(&mut self) {
        self.held.clear();
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.limit).expect("as before");
    }
}

/// Without a tail: reads come from the files, which a slice keeps open.
fn options() -> DirOptions {
    DirOptions { tail_bytes: 0, recovery_threads: 1, ..DirOptions::default() }
}

fn of_epoch(epoch: i32, base: Offset) -> Stamped {
    batch(base, epoch, &[0], b"value", Producer::NONE, Codec::None).stamped()
}

fn create(files: &TestDir) -> (LogDir, Log) {
    let dir = files.open(options());
    let log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
    (dir, log)
}

/// Keeps the log's file open, so that it is not closed to make room for another.
fn pinned(log: &Log) -> Slice {
    log.reader().read(log.log_start(), 1, Offset::MAX, true).expect("reads")
}

fn is_refused<T>(done: Result<T, Fault>) -> bool {
    done.is_err_and(|fault| fault.is_want_of_files())
}

#[test]
fn a_truncation_is_whole_or_not_at_all() {
    let _alone = ALONE.lock();
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let old: Vec<Stamped> = (0..9).map(|base| of_epoch(i32::from(base >= 3), base)).collect();
    log.append(&old).expect("appends");
    dir.checkpoint().expect("checkpoints");
    let size =
        || fs::metadata(files.path().join("topic-0/00000000000000000000.log")).expect("is there").len();
    let (whole, each) = (size(), old[0].size_in_bytes() as u64);

    let slice = pinned(&log);
    let mut full = Full::new();
    assert!(is_refused(log.truncate_to(3)), "what is to be cut cannot be found");
    assert_eq!((log.log_end(), size()), (9, whole));
    assert!(is_refused(log.truncate_fully_and_start_at(50)));
    assert_eq!((log.log_end(), size()), (9, whole));

    // Now there is room for the file that is cut, and none for the file of the epochs.
    drop(slice);
    full.again();
    log.truncate_to(3).expect("truncates");
    assert_eq!((log.log_end(), log.epochs(), size()), (3, vec![(0, 0)], 3 * each));
    full.give_back();

    let new: Vec<Stamped> = (3..6).map(|base| of_epoch(2, base)).collect();
    log.append(&new).expect("appends");
    dir.checkpoint().expect("checkpoints");
    let epochs = fs::read_to_string(files.path().join("topic-0/leader-epoch-checkpoint")).expect("is there");
    assert_eq!(epochs, "0\n2\n0 0\n2 3\n");
    let bytes = read_all(&log.reader(), 0, 1000);
    drop((log, dir));
    let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
    assert_eq!((log.log_end(), read_all(&log.reader(), 0, 1000)), (6, bytes));
}

#[test]
fn a_sync_that_was_refused_is_done_later() {
    let _alone = ALONE.lock();
    let files = TestDir::new();
    let (_dir, mut log) = create(&files);
    log.append(&[of_epoch(0, 0)]).expect("appends");
    let slice = pinned(&log);
    let mut full = Full::new();
    assert!(is_refused(log.flush()));
    log.append(&[of_epoch(0, 1)]).expect("the log is as it was");
    assert!(is_refused(log.flush()));
    full.give_back();
    drop(slice);
    // The directories have to be synced still: it would not be noticed otherwise that this one is gone.
    let (path, away) = (files.path().join("topic-0"), files.path().join("away"));
    fs::rename(&path, &away).expect("renames");
    let refused = log.flush().expect_err("cannot be synced");
    assert!(refused.to_string().contains("sync"), "{refused}");
    fs::rename(&away, &path).expect("renames");
    assert!(matches!(log.flush(), Err(Fault::Broken { .. })), "that was no want of descriptors");
}

#[test]
fn a_sync_makes_room_for_itself() {
    let _alone = ALONE.lock();
    let files = TestDir::new();
    let (dir, mut log) = create(&files);
    let other = ottla_types::TopicPartition::new("topic", 1);
    let mut other = dir.create_log(&other, topic_id(), Arc::default()).expect("creates");
    other.append(&[of_epoch(0, 0)]).expect("appends");
    log.append(&[of_epoch(0, 0)]).expect("appends");
    let _full = Full::new();
    // The other log's file is closed for it.
    assert_eq!(log.flush().expect("syncs"), 1);
}
