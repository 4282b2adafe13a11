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
        let format = self.bytes(position, BatchHeader::LEN)?.get(16).copied();
        if matches!(format, Some(0 | 1)) && self.is_old_format(position, left)? {
            return Ok(At::OldFormat);
        }
        let head = self.bytes(position, BatchHeader::LEN)?;
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

    /// True for a message of format 0 or 1: offset, size, checksum, format, attributes, from 1 on a time, key, value. It
    /// is believed when key and value fill the size it tells. They do not where a hole, of a page that a power cut
    /// took, begins within the header of a batch and has left its size. The checksum is not asked: a wrong bit is no
    /// reason to cut off what Kafka can convert.
    fn is_old_format(&mut self, position: u64, left: u64) -> io::Result<bool> {
        let head = self.bytes(position, 30)?;
        let key_at = match head.get(16) {
            Some(0) => 18,
            Some(1) => 26,
            _ => return Ok(false),
        };
        let (size, key) = (number(head, 8), number(head, key_at));
        let Some(size) = size.filter(|&size| size + 12 <= left) else { return Ok(false) };
        // A length of -1 is that of none.
        let value_at = key_at as u64 + 4 + key.unwrap_or(0);
        if value_at + 4 > size + 12 {
            return Ok(false);
        }
        let value = number(self.bytes(position + value_at, 4)?, 0).unwrap_or(0);
        Ok(value_at + 4 + value == size + 12)
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

/// The number of four bytes at `at`, if it is there and not negative.
fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    u64::try_from(i32::from_be_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// A message of format 0 or 1, with a checksum that nobody looks at.
    fn message(format: u8, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![1, 2, 3, 4, format, 0];
        if format == 1 {
            body.extend_from_slice(&7i64.to_be_bytes());
        }
        for part in [key, value] {
            let len = part.map_or(-1, |part| i32::try_from(part.len()).expect("short"));
            body.extend_from_slice(&len.to_be_bytes());
            body.extend_from_slice(part.unwrap_or_default());
        }
        let mut message = 5i64.to_be_bytes().to_vec();
        message.extend_from_slice(&i32::try_from(body.len()).expect("short").to_be_bytes());
        message.extend_from_slice(&body);
        message
    }

    fn found(bytes: &[u8]) -> At {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(bytes, 0).expect("writes");
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, bytes.len() as u64, HEADERS, &mut window);
        scanner.at(0).expect("reads")
    }

    #[test]
    fn messages_of_old_formats_are_told_from_what_is_no_message() {
        let long = vec![9; 3 * HEADERS];
        for format in [0, 1] {
            for key in [None, Some(&b""[..]), Some(&b"key"[..]), Some(&long[..])] {
                for value in [None, Some(&b"value"[..]), Some(&long[..])] {
                    let whole = message(format, key, value);
                    assert!(matches!(found(&whole), At::OldFormat), "{key:?} {value:?}");
                    let followed = [whole.clone(), vec![0; 100]].concat();
                    assert!(matches!(found(&followed), At::OldFormat));
                    assert!(matches!(found(&whole[..whole.len() - 1]), At::Torn(_)), "its end is missing");
                    for (at, byte) in [(11, whole[11] ^ 1), (16, 1 - format), (16, 3)] {
                        let mut other = followed.clone();
                        other[at] = byte;
                        assert!(matches!(found(&other), At::Torn(_)), "{at}: {byte}");
                    }
                }
            }
        }
        assert!(matches!(found(&[0; 100]), At::Torn(_)));
    }
}
