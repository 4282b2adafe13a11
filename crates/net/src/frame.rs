//! What is sent back: a whole response, in pieces that are not copied together.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

/// A piece of a response.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file, sent by the kernel without passing through this process where the transport allows.
    File {
        /// The file; kept open by this handle also when it is deleted meanwhile.
        file: Arc<File>,
        /// Where the range starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: usize,
    },
}

impl Part {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// True when nothing would be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A whole response, its four-byte length prefix included.
#[derive(Clone, Debug, Default)]
pub struct Frame(pub SmallVec<[Part; 2]>);

impl Frame {
    /// Length in bytes, prefix included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Part::len).sum()
    }

    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self(SmallVec::from_iter([Part::Bytes(bytes)]))
    }
}
