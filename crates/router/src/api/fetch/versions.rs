//! What versions of Fetch differ in.

/// Version 13 names topics by id.
pub(super) fn uses_ids(version: i16) -> bool {
    version >= 13
}

/// Version 16 tells who leads instead; the field is there from 12 on, but Kafka leaves it alone until it can tell where.
pub(super) fn names_leaders(version: i16) -> bool {
    version >= 16
}

/// Version 11 says where the consumer is, and that it may be sent to a follower (KIP-392).
pub(super) fn knows_follower_fetching(version: i16) -> bool {
    version >= 11
}
