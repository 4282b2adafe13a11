//! The LZ4 frame format, as far as Kafka has it: one frame, independent blocks.
//!
//! Blocks go straight from the payload into the caller's buffer. A frame with dependent blocks is refused, since
//! Kafka's own readers refuse it. The content checksum, if any, is not verified (Kafka does not either; the batch has
//! its own), header and block checksums are.

use twox_hash::XxHash32;

use super::{Buffer, DecompressError};

const FRAME_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const VERSION: u8 = 0x40;
const VERSION_MASK: u8 = 0xc0;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const RESERVED: u8 = 0x03;
/// In a block's size: the block is stored as it is.
const STORED: u32 = 1 << 31;
/// What we write: 64 KiB, code 4.
const BLOCK: usize = 64 << 10;
const BLOCK_CODE: u8 = 4 << 4;

fn xxh32(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DecompressError> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(DecompressError::Truncated)?;
    Ok(u32::from_le_bytes(*four))
}

/// Reads one frame.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    input: &'a [u8],
    frame: Option<Frame>,
    finished: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    block_size: usize,
    block_checksum: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, frame: None, finished: false }
    }

    pub(super) fn fill(&mut self, out: &mut Buffer) -> Result<bool, DecompressError> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => {
                let frame = self.header()?;
                *self.frame.insert(frame)
            }
        };
        while !self.finished {
            let produced = self.block(frame, out)?;
            if produced > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn header(&mut self) -> Result<Frame, DecompressError> {
        let input = self.input;
        let flags = *input.get(4).ok_or(DecompressError::Truncated)?;
        if !input.starts_with(&FRAME_MAGIC) {
            return Err(DecompressError::Corrupt("no LZ4 frame"));
        }
        if flags & VERSION_MASK != VERSION || flags & RESERVED != 0 {
            return Err(DecompressError::Corrupt("an LZ4 frame of another version"));
        }
        if flags & INDEPENDENT == 0 {
            return Err(DecompressError::Corrupt("an LZ4 frame with dependent blocks"));
        }
        let size_code = match input.get(5).ok_or(DecompressError::Truncated)? {
            code if code & 0x8f == 0 && code >> 4 >= 4 => code >> 4,
            _ => return Err(DecompressError::Corrupt("an LZ4 block size that does not exist")),
        };
        let end = if flags & CONTENT_SIZE == 0 { 6 } else { 14 };
        let checksum = *input.get(end).ok_or(DecompressError::Truncated)?;
        if (xxh32(&input[4..end]) >> 8) as u8 != checksum {
            return Err(DecompressError::Corrupt("the LZ4 header's checksum does not fit"));
        }
        self.input = &input[end + 1..];
        Ok(Frame { block_size: 1 << (8 + 2 * size_code), block_checksum: flags & BLOCK_CHECKSUM != 0 })
    }

    /// Decompresses the next block; 0 also at the end mark.
    fn block(&mut self, frame: Frame, out: &mut Buffer) -> Result<usize, DecompressError> {
        let word = u32_at(self.input, 0)?;
        let size = (word & !STORED) as usize;
        if size == 0 {
            self.finished = true;
            return Ok(0);
        }
        if size > frame.block_size {
            return Err(DecompressError::Corrupt("an LZ4 block larger than the frame allows"));
        }
        let block = self.input.get(4..4 + size).ok_or(DecompressError::Truncated)?;
        let mut next = 4 + size;
        if frame.block_checksum {
            if u32_at(self.input, next)? != xxh32(block) {
                return Err(DecompressError::Corrupt("an LZ4 block's checksum does not fit"));
            }
            next += 4;
        }
        self.input = &self.input[next..];
        if word & STORED != 0 {
            out.push(block);
            return Ok(size);
        }
        let room = &mut out.room(frame.block_size)[..frame.block_size];
        let produced = lz4_flex::block::decompress_into(block, room)
            .map_err(|_| DecompressError::Corrupt("an LZ4 block that does not decompress"))?;
        out.produced(produced);
        Ok(produced)
    }
}

/// Writes one frame of 64 KiB blocks.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) out: Vec<u8>,
    pending: Buffer,
}

impl Encoder {
    pub(super) fn new(mut out: Vec<u8>) -> Self {
        let descriptor = [VERSION | INDEPENDENT, BLOCK_CODE];
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&descriptor);
        out.push((xxh32(&descriptor) >> 8) as u8);
        Self { out, pending: Buffer::take() }
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
        self.out.resize(at + 4 + lz4_flex::block::get_maximum_output_size(block.len()), 0);
        let size = lz4_flex::block::compress_into(block, &mut self.out[at + 4..])
            .expect("the room is the library's own upper bound");
        let word = if size < block.len() {
            size as u32
        } else {
            self.out[at + 4..at + 4 + block.len()].copy_from_slice(block);
            block.len() as u32 | STORED
        };
        self.out[at..at + 4].copy_from_slice(&word.to_le_bytes());
        self.out.truncate(at + 4 + (word & !STORED) as usize);
        self.pending.clear();
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.pending.bytes().is_empty() {
            self.block();
        }
        self.out.extend_from_slice(&[0; 4]);
        self.out
    }
}
