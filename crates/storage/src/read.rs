//! What a read answers.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use ottla_types::Offset;
use smallvec::SmallVec;

/// A run of bytes to be sent.
#[derive(Clone, Debug)]
pub enum Part {
    /// Recently appended, still in memory.
    Memory(Bytes),
    /// A range of a segment file. The file stays open as long as this does, also when the log closes or deletes it.
    File {
        /// The segment.
        file: Arc<File>,
        /// First byte of the range.
        offset: u64,
        /// Bytes of it.
        len: usize,
    },
}

impl Part {
    /// Bytes of the part.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whole batches, in order.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// The bytes, to be sent one after the other.
    pub parts: SmallVec<[Part; 2]>,
    /// Bytes of all parts.
    pub bytes: usize,
    /// Base offset of the first batch: at or before what was asked for. 0 when there is none.
    pub first_batch_offset: Offset,
}

impl Slice {
    /// True when it holds no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}
