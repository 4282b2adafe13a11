//! One record inside a batch: its fields as slices of the bytes it stands in.

use crate::{error::RecordFault, varint};

/// A record, borrowed from the batch (or from the chunk of it that was decompressed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Position in the partition.
    pub offset: i64,
    /// In ms since the epoch; the batch's append time when that is the batch's timestamp type.
    pub timestamp: i64,
    /// No bit is in use.
    pub attributes: u8,
    /// `None` when the record has no key.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates kept.
    pub headers: Headers<'a>,
}

/// One header of a record. The key should be UTF-8; nobody checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name.
    pub key: &'a [u8],
    /// `None` when the header has no value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record: an iterator over checked bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: u32,
}

impl Headers<'_> {
    /// Whether there is none (left).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut at = 0;
        // The record was walked to its end before this view was handed out, so nothing here can fail.
        let key = field(self.bytes, &mut at).ok()??;
        let value = field(self.bytes, &mut at).ok()?;
        self.bytes = self.bytes.get(at..).unwrap_or_default();
        Some(Header { key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The fields of a record before the batch's base is added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) attributes: u8,
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

/// Reads the body of a record (what follows its length field): all of `body`, checked to its end.
#[inline(always)]
pub(crate) fn parse(body: &[u8]) -> Result<Fields<'_>, RecordFault> {
    let attributes = *body.first().ok_or(RecordFault::PastEnd)?;
    let mut at = 1;
    let timestamp_delta = varint::read_i64(body, &mut at)?;
    let offset_delta = varint::read_i32(body, &mut at)?;
    let key = field(body, &mut at)?;
    let value = field(body, &mut at)?;
    let count = varint::read_i32(body, &mut at)?;
    let headers = headers(body.get(at..).unwrap_or_default(), count)?;
    Ok(Fields { attributes, timestamp_delta, offset_delta, key, value, headers })
}

/// A length and that many bytes; a negative length is no value.
#[inline(always)]
fn field<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, RecordFault> {
    let Ok(len) = usize::try_from(varint::read_i32(bytes, at)?) else {
        return Ok(None);
    };
    let field = bytes.get(*at..).and_then(|rest| rest.get(..len)).ok_or(RecordFault::PastEnd)?;
    *at += len;
    Ok(Some(field))
}

/// Checks that `bytes` is exactly `count` headers.
#[inline(always)]
fn headers(bytes: &[u8], count: i32) -> Result<Headers<'_>, RecordFault> {
    if count == 0 {
        return if bytes.is_empty() { Ok(Headers::default()) } else { Err(RecordFault::Size) };
    }
    walk_headers(bytes, count)
}

fn walk_headers(bytes: &[u8], count: i32) -> Result<Headers<'_>, RecordFault> {
    let left = u32::try_from(count).map_err(|_| RecordFault::HeaderCount)?;
    // A header takes two bytes at least.
    if left as usize > bytes.len() / 2 {
        return Err(RecordFault::HeaderCount);
    }
    let mut at = 0;
    for _ in 0..left {
        if field(bytes, &mut at)?.is_none() {
            return Err(RecordFault::HeaderKey);
        }
        field(bytes, &mut at)?;
    }
    if at == bytes.len() { Ok(Headers { bytes, left }) } else { Err(RecordFault::Size) }
}
