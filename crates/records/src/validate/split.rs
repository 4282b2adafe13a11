//! From the bytes of a partition to its one batch.

use bytes::Bytes;
use ottla_types::ErrorCode;

use super::{Origin, ProduceRules, refusal::Refusal};
use crate::{
    batch::Batch,
    compression::Codec,
    error::BatchError,
    header::BatchHeader,
    legacy::{self, Peek},
};

/// First version of Produce whose clients know zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// Where the low byte of a batch's attributes is.
const ATTRIBUTES_AT: usize = 22;
const TRANSACTIONAL: u8 = 0x10;

/// What makes Kafka refuse the whole Produce request because of these records of one partition: the entry they start
/// with has an impossible length or magic. Every partition of the request is then answered with this code.
#[must_use]
pub fn request_fault(records: &[u8]) -> Option<Refusal> {
    match legacy::peek(records) {
        Peek::BadSize(size) => Some(bad_size(size)),
        Peek::BadMagic(magic) => Some(bad_magic(magic)),
        _ => None,
    }
}

/// Whether the first batch of these records is part of a transaction; Kafka refuses the whole Produce request with
/// TRANSACTIONAL_ID_AUTHORIZATION_FAILED (53) when one is and the request names no transactional id it may use.
#[must_use]
pub fn is_transactional(records: &[u8]) -> bool {
    matches!(legacy::peek(records), Peek::Whole { magic: 2, .. })
        && records.get(ATTRIBUTES_AT).is_some_and(|attributes| attributes & TRANSACTIONAL != 0)
}

fn bad_size(size: i32) -> Refusal {
    let message = format!("a batch cannot have a length field of {size}");
    // Kafka adds what is before the length field in 32 bits and stumbles over the overflow.
    let overflows = size > i32::MAX - BatchHeader::LOG_OVERHEAD as i32;
    let code = if overflows { ErrorCode::UNKNOWN_SERVER_ERROR } else { ErrorCode::CORRUPT_MESSAGE };
    Refusal::new(code, message)
}

fn bad_magic(magic: i8) -> Refusal {
    Refusal::corrupt(format!("no record format has the magic {magic}"))
}

/// The one batch of format 2 in `records`, its size and checksum verified.
pub(super) fn only_batch(records: &Bytes, rules: &ProduceRules<'_>) -> Result<Batch, Refusal> {
    let version = rules.version;
    let size = match legacy::peek(records) {
        Peek::BadSize(size) => return Err(bad_size(size)),
        Peek::BadMagic(magic) => return Err(bad_magic(magic)),
        Peek::Partial => {
            return Err(Refusal::invalid(format!("Produce version {version} needs a whole record batch")));
        }
        Peek::Whole { magic, .. } if magic != crate::MAGIC => {
            return Err(Refusal::invalid(format!(
                "Produce version {version} takes record batches of magic 2, not {magic}"
            )));
        }
        Peek::Whole { codec, .. } if codec == Codec::Zstd.code() && version < ZSTD_FROM => {
            return Err(Refusal::new(
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                format!("zstd needs Produce version {ZSTD_FROM}, this is version {version}"),
            ));
        }
        Peek::Whole { size, .. } => size,
    };
    nothing_behind(&records[size..], version)?;
    let bytes = records.slice(..size);
    check_base_and_size(&bytes, rules)?;
    let header = BatchHeader::parse(&bytes).map_err(|error| corrupt(&error, rules))?;
    let batch = Batch { header, bytes };
    batch.verify_crc().map_err(|error| corrupt(&error, rules))?;
    Ok(batch)
}

/// Another whole batch is refused; bytes that are not one are left out, as Kafka does.
fn nothing_behind(rest: &[u8], version: i16) -> Result<(), Refusal> {
    match legacy::peek(rest) {
        Peek::Partial => Ok(()),
        Peek::BadSize(size) => Err(bad_size(size)),
        Peek::BadMagic(magic) => Err(bad_magic(magic)),
        Peek::Whole { .. } => {
            Err(Refusal::invalid(format!("Produce version {version} takes one record batch per partition")))
        }
    }
}

fn check_base_and_size(bytes: &Bytes, rules: &ProduceRules<'_>) -> Result<(), Refusal> {
    // A batch shorter than its header still has its base offset, and is judged by it first.
    let base_offset = bytes.first_chunk().map_or(0, |chunk| i64::from_be_bytes(*chunk));
    if rules.origin == Origin::Client && base_offset != 0 {
        let partition = rules.partition;
        return Err(Refusal::invalid(format!(
            "the base offset of a batch for {partition} is 0, not {base_offset}"
        )));
    }
    if bytes.len() > rules.max_message_bytes {
        let limit = rules.max_message_bytes as u64;
        return Err(Refusal::too_large(bytes.len() as u64, limit, "a batch"));
    }
    Ok(())
}

fn corrupt(error: &BatchError, rules: &ProduceRules<'_>) -> Refusal {
    Refusal::corrupt(format!("a batch for {} is corrupt: {error}", rules.partition))
}
