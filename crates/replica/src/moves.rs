//! Replicas that move to another log dir (KIP-113): copied beside the log, caught up, swapped under its lock.
//!
//! One thread copies for all of them while there are any. A copy is a log of its own in the other dir, named as Kafka
//! names it, so that a restart goes on with it. Once it has caught up, the controller is told of the new dir; when it
//! knows, the log is put aside and the copy takes its name, in this order and each durably: a crash in between leaves a
//! copy without a log, which is then taken for the log (KIP-858). A copy that cannot take the name leaves the log where it
//! was; else the log is removed then.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use ottla_metadata::directory;
use ottla_records::Stamped;
use ottla_storage::{Fault, Log, LogReader, ReadError};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use parking_lot::{Condvar, Mutex};

use crate::{
    Replica, ReplicaManager,
    dirs::{Dir, knows_dirs},
    replica::{Owned, Place},
};

/// Bytes copied at a time; the partition waits for so much when it is cut back meanwhile.
const CHUNK: usize = 1 << 20;
/// Wait while there is nothing to copy and something to wait for.
const IDLE: Duration = Duration::from_millis(20);
/// Names remembered of replicas that are not here yet.
const PREFERRED: usize = 10_000;
/// What a directory's name may be long.
const NAME: usize = 255;
/// What the name of a copy is longer than that of its partition: a dot, an id and `-future`.
const FUTURE: usize = 1 + 32 + 7;

/// No cut is owed.
const NOTHING: Offset = Offset::MAX;

/// A copy in another dir that is to take the log's place.
pub(crate) struct Future {
    pub(crate) dir: Arc<Dir>,
    pub(crate) reader: Arc<LogReader>,
    /// Gone when the copy has become the log, or was given up.
    log: Mutex<Option<Log>>,
    /// Where the copy is still to be cut, for the log was and the copy could not be; [`NOTHING`] else.
    owed: AtomicI64,
    /// The controller was asked to take the new dir.
    asked: AtomicBool,
    /// And has taken it.
    pub(crate) assigned: AtomicBool,
}

/// Why nothing was copied.
enum CopyError {
    Read(ReadError),
    Write(Fault),
}

impl Future {
    pub(crate) fn new(dir: Arc<Dir>, log: Log) -> Arc<Self> {
        Arc::new(Self {
            dir,
            reader: log.reader(),
            log: Mutex::new(Some(log)),
            owed: AtomicI64::new(NOTHING),
            asked: AtomicBool::new(false),
            assigned: AtomicBool::new(false),
        })
    }

    /// Copies what follows of `source`, up to about `most` bytes. The copy is held meanwhile, `source` is not.
    fn copy(&self, source: &Arc<LogReader>, most: usize) -> Result<usize, CopyError> {
        self.log.lock().as_mut().map_or(Ok(0), |log| {
            self.settle(log)?;
            copy(log, source, most)
        })
    }

    /// The log was cut back.
    pub(crate) fn truncate_to(&self, end: Offset) {
        if let Some(log) = &mut *self.log.lock() {
            self.owed.fetch_min(end, Ordering::AcqRel);
            if let Err(CopyError::Write(fault)) = self.settle(log) {
                self.dir.fail(&fault);
            }
        }
    }

    /// Cuts the copy as the log was cut. Until then nothing is added to it, and it does not take the log's place.
    fn settle(&self, log: &mut Log) -> Result<(), CopyError> {
        let owed = self.owed.load(Ordering::Acquire);
        if owed != NOTHING {
            log.truncate_to(owed).map_err(CopyError::Write)?;
            self.owed.store(NOTHING, Ordering::Release);
        }
        Ok(())
    }

    /// Takes the copy away from whoever copies.
    pub(crate) fn take(&self) -> Option<Log> {
        self.log.lock().take()
    }
}

fn copy(log: &mut Log, source: &Arc<LogReader>, most: usize) -> Result<usize, CopyError> {
    let (start, end) = (source.log_start(), source.log_end());
    let from = log.log_end().max(start);
    let mut bytes = 0;
    let mut batches: Vec<Stamped> = Vec::new();
    if from < end {
        for batch in source.batches_from(from) {
            let batch = batch.map_err(CopyError::Read)?;
            bytes += batch.bytes.len();
            batches.push(batch.stamped());
            if bytes >= most {
                break;
            }
        }
    }
    let first = batches.first().map_or(from, |batch| batch.header.base_offset);
    // What lay between was deleted before it was copied; or nothing was copied yet, and the log does not begin at 0.
    let behind = log.log_end() < start || (log.log_start() == log.log_end() && log.log_end() != first);
    if behind {
        log.truncate_fully_and_start_at(first).map_err(CopyError::Write)?;
    }
    if !batches.is_empty() {
        log.append(&batches).map_err(CopyError::Write)?;
    }
    log.advance_log_start(start.min(log.log_end())).map_err(CopyError::Write)?;
    Ok(bytes)
}

