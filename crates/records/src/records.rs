//! The walk over the records of one batch, compressed or not, without allocating per record.

use crate::{
    batch::Batch,
    error::{BatchError, RecordFault},
    record::{self, RecordView},
    skip,
    source::{Base, Cursor},
};

/// Bytes a single record may take in [`Batch::records`]: larger than any frame a broker takes by default.
pub const DEFAULT_RECORD_LIMIT: usize = 128 << 20;

/// What [`Entries`] holds of one record before it goes over to skipping.
const HOLD: usize = 256 << 10;

/// The records of a batch, each borrowed until the next is asked for.
///
/// ```
/// # use ottla_records::{Batch, BatchBuilder, BatchError};
/// # fn main() -> Result<(), BatchError> {
/// let mut builder = BatchBuilder::new(0);
/// builder.append(1000, None, Some(b"hello"), &[]);
/// let batch = Batch::parse(&builder.build(), 0)?;
/// let mut records = batch.records()?;
/// while let Some(record) = records.try_next()? {
///     assert_eq!((record.offset, record.timestamp, record.value), (0, 1000, Some(&b"hello"[..])));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    base: Base,
    limit: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(batch: &'a Batch, limit: usize) -> Result<Self, BatchError> {
        Self::bounded(batch, limit, u64::MAX)
    }

    /// Refuses a record of more than `limit` bytes, and a payload that decompresses to more than `total` bytes.
    pub(crate) fn bounded(batch: &'a Batch, limit: usize, total: u64) -> Result<Self, BatchError> {
        let cursor = Cursor::new(&batch.header, batch.payload(), total)?;
        Ok(Self { base: cursor.base(), cursor, limit })
    }

    /// The next record, or `None` after the last.
    ///
    /// # Errors
    /// [`BatchError::Record`], [`BatchError::TooFewRecords`], [`BatchError::TrailingBytes`],
    /// [`BatchError::Decompress`], and [`BatchError::TooLarge`] for a record beyond the limit. After an error the walk
    /// is at its end.
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<RecordView<'_>>, BatchError> {
        let index = self.cursor.index;
        if index == self.cursor.count {
            return self.cursor.end().map(|()| None);
        }
        let Some((at, len)) = self.cursor.locate(self.limit)? else {
            return Err(BatchError::TooLarge { limit: self.limit as u64 });
        };
        let base = self.base;
        let fields =
            record::parse(self.cursor.take(at, len)).map_err(|fault| BatchError::Record { index, fault })?;
        Ok(Some(RecordView {
            offset: base.offset(fields.offset_delta),
            timestamp: base.timestamp(fields.timestamp_delta),
            attributes: fields.attributes,
            key: fields.key,
            value: fields.value,
            headers: fields.headers,
        }))
    }
}

/// What a walk without keys and values tells of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the partition.
    pub offset: i64,
    /// Offset minus the batch's base offset, as written.
    pub offset_delta: i32,
    /// In ms; the batch's append time when that is its timestamp type.
    pub timestamp: i64,
    /// Whether there is a key.
    pub has_key: bool,
    /// Bytes of the record without its length field.
    pub size: usize,
}

impl Entry {
    #[inline(always)]
    fn new(base: Base, shape: skip::Shape) -> Self {
        Self {
            offset: base.offset(shape.offset_delta),
            offset_delta: shape.offset_delta,
            timestamp: base.timestamp(shape.timestamp_delta),
            has_key: shape.has_key,
            size: shape.size,
        }
    }
}

/// The records of a batch without keys and values: every field is checked, nothing large is held.
#[derive(Debug)]
pub struct Entries<'a> {
    cursor: Cursor<'a>,
    base: Base,
}

impl<'a> Entries<'a> {
    /// Refuses a payload that decompresses to more than `limit` bytes.
    pub(crate) fn new(batch: &'a Batch, limit: u64) -> Result<Self, BatchError> {
        let cursor = Cursor::new(&batch.header, batch.payload(), limit)?;
        Ok(Self { base: cursor.base(), cursor })
    }

    /// The next record, or `None` after the last.
    ///
    /// # Errors
    /// As [`Records::try_next`].
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<Entry>, BatchError> {
        let index = self.cursor.index;
        if index == self.cursor.count {
            return self.cursor.end().map(|()| None);
        }
        let shape = match self.cursor.locate(HOLD)? {
            Some((at, len)) => {
                let fields = record::parse(self.cursor.take(at, len));
                fields
                    .map(|fields| skip::Shape::of(&fields, len))
                    .map_err(|fault| self.fault(index, fault))?
            }
            None => skip::large_record(&mut self.cursor)?,
        };
        Ok(Some(Entry::new(self.base, shape)))
    }

    /// All (remaining) records with their index in the batch; the fastest way, for checks that need every record.
    ///
    /// # Errors
    /// As [`Records::try_next`].
    pub fn for_each(mut self, mut each: impl FnMut(i32, Entry)) -> Result<(), BatchError> {
        loop {
            let base = self.base;
            // All that lie whole in the payload, or in the window over what was decompressed.
            self.cursor.whole_records(|index, fields, size| {
                each(index, Entry::new(base, skip::Shape::of(fields, size)));
            })?;
            // At the end, or at a record that needs the next chunk, or at one that is broken.
            let index = self.cursor.index;
            match self.try_next()? {
                Some(entry) => each(index, entry),
                None => return Ok(()),
            }
        }
    }

    #[cold]
    fn fault(&self, index: i32, fault: RecordFault) -> BatchError {
        BatchError::Record { index, fault }
    }
}

#[cfg(test)]
mod tests;
