//! Writing: one walk serves bytes, sizes and tags.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use kafka_protocol::protocol::buf::ByteBufMut;
use uuid::Uuid;

/// Where a structure is written to.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }
    fn i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }
    fn i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }
    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }
    fn f64(&mut self, value: f64) {
        self.put(&value.to_be_bytes());
    }
    fn uuid(&mut self, value: Uuid) {
        self.put(value.as_bytes());
    }
    fn uvarint(&mut self, mut value: u32) {
        let mut bytes = [0u8; 5];
        let mut len = 0;
        while value >= 0x80 {
            bytes[len] = (value & 0x7f) as u8 | 0x80;
            value >>= 7;
            len += 1;
        }
        bytes[len] = value as u8;
        self.put(&bytes[..=len]);
    }
}

/// Counts what would be written.
#[derive(Debug, Default)]
pub(crate) struct Size(pub(crate) usize);

impl Sink for Size {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes into a buffer of kafka-protocol's making.
pub(crate) struct Into<'a, B>(pub(crate) &'a mut B);

impl<B: ByteBufMut> Sink for Into<'_, B> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A length or count; `None` is null.
fn put_len<S: Sink>(
    out: &mut S,
    len: Option<usize>,
    flexible: bool,
    nullable: bool,
    wide: bool,
) -> Result<()> {
    let Some(len) = len else {
        if !nullable {
            bail!("null where the version does not allow it");
        }
        match (flexible, wide) {
            (true, _) => out.uvarint(0),
            (false, true) => out.i32(-1),
            (false, false) => out.i16(-1),
        }
        return Ok(());
    };
    if flexible {
        let len =
            u32::try_from(len).ok().and_then(|len| len.checked_add(1)).context("length beyond 32 bits")?;
        out.uvarint(len);
    } else if wide {
        out.i32(i32::try_from(len).context("length beyond 31 bits")?);
    } else {
        out.i16(i16::try_from(len).context("string longer than 32,767 bytes")?);
    }
    Ok(())
}

/// A string. Readers refuse more than 32,767 bytes in every version, so that is not written either.
pub(crate) fn put_string<S: Sink>(
    out: &mut S,
    text: Option<&str>,
    flexible: bool,
    nullable: bool,
) -> Result<()> {
    if text.is_some_and(|text| text.len() > i16::MAX as usize) {
        bail!("string longer than 32,767 bytes");
    }
    put_len(out, text.map(str::len), flexible, nullable, false)?;
    out.put(text.unwrap_or_default().as_bytes());
    Ok(())
}

/// Bytes or records.
pub(crate) fn put_bytes<S: Sink>(
    out: &mut S,
    bytes: Option<&[u8]>,
    flexible: bool,
    nullable: bool,
) -> Result<()> {
    put_len(out, bytes.map(<[u8]>::len), flexible, nullable, true)?;
    out.put(bytes.unwrap_or_default());
    Ok(())
}

/// An array.
pub(crate) fn put_array<S: Sink, T>(
    out: &mut S,
    items: Option<&[T]>,
    flexible: bool,
    nullable: bool,
    item: impl Fn(&mut S, &T) -> Result<()>,
) -> Result<()> {
    put_len(out, items.map(<[T]>::len), flexible, nullable, true)?;
    items.unwrap_or_default().iter().try_for_each(|value| item(out, value))
}

/// The presence byte of a nullable structure.
pub(crate) fn put_presence<S: Sink>(out: &mut S, present: bool, nullable: bool) -> Result<()> {
    if !present && !nullable {
        bail!("null where the version does not allow it");
    }
    out.i8(if present { 1 } else { -1 });
    Ok(())
}

/// The known tags of a structure, collected before their count is known.
#[derive(Default)]
pub(crate) struct Tags {
    count: u32,
    value: Vec<u8>,
    all: Vec<u8>,
}

impl Tags {
    /// Where the next tag's value is written to.
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        self.value.clear();
        &mut self.value
    }

    /// Takes what was written as the value of `tag`.
    pub(crate) fn close(&mut self, tag: u32) {
        self.count += 1;
        self.all.uvarint(tag);
        // A value is a part of a message, which is shorter than 2 GiB.
        self.all.uvarint(self.value.len() as u32);
        self.all.extend_from_slice(&self.value);
    }

    /// Writes the section: known tags, then unknown ones.
    pub(crate) fn put<S: Sink>(&self, out: &mut S, unknown: &BTreeMap<i32, Bytes>) {
        out.uvarint(self.count + unknown.len() as u32);
        out.put(&self.all);
        put_unknown(out, unknown);
    }
}

/// The tag section of a structure without known tags.
pub(crate) fn put_unknown_tags<S: Sink>(out: &mut S, unknown: &BTreeMap<i32, Bytes>) {
    out.uvarint(unknown.len() as u32);
    put_unknown(out, unknown);
}

fn put_unknown<S: Sink>(out: &mut S, unknown: &BTreeMap<i32, Bytes>) {
    for (tag, value) in unknown {
        out.uvarint(*tag as u32);
        out.uvarint(value.len() as u32);
        out.put(value);
    }
}