/// Cuts a copy back to where it says the same as the log.
pub(crate) fn agree(copy: &mut Log, log: &Log) -> Result<(), Fault> {
    let end = copy.log_end().min(log.log_end());
    let end = differ(&copy.epochs(), &log.epochs(), log.log_start()).map_or(end, |at| at.min(end));
    if end < copy.log_end() { copy.truncate_to(end) } else { Ok(()) }
}

/// The first offset from `start` on that is of different epochs.
fn differ(copy: &[(LeaderEpoch, Offset)], log: &[(LeaderEpoch, Offset)], start: Offset) -> Option<Offset> {
    let at = |epochs: &[(LeaderEpoch, Offset)], offset| {
        epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    };
    let mut places: Vec<Offset> = copy.iter().chain(log).map(|(_, start)| *start).collect();
    places.push(start);
    places.sort_unstable();
    places.into_iter().filter(|place| *place >= start).find(|place| at(copy, *place) != at(log, *place))
}

/// The replicas that move, and the thread that copies.
#[derive(Default)]
pub(crate) struct Moves {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    replicas: Vec<Arc<Replica>>,
    thread: Option<JoinHandle<()>>,
    running: bool,
    stopped: bool,
    /// Something happened since the thread looked.
    news: bool,
}

impl Moves {
    /// Something happened that may let a move go on.
    pub(crate) fn wake(&self) {
        self.state.lock().news = true;
        self.changed.notify_one();
    }

    /// The replicas that move now.
    pub(crate) fn list(&self) -> Vec<Arc<Replica>> {
        self.state.lock().replicas.clone()
    }

    pub(crate) fn stop(&self) {
        let thread = {
            let mut state = self.state.lock();
            state.stopped = true;
            state.replicas.clear();
            state.thread.take()
        };
        self.changed.notify_one();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }

    fn sleep(&self, time: Duration, unless_news: bool) {
        let mut state = self.state.lock();
        if state.stopped || (unless_news && std::mem::take(&mut state.news)) {
            return;
        }
        self.changed.wait_for(&mut state, time);
        state.news = false;
    }

    /// The replicas to be worked on; `None` ends the thread.
    fn work(&self) -> Option<Vec<Arc<Replica>>> {
        let mut state = self.state.lock();
        if state.stopped || state.replicas.is_empty() {
            state.running = false;
            return None;
        }
        Some(state.replicas.clone())
    }

    fn over(&self, replica: &Arc<Replica>) {
        self.state.lock().replicas.retain(|moving| !Arc::ptr_eq(moving, replica));
    }
}

/// What came of a look at one move.
enum Step {
    /// So many bytes were copied.
    Copied(usize),
    /// It waits for something.
    Waits,
    /// There is nothing to move any more.
    Over,
}

fn run(manager: &Weak<ReplicaManager>, moves: &Moves) {
    while let Some(moving) = moves.work() {
        let mut copied = 0;
        for replica in moving {
            let Some(strong) = manager.upgrade() else { return };
            let rate = strong.dir_settings.load().move_bytes_per_second.max(1).unsigned_abs();
            let chunk = usize::try_from(rate).unwrap_or(CHUNK).clamp(1, CHUNK);
            let step = strong.move_on(&replica, chunk);
            drop(strong);
            match step {
                Step::Copied(bytes) => {
                    copied += bytes;
                    let pause = u64::try_from(bytes as u128 * 1_000 / u128::from(rate)).unwrap_or(u64::MAX);
                    if pause > 0 {
                        moves.sleep(Duration::from_millis(pause.min(60_000)), false);
                    }
                }
                Step::Waits => {}
                Step::Over => moves.over(&replica),
            }
        }
        if copied == 0 {
            moves.sleep(IDLE, true);
        }
    }
}

