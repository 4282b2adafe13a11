//! Walks the batches of a segment file through a small window.

use std::{fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;
use ottla_records::BatchHeader;

/// Window for walking headers: several small batches per read.
pub(crate) const HEADERS: usize = 8 << 10;
/// Window for checking checksums.
pub(crate) const WHOLE: usize = 256 << 10;

/// Batches up to this size make it worth reading a whole window for one header.
const SMALL: usize = 2 << 10;

/// What lies at a position of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// A batch whose header makes sense and which ends within the file.
    Batch(BatchHeader),
    /// The end.
    End,
    /// Something that is no whole batch: a torn write, or damage.
    Torn(&'static str),
    /// A message of a format before 2.
    OldFormat,
}

/// Reads a file range by range, up to a known end.
pub(crate) struct Scanner<'a> {
    file: &'a File,
    end: u64,
    window: &'a mut Vec<u8>,
    size: usize,
    start: u64,
    sparse: bool,
}

impl<'a> Scanner<'a> {
    /// Reads `file` up to byte `end`, `size` bytes at a time, into `window`.
    pub(crate) fn new(file: &'a File, end: u64, size: usize, window: &'a mut Vec<u8>) -> Self {
        window.clear();
        Self { file, end, window, size, start: 0, sparse: false }
    }

    /// Up to `len` bytes from `position`; fewer at the end only.
    fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let available = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let len = len.min(available);
        let inside = position >= self.start && position + len as u64 <= self.start + self.window.len() as u64;
        if !inside {
            let want = if self.sparse { len } else { self.size.max(len).min(available) };
            self.window.resize(want, 0);
            self.start = position;
            let got = read_full(self.file, self.window, position)?;
            self.window.truncate(got);
        }
        let from = usize::try_from(position - self.start).expect("within the window");
        let to = (from + len).min(self.window.len());
        Ok(&self.window[from..to])
    }

    /// What lies at `position`.
    pub(crate) fn at(&mut self, position: u64) -> io::Result<At> {
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Ok(At::End);
        }
        let head = self.bytes(position, BatchHeader::LEN)?;
        if head.len() > 16 && (head[16] == 0 || head[16] == 1) && looks_like_old_format(head, left) {
            return Ok(At::OldFormat);
        }
        if head.len() < BatchHeader::LEN {
            return Ok(At::Torn("the file ends within a batch header"));
        }
        let Ok(header) = BatchHeader::parse(head) else { return Ok(At::Torn("no batch header")) };
        if header.size_in_bytes() as u64 > left {
            return Ok(At::Torn("the file ends within a batch"));
        }
        if header.base_offset < 0
            || header.last_offset_delta < 0
            || header
                .base_offset
                .checked_add(i64::from(header.last_offset_delta))
                .is_none_or(|last| last == i64::MAX)
        {
            return Ok(At::Torn("offsets that cannot be"));
        }
        self.sparse = header.size_in_bytes() > SMALL && self.size <= HEADERS;
        Ok(At::Batch(header))
    }

    /// True when the checksum of the batch at `position` fits. Reads it piece by piece.
    pub(crate) fn checksum_fits(&mut self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        let mut at = position + BatchHeader::CRC_FROM as u64;
        let end = position + header.size_in_bytes() as u64;
        let mut crc = 0;
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.size);
            let piece = self.bytes(at, len)?;
            if piece.is_empty() {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, piece);
            at += piece.len() as u64;
        }
        Ok(crc == header.crc)
    }

    /// The whole batch at `position`.
    pub(crate) fn whole(&self, position: u64, header: &BatchHeader) -> io::Result<Bytes> {
        read_range(self.file, position, header.size_in_bytes())
    }
}

/// `len` bytes from `offset`, fewer only when the file ends.
pub(crate) fn read_range(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; len];
    let got = read_full(file, &mut bytes, offset)?;
    bytes.truncate(got);
    Ok(bytes.into())
}

fn read_full(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while !out.is_empty() {
        match file.read_at(out, offset) {
            Ok(0) => break,
            Ok(n) => {
                got += n;
                offset += n as u64;
                out = &mut out[n..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// A message of format 0 or 1 has offset, size, checksum, format: believe it only when the size fits too and the
/// bytes are not simply zero.
fn looks_like_old_format(head: &[u8], left: u64) -> bool {
    let size = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    u64::try_from(size).is_ok_and(|size| size >= 14 && size + 12 <= left)
}
