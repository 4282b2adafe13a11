//! The records of the metadata log `__cluster_metadata` and of its snapshots.
//!
//! The value of such a log record is a frame: the frame's version (1), the record's key and the record's
//! version as unsigned varints, then the body, which is flexible in every version. The log record has no key.

use bytes::{Bytes, BytesMut};

pub use crate::generated::metadata::*;
use crate::wire::{self, Sink, Wire};
use crate::{DecodeError, EncodeError};

/// The version of the frame around every record.
const FRAME_VERSION: u32 = 1;

/// The first level of `metadata.version` (3.4-IV0) at which a broker registers as migrating.
const MIGRATION: i16 = 8;
/// The first level (3.7-IV2) at which replicas are assigned to log directories.
const DIRECTORIES: i16 = 17;
/// The first level (4.0-IV1) with eligible leader replicas.
const ELR: i16 = 23;
/// The first level (4.3-IV0) with cordoned log directories.
const CORDONED: i16 = 30;

impl MetadataRecord {
    /// Writes the record in `version`, in its frame.
    ///
    /// # Errors
    /// When a field is set that the version does not have.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let key = self.key();
        let fail = |source| EncodeError::Body { key, version, source };
        let mut size = wire::Size::default();
        self.put(&mut size, version).map_err(fail)?;
        let mut out = BytesMut::with_capacity(size.0);
        self.put(&mut wire::Into(&mut out), version).map_err(fail)?;
        Ok(out.freeze())
    }

    /// Writes the record in the version that Kafka writes at `level` of `metadata.version`, in its frame.
    ///
    /// # Errors
    /// When a field is set that this version does not have.
    pub fn encode_at_level(&self, level: i16) -> Result<Bytes, EncodeError> {
        self.encode(self.version_at(level))
    }

    fn put<S: Sink>(&self, out: &mut S, version: i16) -> anyhow::Result<()> {
        out.uvarint(FRAME_VERSION);
        out.uvarint(self.key() as u32);
        out.uvarint(version as u32);
        self.write_body(out, version)
    }

    /// The version in which Kafka 4.4 writes the record at `level` of `metadata.version`.
    pub const fn version_at(&self, level: i16) -> i16 {
        match self {
            Self::RegisterBroker(_) if level >= CORDONED => 4,
            Self::RegisterBroker(_) if level >= DIRECTORIES => 3,
            Self::RegisterBroker(_) if level >= MIGRATION => 2,
            Self::RegisterBroker(_) => 1,
            Self::Partition(_) | Self::PartitionChange(_) if level >= ELR => 2,
            Self::Partition(_) | Self::PartitionChange(_) if level >= DIRECTORIES => 1,
            Self::BrokerRegistrationChange(_) if level >= CORDONED => 3,
            Self::BrokerRegistrationChange(_) if level >= DIRECTORIES => 2,
            Self::BrokerRegistrationChange(_) => 1,
            _ => 0,
        }
    }

    /// Reads a record in its frame. The bytes are copied once, into a buffer the result's strings share.
    ///
    /// # Errors
    /// [`DecodeError::UnknownKey`] and [`DecodeError::UnsupportedVersion`] for a record of a newer Kafka; other
    /// errors for a frame that is cut off, malformed, or has bytes left over.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut buf = Bytes::copy_from_slice(frame);
        let mut number = |what| {
            let value = wire::get_uvarint(&mut buf).map_err(|_| DecodeError::Head(what))?;
            i16::try_from(value).map_err(|_| DecodeError::Head(what))
        };
        if number("no frame version")? != FRAME_VERSION as i16 {
            return Err(DecodeError::Head("a frame version that is not 1"));
        }
        let key = number("no record key")?;
        let version = number("no record version")?;
        let record = Self::read_body(key, version, &mut buf)?;
        if !buf.is_empty() {
            return Err(DecodeError::Trailing(buf.len()));
        }
        Ok(record)
    }
}

/// The enum over all metadata records.
macro_rules! record_enum {
    ($($key:literal => $variant:ident($record:ident),)*) => {
        /// A record of the metadata log.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::large_enum_variant)]
        pub enum MetadataRecord {
            $(
                #[doc = concat!("[`", stringify!($record), "`], key ", stringify!($key), ".")]
                $variant($record),
            )*
        }

        $(
            impl From<$record> for MetadataRecord {
                fn from(record: $record) -> Self {
                    Self::$variant(record)
                }
            }
        )*

        impl MetadataRecord {
            /// The record's key in the frame.
            pub const fn key(&self) -> i16 {
                match self {
                    $(Self::$variant(_) => $key,)*
                }
            }

            /// The record's name, such as `TopicRecord`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($record),)*
                }
            }

            /// The highest version of the record.
            pub const fn highest_version(&self) -> i16 {
                match self {
                    $(Self::$variant(_) => <$record as crate::wire::Wire>::MAX,)*
                }
            }

            pub(crate) fn write_body<S: crate::wire::Sink>(&self, out: &mut S, version: i16) -> anyhow::Result<()> {
                match self {
                    $(Self::$variant(record) => crate::wire::Wire::write(record, out, version),)*
                }
            }

            pub(crate) fn read_body(
                key: i16,
                version: i16,
                buf: &mut bytes::Bytes,
            ) -> Result<Self, crate::DecodeError> {
                match key {
                    $($key => crate::persisted::metadata::read(key, version, buf).map(Self::$variant),)*
                    _ => Err(crate::DecodeError::UnknownKey(key)),
                }
            }
        }
    };
}

pub(crate) use record_enum;

/// Reads the body of a record whose type is settled.
pub(crate) fn read<T: Wire>(key: i16, version: i16, buf: &mut Bytes) -> Result<T, DecodeError> {
    if version < T::MIN || version > T::MAX {
        return Err(DecodeError::UnsupportedVersion { key, version });
    }
    T::read(buf, version).map_err(DecodeError::Body)
}
