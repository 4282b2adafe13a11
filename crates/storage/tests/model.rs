//! A log does what a list of batches does, whatever happens to it in between.

mod common;

use std::sync::Arc;

use common::{TestDir, batch, bytes_of, partition, read_all, topic_id};
use ottla_records::{Codec, Producer, Stamped};
use ottla_storage::{DirOptions, Log, LogConfig, LogDir, ReadError, WriteMode};
use ottla_types::Offset;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<NewBatch>),
    Truncate(prop::sample::Index),
    StartAt(Offset),
    AdvanceStart(prop::sample::Index),
    DeleteHead,
    Read {
        from: prop::sample::Index,
        max: usize,
        bound: prop::sample::Index,
        at_least_one: bool,
    },
    FindTime(i64),
    Checkpoint,
    Flush,
    /// What the store has on the device, should the next power cut come before the next sync of it.
    StoreReachesDevice,
    Reopen(End),
}

#[derive(Clone, Debug)]
struct NewBatch {
    gap: Offset,
    timestamps: Vec<i64>,
    size: usize,
    next_epoch: bool,
    codec: Codec,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Clean,
    Kill,
    PowerCut,
    /// A power cut that costs batches that were not synced, from one of them on.
    Lost {
        from: prop::sample::Index,
        how: Loss,
    },
    LostStore,
    LostMarker,
}

/// What the file has in the place of a lost batch, and of those behind it.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Nothing,
    /// Only of its own file: those behind it are there, which is noticed where the checkpoint knew more of this one.
    File,
    Half,
    Zeros,
    /// Only this one is lost: the rest is there, and has to go.
    Hole,
}

fn new_batch() -> impl Strategy<Value = NewBatch> {
    let codec = prop_oneof![4 => Just(Codec::None), 1 => Just(Codec::Zstd)];
    let size = prop_oneof![4 => 0usize..600, 1 => 3_000usize..20_000];
    let gap = prop_oneof![9 => Just(0i64), 1 => 1i64..50];
    let timestamps = prop::collection::vec(0i64..1000, 1..6);
    (gap, timestamps, size, prop::bool::weighted(0.1), codec).prop_map(
        |(gap, timestamps, size, next_epoch, codec)| NewBatch { gap, timestamps, size, next_epoch, codec },
    )
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Nothing), Just(Loss::File), Just(Loss::Half), Just(Loss::Zeros), Just(Loss::Hole)]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        12 => prop::collection::vec(new_batch(), 1..8).prop_map(Step::Append),
        2 => index().prop_map(Step::Truncate),
        1 => (0i64..5000).prop_map(Step::StartAt),
        1 => index().prop_map(Step::AdvanceStart),
        2 => Just(Step::DeleteHead),
        8 => (index(), 1usize..60_000, index(), any::<bool>())
            .prop_map(|(from, max, bound, at_least_one)| Step::Read { from, max, bound, at_least_one }),
        3 => (0i64..1100).prop_map(Step::FindTime),
        3 => Just(Step::Checkpoint),
        2 => Just(Step::Flush),
        1 => Just(Step::StoreReachesDevice),
        4 => prop_oneof![
            1 => Just(End::Clean),
            2 => Just(End::Kill),
            1 => Just(End::PowerCut),
            3 => (index(), loss()).prop_map(|(from, how)| End::Lost { from, how }),
            1 => Just(End::LostStore),
            1 => Just(End::LostMarker),
        ].prop_map(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    batches: Vec<Stamped>,
    times: Vec<Vec<i64>>,
    /// So many batches are on the device.
    synced: usize,
    /// So many batches are known to the last checkpoint, at least.
    known: usize,
    log_start: Offset,
    log_end: Offset,
    epoch: i32,
}

impl Model {
    fn append(&mut self, new: &[NewBatch]) -> Vec<Stamped> {
        let before = self.batches.len();
        for one in new {
            self.epoch += i32::from(one.next_epoch);
            let base = self.log_end + one.gap;
            let value = vec![u8::try_from(base % 251).expect("small"); one.size];
            let made = batch(base, self.epoch, &one.timestamps, &value, Producer::NONE, one.codec);
            self.log_end = made.header.next_offset();
            self.batches.push(made.stamped());
            self.times.push(one.timestamps.clone());
        }
        self.batches[before..].to_vec()
    }

