//! Why a batch is not appended.

use ottla_types::ErrorCode;

use crate::error::BatchError;

/// What goes into the partition's part of the Produce response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The partition's error code.
    pub code: ErrorCode,
    /// The partition's `error_message` (version 8 on).
    pub message: String,
    /// The records at fault, as (index in the batch, message) (KIP-467); empty when the batch as a whole is.
    pub record_errors: Vec<(i32, Option<String>)>,
}

impl Refusal {
    /// A refusal of the batch as a whole.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_RECORD, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::CORRUPT_MESSAGE, message)
    }

    pub(crate) fn too_large(size: u64, limit: u64, what: &str) -> Self {
        let message = format!("{what} of {size} bytes is larger than the topic allows ({limit} bytes)");
        Self::new(ErrorCode::MESSAGE_TOO_LARGE, message)
    }

    /// The answer to what the walk over a batch found.
    pub(crate) fn of_batch(error: &BatchError) -> Self {
        let code = match error {
            BatchError::Crc { .. } | BatchError::Length(_) | BatchError::Truncated { .. } => {
                ErrorCode::CORRUPT_MESSAGE
            }
            BatchError::UnknownCodec(_) | BatchError::Decompress { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
            BatchError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            BatchError::Magic(_)
            | BatchError::Count(_)
            | BatchError::Record { .. }
            | BatchError::TooFewRecords { .. }
            | BatchError::TrailingBytes { .. } => ErrorCode::INVALID_RECORD,
        };
        Self::new(code, error.to_string())
    }
}

/// Collects the records at fault while the walk goes on.
#[derive(Debug)]
pub(crate) struct RecordErrors {
    errors: Vec<(i32, Option<String>)>,
    /// Bounds the answer by what was sent; no uncompressed batch reaches it.
    most: usize,
    total: u64,
    timestamp: bool,
}

/// Bytes of the smallest record.
const SMALLEST_RECORD: usize = 7;
/// Records at fault that are always listed, however well the batch was compressed.
const ALWAYS_LISTED: usize = 1000;
/// Records at fault that the partition's message repeats.
const IN_MESSAGE: usize = 3;

impl RecordErrors {
    pub(crate) fn new(batch_size: usize) -> Self {
        Self {
            errors: Vec::new(),
            most: ALWAYS_LISTED + batch_size / SMALLEST_RECORD,
            total: 0,
            timestamp: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The record at `index` has a timestamp that is not allowed.
    #[cold]
    pub(crate) fn timestamp(&mut self, index: i32, message: impl FnOnce() -> String) {
        self.timestamp = true;
        self.add(index, message);
    }

    /// The record at `index` is not allowed for another reason.
    #[cold]
    pub(crate) fn add(&mut self, index: i32, message: impl FnOnce() -> String) {
        self.total += 1;
        if self.errors.len() < self.most {
            self.errors.push((index, Some(message())));
        }
    }

    /// The refusal, when a record was at fault. One bad timestamp makes the whole answer INVALID_TIMESTAMP.
    pub(crate) fn into_result(self) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        let first: Vec<_> =
            self.errors.iter().take(IN_MESSAGE).filter_map(|(_, text)| text.as_deref()).collect();
        let more = if self.total as usize > first.len() { ", ..." } else { "" };
        let message =
            format!("{} of the batch's records are refused: {}{more}", self.total, first.join(", "));
        let code = if self.timestamp { ErrorCode::INVALID_TIMESTAMP } else { ErrorCode::INVALID_RECORD };
        Err(Refusal { code, message, record_errors: self.errors })
    }
}