impl ReplicaManager {
    /// Copies from now on.
    pub(crate) fn begin_move(&self, replica: &Arc<Replica>, future: Arc<Future>) {
        replica.with(|owned| owned.future = Some(future));
        let mut state = self.moves.state.lock();
        if state.stopped {
            return;
        }
        if !state.replicas.iter().any(|moving| Arc::ptr_eq(moving, replica)) {
            state.replicas.push(Arc::clone(replica));
        }
        if state.running {
            drop(state);
            return self.moves.wake();
        }
        let (manager, moves) = (Weak::clone(&self.me), Arc::clone(&self.moves));
        let thread = std::thread::Builder::new().name("replica-alter-log-dirs".into());
        match thread.spawn(move || run(&manager, &moves)) {
            Ok(thread) => {
                state.running = true;
                state.thread = Some(thread);
            }
            Err(error) => tracing::warn!(%error, "no thread to move replicas between log dirs"),
        }
    }

    fn move_on(&self, replica: &Arc<Replica>, chunk: usize) -> Step {
        let Some(future) = replica.with(|owned| owned.future.clone()) else { return Step::Over };
        let (dir, reader) = {
            let place = replica.place();
            (Arc::clone(&place.dir), Arc::clone(&place.reader))
        };
        if future.dir.is_offline() || dir.is_offline() {
            self.give_up(replica, false);
            return Step::Over;
        }
        match future.copy(&reader, chunk) {
            Ok(bytes) if bytes >= chunk => return Step::Copied(bytes),
            Ok(_) => {}
            Err(CopyError::Read(ReadError::OutOfRange { .. })) => return Step::Waits,
            Err(CopyError::Read(ReadError::Fault(fault))) => {
                if !reader.is_removed() {
                    dir.fail(&fault);
                }
                return Step::Waits;
            }
            Err(CopyError::Write(fault)) => {
                future.dir.fail(&fault);
                return Step::Waits;
            }
        }
        if self.may_swap(replica, &future) && self.swap(replica, &future) { Step::Over } else { Step::Waits }
    }

    /// Whether the controller knows of the new dir: else it is told.
    fn may_swap(&self, replica: &Replica, future: &Future) -> bool {
        let image = Arc::clone(&self.hosting.lock().image);
        let Some(dir) = future.dir.id() else { return true };
        let alone = self.replication.get().is_none() || !knows_dirs(&image);
        if alone || future.assigned.load(Ordering::Acquire) {
            return true;
        }
        if self.assigned_dir(&image, replica.id()) == Some(dir) {
            return true;
        }
        future.asked.store(true, Ordering::Release);
        self.assign(&image, replica.id(), dir);
        false
    }

    /// Puts the copy in the log's place. False when it is to be tried again.
    fn swap(&self, replica: &Arc<Replica>, future: &Arc<Future>) -> bool {
        // Most of it before anybody has to wait.
        if let Err(fault) = future.reader.sync_up_to(future.reader.log_end()) {
            future.dir.fail(&fault);
            return false;
        }
        replica.with(|owned| {
            if !owned.future.as_ref().is_some_and(|held| Arc::ptr_eq(held, future)) {
                return true;
            }
            let mut slot = future.log.lock();
            let (Some(mut log), true) = (slot.take(), owned.log.is_some()) else { return true };
            let from = Arc::clone(&replica.place().dir);
            if let Err(error) = future.settle(&mut log).and_then(|()| complete(&mut log, owned)) {
                match error {
                    CopyError::Read(ReadError::Fault(fault)) => from.fail(&fault),
                    CopyError::Write(fault) => future.dir.fail(&fault),
                    CopyError::Read(ReadError::OutOfRange { .. }) => {}
                }
                *slot = Some(log);
                return false;
            }
            let Some(old) = owned.log.take() else { return true };
            let Ok(aside) = take_place(&old, &from, &log, &future.dir) else {
                owned.log = Some(old);
                *slot = Some(log);
                return false;
            };
            owned.log = Some(log);
            owned.future = None;
            replica.moved_to(Place { dir: Arc::clone(&future.dir), reader: Arc::clone(&future.reader) });
            if let Some(aside) = aside
                && let Err(fault) = from.dir.remove_aside(old, aside)
            {
                from.fail(&fault);
            }
            let (from, to) = (from.dir.path().display(), future.dir.dir.path().display());
            tracing::info!("{}: moved from log dir {from} to {to}", replica.name);
            true
        })
    }

