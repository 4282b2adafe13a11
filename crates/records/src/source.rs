//! Where the records of a batch come from: the payload itself, or a window over what the decompressor makes of it.

use crate::{
    compression::{Buffer, Codec, Decoder, DecompressError},
    error::{BatchError, RecordFault},
    header::{BatchHeader, TimestampType},
    record::{self, Fields},
    varint,
};

/// Where the records' bytes come from.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// An uncompressed payload: what is left of it.
    Plain(&'a [u8]),
    /// A compressed one, through a window.
    Stream(Box<Stream<'a>>),
}

#[derive(Debug)]
pub(crate) struct Stream<'a> {
    decoder: Decoder<'a>,
    pub(crate) window: Buffer,
    codec: Codec,
    /// How much more may come out.
    allowance: u64,
    limit: u64,
}

impl Stream<'_> {
    /// Decompresses another chunk behind what the window holds; `false` at the end.
    pub(crate) fn more(&mut self) -> Result<bool, BatchError> {
        self.window.compact();
        let before = self.window.bytes().len();
        let more = self.decoder.fill(&mut self.window).map_err(|fault| self.fault(fault))?;
        let produced = (self.window.bytes().len() - before) as u64;
        self.allowance =
            self.allowance.checked_sub(produced).ok_or(BatchError::TooLarge { limit: self.limit })?;
        Ok(more)
    }

    fn fault(&self, fault: DecompressError) -> BatchError {
        BatchError::Decompress { codec: self.codec, fault }
    }
}

/// State common to both walks.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) base_offset: i64,
    pub(crate) base_timestamp: i64,
    /// Set when the whole batch has one timestamp.
    pub(crate) append_time: Option<i64>,
    pub(crate) count: i32,
    pub(crate) index: i32,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(header: &BatchHeader, payload: &'a [u8], limit: u64) -> Result<Self, BatchError> {
        let codec = header.compression()?;
        if header.records_count < 0 {
            return Err(BatchError::Count(header.records_count));
        }
        let source = if codec == Codec::None {
            Source::Plain(payload)
        } else {
            let decoder = Decoder::new(codec, payload);
            Source::Stream(Box::new(Stream {
                decoder,
                window: Buffer::take(),
                codec,
                allowance: limit,
                limit,
            }))
        };
        let append_time =
            (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp);
        Ok(Self {
            source,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time,
            count: header.records_count,
            index: 0,
        })
    }

    #[cold]
    pub(crate) fn record_fault(&self, fault: RecordFault) -> BatchError {
        BatchError::Record { index: self.index, fault }
    }

    /// Nothing may follow the last record.
    pub(crate) fn end(&mut self) -> Result<(), BatchError> {
        let trailing = match &mut self.source {
            Source::Plain(rest) => !rest.is_empty(),
            Source::Stream(stream) => !stream.window.bytes().is_empty() || stream.more()?,
        };
        if trailing { Err(BatchError::TrailingBytes { announced: self.count }) } else { Ok(()) }
    }

    #[cold]
    pub(crate) fn too_few(&self) -> BatchError {
        BatchError::TooFewRecords { announced: self.count, found: self.index }
    }

    /// Brings the next record into reach: its body's place in the window or slice, or `None` when it is larger than
    /// `hold` bytes. Does not move on.
    #[inline]
    pub(crate) fn locate(&mut self, hold: usize) -> Result<Option<(usize, usize)>, BatchError> {
        match &mut self.source {
            Source::Plain(rest) => {
                let mut at = 0;
                match varint::read_i32(rest, &mut at).map(usize::try_from) {
                    Ok(Ok(len)) if len <= rest.len() - at => Ok(Some((at, len))),
                    Ok(_) => Err(self.record_fault(RecordFault::PastEnd)),
                    Err(_) if rest.is_empty() => Err(self.too_few()),
                    Err(fault) => Err(self.record_fault(fault)),
                }
            }
            Source::Stream(_) => self.locate_in_stream(hold),
        }
    }

    fn locate_in_stream(&mut self, hold: usize) -> Result<Option<(usize, usize)>, BatchError> {
        loop {
            let Source::Stream(stream) = &mut self.source else { unreachable!("the caller looked") };
            let bytes = stream.window.bytes();
            let mut at = 0;
            match varint::read_i32(bytes, &mut at).map(usize::try_from) {
                Ok(Ok(len)) if len <= bytes.len() - at => return Ok(Some((at, len))),
                Ok(Ok(len)) if len > hold => return Ok(None),
                Ok(Ok(_)) | Err(RecordFault::PastEnd) => {
                    let empty = bytes.is_empty();
                    if !stream.more()? {
                        return Err(if empty {
                            self.too_few()
                        } else {
                            self.record_fault(RecordFault::PastEnd)
                        });
                    }
                }
                Ok(Err(_)) => return Err(self.record_fault(RecordFault::PastEnd)),
                Err(fault) => return Err(self.record_fault(fault)),
            }
        }
    }

    /// Walks over the records that lie whole in the payload or window, giving index, fields and size of each.
    ///
    /// # Errors
    /// [`BatchError::Record`]. A record that is cut off is not an error here, the walk stops before it.
    #[inline]
    pub(crate) fn whole_records(
        &mut self,
        mut each: impl FnMut(i32, &Fields<'_>, usize),
    ) -> Result<(), BatchError> {
        let bytes = match &self.source {
            Source::Plain(rest) => *rest,
            Source::Stream(stream) => stream.window.bytes(),
        };
        let mut next = 0;
        let mut index = self.index;
        while index < self.count {
            let mut at = next;
            let Ok(len) = varint::read_i32(bytes, &mut at) else { break };
            let Some(body) = usize::try_from(len).ok().and_then(|len| bytes.get(at..at.checked_add(len)?))
            else {
                break;
            };
            let fields = record::parse(body).map_err(|fault| BatchError::Record { index, fault })?;
            each(index, &fields, body.len());
            next = at + body.len();
            index += 1;
        }
        self.index = index;
        match &mut self.source {
            Source::Plain(rest) => *rest = &rest[next..],
            Source::Stream(stream) => stream.window.consume(next),
        }
        Ok(())
    }

    /// Takes the record that `locate` found.
    #[inline]
    pub(crate) fn take(&mut self, at: usize, len: usize) -> &[u8] {
        self.index += 1;
        match &mut self.source {
            Source::Plain(rest) => {
                let (record, behind) = rest.split_at(at + len);
                *rest = behind;
                &record[at..]
            }
            Source::Stream(stream) => stream.window.take_bytes(at, len),
        }
    }

    /// What turns deltas into offsets and timestamps.
    #[inline]
    pub(crate) fn base(&self) -> Base {
        Base { offset: self.base_offset, timestamp: self.base_timestamp, append_time: self.append_time }
    }
}

/// What a record's deltas are added to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    offset: i64,
    timestamp: i64,
    append_time: Option<i64>,
}

impl Base {
    #[inline]
    pub(crate) fn offset(self, delta: i32) -> i64 {
        self.offset.wrapping_add(i64::from(delta))
    }

    #[inline]
    pub(crate) fn timestamp(self, delta: i64) -> i64 {
        self.append_time.unwrap_or(self.timestamp.wrapping_add(delta))
    }
}
