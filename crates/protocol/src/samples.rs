//! Well-formed bodies of every message and record in every version, for tests and fuzzers.
//!
//! A body is grown from the shape that the guard walks, with choices taken from the caller's source of numbers.
//! It is canonical: what decodes it encodes to the same bytes.

use crate::generated::shapes;
use crate::guard::{Field, Kind, MessageShape, Shape};

/// How much is put into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nulls, empty strings and arrays, and absent tags occur.
    Some,
    /// Nothing is null or empty, every tag is there, and one that nobody knows.
    All,
    /// The most a decoder can be made to allocate for the least bytes: arrays nested in `depth` others have
    /// `count` elements, those around them one, and everything else is as short as it can be.
    Wide {
        /// How many arrays are around the wide ones.
        depth: u32,
        /// Elements of each.
        count: u32,
    },
}

impl Fill {
    const fn count(self, depth: u32, random: u32) -> u32 {
        match self {
            Self::Some => random % 4,
            Self::All => 1 + random % 2,
            Self::Wide { depth: at, .. } if depth < at => 1,
            Self::Wide { depth: at, count } if depth == at => count,
            Self::Wide { .. } => 0,
        }
    }

    const fn len(self, random: u32) -> u32 {
        match self {
            Self::Some => random % 5,
            Self::All => 1 + random % 5,
            Self::Wide { .. } => 0,
        }
    }
}

/// A body of a request; `None` for an unknown key or version.
pub fn request(key: i16, version: i16, fill: Fill, random: &mut dyn FnMut() -> u32) -> Option<Vec<u8>> {
    grow(shapes::request(key)?, version, fill, random)
}

/// A body of a response; `None` for an unknown key or version.
pub fn response(key: i16, version: i16, fill: Fill, random: &mut dyn FnMut() -> u32) -> Option<Vec<u8>> {
    grow(shapes::response(key)?, version, fill, random)
}

/// A body of the persisted record of this name, without prefix or frame; `None` for an unknown name or version.
pub fn record(name: &str, version: i16, fill: Fill, random: &mut dyn FnMut() -> u32) -> Option<Vec<u8>> {
    grow(shapes::record(name)?, version, fill, random)
}

fn grow(
    message: &MessageShape,
    version: i16,
    fill: Fill,
    random: &mut dyn FnMut() -> u32,
) -> Option<Vec<u8>> {
    if version < message.min || version > message.max {
        return None;
    }
    let mut sample =
        Sample { out: Vec::new(), version, flexible: version >= message.flexible, depth: 0, random };
    sample.structure(message.root, fill);
    Some(sample.out)
}

struct Sample<'a> {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    /// Arrays around the current place.
    depth: u32,
    random: &'a mut dyn FnMut() -> u32,
}

impl Sample<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        (self.random)() % bound
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// A length or count; `None` is null.
    fn length(&mut self, len: Option<u32>, wide: bool) {
        match (self.flexible, wide) {
            (true, _) => self.uvarint(len.map_or(0, |len| len + 1)),
            (false, true) => self.out.extend((len.map_or(-1, |len| len as i32)).to_be_bytes()),
            (false, false) => self.out.extend((len.map_or(-1, |len| len as i16)).to_be_bytes()),
        }
    }

    fn structure(&mut self, shape: &Shape, fill: Fill) {
        let version = self.version;
        for field in shape.0.iter().filter(|field| field.inline(version)) {
            self.field(field, fill);
        }
        if self.flexible {
            self.tags(shape, fill);
        }
    }

    fn field(&mut self, field: &Field, fill: Fill) {
        self.value(field.kind, field.may_be_null(self.version), fill);
    }

    fn value(&mut self, kind: Kind, nullable: bool, fill: Fill) {
        let null = nullable && fill == Fill::Some && self.below(3) == 0;
        match kind {
            Kind::Fixed(size) => self.fixed(size, fill),
            Kind::String => self.content(null, false, fill),
            Kind::Bytes => self.content(null, true, fill),
            Kind::Struct(_) if null => self.out.push(0xff),
            Kind::Struct(shape) => {
                if nullable {
                    self.out.push(1);
                }
                self.structure(shape, fill);
            }
            Kind::Array(_) if null => self.length(None, true),
            Kind::Array(element) => {
                let count = fill.count(self.depth, (self.random)());
                self.length(Some(count), true);
                self.depth += 1;
                for _ in 0..count {
                    self.value(*element, false, fill);
                }
                self.depth -= 1;
            }
        }
    }

    /// A number. One byte may be a boolean, so it is 0 or 1; no other is anybody's default.
    fn fixed(&mut self, size: u8, fill: Fill) {
        if size == 1 {
            let bit = if fill == Fill::All { 1 } else { self.below(2) };
            return self.out.push(bit as u8);
        }
        self.out.push(0);
        for _ in 1..size {
            let byte = 1 + self.below(0x7e);
            self.out.push(byte as u8);
        }
    }

    fn content(&mut self, null: bool, wide: bool, fill: Fill) {
        if null {
            return self.length(None, wide);
        }
        let len = fill.len((self.random)());
        self.length(Some(len), wide);
        for _ in 0..len {
            let letter = b'a' + self.below(26) as u8;
            self.out.push(letter);
        }
    }

    fn tags(&mut self, shape: &Shape, fill: Fill) {
        let mut known: Vec<&Field> = shape.0.iter().filter(|field| field.is_tagged(self.version)).collect();
        known.sort_by_key(|field| field.tag);
        let mut present = Vec::new();
        for field in known {
            let is_present = match fill {
                Fill::All => true,
                Fill::Some => self.below(2) == 0,
                Fill::Wide { .. } => matches!(field.kind, Kind::Array(_)),
            };
            if is_present {
                present.push(field);
            }
        }
        let unknown = fill == Fill::All;
        self.uvarint(present.len() as u32 + u32::from(unknown));
        for field in present {
            // A tag at its default would not be written again, so its value is never null or empty.
            let outer = std::mem::take(&mut self.out);
            self.field(field, if fill == Fill::Some { Fill::All } else { fill });
            let value = std::mem::replace(&mut self.out, outer);
            self.uvarint(u32::from(field.tag));
            self.uvarint(value.len() as u32);
            self.out.extend(value);
        }
        if unknown {
            self.uvarint(9_999);
            self.uvarint(3);
            self.out.extend([1, 2, 3]);
        }
    }
}
