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
    pub fn version_at(&self, level: i16) -> i16 {
        match self {
            Self::RegisterBroker(_) if level >= CORDONED => 4,
            Self::RegisterBroker(_) if level >= DIRECTORIES => 3,
            Self::RegisterBroker(_) if level >= MIGRATION => 2,
            Self::RegisterBroker(_) => 1,
            Self::Partition(_) | Self::PartitionChange(_) if level >= ELR => 2,
            Self::Partition(_) | Self::PartitionChange(_) if level >= DIRECTORIES => 1,
            // Each kind of change came with a version, and is written in that, whatever the level.
            Self::BrokerRegistrationChange(change) if change.cordoned_log_dirs.is_some() => 3,
            Self::BrokerRegistrationChange(change) if !change.log_dirs.is_empty() => 2,
            Self::BrokerRegistrationChange(change) if change.in_controlled_shutdown != 0 => 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> MetadataRecord {
        TopicRecord::default().with_name("t".into()).into()
    }

    #[test]
    fn a_frame_is_its_version_the_key_the_records_version_and_the_body() {
        let frame = topic().encode(0).expect("version 0 has all fields");
        assert_eq!(frame[..5], [1, 2, 0, 2, b't']);
        assert_eq!(MetadataRecord::decode(&frame).expect("as written"), topic());
    }

    #[test]
    fn what_a_newer_kafka_wrote_is_told_from_damage() {
        assert!(matches!(MetadataRecord::decode(&[1, 99, 0]), Err(DecodeError::UnknownKey(99))));
        assert!(matches!(MetadataRecord::decode(&[1, 6, 0]), Err(DecodeError::UnknownKey(6))));
        let newer = MetadataRecord::decode(&[1, 2, 1]);
        assert!(matches!(newer, Err(DecodeError::UnsupportedVersion { key: 2, version: 1 })), "{newer:?}");
        for damaged in [&[][..], &[0, 2, 0], &[2, 2, 0], &[1], &[1, 2], &[0x81, 0x80, 0x80, 0x80, 0x80, 1]] {
            assert!(matches!(MetadataRecord::decode(damaged), Err(DecodeError::Head(_))), "{damaged:?}");
        }
        let mut long = topic().encode(0).expect("as above").to_vec();
        long.pop();
        assert!(matches!(MetadataRecord::decode(&long), Err(DecodeError::Body(_))));
        long.extend([0, 0]);
        assert!(matches!(MetadataRecord::decode(&long), Err(DecodeError::Trailing(1))));
    }

    #[test]
    fn versions_follow_the_level() {
        let register: MetadataRecord = RegisterBrokerRecord::default().into();
        let partition: MetadataRecord = PartitionRecord::default().into();
        let at = |record: &MetadataRecord, levels: [i16; 6]| levels.map(|level| record.version_at(level));
        assert_eq!(at(&register, [7, 8, 16, 17, 29, 30]), [1, 2, 2, 3, 3, 4]);
        assert_eq!(at(&partition, [7, 16, 17, 22, 23, 33]), [0, 0, 1, 1, 2, 2]);
        let change = BrokerRegistrationChangeRecord::default();
        for (record, version) in [
            (change.clone().with_fenced(1), 0),
            (change.clone().with_in_controlled_shutdown(1), 1),
            (change.clone().with_log_dirs(vec![uuid::Uuid::from_u128(7)]), 2),
            (change.with_cordoned_log_dirs(Some(Vec::new())), 3),
        ] {
            let record = MetadataRecord::from(record);
            assert_eq!(record.version_at(33), version, "{record:?}");
            record.encode_at_level(33).expect("the version has what is set");
        }
    }
}
