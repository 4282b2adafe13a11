//! The shapes a body is walked against: static tables, written by the generator.

/// A request or response: its versions and its outermost structure.
#[derive(Debug)]
pub(crate) struct MessageShape {
    /// Lowest version.
    pub(crate) min: i16,
    /// Highest version.
    pub(crate) max: i16,
    /// First flexible version; [`i16::MAX`] if none is.
    pub(crate) flexible: i16,
    /// The fields.
    pub(crate) root: &'static Shape,
}

/// A structure: its fields in wire order, tagged ones among them.
#[derive(Debug)]
pub(crate) struct Shape(pub(crate) &'static [Field]);

impl Shape {
    /// A structure without fields.
    pub(crate) const EMPTY: Self = Self(&[]);

    /// The least bytes a value takes in `version`: what an array of it must at least have behind it.
    pub(crate) fn min_size(&self, version: i16, flexible: bool) -> usize {
        let fields: usize =
            self.0.iter().filter(|f| f.inline(version)).map(|f| f.min_size(version, flexible)).sum();
        fields + usize::from(flexible)
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// So many bytes, whatever they say.
    Fixed(u8),
    /// UTF-8 with a length: 2 bytes, or a varint when flexible.
    String,
    /// Bytes or records with a length: 4 bytes, or a varint when flexible.
    Bytes,
    /// A structure; nullable ones have a presence byte.
    Struct(&'static Shape),
    /// A count (4 bytes, or a varint when flexible) and so many elements.
    Array(&'static Self),
}

impl Kind {
    /// The least bytes a non-null value takes.
    pub(crate) fn min_size(self, version: i16, flexible: bool) -> usize {
        match self {
            Self::Fixed(size) => usize::from(size),
            Self::String | Self::Bytes | Self::Array(_) if flexible => 1,
            Self::String => 2,
            Self::Bytes | Self::Array(_) => 4,
            Self::Struct(shape) => shape.min_size(version, flexible),
        }
    }
}

/// A field and the versions it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    /// First and last version that has the field.
    versions: (i16, i16),
    /// First and last version in which it may be null; an empty range if in none.
    nullable: (i16, i16),
    /// From this version on the field is in the tag section; [`i16::MAX`] if in none.
    tagged_from: i16,
    /// Its tag there.
    pub(crate) tag: u16,
}

impl Field {
    /// A field of the versions `from..=to`, never null, in no tag section.
    pub(crate) const fn new(kind: Kind, from: i16, to: i16) -> Self {
        Self { kind, versions: (from, to), nullable: (1, 0), tagged_from: i16::MAX, tag: 0 }
    }

    /// The same field, which may be null in the versions `from..=to`.
    pub(crate) const fn nullable(self, from: i16, to: i16) -> Self {
        Self { nullable: (from, to), ..self }
    }

    /// The same field, in the tag section as `tag` from version `from` on.
    pub(crate) const fn tagged(self, tag: u16, from: i16) -> Self {
        Self { tagged_from: from, tag, ..self }
    }

    /// Whether the field stands in its place among the others, not in the tag section.
    pub(crate) const fn inline(&self, version: i16) -> bool {
        self.versions.0 <= version && version <= self.versions.1 && version < self.tagged_from
    }

    /// Whether the field has a tag in some version.
    pub(crate) const fn has_tag(&self) -> bool {
        self.tagged_from != i16::MAX
    }

    /// Whether the field is in the tag section of this version.
    pub(crate) const fn is_tagged(&self, version: i16) -> bool {
        self.versions.0 <= version && version <= self.versions.1 && self.tagged_from <= version
    }

    /// Whether the field may be null.
    pub(crate) const fn may_be_null(&self, version: i16) -> bool {
        self.nullable.0 <= version && version <= self.nullable.1
    }

    fn min_size(&self, version: i16, flexible: bool) -> usize {
        // A null structure is its presence byte; every other null is as long as the shortest length.
        match self.kind {
            Kind::Struct(_) if self.may_be_null(version) => 1,
            kind => kind.min_size(version, flexible),
        }
    }
}
