//! A record too large to hold, read through the window field by field.

use crate::{
    error::{BatchError, RecordFault},
    record::Fields,
    source::{Cursor, Source, Stream},
    varint::{self, MAX_VARLONG},
};

/// What stays of a record when key, value and headers are passed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) has_key: bool,
    pub(crate) size: usize,
}

impl Shape {
    #[inline(always)]
    pub(crate) fn of(fields: &Fields<'_>, size: usize) -> Self {
        Self {
            timestamp_delta: fields.timestamp_delta,
            offset_delta: fields.offset_delta,
            has_key: fields.key.is_some(),
            size,
        }
    }
}

/// Passes over the next record of a compressed batch, holding no more than a chunk of it. Checks what
/// [`crate::record::parse`] checks.
pub(crate) fn large_record(cursor: &mut Cursor<'_>) -> Result<Shape, BatchError> {
    let index = cursor.index;
    let Source::Stream(stream) = &mut cursor.source else {
        unreachable!("an uncompressed record is always in reach");
    };
    let mut reader = Reader { stream, left: usize::MAX, index };
    let size = reader.number(varint::read_i32)?;
    reader.left = usize::try_from(size).map_err(|_| reader.fault(RecordFault::PastEnd))?;
    let size = reader.left;
    let shape = reader.body(size)?;
    cursor.index += 1;
    Ok(shape)
}

struct Reader<'r, 'a> {
    stream: &'r mut Stream<'a>,
    /// Bytes of the record not read yet.
    left: usize,
    index: i32,
}

impl Reader<'_, '_> {
    fn body(&mut self, size: usize) -> Result<Shape, BatchError> {
        self.skip(1)?;
        let timestamp_delta = self.number(varint::read_i64)?;
        let offset_delta = self.number(varint::read_i32)?;
        let has_key = self.field()?;
        self.field()?;
        let headers = self.number(varint::read_i32)?;
        if usize::try_from(headers).map_or(true, |headers| headers > self.left / 2) {
            return Err(self.fault(RecordFault::HeaderCount));
        }
        for _ in 0..headers {
            if !self.field()? {
                return Err(self.fault(RecordFault::HeaderKey));
            }
            self.field()?;
        }
        if self.left == 0 {
            Ok(Shape { timestamp_delta, offset_delta, has_key, size })
        } else {
            Err(self.fault(RecordFault::Size))
        }
    }

    /// A number; enough of the window is filled first for the longest there is.
    fn number<N>(&mut self, read: fn(&[u8], &mut usize) -> Result<N, RecordFault>) -> Result<N, BatchError> {
        while self.stream.window.bytes().len() < MAX_VARLONG.min(self.left) && self.stream.more()? {}
        let bytes = self.stream.window.bytes();
        let bytes = &bytes[..bytes.len().min(self.left)];
        let mut at = 0;
        let number = read(bytes, &mut at).map_err(|fault| BatchError::Record { index: self.index, fault })?;
        self.stream.window.consume(at);
        self.left -= at;
        Ok(number)
    }

    /// A length and that many bytes; `false` for none.
    fn field(&mut self) -> Result<bool, BatchError> {
        match usize::try_from(self.number(varint::read_i32)?) {
            Ok(len) => self.skip(len).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn skip(&mut self, mut len: usize) -> Result<(), BatchError> {
        self.left = self.left.checked_sub(len).ok_or_else(|| self.fault(RecordFault::PastEnd))?;
        loop {
            let there = self.stream.window.bytes().len().min(len);
            self.stream.window.consume(there);
            len -= there;
            if len == 0 {
                return Ok(());
            }
            if !self.stream.more()? {
                return Err(self.fault(RecordFault::PastEnd));
            }
        }
    }

    fn fault(&self, fault: RecordFault) -> BatchError {
        BatchError::Record { index: self.index, fault }
    }
}
