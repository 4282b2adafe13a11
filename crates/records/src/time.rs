//! Finds records by timestamp, exact to the record.

use crate::{
    batch::Batch,
    error::BatchError,
    header::{NO_TIMESTAMP, TimestampType},
};

/// The first record of the batch with a timestamp of `timestamp` or later, as (offset, timestamp). A batch that does
/// not parse has none; [`try_find`] tells the difference.
#[must_use]
pub fn find(batch: &Batch, timestamp: i64) -> Option<(i64, i64)> {
    try_find(batch, timestamp).ok().flatten()
}

/// As [`find`].
///
/// # Errors
/// What is wrong with the batch, up to the record found: the rest is not walked.
pub fn try_find(batch: &Batch, timestamp: i64) -> Result<Option<(i64, i64)>, BatchError> {
    if batch.header.max_timestamp < timestamp {
        return Ok(None);
    }
    let mut entries = batch.entries()?;
    while let Some(entry) = entries.try_next()? {
        if entry.timestamp >= timestamp {
            return Ok(Some((entry.offset, entry.timestamp)));
        }
    }
    Ok(None)
}

/// The first record with the batch's largest timestamp, as (offset, timestamp) (KIP-734). `None` for a batch without
/// records or timestamps.
///
/// # Errors
/// What is wrong with the batch.
pub fn find_max(batch: &Batch) -> Result<Option<(i64, i64)>, BatchError> {
    if batch.header.max_timestamp == NO_TIMESTAMP {
        return Ok(None);
    }
    if batch.header.timestamp_type() == TimestampType::LogAppendTime {
        return try_find(batch, batch.header.max_timestamp);
    }
    let mut best: Option<(i64, i64)> = None;
    let mut entries = batch.entries()?;
    while let Some(entry) = entries.try_next()? {
        if best.is_none_or(|(_, timestamp)| entry.timestamp > timestamp) {
            best = Some((entry.offset, entry.timestamp));
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests;
