//! Message sets of the formats before 2 (magic 0 and 1): recognised and measured, so that they can be refused as
//! Kafka refuses them. Nothing else is done with them.

/// Bytes before those that the size field counts.
const LOG_OVERHEAD: usize = 12;
/// Smallest value of the size field: a message of magic 0 without key and value.
pub const MIN_SIZE: i32 = 14;
/// Where the magic byte is, in every format.
const MAGIC_AT: usize = 16;

/// The first entry of some bytes: a batch of format 2 or a message of an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Fewer bytes than it takes to tell, or than the entry announces: not an entry.
    Partial,
    /// The size field is smaller than any entry, negative, or too large to count in 32 bits.
    BadSize(i32),
    /// No format has this magic.
    BadMagic(i8),
    /// A whole entry is there.
    Whole {
        /// 0, 1 or 2.
        magic: i8,
        /// Bytes of the entry, with what is before the size field.
        size: usize,
        /// Bits 0 to 2 of its attributes.
        codec: u8,
    },
}

/// Looks at the first entry of `bytes` as Kafka does when it splits a request's records.
#[must_use]
pub fn peek(bytes: &[u8]) -> Peek {
    let Some(prefix) = bytes.first_chunk::<LOG_OVERHEAD>() else { return Peek::Partial };
    let size = i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    // Kafka counts an entry's bytes in 32 bits.
    if !(MIN_SIZE..=i32::MAX - LOG_OVERHEAD as i32).contains(&size) {
        return Peek::BadSize(size);
    }
    let whole = size as usize + LOG_OVERHEAD;
    let Some(&magic) = bytes.get(MAGIC_AT) else { return Peek::Partial };
    let magic = magic as i8;
    if !(0..=2).contains(&magic) {
        return Peek::BadMagic(magic);
    }
    if bytes.len() < whole {
        return Peek::Partial;
    }
    // Attributes: one byte behind the magic, or the low byte of two behind the checksum.
    let attributes = bytes[if magic == 2 { 22 } else { 17 }];
    Peek::Whole { magic, size: whole, codec: attributes & 0x07 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn tells_formats_apart_and_measures_them() {
        // Offset, size 14, checksum, magic 0, attributes gzip, no key, no value.
        let mut message = [0u8; 26];
        (message[11], message[17]) = (14, 1);
        assert_eq!(peek(&message), Peek::Whole { magic: 0, size: 26, codec: 1 });
        assert_eq!(peek(&message[..25]), Peek::Partial);
        message[16] = 1;
        assert_eq!(peek(&message), Peek::Whole { magic: 1, size: 26, codec: 1 });
        let batch = raw(&[record(0)]).codec(crate::Codec::Zstd).build();
        assert_eq!(peek(&batch), Peek::Whole { magic: 2, size: batch.len(), codec: 4 });
        message[11] = 13;
        assert_eq!(peek(&message), Peek::BadSize(13));
        (message[11], message[16]) = (14, 3);
        assert_eq!(peek(&message[..17]), Peek::BadMagic(3));
        assert_eq!(peek(&message[..16]), Peek::Partial);
    }
}
