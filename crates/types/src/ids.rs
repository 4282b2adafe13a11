//! Identities and the two hashes that place them.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// A topic's id: new with every creation, also of the same name (KIP-516).
/// Prints and parses as Kafka does: 22 characters of unpadded URL-safe base64.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// "No id given": all zero.
    pub const ZERO: Self = Self(Uuid::nil());
    /// The id of `__cluster_metadata`, the same in every cluster.
    pub const METADATA: Self = Self(Uuid::from_u128(1));

    /// True when no id was given.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TopicId {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(s).map_err(|_| "not URL-safe base64")?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| "not 16 bytes")?;
        Ok(Self(Uuid::from_bytes(bytes)))
    }
}

/// A partition by the name of its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Counted from 0 within the topic.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition by the id of its topic: unambiguous also when a topic is created anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartitionId {
    /// The topic's id.
    pub topic: TopicId,
    /// Counted from 0 within the topic.
    pub partition: i32,
}

/// Java's `String.hashCode`: over UTF-16 code units, wrapping at 32 bits.
#[must_use]
pub fn java_string_hash(s: &str) -> i32 {
    s.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition of an internal topic that holds `key` (a group or transactional id), as Kafka places it:
/// the hash with its sign bit cleared, modulo `partitions`.
#[must_use]
pub fn partition_for_key(key: &str, partitions: i32) -> i32 {
    let hash = java_string_hash(key);
    // Kafka's Utils.abs maps the one value without a positive twin to 0.
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_print_as_kafka_prints_them() {
        assert_eq!(TopicId::METADATA.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(TopicId::METADATA));
        assert!("AAAA".parse::<TopicId>().is_err());
        assert!("*".parse::<TopicId>().is_err());
    }

    #[test]
    fn hashes_are_javas() {
        assert_eq!(java_string_hash(""), 0);
        assert_eq!(java_string_hash("hello"), 99_162_322);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_for_key("polygenelubricants", 50), 0);
        assert_eq!(partition_for_key("hello", 50), 22);
    }
}
