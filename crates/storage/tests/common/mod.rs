//! What the tests share: a formatted temporary dir, a clock that stands still, batches.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses a part")]

use std::{
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use ottla_records::{Batch, BatchBuilder, BatchHeader, Codec, Producer, Stamped};
use ottla_storage::{
    Collect, DirOptions, LoadReport, Loader, Log, LogConfig, LogDir, LogReader, MetaProperties, Part,
    PartitionLoader, Slice,
};
use ottla_types::{Clock, Millis, Offset, TopicId, TopicPartition};

pub const STORE: &str = "__cluster_metadata-2147483647";

#[derive(Debug, Default)]
pub struct StoppedClock(pub AtomicI64);

impl Clock for StoppedClock {
    fn wall(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

pub struct TestDir {
    pub temporary: tempfile::TempDir,
    pub clock: Arc<StoppedClock>,
}

pub fn meta() -> MetaProperties {
    MetaProperties { cluster_id: "test".into(), node_id: 1, directory_id: None }
}

impl TestDir {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        meta().format(temporary.path()).expect("formats");
        Self { temporary, clock: Arc::default() }
    }

    pub fn path(&self) -> &std::path::Path {
        self.temporary.path()
    }

    pub fn open(&self, options: DirOptions) -> LogDir {
        LogDir::open(self.path(), options, Arc::clone(&self.clock) as Arc<dyn Clock>).expect("opens")
    }

    /// Opens the dir and its one log.
    pub fn reopen(&self, options: DirOptions, config: &LogConfig) -> (LogDir, Log, LoadReport) {
        let dir = self.open(options);
        let collect = Collect::new(config.clone());
        let report = dir.load(&collect).expect("loads");
        let mut logs = collect.into_logs();
        assert_eq!(logs.len(), 1);
        (dir, logs.remove(0), report)
    }
}

/// Copies a directory's files, not those of directories in it.
pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

pub fn partition() -> TopicPartition {
    TopicPartition::new("topic", 0)
}

pub fn topic_id() -> TopicId {
    "aaaaaaaaaaaaaaaaaaaaaA".parse().expect("an id")
}

/// A batch with a record per timestamp.
pub fn batch(
    base: Offset,
    epoch: i32,
    timestamps: &[i64],
    value: &[u8],
    producer: Producer,
    codec: Codec,
) -> Batch {
    let mut builder = BatchBuilder::new(base).leader_epoch(epoch).producer(producer).compression(codec, None);
    for timestamp in timestamps {
        builder.append(*timestamp, Some(b"k"), Some(value), &[]);
    }
    Batch::parse(&builder.build(), 0).expect("parses")
}

/// One record of `size` bytes.
pub fn simple(base: Offset, size: usize) -> Stamped {
    batch(base, 0, &[base], &vec![7; size], Producer::NONE, Codec::None).stamped()
}

pub fn bytes_of(slice: &Slice) -> Bytes {
    let mut out = BytesMut::new();
    for part in &slice.parts {
        match part {
            Part::Memory(bytes) => out.extend_from_slice(bytes),
            Part::File { file, offset, len } => {
                let mut bytes = vec![0; *len];
                file.read_exact_at(&mut bytes, *offset).expect("reads");
                out.extend_from_slice(&bytes);
            }
        }
    }
    assert_eq!(out.len(), slice.bytes);
    out.freeze()
}

/// Everything from `from` on, by reads of `step` bytes.
pub fn read_all(reader: &Arc<LogReader>, mut from: Offset, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let slice = reader.read(from, step, Offset::MAX, true).expect("reads");
        if slice.is_empty() {
            return out;
        }
        let bytes = bytes_of(&slice);
        for batch in ottla_records::batches(bytes.clone()) {
            from = batch.expect("whole batches").header.next_offset();
        }
        out.extend_from_slice(&bytes);
    }
}

/// What a recording loader was told about its log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Told {
    pub restored: Option<(Offset, Vec<u8>)>,
    pub batches: Vec<Offset>,
    pub controls: usize,
}

/// Remembers what it is told.
#[derive(Default)]
pub struct Recording {
    pub config: LogConfig,
    pub told: Arc<parking_lot::Mutex<Told>>,
    pub log: Arc<parking_lot::Mutex<Option<Log>>>,
}

/// Opens the dir and loads its one log: with what the loader was told.
pub fn load(files: &TestDir, options: DirOptions) -> (LogDir, Log, Told) {
    let dir = files.open(options);
    let recording = Recording::default();
    dir.load(&recording).expect("loads");
    let log = recording.log.lock().take().expect("there is a log");
    let told = recording.told.lock().clone();
    (dir, log, told)
}

impl Loader for Recording {
    fn begin(&self, _: &TopicPartition, _: TopicId) -> Box<dyn PartitionLoader> {
        Box::new(Self {
            config: self.config.clone(),
            told: Arc::clone(&self.told),
            log: Arc::clone(&self.log),
        })
    }
}

impl PartitionLoader for Recording {
    fn config(&self) -> Arc<LogConfig> {
        Arc::new(self.config.clone())
    }

    fn restore(&mut self, offset: Offset, snapshot: &[u8]) -> bool {
        self.told.lock().restored = Some((offset, snapshot.to_vec()));
        snapshot != b"not understood"
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<&Batch>) {
        let mut told = self.told.lock();
        told.batches.push(header.base_offset);
        told.controls += usize::from(control.is_some());
    }

    fn done(self: Box<Self>, log: Log) {
        *self.log.lock() = Some(log);
    }
}
