//! Reading for Fetch: from the published view and the log's shared side.

use ottla_net::Part;
use ottla_partition::{AbortedTransaction, EpochEnd};
use ottla_storage::{self as storage, Slice};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset};
use smallvec::SmallVec;

use crate::{Replica, View};

/// Who reads, which bounds what may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// Below the high watermark.
    Uncommitted,
    /// Below the last stable offset.
    Committed,
    /// Below the log end.
    Follower(NodeId),
}

impl ReadAs {
    /// The offset that may not be read any more.
    #[must_use]
    pub fn bound(self, view: &View) -> Offset {
        match self {
            Self::Uncommitted => view.high_watermark,
            Self::Committed => view.last_stable_offset,
            Self::Follower(_) => view.log_end,
        }
    }
}

/// One partition of a Fetch.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// Read from the batch that holds this offset.
    pub from: Offset,
    /// Give no more bytes than this.
    pub max_bytes: usize,
    /// But the first batch in any case.
    pub at_least_one_batch: bool,
    /// Who reads.
    pub reader: ReadAs,
    /// Only the leader may answer. Consumers that know follower fetching (KIP-392) are served by followers too, up to
    /// the high watermark these have heard of.
    pub leader_only: bool,
    /// The leader epoch the reader believes in; -1 for none.
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of the last record the reader has; -1 for none.
    pub last_fetched_epoch: LeaderEpoch,
}

/// What a partition has to say to a Fetch.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// [`ErrorCode::NONE`], or one that consumers know what to do with.
    pub error: ErrorCode,
    /// Offsets at the time of the read. Also set with an error.
    pub view: View,
    /// Whole batches.
    pub records: SmallVec<[Part; 2]>,
    /// Bytes of them.
    pub bytes: usize,
    /// The reader's history differs from here on; no records then.
    pub diverging: Option<EpochEnd>,
    /// For read_committed: aborted transactions among the records.
    pub aborted: Option<Vec<AbortedTransaction>>,
}

impl Fetched {
    fn nothing(view: View, error: ErrorCode) -> Self {
        Self { error, view, records: SmallVec::new(), bytes: 0, diverging: None, aborted: None }
    }

    /// Whether a long poll must not wait because of this partition: an error, or news for a follower.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.error != ErrorCode::NONE || self.diverging.is_some()
    }
}

impl Replica {
    /// Reads for a Fetch.
    #[must_use]
    pub fn read(&self, request: &ReadRequest) -> Fetched {
        let view = self.view();
        let refuse = |error| Fetched::nothing(view, error);
        if self.place().dir.is_offline() {
            return refuse(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        if let Err(code) = Self::check_epoch(&view, request.current_leader_epoch) {
            return refuse(code);
        }
        if request.leader_only && !view.is_leader {
            return refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if request.last_fetched_epoch >= 0 {
            match self.divergence(request) {
                Ok(None) => {}
                Ok(Some(end)) => return Fetched { diverging: Some(end), ..refuse(ErrorCode::NONE) },
                Err(code) => return refuse(code),
            }
        }
        // Out of range is what lies outside of the log, not what lies above the high watermark.
        if request.from < view.log_start || request.from > view.log_end {
            return refuse(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let bound = request.reader.bound(&view);
        let slice = if request.from >= bound {
            Ok(Slice::default())
        } else {
            self.ask_log(|log| log.read(request.from, request.max_bytes, bound, request.at_least_one_batch))
        };
        match slice {
            Ok(slice) => self.found(view, request, slice),
            Err(code) => refuse(code),
        }
    }

    fn divergence(&self, request: &ReadRequest) -> Result<Option<EpochEnd>, ErrorCode> {
        self.with(|owned| {
            let log_end = owned.partition.log_end();
            let end = owned.partition.epochs().divergence(request.last_fetched_epoch, request.from, log_end);
            match end {
                // Kafka answers an epoch it cannot place as out of range.
                Some(end) if end == EpochEnd::UNKNOWN => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
                end => Ok(end),
            }
        })
    }

    fn found(&self, view: View, request: &ReadRequest, slice: Slice) -> Fetched {
        let aborted = (request.reader == ReadAs::Committed).then(|| {
            // The common case, without a lock.
            if slice.is_empty() || !view.has_aborted {
                return Vec::new();
            }
            self.with(|owned| {
                owned.partition.producers().aborted(request.from, view.last_stable_offset).collect()
            })
        });
        Fetched {
            records: slice.parts.into_iter().map(part).collect(),
            bytes: slice.bytes,
            aborted,
            ..Fetched::nothing(view, ErrorCode::NONE)
        }
    }
}

fn part(part: storage::Part) -> Part {
    match part {
        storage::Part::Memory(bytes) => Part::Bytes(bytes),
        storage::Part::File { file, offset, len } => Part::File { file, offset, len },
    }
}
