//! Zstandard (KIP-110), through libzstd's streaming contexts.

use std::{cell::RefCell, fmt};

use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::{Buffer, DecompressError, pool::CHUNK};

/// Contexts larger than this (a frame may ask for a window of 128 MiB) are not kept.
const KEEP: usize = 4 << 20;
/// Largest window a frame may ask for, as a power of two: libzstd's default, and what level 22 writes. The window
/// is backed by memory only as far as output fills it.
const WINDOW_LOG_MAX: u32 = 27;

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
        let context = self.context.as_mut().expect("taken only by drop");
        loop {
            if self.input.is_empty() && self.at_boundary {
                return Ok(false);
            }
            let mut source = InBuffer::around(self.input);
            let mut target = OutBuffer::around(out.room(CHUNK));
            let hint = context
                .decompress_stream(&mut target, &mut source)
                .map_err(|_| DecompressError::Corrupt("zstd bytes that do not decompress"))?;
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
