//! The codecs of record batches, streaming both ways.
//!
//! [`Decoder`] hands out a payload chunk by chunk, so that who walks it holds one chunk; [`Encoder`] takes it piece by
//! piece. Contexts and buffers stay with the thread that used them (see `pool`), so a batch costs no allocation once
//! a thread is warm.

mod gzip;
mod lz4;
mod pool;
mod snappy;
mod zstd;

use std::fmt;

pub(crate) use pool::Buffer;

/// How a payload is compressed: the code in bits 0 to 2 of a batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Blocks in the framing of the Java library, or one raw block.
    Snappy,
    /// The LZ4 frame format with independent blocks.
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

impl Codec {
    /// The codec of a code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].get(usize::from(code)).copied()
    }

    /// The code of the codec.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Kafka's name of the codec, as in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a payload does not decompress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The compressed bytes end too early.
    #[error("the compressed bytes end too early")]
    Truncated,
    /// The compressed bytes are not what the codec writes.
    #[error("{0}")]
    Corrupt(&'static str),
    /// More would come out than the caller allows.
    #[error("more than {0} bytes come out")]
    TooLarge(usize),
}

/// Decompresses one payload in chunks.
#[derive(Debug)]
pub struct Decoder<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    None(&'a [u8]),
    Gzip(gzip::Decoder<'a>),
    Snappy(snappy::Decoder<'a>),
    Lz4(lz4::Decoder<'a>),
    Zstd(zstd::Decoder<'a>),
}

impl<'a> Decoder<'a> {
    /// Starts on `input`.
    #[must_use]
    pub fn new(codec: Codec, input: &'a [u8]) -> Self {
        Self(match codec {
            Codec::None => Kind::None(input),
            Codec::Gzip => Kind::Gzip(gzip::Decoder::new(input)),
            Codec::Snappy => Kind::Snappy(snappy::Decoder::new(input)),
            Codec::Lz4 => Kind::Lz4(lz4::Decoder::new(input)),
            Codec::Zstd => Kind::Zstd(zstd::Decoder::new(input)),
        })
    }

    /// Appends the next chunk to `out`: at least one byte, or nothing and `false` at the end.
    pub(crate) fn fill(&mut self, out: &mut Buffer) -> Result<bool, DecompressError> {
        match &mut self.0 {
            Kind::None(input) => {
                out.push(input);
                Ok(!std::mem::take(input).is_empty())
            }
            Kind::Gzip(d) => d.fill(out),
            Kind::Snappy(d) => d.fill(out),
            Kind::Lz4(d) => d.fill(out),
            Kind::Zstd(d) => d.fill(out),
        }
    }
}

/// Decompresses `input` whole, unless more than `limit` bytes come out.
///
/// # Errors
/// [`DecompressError`]; memory stays within `limit` and one chunk more.
pub fn decompress_bounded(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decoder = Decoder::new(codec, input);
    let mut chunk = Buffer::take();
    let mut out = Vec::new();
    while decoder.fill(&mut chunk)? {
        if out.len() + chunk.bytes().len() > limit {
            return Err(DecompressError::TooLarge(limit));
        }
        out.extend_from_slice(chunk.bytes());
        chunk.clear();
    }
    Ok(out)
}

/// Compresses one payload piece by piece, appending to a vector.
#[derive(Debug)]
pub struct Encoder(EncoderKind);

#[derive(Debug)]
enum EncoderKind {
    None(Vec<u8>),
    Gzip(Box<gzip::Encoder>),
    Snappy(Box<snappy::Encoder>),
    Lz4(Box<lz4::Encoder>),
    Zstd(Box<zstd::Encoder>),
}

impl Encoder {
    /// Starts at the end of `out`. `level` is the codec's own scale, `None` its default (KIP-390); snappy has none,
    /// and LZ4 is always written at its fast level.
    #[must_use]
    pub fn new(codec: Codec, level: Option<i32>, out: Vec<u8>) -> Self {
        Self(match codec {
            Codec::None => EncoderKind::None(out),
            Codec::Gzip => EncoderKind::Gzip(Box::new(gzip::Encoder::new(level, out))),
            Codec::Snappy => EncoderKind::Snappy(Box::new(snappy::Encoder::new(out))),
            Codec::Lz4 => EncoderKind::Lz4(Box::new(lz4::Encoder::new(out))),
            Codec::Zstd => EncoderKind::Zstd(Box::new(zstd::Encoder::new(level, out))),
        })
    }

    /// Takes the next piece.
    pub fn write(&mut self, input: &[u8]) {
        match &mut self.0 {
            EncoderKind::None(out) => out.extend_from_slice(input),
            EncoderKind::Gzip(e) => e.write(input),
            EncoderKind::Snappy(e) => e.write(input),
            EncoderKind::Lz4(e) => e.write(input),
            EncoderKind::Zstd(e) => e.write(input),
        }
    }

    /// Bytes in the vector so far; what is still inside the codec is not counted.
    #[must_use]
    pub fn written(&self) -> usize {
        match &self.0 {
            EncoderKind::None(out) => out.len(),
            EncoderKind::Gzip(e) => e.out.len(),
            EncoderKind::Snappy(e) => e.out.len(),
            EncoderKind::Lz4(e) => e.out.len(),
            EncoderKind::Zstd(e) => e.out.len(),
        }
    }

    /// Ends the payload and gives the vector back.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            EncoderKind::None(out) => out,
            EncoderKind::Gzip(e) => e.finish(),
            EncoderKind::Snappy(e) => e.finish(),
            EncoderKind::Lz4(e) => e.finish(),
            EncoderKind::Zstd(e) => e.finish(),
        }
    }
}

/// Compresses `input` whole.
#[must_use]
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(codec, level, Vec::new());
    encoder.write(input);
    encoder.finish()
}

#[cfg(test)]
mod tests;