    fn truncate(&mut self, count: usize) -> Offset {
        self.batches.truncate(count);
        self.times.truncate(count);
        self.synced = self.synced.min(count);
        self.known = self.known.min(count);
        self.log_end = self.batches.last().map_or(0, |batch| batch.header.next_offset());
        self.log_start = self.log_start.min(self.log_end);
        self.log_end
    }

    fn forget_before(&mut self, base: Offset) {
        let gone = self.batches.iter().take_while(|batch| batch.header.base_offset < base).count();
        self.batches.drain(..gone);
        self.synced = self.synced.saturating_sub(gone);
        self.known = self.known.saturating_sub(gone);
        self.times.drain(..gone);
    }

    fn bytes_from(&self, from: Offset) -> Vec<u8> {
        let held = self.batches.iter().filter(|batch| batch.header.next_offset() > from);
        held.flat_map(|batch| batch.to_bytes().to_vec()).collect()
    }

    fn find(&self, timestamp: i64) -> Option<(Offset, i64)> {
        let records = self
            .batches
            .iter()
            .zip(&self.times)
            .flat_map(|(batch, times)| (batch.header.base_offset..).zip(times.iter().copied()));
        records.into_iter().find(|&(offset, t)| t >= timestamp && offset >= self.log_start)
    }

    fn epochs(&self) -> Vec<(i32, Offset)> {
        let mut epochs: Vec<(i32, Offset)> = Vec::new();
        for batch in &self.batches {
            if epochs.last().is_none_or(|&(last, _)| batch.header.partition_leader_epoch > last) {
                epochs.push((batch.header.partition_leader_epoch, batch.header.base_offset));
            }
        }
        epochs
    }
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 40_000, index_interval_bytes: 1024, ..LogConfig::default() }
}

fn options(tail: usize, mode: WriteMode) -> DirOptions {
    DirOptions {
        tail_bytes: tail,
        write_mode: mode,
        max_open_files: 2,
        recovery_threads: 1,
        ..DirOptions::default()
    }
}

struct Run {
    files: TestDir,
    options: DirOptions,
    open: Option<(LogDir, Log)>,
    model: Model,
    /// What [`Step::StoreReachesDevice`] left, until the store is synced.
    old_store: Option<tempfile::TempDir>,
}

