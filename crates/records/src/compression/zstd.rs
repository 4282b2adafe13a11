//! Zstandard (KIP-110), through libzstd's streaming contexts.
//!
//! A frame names the window its decoder needs, and libzstd takes that much memory before the first byte comes out.
//! Levels up to 19 need 8 MiB; a frame that asks for more (level 22 asks for 128 MiB however small the batch) is
//! decompressed in one piece instead, into a buffer that grows with what really comes out.

use std::{cell::RefCell, fmt};

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::{Buffer, DecompressError, pool::CHUNK};

/// Contexts larger than this are not kept.
const KEEP: usize = 4 << 20;
/// Largest window of a frame that is streamed, and the same as a power of two.
const WINDOW_MAX: u64 = 1 << WINDOW_LOG_MAX;
const WINDOW_LOG_MAX: u32 = 23;
/// Most that a frame with a larger window may decompress to.
const PIECE_MAX: usize = 64 << 20;
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// libzstd's error for an output that does not fit, as it comes out of a function: negated.
const OUTPUT_TOO_SMALL: usize = 70usize.wrapping_neg();

const CORRUPT: DecompressError = DecompressError::Corrupt("zstd bytes that do not decompress");

thread_local! {
    static DECODER: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    static ENCODER: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
}

/// Reads one frame or several in a row.
pub(super) struct Decoder<'a> {
    input: &'a [u8],
    context: Option<DCtx<'static>>,
    /// Between two frames, where a payload may end.
    at_boundary: bool,
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("zstd::Decoder").field("left", &self.input.len()).finish_non_exhaustive()
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let kept = DECODER.try_with(|slot| slot.borrow_mut().take()).ok().flatten();
        let mut context = kept.unwrap_or_else(DCtx::create);
        // Neither can fail: the context is between frames after the first, and the value is in range.
        let _ = context.reset(ResetDirective::SessionOnly);
        let _ = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
        Self { input, context: Some(context), at_boundary: true }
    }

    pub(super) fn fill(&mut self, out: &mut Buffer) -> Result<bool, DecompressError> {
        loop {
            if self.at_boundary {
                if self.input.is_empty() {
                    return Ok(false);
                }
                if window(self.input) > WINDOW_MAX {
                    if self.whole_frame(out)? {
                        return Ok(true);
                    }
                    continue;
                }
            }
            let context = self.context.as_mut().expect("taken only by drop");
            let mut source = InBuffer::around(self.input);
            let mut target = OutBuffer::around(out.room(CHUNK));
            let hint = context.decompress_stream(&mut target, &mut source).map_err(|_| CORRUPT)?;
            let (read, produced) = (source.pos(), target.pos());
            out.produced(produced);
            self.input = &self.input[read..];
            self.at_boundary = hint == 0;
            if produced > 0 {
                return Ok(true);
            }
            if read == 0 && !self.at_boundary {
                return Err(DecompressError::Truncated);
            }
        }
    }

    /// Decompresses the next frame in one piece.
    fn whole_frame(&mut self, out: &mut Buffer) -> Result<bool, DecompressError> {
        let size =
            zstd_safe::find_frame_compressed_size(self.input).map_err(|_| DecompressError::Truncated)?;
        let (frame, rest) = self.input.split_at_checked(size).ok_or(DecompressError::Truncated)?;
        let context = self.context.as_mut().expect("taken only by drop");
        let mut room = frame.len().saturating_mul(4).clamp(CHUNK, PIECE_MAX);
        loop {
            match context.decompress(&mut out.room(room)[..room], frame) {
                Ok(produced) => {
                    out.produced(produced);
                    self.input = rest;
                    return Ok(produced > 0);
                }
                Err(OUTPUT_TOO_SMALL) if room < PIECE_MAX => room = (room * 2).min(PIECE_MAX),
                Err(OUTPUT_TOO_SMALL) => return Err(DecompressError::TooLarge(PIECE_MAX)),
                Err(_) => return Err(CORRUPT),
            }
        }
    }
}

/// The window that the frame at the start of `input` asks for (RFC 8878, 3.1.1.1); 0 when there is no such frame.
fn window(input: &[u8]) -> u64 {
    let Some(&[flags, first]) = input.get(4..6).filter(|_| input.starts_with(&FRAME_MAGIC)) else {
        return 0;
    };
    if flags & 0x20 == 0 {
        let base = 1u64 << (10 + (first >> 3));
        return base + base / 8 * u64::from(first & 7);
    }
    // A single segment: the window is the content, whose size follows the dictionary's number.
    let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
    let len = 1 << (flags >> 6);
    let Some(size) = input.get(5 + dictionary..5 + dictionary + len) else { return 0 };
    size.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.context.take_if(|context| context.sizeof() <= KEEP) {
            let _ = DECODER.try_with(|slot| *slot.borrow_mut() = Some(context));
        }
    }
}

/// Writes one frame.
pub(super) struct Encoder {
    pub(super) out: Vec<u8>,
    context: CCtx<'static>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("zstd::Encoder").field("written", &self.out.len()).finish_non_exhaustive()
    }
}

impl Encoder {
    pub(super) fn new(level: Option<i32>, out: Vec<u8>) -> Self {
        let kept = ENCODER.try_with(|slot| slot.borrow_mut().take()).ok().flatten();
        let mut context = kept.unwrap_or_else(CCtx::create);
        let _ = context.reset(ResetDirective::SessionAndParameters);
        let _ = context
            .set_parameter(CParameter::CompressionLevel(level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)));
        Self { out, context }
    }

    pub(super) fn write(&mut self, input: &[u8]) {
        let mut source = InBuffer::around(input);
        while source.pos() < input.len() {
            self.out.reserve(CHUNK);
            let at = self.out.len();
            let mut target = OutBuffer::around_pos(&mut self.out, at);
            self.context.compress_stream(&mut target, &mut source).expect("a fresh context takes any input");
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        loop {
            self.out.reserve(CHUNK);
            let at = self.out.len();
            let mut target = OutBuffer::around_pos(&mut self.out, at);
            let left = self
                .context
                .end_stream(&mut target)
                .expect("a context that took its input can end the frame");
            if left == 0 {
                break;
            }
        }
        if self.context.sizeof() <= KEEP {
            let _ = ENCODER.try_with(|slot| *slot.borrow_mut() = Some(self.context));
        }
        self.out
    }
}
