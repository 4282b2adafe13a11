//! One batch as a view of shared bytes, and the walk over several.

use bytes::Bytes;

use crate::{
    compression::Codec,
    error::BatchError,
    header::BatchHeader,
    records::{DEFAULT_RECORD_LIMIT, Entries, Records},
    stamp::Stamped,
};

/// One whole batch of format 2. Cloning shares the bytes.
///
/// `header` is the truth: [`crate::validate`] may change it (maximum timestamp, timestamp type, checksum) while the
/// first 61 of `bytes` stay as they were sent. [`Batch::stamp`] writes `header` and shares the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The header.
    pub header: BatchHeader,
    /// Header and payload as received: `header.size_in_bytes()` bytes.
    pub bytes: Bytes,
}

impl Batch {
    /// The batch that starts at byte `at` of `bytes`. The checksum is not looked at.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`]; [`BatchError::Truncated`] when the batch goes past the end.
    pub fn parse(bytes: &Bytes, at: usize) -> Result<Self, BatchError> {
        let rest = bytes.get(at..).unwrap_or_default();
        let header = BatchHeader::parse(rest)?;
        let size = header.size_in_bytes();
        if size > rest.len() {
            return Err(BatchError::Truncated { needed: size, have: rest.len() });
        }
        Ok(Self { header, bytes: bytes.slice(at..at + size) })
    }

    /// The bytes after the header: records, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(BatchHeader::LEN..).unwrap_or_default()
    }

    /// Checks the checksum over attributes and all that follows.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(self.bytes.get(BatchHeader::CRC_FROM..).unwrap_or_default());
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Crc { stored: self.header.crc, computed })
        }
    }

    /// The records, one after the other; a record may take [`DEFAULT_RECORD_LIMIT`] bytes. Nothing is allocated per
    /// record; a compressed payload is decompressed in chunks as the walk goes on.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`], [`BatchError::Count`], and what the start of a compressed payload shows.
    pub fn records(&self) -> Result<Records<'_>, BatchError> {
        Records::new(self, DEFAULT_RECORD_LIMIT)
    }

    /// As [`Batch::records`], refusing a record of more than `limit` bytes.
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn records_within(&self, limit: usize) -> Result<Records<'_>, BatchError> {
        Records::new(self, limit)
    }

    /// Offset, timestamp and sizes of each record, without key and value: constant memory whatever a record's size.
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn entries(&self) -> Result<Entries<'_>, BatchError> {
        Entries::new(self, u64::MAX)
    }

    /// How the payload is compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`].
    pub fn compression(&self) -> Result<Codec, BatchError> {
        self.header.compression()
    }

    /// The batch at its place in the log. The payload is shared, 61 bytes are written.
    #[must_use]
    pub fn stamp(&self, base_offset: i64, leader_epoch: i32) -> Stamped {
        let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..self.header };
        Stamped::new(header, self.bytes.slice(BatchHeader::LEN.min(self.bytes.len())..))
    }

    /// The batch as it stands, as a follower writes it.
    #[must_use]
    pub fn stamped(&self) -> Stamped {
        self.stamp(self.header.base_offset, self.header.partition_leader_epoch)
    }
}

/// Walks over the batches of `bytes`. Bytes that are no whole batch are an error, also at the end.
#[must_use]
pub fn batches(bytes: Bytes) -> Batches {
    Batches { bytes, at: 0, lenient: false }
}

/// Walks over the batches of `bytes` and ends silently where the last one is cut off, as in a Fetch response or a log
/// file with a torn tail. Bytes that cannot be a batch are still an error.
#[must_use]
pub fn batches_lenient(bytes: Bytes) -> Batches {
    Batches { bytes, at: 0, lenient: true }
}

/// Iterator over batches; ends after the first error.
#[derive(Clone, Debug)]
pub struct Batches {
    bytes: Bytes,
    at: usize,
    lenient: bool,
}

impl Batches {
    /// Bytes taken by the batches returned so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        match Batch::parse(&self.bytes, self.at) {
            Ok(batch) => {
                self.at += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(error) => {
                // What is left is not looked at again; `position()` still tells where it starts.
                self.bytes.truncate(self.at);
                let torn = matches!(error, BatchError::Truncated { .. });
                if self.lenient && torn { None } else { Some(Err(error)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn several_in_a_row() {
        let (a, b) = (raw(&[record(0)]).build(), raw(&[record(0), record(1)]).codec(Codec::Lz4).build());
        let both = concat(&[&a, &b]);
        let found: Result<Vec<_>, _> = batches(both.clone()).collect();
        let found = found.expect("two batches");
        assert_eq!(found.iter().map(|batch| &batch.bytes).collect::<Vec<_>>(), [&a, &b]);
        for cut in a.len() + 1..both.len() {
            let torn = both.slice(..cut);
            let results: Vec<_> = batches(torn.clone()).collect();
            assert!(results.len() == 2 && results[1].is_err(), "cut at {cut}");
            let mut lenient = batches_lenient(torn);
            assert!(lenient.by_ref().all(|result| result.is_ok()));
            assert_eq!(lenient.position(), a.len());
        }
        let wrong = concat(&[&a, &raw(&[record(0)]).magic(1)]);
        let results: Vec<_> = batches_lenient(wrong).collect();
        assert_eq!(results.len(), 2);
        assert_eq!(results[1], Err(BatchError::Magic(1)));
    }

    #[test]
    fn stamping_shares_the_payload_and_keeps_the_checksum() {
        let bytes = raw(&[record(0)]).build();
        let batch = Batch::parse(&bytes, 0).expect("a batch");
        let stamped = batch.stamp(1 << 40, 9);
        assert_eq!(stamped.rest.as_ptr(), bytes[61..].as_ptr());
        assert_eq!(stamped.size_in_bytes(), bytes.len());
        let written = stamped.to_batch();
        assert_eq!(written.verify_crc(), Ok(()));
        assert_eq!(written.header.partition_leader_epoch, 9);
        assert_eq!(batch.stamped().to_bytes(), bytes);
    }
}
