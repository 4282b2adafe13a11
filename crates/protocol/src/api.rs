//! The table of APIs: keys, names, versions, header versions and listeners, as Apache Kafka 4.4 has them.
//!
//! The table says what the wire format knows. What a broker advertises is what its handlers implement, which
//! is a subset.

pub use crate::generated::api_table::*;

/// One API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The key on the wire.
    pub key: i16,
    /// Kafka's name, such as `ListOffsets`.
    pub name: &'static str,
    /// The lowest version that has a format.
    pub min: i16,
    /// The highest version that has a format.
    pub max: i16,
    /// The highest version is unstable: Kafka advertises it only with `unstable.api.versions.enable`.
    pub latest_unstable: bool,
    /// Served on broker listeners.
    pub broker: bool,
    /// Served on controller listeners.
    pub controller: bool,
    /// The first version whose request is flexible (compact lengths, tag sections); [`i16::MAX`] if none is.
    pub request_flexible: i16,
    /// The first version whose response is flexible; [`i16::MAX`] if none is.
    pub response_flexible: i16,
}

impl Api {
    /// Whether `version` has a format.
    pub const fn has(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The highest version Kafka advertises without `unstable.api.versions.enable`.
    pub const fn max_stable(&self) -> i16 {
        if self.latest_unstable { self.max - 1 } else { self.max }
    }

    /// 2 where the request is flexible (a tag section follows the client id), else 1.
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if version >= self.request_flexible { 2 } else { 1 }
    }

    /// 1 where the response is flexible (a tag section follows the correlation id), else 0. ApiVersions is
    /// always 0: its client cannot know yet which versions the broker has (KIP-511).
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.key != API_VERSIONS && version >= self.response_flexible { 1 } else { 0 }
    }
}

/// The API with this key; also one that only Ottla's own nodes speak, which is not among [`APIS`].
pub fn by_key(key: i16) -> Option<&'static Api> {
    if key >= crate::private::OTTLA_RAFT {
        return crate::private::by_key(key);
    }
    let index = *INDEX.get(usize::try_from(key).ok()?)?;
    APIS.get(usize::from(index))
}

/// The version of the request head of `key` in `version`; `None` for an unknown key.
pub fn request_header_version(key: i16, version: i16) -> Option<i16> {
    by_key(key).map(|api| api.request_header_version(version))
}

/// The version of the response head of `key` in `version`; `None` for an unknown key.
pub fn response_header_version(key: i16, version: i16) -> Option<i16> {
    by_key(key).map(|api| api.response_header_version(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_finds_every_api_and_nothing_else() {
        for api in APIS {
            assert_eq!(by_key(api.key), Some(api));
        }
        // LeaderAndIsr, StopReplica, UpdateMetadata and ControlledShutdown went with ZooKeeper.
        for gone in [-1, 4, 5, 6, 7, 95, i16::MAX, i16::MIN] {
            assert_eq!(by_key(gone), None, "{gone}");
        }
    }

    #[test]
    fn heads_have_their_exceptions() {
        assert_eq!((request_header_version(18, 2), request_header_version(18, 3)), (Some(1), Some(2)));
        assert_eq!((response_header_version(18, 2), response_header_version(18, 5)), (Some(0), Some(0)));
        // Never flexible.
        assert_eq!((request_header_version(17, 1), response_header_version(17, 1)), (Some(1), Some(0)));
        assert_eq!((request_header_version(47, 0), response_header_version(47, 0)), (Some(1), Some(0)));
        assert_eq!((request_header_version(3, 9), response_header_version(3, 9)), (Some(2), Some(1)));
    }

    #[test]
    fn versions_are_those_of_kafka_4_4() {
        let range = |key| by_key(key).map(|api| (api.min, api.max, api.max_stable()));
        assert_eq!(range(PRODUCE), Some((3, 13, 13)));
        assert_eq!(range(FETCH), Some((4, 18, 18)));
        assert_eq!(range(LIST_OFFSETS), Some((1, 11, 11)));
        assert_eq!(range(OFFSET_FETCH), Some((1, 10, 10)));
        assert_eq!(range(INIT_PRODUCER_ID), Some((0, 6, 5)));
        assert_eq!(range(UNREGISTER_CONTROLLER), Some((0, 0, 0)));
        assert_eq!(APIS.len(), 91);
    }
}