    /// Gives up a move. `delete`: its copy goes, too.
    pub(crate) fn give_up(&self, replica: &Arc<Replica>, delete: bool) {
        let Some(future) = replica.with(|owned| owned.future.take()) else { return };
        self.moves.over(replica);
        if let Some(log) = future.take()
            && delete
            && !future.dir.is_offline()
            && let Err(fault) = future.dir.dir.remove_log(log)
        {
            future.dir.fail(&fault);
        }
        tracing::info!(
            "{}: the move to log dir {} is given up",
            replica.name,
            future.dir.dir.path().display()
        );
        // The controller may believe that it is there by now. A dir that failed it hears of by itself.
        if future.asked.load(Ordering::Acquire) {
            let image = Arc::clone(&self.hosting.lock().image);
            let dir = Arc::clone(&replica.place().dir);
            let here = if dir.is_offline() { Some(directory::LOST) } else { dir.id() };
            if let Some(here) = here {
                self.assign(&image, replica.id(), here);
            }
        }
    }

    /// AlterReplicaLogDirs for one replica: moves it to the log dir with this path; to the one where it is to cancel a
    /// move. A replica that is not here yet will be created there.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION` for a name too long for a copy's directory, `LOG_DIR_NOT_FOUND`,
    /// `INVALID_REPLICA_ASSIGNMENT` for a cordoned dir, `KAFKA_STORAGE_ERROR` when either dir is offline,
    /// `UNKNOWN_TOPIC_OR_PARTITION` for one the cluster does not have, `REPLICA_NOT_AVAILABLE` for one that is not here.
    pub fn alter_log_dir(&self, name: &TopicPartition, path: &str) -> Result<(), ErrorCode> {
        if name.to_string().len() + FUTURE > NAME {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        let to = self.dir_at(Path::new(path))?;
        if self.dir_settings.load().is_cordoned(to.dir.path()) {
            return Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT);
        }
        let held = self.by_name(name);
        if let Some(replica) = &held {
            let future = replica.with(|owned| owned.future.clone());
            if replica.is_offline() {
                return Err(ErrorCode::KAFKA_STORAGE_ERROR);
            }
            match future {
                Some(future) if Arc::ptr_eq(&future.dir, &to) => return Ok(()),
                Some(_) => self.give_up(replica, true),
                None => {}
            }
        }
        let mut hosting = self.hosting.lock();
        // It may have come, gone or been moved meanwhile: under this lock it does not.
        let Some(replica) = self.by_name(name) else {
            let known = hosting.image.partition(&name.topic, name.partition).is_some();
            if hosting.damaged.contains(name) {
                return Err(ErrorCode::KAFKA_STORAGE_ERROR);
            }
            if hosting.preferred.len() < PREFERRED || hosting.preferred.contains_key(name) {
                hosting.preferred.insert(name.clone(), to.number);
            }
            return Err(if known {
                ErrorCode::REPLICA_NOT_AVAILABLE
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            });
        };
        hosting.preferred.remove(name);
        if replica.place().dir.number == to.number || replica.with(|owned| owned.future.is_some()) {
            return Ok(());
        }
        let config = replica.settings().log_config(name.partition);
        match to.dir.create_future(name, replica.topic_id, config) {
            Ok(log) => {
                tracing::info!("{name}: begins to move to log dir {path}");
                self.begin_move(&replica, Future::new(to, log));
                Ok(())
            }
            Err(fault) => {
                to.fail(&fault);
                Err(ErrorCode::KAFKA_STORAGE_ERROR)
            }
        }
    }

    fn dir_at(&self, path: &Path) -> Result<Arc<Dir>, ErrorCode> {
        // As text: Kafka takes no other spelling of the same path.
        let same = |dir: &Path| dir.as_os_str() == path.as_os_str();
        if let Some(dir) = self.dirs.iter().find(|dir| same(dir.dir.path())) {
            return if dir.is_offline() { Err(ErrorCode::KAFKA_STORAGE_ERROR) } else { Ok(Arc::clone(dir)) };
        }
        let offline = self.options.offline_dirs.iter().any(|dir| same(dir));
        Err(if offline { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::LOG_DIR_NOT_FOUND })
    }
}

/// Puts the log `old` aside and gives its name to the copy `new`, in this order and each durably. Gives where the old one
/// is, unless its dir failed at that. On an error the copy's dir has failed, and the log is where it was.
fn take_place(old: &Log, from: &Dir, new: &Log, to: &Dir) -> Result<Option<PathBuf>, ()> {
    // A dir that fails now has its log in the other one, complete.
    let aside = from.dir.put_aside(old).map_err(|fault| from.fail(&fault)).ok();
    to.dir.promote(new).map(|()| aside.clone()).map_err(|fault| {
        to.fail(&fault);
        if let Some(aside) = aside
            && let Err(fault) = from.dir.put_back(old, &aside)
        {
            from.fail(&fault);
        }
    })
}

