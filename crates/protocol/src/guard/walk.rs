//! The cursor that walks: bounds first, then belief.

use super::{Fault, Field, GuardError, Kind, Limits, Shape};

/// A walk in progress.
pub(super) struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    version: i16,
    flexible: bool,
    limits: &'a Limits,
    elements: u32,
    unknown_tags: u32,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(body: &'a [u8], version: i16, flexible: bool, limits: &'a Limits) -> Self {
        Self { body, at: 0, version, flexible, limits, elements: 0, unknown_tags: 0 }
    }

    /// Bytes walked so far.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    const fn fault(&self, fault: Fault) -> GuardError {
        GuardError { at: self.at, fault }
    }

    const fn remaining(&self) -> usize {
        self.body.len() - self.at
    }

    fn skip(&mut self, len: usize) -> Result<(), GuardError> {
        if len > self.remaining() {
            return Err(self.fault(Fault::Ends { needed: len }));
        }
        self.at += len;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], GuardError> {
        let Some(bytes) = self.body[self.at..].first_chunk::<N>() else {
            return Err(self.fault(Fault::Ends { needed: N }));
        };
        self.at += N;
        Ok(*bytes)
    }

    fn uvarint(&mut self) -> Result<u32, GuardError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            // Bits shifted out of the fifth byte are lost here as they are in Kafka and in the decoder.
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.fault(Fault::Varint))
    }

    /// A length or count; `None` for null.
    fn length(&mut self, wide: bool) -> Result<Option<u32>, GuardError> {
        if self.flexible {
            return Ok(self.uvarint()?.checked_sub(1));
        }
        let length =
            if wide { i32::from_be_bytes(self.take()?) } else { i32::from(i16::from_be_bytes(self.take()?)) };
        match u32::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.fault(Fault::NegativeLength(length))),
        }
    }

    /// The fields of a structure in their order, then its tag section.
    pub(super) fn structure(&mut self, shape: &Shape) -> Result<(), GuardError> {
        for field in shape.0 {
            if field.inline(self.version) {
                self.field(field)?;
            }
        }
        if self.flexible { self.tags(shape) } else { Ok(()) }
    }

    fn field(&mut self, field: &Field) -> Result<(), GuardError> {
        self.value(field.kind, field.may_be_null(self.version))
    }

    fn value(&mut self, kind: Kind, nullable: bool) -> Result<(), GuardError> {
        match kind {
            Kind::Fixed(size) => self.skip(usize::from(size)),
            Kind::String => match self.length(false)? {
                Some(len) if len > self.limits.max_string => Err(self.fault(Fault::StringTooLong(len))),
                len => self.content(len, nullable),
            },
            Kind::Bytes => {
                let len = self.length(true)?;
                self.content(len, nullable)
            }
            Kind::Struct(shape) if nullable => match i8::from_be_bytes(self.take()?) {
                1 => self.structure(shape),
                -1 => Ok(()),
                other => Err(self.fault(Fault::Presence(other))),
            },
            Kind::Struct(shape) => self.structure(shape),
            Kind::Array(element) => match self.length(true)? {
                Some(count) => self.array(*element, count),
                None if nullable => Ok(()),
                None => Err(self.fault(Fault::Null)),
            },
        }
    }

    fn content(&mut self, len: Option<u32>, nullable: bool) -> Result<(), GuardError> {
        match len {
            // usize has at least 32 bits wherever this runs.
            Some(len) => self.skip(len as usize),
            None if nullable => Ok(()),
            None => Err(self.fault(Fault::Null)),
        }
    }

    fn array(&mut self, element: Kind, count: u32) -> Result<(), GuardError> {
        if count > self.limits.max_array_elements {
            return Err(self.fault(Fault::TooManyElements(count)));
        }
        let remaining = self.remaining();
        // An element without bytes would let a count stand for nothing; no schema has one.
        let least = element.min_size(self.version, self.flexible).max(1);
        if (count as usize).checked_mul(least).is_none_or(|bytes| bytes > remaining) {
            return Err(self.fault(Fault::ArrayBeyondBody { count, remaining }));
        }
        if let Kind::Fixed(size) = element {
            return self.skip(count as usize * usize::from(size));
        }
        self.elements = self.elements.saturating_add(count);
        if self.elements > self.limits.max_elements {
            return Err(self.fault(Fault::TooManyElements(self.elements)));
        }
        for _ in 0..count {
            self.value(element, false)?;
        }
        Ok(())
    }

    /// A tag section: known tags are walked like fields, unknown ones skipped. The size of a known tag is read
    /// over, as Kafka and the decoder read over it.
    pub(super) fn tags(&mut self, shape: &Shape) -> Result<(), GuardError> {
        let count = self.uvarint()?;
        if count > self.limits.max_tags {
            return Err(self.fault(Fault::TooManyTags(count)));
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()?;
            match shape.0.iter().find(|field| field.has_tag() && u32::from(field.tag) == tag) {
                Some(field) if field.is_tagged(self.version) => self.field(field)?,
                Some(_) => return Err(self.fault(Fault::MisplacedTag(tag))),
                None => self.unknown_tag(size)?,
            }
        }
        Ok(())
    }

    fn unknown_tag(&mut self, size: u32) -> Result<(), GuardError> {
        self.unknown_tags = self.unknown_tags.saturating_add(1);
        if self.unknown_tags > self.limits.max_unknown_tags {
            return Err(self.fault(Fault::TooManyTags(self.unknown_tags)));
        }
        self.skip(size as usize)
    }
}
