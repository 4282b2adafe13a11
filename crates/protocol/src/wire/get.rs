//! Reading: bounds first, then belief.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::protocol::buf::ByteBuf;
use uuid::Uuid;

use crate::guard::Limits;

/// Room a vector starts with, whatever the count on the wire; Kafka's own number.
const INITIAL_CAPACITY: usize = 1_000;

macro_rules! scalars {
    ($($name:ident: $type:ty = $get:ident;)*) => {$(
        pub(crate) fn $name<B: ByteBuf>(buf: &mut B) -> Result<$type> {
            Ok(buf.$get()?)
        }
    )*};
}

scalars! {
    get_i8: i8 = try_get_i8;
    get_i16: i16 = try_get_i16;
    get_u16: u16 = try_get_u16;
    get_i32: i32 = try_get_i32;
    get_u32: u32 = try_get_u32;
    get_i64: i64 = try_get_i64;
    get_f64: f64 = try_get_f64;
}

pub(crate) fn get_bool<B: ByteBuf>(buf: &mut B) -> Result<bool> {
    Ok(buf.try_get_u8()? != 0)
}

pub(crate) fn get_uuid<B: ByteBuf>(buf: &mut B) -> Result<Uuid> {
    let mut bytes = [0; 16];
    buf.try_copy_to_slice(&mut bytes)?;
    Ok(Uuid::from_bytes(bytes))
}

pub(crate) fn get_uvarint<B: ByteBuf>(buf: &mut B) -> Result<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = buf.try_get_u8()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a varint of more than five bytes")
}

/// A length or count; `None` is null.
fn get_len<B: ByteBuf>(buf: &mut B, flexible: bool, wide: bool) -> Result<Option<usize>> {
    if flexible {
        return Ok(get_uvarint(buf)?.checked_sub(1).map(|len| len as usize));
    }
    let len = if wide { get_i32(buf)? } else { i32::from(get_i16(buf)?) };
    match usize::try_from(len) {
        Ok(len) => Ok(Some(len)),
        Err(_) if len == -1 => Ok(None),
        Err(_) => bail!("negative length {len}"),
    }
}

fn not_null<T>(value: Option<T>) -> Result<T> {
    value.context("null where the version does not allow it")
}

fn nullable<T>(value: Option<T>, allowed: bool) -> Result<Option<T>> {
    ensure!(allowed || value.is_some(), "null where the version does not allow it");
    Ok(value)
}

fn text<B: ByteBuf>(buf: &mut B, flexible: bool) -> Result<Option<StrBytes>> {
    let Some(len) = get_len(buf, flexible, false)? else { return Ok(None) };
    ensure!(len <= i16::MAX as usize, "a string of {len} bytes");
    Ok(Some(StrBytes::from_utf8(buf.try_get_bytes(len)?)?))
}

pub(crate) fn get_string<B: ByteBuf>(buf: &mut B, flexible: bool) -> Result<StrBytes> {
    not_null(text(buf, flexible)?)
}

pub(crate) fn get_nullable_string<B: ByteBuf>(
    buf: &mut B,
    flexible: bool,
    allowed: bool,
) -> Result<Option<StrBytes>> {
    nullable(text(buf, flexible)?, allowed)
}

fn bytes<B: ByteBuf>(buf: &mut B, flexible: bool) -> Result<Option<Bytes>> {
    let Some(len) = get_len(buf, flexible, true)? else { return Ok(None) };
    Ok(Some(buf.try_get_bytes(len)?))
}

pub(crate) fn get_bytes<B: ByteBuf>(buf: &mut B, flexible: bool) -> Result<Bytes> {
    not_null(bytes(buf, flexible)?)
}

fn array<B: ByteBuf, T>(
    buf: &mut B,
    flexible: bool,
    item: impl Fn(&mut B) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    let Some(count) = get_len(buf, flexible, true)? else { return Ok(None) };
    // Every element has at least a byte.
    let remaining = buf.remaining();
    ensure!(count <= remaining, "an array of {count} elements in {remaining} bytes");
    ensure!(count <= Limits::KAFKA.max_array_elements as usize, "an array of {count} elements");
    let mut items = Vec::with_capacity(count.min(INITIAL_CAPACITY));
    for _ in 0..count {
        items.push(item(buf)?);
    }
    Ok(Some(items))
}

pub(crate) fn get_array<B: ByteBuf, T>(
    buf: &mut B,
    flexible: bool,
    item: impl Fn(&mut B) -> Result<T>,
) -> Result<Vec<T>> {
    not_null(array(buf, flexible, item)?)
}

pub(crate) fn get_nullable_array<B: ByteBuf, T>(
    buf: &mut B,
    flexible: bool,
    allowed: bool,
    item: impl Fn(&mut B) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    nullable(array(buf, flexible, item)?, allowed)
}

/// The presence byte of a nullable structure.
pub(crate) fn get_presence<B: ByteBuf>(buf: &mut B, allowed: bool) -> Result<bool> {
    match get_i8(buf)? {
        1 => Ok(true),
        -1 if allowed => Ok(false),
        other => bail!("presence byte {other}"),
    }
}

/// The number of tags of a section.
pub(crate) fn get_tag_count<B: ByteBuf>(buf: &mut B) -> Result<u32> {
    let count = get_uvarint(buf)?;
    ensure!(count <= Limits::KAFKA.max_tags, "{count} tags");
    Ok(count)
}

/// A tag's number and the size of its value.
pub(crate) fn get_tag<B: ByteBuf>(buf: &mut B) -> Result<(u32, u32)> {
    Ok((get_uvarint(buf)?, get_uvarint(buf)?))
}

/// Keeps the value of a tag that is not known.
pub(crate) fn get_unknown_tag<B: ByteBuf>(
    buf: &mut B,
    tag: u32,
    size: u32,
    unknown: &mut BTreeMap<i32, Bytes>,
) -> Result<()> {
    unknown.insert(tag as i32, buf.try_get_bytes(size as usize)?);
    Ok(())
}

/// The tag section of a structure without known tags.
pub(crate) fn get_unknown_tags<B: ByteBuf>(buf: &mut B) -> Result<BTreeMap<i32, Bytes>> {
    let mut unknown = BTreeMap::new();
    for _ in 0..get_tag_count(buf)? {
        let (tag, size) = get_tag(buf)?;
        get_unknown_tag(buf, tag, size, &mut unknown)?;
    }
    Ok(unknown)
}