/// Copies the rest, and all that is known of the log beside its batches. Nobody writes to it now.
fn complete(log: &mut Log, owned: &Owned) -> Result<(), CopyError> {
    let Some(old) = &owned.log else { return Ok(()) };
    let source = old.reader();
    while log.log_end() < source.log_end() || log.log_start() < source.log_start() {
        let before = (log.log_end(), log.log_start());
        copy(log, &source, CHUNK)?;
        if before == (log.log_end(), log.log_start()) {
            break;
        }
    }
    let (end, log_end) = (source.log_end(), log.log_end());
    if log_end != end {
        return Err(CopyError::Read(ReadError::OutOfRange {
            offset: log_end,
            log_start: source.log_start(),
            log_end: end,
        }));
    }
    for (epoch, start) in old.epochs() {
        log.assign_epoch(epoch, start);
    }
    log.update_config(Arc::clone(old.config()));
    log.set_high_watermark(owned.partition.high_watermark());
    let producers = owned.partition.producers();
    let bytes = if producers.is_blank() { bytes::Bytes::new() } else { producers.snapshot() };
    log.set_producer_snapshot(end, bytes);
    log.flush().map(drop).map_err(CopyError::Write)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_records::{Batch, BatchBuilder};
    use ottla_storage::{DirOptions, LogDir, MetaProperties};
    use ottla_types::{SystemClock, TopicId};
    use uuid::Uuid;

    use super::*;
    use crate::{ReplicaOptions, upkeep::Upkeep};

    fn dir(at: &Path) -> Arc<Dir> {
        let meta =
            MetaProperties { cluster_id: "test".into(), node_id: 1, directory_id: Some(Uuid::from_u128(9)) };
        meta.format(at).expect("formats");
        let dir = LogDir::open(at, DirOptions::default(), Arc::new(SystemClock::new())).expect("opens");
        let opened = Dir::open(0, dir, &ReplicaOptions::new(1), &Arc::new(Upkeep::default()));
        Arc::new(opened.expect("opens"))
    }

    fn append(log: &mut Log, epoch: LeaderEpoch) {
        let mut builder = BatchBuilder::new(0);
        builder.append(1, None, Some(b"value"), &[]);
        let built: Bytes = builder.build();
        let batch = Batch::parse(&built, 0).expect("built").stamp(log.log_end(), epoch);
        log.append(&[batch]).expect("appended");
    }

    #[test]
    fn a_copy_that_could_not_be_cut_is_cut_before_anything_is_added() {
        let (here, there) = (tempfile::tempdir().expect("a dir"), tempfile::tempdir().expect("a dir"));
        let (here, there) = (dir(here.path()), dir(there.path()));
        let name = TopicPartition::new("t", 0);
        let mut log = here.dir.create_log(&name, TopicId::METADATA, Arc::default()).expect("created");
        let copy = there.dir.create_future(&name, TopicId::METADATA, Arc::default()).expect("created");
        let future = Future::new(there, copy);
        (0..3).for_each(|_| append(&mut log, 0));
        let copied = |future: &Future, log: &Log| future.copy(&log.reader(), CHUNK).is_ok();
        assert!(copied(&future, &log));
        assert_eq!(future.reader.log_end(), 3);
        // Another leader has other records, as many; there was no file descriptor to cut the copy with.
        log.truncate_to(1).expect("cut");
        (0..2).for_each(|_| append(&mut log, 1));
        future.owed.fetch_min(1, Ordering::AcqRel);
        assert!(copied(&future, &log));
        assert_eq!(future.reader.epochs(), [(0, 0), (1, 1)]);
        assert_eq!((future.reader.log_end(), future.owed.load(Ordering::Acquire)), (3, NOTHING));
    }

    #[test]
    fn a_copy_holds_as_far_as_its_epochs_are_the_logs() {
        let log = [(0, 0), (2, 100), (5, 150)];
        assert_eq!(differ(&log, &log, 0), None);
        assert_eq!(differ(&[(0, 0)], &log, 0), Some(100), "its epoch went on, the log's did not");
        assert_eq!(differ(&[(0, 0), (2, 100)], &log[..2], 0), None);
        assert_eq!(differ(&[(0, 0), (3, 120)], &log, 0), Some(100));
        assert_eq!(differ(&[(0, 0), (2, 100), (4, 150)], &log, 0), Some(150));
        assert_eq!(differ(&[(0, 0), (2, 100), (5, 150)], &[(2, 120), (5, 150)], 120), None, "deleted since");
        assert_eq!(differ(&[], &[], 0), None);
    }
}