impl Run {
    fn log(&mut self) -> &mut Log {
        &mut self.open.as_mut().expect("open").1
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(new) => {
                let batches = self.model.append(new);
                let appended = self.log().append(&batches).expect("appends");
                assert_eq!(appended.base_offset, batches[0].header.base_offset);
                assert_eq!(appended.last_offset + 1, self.model.log_end);
            }
            Step::Truncate(at) => {
                let count = at.index(self.model.batches.len() + 1);
                if count > 0 {
                    let end = self.model.truncate(count);
                    // It may be that the truncation had to be synced.
                    self.old_store = None;
                    self.log().truncate_to(end).expect("truncates");
                }
            }
            Step::StartAt(offset) => {
                self.model.truncate(0);
                self.old_store = None;
                (self.model.log_start, self.model.log_end) = (*offset, *offset);
                self.log().truncate_fully_and_start_at(*offset).expect("empties");
            }
            Step::AdvanceStart(at) => {
                let (start, end) = (self.model.log_start, self.model.log_end);
                let to = start
                    + i64::try_from(at.index(usize::try_from(end - start).expect("ordered") + 1))
                        .expect("small");
                self.log().advance_log_start(to).expect("moves");
                self.old_store = None;
                self.model.log_start = to;
            }
            Step::DeleteHead => {
                let before = self.log().reader().size();
                let deleted = self.log().delete_below_start().expect("deletes");
                assert_eq!(before - deleted.bytes, self.log().reader().size());
                let segments = self.log().reader().segments();
                assert!(segments.get(1).is_none_or(|next| next.base_offset > self.model.log_start));
                self.model.forget_before(segments[0].base_offset);
            }
            Step::Read { from, max, bound, at_least_one } => self.read(*from, *max, *bound, *at_least_one),
            Step::FindTime(timestamp) => {
                let hit = self.log().reader().find_by_timestamp(*timestamp).expect("searches");
                assert_eq!(hit.map(|hit| (hit.offset, hit.timestamp)), self.model.find(*timestamp));
            }
            Step::Checkpoint => {
                self.open.as_ref().expect("open").0.checkpoint().expect("checkpoints");
                self.model.known = self.model.batches.len();
            }
            Step::Flush => {
                let end = self.model.log_end;
                assert_eq!(self.log().flush().expect("syncs"), end);
                self.model.synced = self.model.batches.len();
            }
            Step::StoreReachesDevice => {
                let old = tempfile::tempdir().expect("a temporary directory");
                common::copy(&self.files.path().join(common::STORE), old.path());
                self.old_store = Some(old);
            }
            Step::Reopen(end) => self.reopen(*end),
        }
        self.check();
    }

    fn read(
        &mut self,
        from: prop::sample::Index,
        max: usize,
        bound: prop::sample::Index,
        at_least_one: bool,
    ) {
        let span = usize::try_from(self.model.log_end - self.model.log_start).expect("ordered") + 1;
        let from = self.model.log_start + i64::try_from(from.index(span)).expect("small");
        let bound = self.model.log_start + i64::try_from(bound.index(span)).expect("small");
        let reader = self.log().reader();
        let slice = reader.read(from, max, bound, at_least_one).expect("reads");
        let bytes = bytes_of(&slice);
        let all: Vec<u8> = self.model.bytes_from(from);
        assert!(all.starts_with(&bytes), "what is read is what was written");
        let batches: Vec<_> =
            ottla_records::batches(bytes.clone()).map(|b| b.expect("whole").header).collect();
        if let Some(first) = batches.first() {
            assert_eq!(slice.first_batch_offset, first.base_offset);
            assert!(batches.iter().all(|header| header.next_offset() <= bound));
            assert!(bytes.len() <= max || (at_least_one && batches.len() == 1));
        } else {
            let next = self.model.batches.iter().find(|batch| batch.header.next_offset() > from);
            let fits = next.is_some_and(|batch| {
                batch.header.next_offset() <= bound && (at_least_one || batch.size_in_bytes() <= max)
            });
            assert!(!fits, "nothing was read although something fits");
        }
    }

    fn reopen(&mut self, end: End) {
        let (dir, log) = self.open.take().expect("open");
        match end {
            End::Clean => {
                log.close().expect("closes");
                dir.close(5).expect("closes");
                self.model.synced = self.model.batches.len();
            }
            End::Kill | End::PowerCut => drop((log, dir)),
            End::Lost { from, how } => {
                drop((log, dir));
                self.lose(from, how);
            }
            End::LostStore => {
                dir.write_kafka_checkpoints().expect("writes");
                drop((log, dir));
                std::fs::remove_dir_all(self.files.path().join(common::STORE)).expect("removes");
                self.model.known = 0;
            }
            End::LostMarker => {
                log.close().expect("closes");
                dir.close(5).expect("closes");
                std::fs::remove_file(self.files.path().join(".kafka_cleanshutdown")).expect("removes");
                self.model.synced = self.model.batches.len();
            }
        }
        if !matches!(end, End::Kill) {
            self.old_store = None;
        }
        let mut options = self.options.clone();
        options.assume_power_cut = matches!(end, End::PowerCut | End::Lost { .. });
        let (dir, log, report) = self.files.reopen(options, &config());
        assert_eq!(dir.was_clean(), matches!(end, End::Clean));
        assert!(report.truncated_bytes == 0 || matches!(end, End::Lost { .. }));
        if matches!(end, End::Clean) {
            assert_eq!(report.checked_bytes, 0);
            assert_eq!(dir.previous_broker_epoch(), Some(5));
        }
        self.open = Some((dir, log));
    }

    /// Takes from the device what was not synced, from one of its batches on. The first batch stays.
    fn lose(&mut self, from: prop::sample::Index, how: Loss) {
        if let Some(old) = self.old_store.take() {
            let store = self.files.path().join(common::STORE);
            std::fs::remove_dir_all(&store).expect("removes");
            common::copy(old.path(), &store);
            self.model.known = 0;
            // Nothing would deny what it says of lost batches, should the store be lost next.
            let _ = std::fs::remove_file(self.files.path().join("topic-0/leader-epoch-checkpoint"));
        }
        let kept = self.model.synced.max(1);
        if self.model.batches.len() <= kept {
            return;
        }
        let first = kept + from.index(self.model.batches.len() - kept);
        let lost: Vec<Stamped> = self.model.batches[first..].to_vec();
        let mut files = self.segment_files();
        // The file of the first lost batch is the last one that does not begin behind it.
        let at = files.partition_point(|(base, _)| *base <= lost[0].header.base_offset) - 1;
        let before: usize = self.model.batches[..first]
            .iter()
            .filter(|batch| batch.header.base_offset >= files[at].0)
            .map(Stamped::size_in_bytes)
            .sum();
        let size = lost[0].size_in_bytes();
        let mut bytes = std::fs::read(&files[at].1).expect("reads");
        match how {
            Loss::Nothing | Loss::File => bytes.truncate(before),
            Loss::Half => bytes.truncate(before + size / 2),
            Loss::Zeros => bytes[before..].fill(0),
            Loss::Hole => bytes[before + 20..before + size].fill(0),
        }
        std::fs::write(&files[at].1, bytes).expect("writes");
        let noticed = matches!(how, Loss::Hole) || matches!(how, Loss::File) && first < self.model.known;
        if !noticed {
            files.drain(at + 1..).for_each(|(_, path)| std::fs::remove_file(path).expect("removes"));
        }
        let start = self.model.log_start;
        if self.model.truncate(first) < start {
            // It is begun anew at its start.
            self.model.truncate(0);
            (self.model.log_start, self.model.log_end) = (start, start);
        }
        self.model.synced = self.model.batches.len();
    }

    /// Base offsets and paths of the log's files.
    fn segment_files(&self) -> Vec<(Offset, std::path::PathBuf)> {
        let entries = std::fs::read_dir(self.files.path().join("topic-0")).expect("lists");
        let paths = entries.map(|entry| entry.expect("lists").path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .map(|path| (path.file_stem().and_then(|s| s.to_str()?.parse().ok()).expect("an offset"), path))
            .collect();
        files.sort();
        files
    }

    fn check(&mut self) {
        let (start, end) = (self.model.log_start, self.model.log_end);
        let epochs = self.model.epochs();
        let size: usize = self.model.batches.iter().map(Stamped::size_in_bytes).sum();
        let log = self.log();
        assert_eq!((log.log_start(), log.log_end()), (start, end));
        let reader = log.reader();
        assert_eq!(reader.size(), size as u64);
        let expected: Vec<_> = epochs.into_iter().collect();
        let found = log.epochs();
        // Epochs that end before the log start are forgotten, the one that holds it begins there.
        let kept = found.len().min(expected.len());
        assert_eq!(
            found[found.len() - kept..].iter().map(|&(epoch, _)| epoch).collect::<Vec<_>>(),
            expected[expected.len() - kept..].iter().map(|&(epoch, _)| epoch).collect::<Vec<_>>()
        );
        assert!(matches!(reader.read(end + 1, 1, end, true), Err(ReadError::OutOfRange { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_of_batches(
        steps in prop::collection::vec(step(), 1..40),
        tail in prop_oneof![Just(0usize), Just(20_000), Just(1 << 20)],
        dont_cache in any::<bool>(),
    ) {
        let mode = if dont_cache { WriteMode::DontCache } else { WriteMode::Buffered };
        let files = TestDir::new();
        let dir = files.open(options(tail, mode));
        let log = dir.create_log(&partition(), topic_id(), Arc::new(config())).expect("creates");
        let options = options(tail, mode);
        let mut run = Run { files, options, open: Some((dir, log)), model: Model::default(), old_store: None };
        for step in &steps {
            run.step(step);
        }
        for step in [1, 10_000, 1 << 20] {
            let start = run.model.log_start;
            let expected = run.model.bytes_from(start);
            assert_eq!(read_all(&run.log().reader(), start, step), expected);
        }
        let start = run.model.log_start;
        let reader = run.log().reader();
        let loaded: Vec<u8> =
            reader.batches_from(start).flat_map(|batch| batch.expect("reads").bytes.to_vec()).collect();
        assert_eq!(loaded, run.model.bytes_from(start));
    }
}
