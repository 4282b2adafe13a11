//! What the generated types are written with: sinks, sources, and the traits they implement.
//!
//! kafka-protocol keeps its own encoders to itself, so these are ours. They differ in one point: no length is
//! believed. A vector starts with room for at most a thousand elements and grows with what is really there, so
//! these types are safe to decode even without the [guard](crate::guard).

mod get;
mod put;

use anyhow::{Result, bail};
use kafka_protocol::protocol::buf::ByteBuf;

pub(crate) use get::*;
pub(crate) use put::*;

/// A structure of a message: written and read in its versions.
pub(crate) trait Wire: Sized {
    /// Lowest version.
    const MIN: i16;
    /// Highest version.
    const MAX: i16;

    /// Writes the structure as `version` has it.
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()>;

    /// Reads the structure as `version` has it.
    fn read<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self>;
}

/// Refuses a version the structure is not in.
pub(crate) fn supported<T: Wire>(version: i16) -> Result<()> {
    if version < T::MIN || version > T::MAX {
        bail!("version {version} is not in {}-{}", T::MIN, T::MAX);
    }
    Ok(())
}

/// Refuses a value that the version has no place for, and that must not be lost silently.
pub(crate) fn absent(field: &str, version: i16) -> Result<()> {
    bail!("field {field} is set and version {version} does not have it")
}

/// Refuses a tag that belongs to other versions.
pub(crate) fn misplaced<T>(tag: u32, version: i16) -> Result<T> {
    bail!("tag {tag} does not belong to version {version}")
}

/// Gives a [`Wire`] type kafka-protocol's traits.
macro_rules! message {
    ($name:ident) => {
        impl kafka_protocol::protocol::Message for $name {
            const VERSIONS: kafka_protocol::protocol::VersionRange = kafka_protocol::protocol::VersionRange {
                min: <Self as $crate::wire::Wire>::MIN,
                max: <Self as $crate::wire::Wire>::MAX,
            };
            const DEPRECATED_VERSIONS: Option<kafka_protocol::protocol::VersionRange> = None;
        }

        impl kafka_protocol::protocol::Encodable for $name {
            fn encode<B: kafka_protocol::protocol::buf::ByteBufMut>(
                &self,
                buf: &mut B,
                version: i16,
            ) -> anyhow::Result<()> {
                $crate::wire::Wire::write(self, &mut $crate::wire::Into(buf), version)
            }

            fn compute_size(&self, version: i16) -> anyhow::Result<usize> {
                let mut size = $crate::wire::Size::default();
                $crate::wire::Wire::write(self, &mut size, version)?;
                Ok(size.0)
            }
        }

        impl kafka_protocol::protocol::Decodable for $name {
            fn decode<B: kafka_protocol::protocol::buf::ByteBuf>(
                buf: &mut B,
                version: i16,
            ) -> anyhow::Result<Self> {
                $crate::wire::Wire::read(buf, version)
            }
        }
    };
}

/// Makes a message the request of an API.
macro_rules! request {
    ($name:ident, $key:literal, $response:ident, $flexible:expr) => {
        impl kafka_protocol::protocol::HeaderVersion for $name {
            fn header_version(version: i16) -> i16 {
                if version >= $flexible { 2 } else { 1 }
            }
        }

        impl kafka_protocol::protocol::Request for $name {
            const KEY: i16 = $key;
            type Response = $crate::messages::$response;
        }
    };
}

/// Makes a message the response of an API. The head of ApiVersions' response never has tags.
macro_rules! response {
    ($name:ident, $key:literal, $flexible:expr) => {
        impl kafka_protocol::protocol::HeaderVersion for $name {
            fn header_version(version: i16) -> i16 {
                if $key != $crate::api::API_VERSIONS && version >= $flexible { 1 } else { 0 }
            }
        }
    };
}

pub(crate) use {message, request, response};
