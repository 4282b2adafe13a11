//! The walk over a body that comes before any decoding.
//!
//! A decoder that trusts the lengths it reads can be made to allocate gigabytes by five bytes. [`check`] walks
//! a body against the shape its schema prescribes: every length, count and tag is held against the bytes that
//! remain and against the limits of Apache Kafka 4.4, before a single byte is allocated. What passes is a body
//! whose every array is backed by at least the smallest encoding of its elements, so decoding it allocates no
//! more than a constant factor of the bytes received.
//!
//! The walk reads lengths only: it skips the content of strings, bytes and records. Its recursion follows the
//! schema, which is finite, so its depth is bounded by [`MAX_DEPTH`] whatever the bytes say.

mod shape;
mod walk;

pub(crate) use shape::{Field, Kind, MessageShape, Shape};

use crate::{generated::shapes, private};
use walk::Walk;

/// The deepest nesting of structures and arrays in any message: a bound on the recursion of the walk.
pub const MAX_DEPTH: usize = 16;

/// What a body may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most elements one array may have.
    pub max_array_elements: u32,
    /// The most structures, strings and byte strings all arrays of a body may have in all; numbers are not
    /// counted, as they take no more memory than bytes on the wire.
    pub max_elements: u32,
    /// The most tags one tag section may have.
    pub max_tags: u32,
    /// The longest string, in bytes.
    pub max_string: u32,
    /// The most tags of unknown meaning a body may have in all. An unknown tag costs a map entry while it
    /// costs its sender two bytes; clients send none.
    pub max_unknown_tags: u32,
}

impl Limits {
    /// The limits of Apache Kafka 4.4, and two of ours over the whole body where Kafka's are per array and per
    /// section: nested arrays would multiply what these allow.
    pub const KAFKA: Self = Self {
        max_array_elements: 1_000_000,
        max_elements: 4_000_000,
        max_tags: 10_000,
        max_string: i16::MAX as u32,
        max_unknown_tags: 10_000,
    };
}

/// Where and why a body was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at byte {at})")]
pub struct GuardError {
    /// Bytes of the body that were walked before.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No API has this key.
    #[error("unknown API key {0}")]
    UnknownKey(i16),
    /// The API has no such version.
    #[error("version {0} does not exist")]
    UnsupportedVersion(i16),
    /// The body ends in the middle of a field.
    #[error("the body ends where {needed} more bytes are due")]
    Ends {
        /// Bytes the field needs.
        needed: usize,
    },
    /// A variable-length integer goes on behind its fifth byte.
    #[error("a varint of more than five bytes")]
    Varint,
    /// A length below -1.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the version allows none.
    #[error("null where null is not allowed")]
    Null,
    /// A string longer than the limit.
    #[error("a string of {0} bytes")]
    StringTooLong(u32),
    /// An array of more elements than the limit, or all arrays together.
    #[error("{0} elements")]
    TooManyElements(u32),
    /// An array whose elements cannot fit the bytes that remain.
    #[error("an array of {count} elements in {remaining} bytes")]
    ArrayBeyondBody {
        /// Elements claimed.
        count: u32,
        /// Bytes that are left for them.
        remaining: usize,
    },
    /// More tags than the limit.
    #[error("{0} tags")]
    TooManyTags(u32),
    /// A tag the schema knows, in a version that does not have it.
    #[error("tag {0} does not belong to this version")]
    MisplacedTag(u32),
    /// A presence byte that is neither 1 nor -1.
    #[error("presence byte {0}")]
    Presence(i8),
}

/// Walks the body of a request of API `key` in `version`, without allocating.
///
/// `body` starts behind the request head. Bytes behind the end of the body are not looked at: Kafka ignores
/// them too.
///
/// # Errors
/// When the body claims what its bytes cannot hold or `limits` do not allow, is cut off, or is of no known
/// API and version.
pub fn check(key: i16, version: i16, body: &[u8], limits: &Limits) -> Result<(), GuardError> {
    run(shapes::request(key).or_else(|| private::request_shape(key)), key, version, body, limits)
}

/// Walks the body of a response of API `key` in `version`; otherwise as [`check`].
///
/// # Errors
/// As [`check`].
pub fn check_response(key: i16, version: i16, body: &[u8], limits: &Limits) -> Result<(), GuardError> {
    run(shapes::response(key).or_else(|| private::response_shape(key)), key, version, body, limits)
}

fn run(
    message: Option<&'static MessageShape>,
    key: i16,
    version: i16,
    body: &[u8],
    limits: &Limits,
) -> Result<(), GuardError> {
    let message = message.ok_or(GuardError { at: 0, fault: Fault::UnknownKey(key) })?;
    if version < message.min || version > message.max {
        return Err(GuardError { at: 0, fault: Fault::UnsupportedVersion(version) });
    }
    Walk::new(body, version, version >= message.flexible, limits).structure(message.root)
}

/// The length in bytes of the tag section at the start of `bytes`, of which no tag is known: that of heads.
///
/// # Errors
/// When the section is cut off or has too many tags.
pub fn tag_section_len(bytes: &[u8], limits: &Limits) -> Result<usize, GuardError> {
    let mut walk = Walk::new(bytes, 0, true, limits);
    walk.tags(&Shape::EMPTY)?;
    Ok(walk.at())
}
