//! What a log and a log dir are told: values that were read at the edge.

/// One log's settings, named as Kafka's topic configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would grow beyond this many bytes.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when a record this much younger than its first arrives.
    pub segment_ms: i64,
    /// What is taken off `segment_ms` for this log: already drawn, between 0 and `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when Kafka's time index of this size would be full.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log per index entry; at least 1 KiB is used.
    pub index_interval_bytes: u32,
    /// `preallocate`: reserve `segment.bytes` on the disk when a segment is begun. The file's size stays what was
    /// written.
    pub preallocate: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            preallocate: false,
        }
    }
}

/// How an append reaches the kernel. Either way it has left the process when the append returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// Through the page cache, written back when the kernel likes.
    #[default]
    Buffered,
    /// `RWF_DONTCACHE` (Linux 6.14) for appends of 256 KiB and more: written back at once, their pages dropped after.
    /// Falls back to `Buffered` where the kernel or the file system refuses it.
    DontCache,
}

/// How a log dir is opened.
#[derive(Clone, Debug)]
pub struct DirOptions {
    /// How appends reach the kernel.
    pub write_mode: WriteMode,
    /// Bytes of recently appended batches kept in memory for all logs of the dir together; 0 turns it off.
    pub tail_bytes: usize,
    /// Segment files held open at a time; the least used are closed. The broker derives it from the limit on open files.
    pub max_open_files: usize,
    /// `num.recovery.threads.per.data.dir`; 0 takes one per processor.
    pub recovery_threads: usize,
    /// Take it that the power was cut since the last run, whatever the boot id says (tests). The boot that begins so lasts
    /// until this is given again.
    pub assume_power_cut: bool,
}

impl Default for DirOptions {
    fn default() -> Self {
        Self {
            write_mode: WriteMode::Buffered,
            tail_bytes: 32 << 20,
            max_open_files: 900,
            recovery_threads: 0,
            assume_power_cut: false,
        }
    }
}
