//! Kafka's variable-length numbers: base 128, least significant group first, zigzag for the sign.

use crate::error::RecordFault;

/// Longest encoding of a 32-bit number.
const MAX_VARINT: usize = 5;
/// Longest encoding of a 64-bit number.
pub(crate) const MAX_VARLONG: usize = 10;

/// Reads a 64-bit zigzag number at `*at` and moves `*at` behind it.
#[inline(always)]
pub(crate) fn read_i64(bytes: &[u8], at: &mut usize) -> Result<i64, RecordFault> {
    // Nearly all lengths and deltas are one or two bytes.
    match bytes.get(*at) {
        Some(&b) if b < 0x80 => {
            *at += 1;
            Ok(zigzag(u64::from(b)))
        }
        Some(&low) => match bytes.get(*at + 1) {
            Some(&high) if high < 0x80 => {
                *at += 2;
                Ok(zigzag(u64::from(low & 0x7f) | u64::from(high) << 7))
            }
            _ => read_long(bytes, at, MAX_VARLONG),
        },
        None => Err(RecordFault::PastEnd),
    }
}

/// Reads a 32-bit zigzag number at `*at` and moves `*at` behind it. Bits beyond 32 in the fifth byte are dropped, as
/// Kafka drops them.
#[inline(always)]
pub(crate) fn read_i32(bytes: &[u8], at: &mut usize) -> Result<i32, RecordFault> {
    match bytes.get(*at) {
        Some(&b) if b < 0x80 => {
            *at += 1;
            Ok(zigzag(u64::from(b)) as i32)
        }
        Some(&low) => match bytes.get(*at + 1) {
            Some(&high) if high < 0x80 => {
                *at += 2;
                Ok(zigzag(u64::from(low & 0x7f) | u64::from(high) << 7) as i32)
            }
            _ => read_int(bytes, at),
        },
        None => Err(RecordFault::PastEnd),
    }
}

fn read_int(bytes: &[u8], at: &mut usize) -> Result<i32, RecordFault> {
    let raw = read_raw(bytes, at, MAX_VARINT)? as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

fn read_long(bytes: &[u8], at: &mut usize, max: usize) -> Result<i64, RecordFault> {
    read_raw(bytes, at, max).map(zigzag)
}

fn read_raw(bytes: &[u8], at: &mut usize, max: usize) -> Result<u64, RecordFault> {
    let mut value = 0u64;
    for i in 0..max {
        let b = *bytes.get(*at + i).ok_or(RecordFault::PastEnd)?;
        value |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            *at += i + 1;
            return Ok(value);
        }
    }
    Err(RecordFault::Varint)
}

#[inline(always)]
fn zigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// Appends a number in zigzag encoding.
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`write`] would append.
pub(crate) fn size(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (70 - (raw | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_of_the_ranges() {
        for v in [
            0,
            -1,
            1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = Vec::new();
            write(&mut out, v);
            assert_eq!(out.len(), size(v), "{v}");
            let mut at = 0;
            assert_eq!(read_i64(&out, &mut at), Ok(v));
            assert_eq!(at, out.len());
            if let Ok(small) = i32::try_from(v) {
                let mut at = 0;
                assert_eq!(read_i32(&out, &mut at), Ok(small));
            }
        }
    }

    #[test]
    fn too_long_and_too_short() {
        assert_eq!(read_i32(&[0xff; 6], &mut 0), Err(RecordFault::Varint));
        assert_eq!(read_i64(&[0xff; 11], &mut 0), Err(RecordFault::Varint));
        assert_eq!(read_i32(&[0xff; 3], &mut 0), Err(RecordFault::PastEnd));
        assert_eq!(read_i64(&[], &mut 0), Err(RecordFault::PastEnd));
    }

    proptest! {
        #[test]
        fn round_trip(v: i64) {
            let mut out = Vec::new();
            write(&mut out, v);
            let mut at = 0;
            prop_assert_eq!(read_i64(&out, &mut at), Ok(v));
            prop_assert_eq!(at, size(v));
        }
    }
}
