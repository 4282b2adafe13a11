//! Gzip (RFC 1952): one member or several in a row; what follows the last is ignored, as Java ignores it.

use std::{cell::RefCell, fmt};

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Buffer, DecompressError, pool::CHUNK};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
/// Checksum and length of the uncompressed bytes.
const TRAILER: usize = 8;

thread_local! {
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// Reads a payload.
pub(super) struct Decoder<'a> {
    input: &'a [u8],
    inflate: Option<Decompress>,
    crc: Crc,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FirstHeader,
    Member,
    /// The member's bytes are out; its trailer is looked at when more are asked for, so that what is wrong with
    /// the bytes is found first, as by Kafka.
    Trailer,
    Finished,
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("gzip::Decoder").field("left", &self.input.len()).field("state", &self.state).finish()
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let kept = INFLATE.try_with(|slot| slot.borrow_mut().take()).ok().flatten();
        let inflate = Some(kept.unwrap_or_else(|| Decompress::new(false)));
        Self { input, inflate, crc: Crc::new(), state: State::FirstHeader }
    }

    pub(super) fn fill(&mut self, out: &mut Buffer) -> Result<bool, DecompressError> {
        loop {
            match self.state {
                State::Finished => return Ok(false),
                State::FirstHeader => self.begin_member()?,
                State::Member => {
                    if self.inflate(out)? > 0 {
                        return Ok(true);
                    }
                }
                State::Trailer => self.end_member()?,
            }
        }
    }

    fn begin_member(&mut self) -> Result<(), DecompressError> {
        let header = header_len(self.input)?;
        self.input = &self.input[header..];
        self.inflate.as_mut().expect("taken only by drop").reset(false);
        self.crc.reset();
        self.state = State::Member;
        Ok(())
    }

    /// One step of the member.
    fn inflate(&mut self, out: &mut Buffer) -> Result<usize, DecompressError> {
        let inflate = self.inflate.as_mut().expect("taken only by drop");
        let room = out.room(CHUNK);
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(self.input, room, FlushDecompress::None)
            .map_err(|_| DecompressError::Corrupt("gzip bytes that do not decompress"))?;
        let read = (inflate.total_in() - read) as usize;
        let written = (inflate.total_out() - written) as usize;
        self.crc.update(&room[..written]);
        out.produced(written);
        self.input = &self.input[read..];
        if status == Status::StreamEnd {
            self.state = State::Trailer;
        } else if read == 0 && written == 0 {
            return Err(DecompressError::Truncated);
        }
        Ok(written)
    }

    fn end_member(&mut self) -> Result<(), DecompressError> {
        let (trailer, rest) = self.input.split_first_chunk::<TRAILER>().ok_or(DecompressError::Truncated)?;
        let [a, b, c, d, e, f, g, h] = *trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum()
            || u32::from_le_bytes([e, f, g, h]) != self.crc.amount()
        {
            return Err(DecompressError::Corrupt("a gzip checksum that does not fit"));
        }
        self.input = rest;
        self.state = State::Finished;
        if header_len(rest).is_ok() {
            self.begin_member()?;
        }
        Ok(())
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        let _ = INFLATE.try_with(|slot| *slot.borrow_mut() = self.inflate.take());
    }
}

/// Bytes before the deflate stream.
fn header_len(input: &[u8]) -> Result<usize, DecompressError> {
    let fixed = input.first_chunk::<10>().ok_or(DecompressError::Truncated)?;
    let flags = fixed[3];
    if !fixed.starts_with(&MAGIC) || fixed[2] != DEFLATE {
        return Err(DecompressError::Corrupt("no gzip header"));
    }
    let mut at = fixed.len();
    if flags & EXTRA != 0 {
        let len =
            input.get(at..).and_then(|rest| rest.first_chunk::<2>()).ok_or(DecompressError::Truncated)?;
        at += 2 + usize::from(u16::from_le_bytes(*len));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let text = input.get(at..).ok_or(DecompressError::Truncated)?;
            at += 1 + text.iter().position(|&b| b == 0).ok_or(DecompressError::Truncated)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        at += 2;
    }
    if at <= input.len() { Ok(at) } else { Err(DecompressError::Truncated) }
}

/// Writes one member.
pub(super) struct Encoder {
    pub(super) out: Vec<u8>,
    deflate: Compress,
    crc: Crc,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("gzip::Encoder").field("written", &self.out.len()).finish_non_exhaustive()
    }
}

impl Encoder {
    pub(super) fn new(level: Option<i32>, mut out: Vec<u8>) -> Self {
        let level = match level.and_then(|level| u32::try_from(level).ok()) {
            Some(level) => Compression::new(level.min(9)),
            None => Compression::default(),
        };
        out.extend_from_slice(&[MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, 0xff]);
        Self { out, deflate: Compress::new(level, false), crc: Crc::new() }
    }

    pub(super) fn write(&mut self, mut input: &[u8]) {
        self.crc.update(input);
        while !input.is_empty() {
            let read = self.step(input, FlushCompress::None).0;
            input = &input[read..];
        }
    }

    fn step(&mut self, input: &[u8], flush: FlushCompress) -> (usize, Status) {
        self.out.reserve(CHUNK);
        let before = self.deflate.total_in();
        let status = self
            .deflate
            .compress_vec(input, &mut self.out, flush)
            .expect("deflate fails only when it is used after its end");
        ((self.deflate.total_in() - before) as usize, status)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        while self.step(&[], FlushCompress::Finish).1 != Status::StreamEnd {}
        self.out.extend_from_slice(&self.crc.sum().to_le_bytes());
        self.out.extend_from_slice(&self.crc.amount().to_le_bytes());
        self.out
    }
}
