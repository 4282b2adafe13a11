//! Coordinator records: a key and a value, each behind a 2-byte prefix.
//!
//! The prefix of a key is the record's type and the body behind it is always version 0; the prefix of a value
//! is the version of its body. A value may be absent: a tombstone.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Decodable, DecodeError, Encodable, EncodeError};

/// A key or value of a coordinator record.
pub trait Versioned: Encodable + Decodable {
    /// The version of the body behind the prefix `prefix`; `None` if this type does not follow that prefix.
    fn body_version(prefix: i16) -> Option<i16>;
}

/// A key of a coordinator record.
pub trait RecordKey: Versioned {
    /// The record's type: the prefix.
    const TYPE: i16;
}

/// A value of a coordinator record.
pub trait RecordValue: Versioned {
    /// The lowest version.
    const LOWEST: i16;
    /// The highest version.
    const HIGHEST: i16;
}

/// Writes the prefix and the body. For a key `prefix` is its type, for a value the version to write.
///
/// # Errors
/// When the type does not go with the prefix, or a field is set that the version does not have.
pub fn encode_versioned<T: Versioned>(prefix: i16, record: &T) -> Result<Bytes, EncodeError> {
    let version = T::body_version(prefix).ok_or(EncodeError::UnknownKey(prefix))?;
    let fail = |source| EncodeError::Body { key: prefix, version, source };
    let mut out = BytesMut::with_capacity(2 + record.compute_size(version).map_err(fail)?);
    out.put_i16(prefix);
    record.encode(&mut out, version).map_err(fail)?;
    Ok(out.freeze())
}

/// Writes a key behind its type.
///
/// # Errors
/// When a string is longer than 32,767 bytes.
pub fn encode_key<K: RecordKey>(key: &K) -> Result<Bytes, EncodeError> {
    encode_versioned(K::TYPE, key)
}

/// The prefix of a key (its type) or value (its version).
///
/// # Errors
/// When fewer than two bytes are there.
pub fn read_version(bytes: &[u8]) -> Result<i16, DecodeError> {
    let prefix = bytes.first_chunk::<2>().ok_or(DecodeError::Head("shorter than two bytes"))?;
    Ok(i16::from_be_bytes(*prefix))
}

/// Reads a key or value with its prefix. The bytes are copied once, into a buffer the result's strings share.
/// Bytes behind the body are ignored, as Kafka ignores them.
///
/// # Errors
/// When the prefix is not one of this type, or the body is malformed.
pub fn decode_versioned<T: Versioned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let prefix = read_version(bytes)?;
    let version = T::body_version(prefix).ok_or(DecodeError::UnknownKey(prefix))?;
    let mut body = Bytes::copy_from_slice(&bytes[2..]);
    T::decode(&mut body, version).map_err(DecodeError::Body)
}

/// Reads a key of a known type.
///
/// # Errors
/// When the key is of another type, or malformed.
pub fn decode_key<K: RecordKey>(bytes: &[u8]) -> Result<K, DecodeError> {
    decode_versioned(bytes)
}

/// Makes a message the key of a coordinator record.
macro_rules! key {
    ($name:ident, $type:literal) => {
        impl crate::persisted::versioned::Versioned for $name {
            fn body_version(prefix: i16) -> Option<i16> {
                (prefix == $type).then_some(0)
            }
        }

        impl crate::persisted::versioned::RecordKey for $name {
            const TYPE: i16 = $type;
        }
    };
}

/// Makes a message the value of a coordinator record.
macro_rules! value {
    ($name:ident) => {
        impl crate::persisted::versioned::Versioned for $name {
            fn body_version(prefix: i16) -> Option<i16> {
                use crate::wire::Wire;
                (Self::MIN..=Self::MAX).contains(&prefix).then_some(prefix)
            }
        }

        impl crate::persisted::versioned::RecordValue for $name {
            const LOWEST: i16 = <Self as crate::wire::Wire>::MIN;
            const HIGHEST: i16 = <Self as crate::wire::Wire>::MAX;
        }
    };
}

/// The enum over all records of a coordinator's topic.
macro_rules! record_enum {
    ($topic:literal, $($variant:ident($key:ident, $value:ident),)*) => {
        #[doc = concat!("A record of `", $topic, "`: its key, and its value unless it is a tombstone.")]
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::large_enum_variant)]
        pub enum Record {
            $(
                #[doc = concat!("[`", stringify!($key), "`] and [`", stringify!($value), "`].")]
                $variant($key, Option<$value>),
            )*
        }

        impl Record {
            /// Reads a record: `value` is `None` for a tombstone.
            ///
            /// # Errors
            /// When the type or version is unknown, or the key or value malformed.
            pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, crate::DecodeError> {
                use crate::persisted::versioned::{RecordKey, decode_versioned, read_version};
                match read_version(key)? {
                    $(
                        $key::TYPE => Ok(Self::$variant(
                            decode_versioned(key)?,
                            value.map(decode_versioned::<$value>).transpose()?,
                        )),
                    )*
                    other => Err(crate::DecodeError::UnknownKey(other)),
                }
            }

            /// Writes the record: its key, and its value in `version` unless it is a tombstone.
            ///
            /// # Errors
            /// When the value has no such version, or a field is set that the version does not have.
            pub fn encode(
                &self,
                version: i16,
            ) -> Result<(bytes::Bytes, Option<bytes::Bytes>), crate::EncodeError> {
                use crate::persisted::versioned::{encode_key, encode_versioned};
                match self {
                    $(Self::$variant(key, value) => Ok((
                        encode_key(key)?,
                        value.as_ref().map(|value| encode_versioned(version, value)).transpose()?,
                    )),)*
                }
            }

            /// The record's type, which is the prefix of its key.
            pub const fn record_type(&self) -> i16 {
                use crate::persisted::versioned::RecordKey;
                match self {
                    $(Self::$variant(..) => $key::TYPE,)*
                }
            }
        }
    };
}

pub(crate) use {key, record_enum, value};
