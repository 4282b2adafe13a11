//! Snappy: blocks in the framing of the Java library (a 16-byte header, then each block behind its length), or the
//! whole payload as one raw block, which other clients send and Kafka reads as well.

use super::{Buffer, DecompressError};

const FRAME_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const FRAME_HEADER: usize = 16;
/// What the Java library puts into a block.
const BLOCK: usize = 32 << 10;
/// No element of a block makes more of its bytes than this (64 bytes from a copy of three), so a block that claims
/// more is refused before memory is taken.
const MAX_RATIO: usize = 24;

/// Reads a payload.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    input: &'a [u8],
    started: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, started: false }
    }

    pub(super) fn fill(&mut self, out: &mut Buffer) -> Result<bool, DecompressError> {
        if !self.started {
            self.started = true;
            if !self.skip_header() {
                return decompress(std::mem::take(&mut self.input), out).map(|produced| produced > 0);
            }
        }
        while !self.input.is_empty() {
            if self.skip_header() {
                continue;
            }
            // Fewer bytes than a length are no block; Java's reader takes that for the end as well.
            let Some((len, rest)) = self.input.split_first_chunk::<4>() else {
                return Ok(false);
            };
            let block = rest.get(..u32::from_be_bytes(*len) as usize).ok_or(DecompressError::Truncated)?;
            self.input = &rest[block.len()..];
            if decompress(block, out)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Streams may be glued together, header and all.
    fn skip_header(&mut self) -> bool {
        let framed = self.input.len() >= FRAME_HEADER && self.input.starts_with(&FRAME_MAGIC);
        if framed {
            self.input = &self.input[FRAME_HEADER..];
        }
        framed
    }
}

fn decompress(block: &[u8], out: &mut Buffer) -> Result<usize, DecompressError> {
    let corrupt = |_| DecompressError::Corrupt("a snappy block that does not decompress");
    let size = snap::raw::decompress_len(block).map_err(corrupt)?;
    if size > block.len().saturating_mul(MAX_RATIO) {
        return Err(DecompressError::Corrupt("a snappy block that claims more than it can hold"));
    }
    let room = &mut out.room(size)[..size];
    let produced = snap::raw::Decoder::new().decompress(block, room).map_err(corrupt)?;
    out.produced(produced);
    Ok(produced)
}

/// Writes the framing of the Java library.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) out: Vec<u8>,
    pending: Buffer,
    raw: snap::raw::Encoder,
}

impl Encoder {
    pub(super) fn new(mut out: Vec<u8>) -> Self {
        out.extend_from_slice(&FRAME_MAGIC);
        // Version, and the oldest version that can read it.
        out.extend_from_slice(&1u32.to_be_bytes());
        out.extend_from_slice(&1u32.to_be_bytes());
        Self { out, pending: Buffer::take(), raw: snap::raw::Encoder::new() }
    }

    pub(super) fn write(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let (piece, rest) = input.split_at(input.len().min(BLOCK - self.pending.bytes().len()));
            self.pending.push(piece);
            input = rest;
            if self.pending.bytes().len() == BLOCK {
                self.block();
            }
        }
    }

    fn block(&mut self) {
        let block = self.pending.bytes();
        let at = self.out.len();
        self.out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let size = self
            .raw
            .compress(block, &mut self.out[at + 4..])
            .expect("the room is the library's own upper bound");
        self.out[at..at + 4].copy_from_slice(&(size as u32).to_be_bytes());
        self.out.truncate(at + 4 + size);
        self.pending.clear();
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.pending.bytes().is_empty() {
            self.block();
        }
        self.out
    }
}
