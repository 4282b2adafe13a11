//! Kafka's releases: the levels of `metadata.version`, their names, and the features a cluster of a release begins with.

use ottla_metadata::feature;

/// A level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The level, which is what records and requests carry.
    pub level: i16,
    /// Its name, as `4.3-IV0`.
    pub name: &'static str,
    /// Whether the level brought records or fields that the one before lacks.
    pub changed: bool,
}

const fn release(level: i16, name: &'static str, changed: bool) -> Release {
    Release { level, name, changed }
}

/// Every level this version can work with, oldest first.
pub const RELEASES: [Release; 27] = [
    release(7, "3.3-IV3", true),
    release(8, "3.4-IV0", true),
    release(9, "3.5-IV0", false),
    release(10, "3.5-IV1", false),
    release(11, "3.5-IV2", true),
    release(12, "3.6-IV0", false),
    release(13, "3.6-IV1", true),
    release(14, "3.6-IV2", true),
    release(15, "3.7-IV0", true),
    release(16, "3.7-IV1", false),
    release(17, "3.7-IV2", true),
    release(18, "3.7-IV3", false),
    release(19, "3.7-IV4", false),
    release(20, "3.8-IV0", false),
    release(21, "3.9-IV0", false),
    release(22, "4.0-IV0", false),
    release(23, "4.0-IV1", true),
    release(24, "4.0-IV2", false),
    release(25, "4.0-IV3", false),
    release(26, "4.1-IV0", false),
    release(27, "4.1-IV1", false),
    release(28, "4.2-IV0", false),
    release(29, "4.2-IV1", false),
    release(30, "4.3-IV0", true),
    release(31, "4.4-IV0", false),
    release(32, "4.4-IV1", true),
    release(33, "4.4-IV2", true),
];

/// The newest level.
pub const LATEST: Release = RELEASES[RELEASES.len() - 1];

/// From which level on a cluster begins with a feature, and with which level of it. Share and streams groups are not
/// among them: a client that sees them finalized would use them, and they are not served yet.
const FEATURES: [(&str, i16, i16); 3] = [
    (feature::ELIGIBLE_LEADER_REPLICAS_VERSION, 26, 1),
    (feature::GROUP_VERSION, 22, 1),
    (feature::TRANSACTION_VERSION, 24, 2),
];

impl Release {
    /// The release of a level, if there is one.
    #[must_use]
    pub fn of_level(level: i16) -> Option<Self> {
        RELEASES.into_iter().find(|known| known.level == level)
    }

    /// The release of a name: a level's own (`4.3-IV0`), or the last level of a release (`4.3`, `4.3.1`).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let exact = RELEASES.into_iter().find(|known| known.name == name);
        exact.or_else(|| {
            let end = name.match_indices('.').nth(1).map_or(name.len(), |(at, _)| at);
            let of_it = |known: &Self| known.name.split_once("-IV").is_some_and(|it| it.0 == &name[..end]);
            RELEASES.into_iter().rfind(of_it)
        })
    }

    /// What Kafka finalizes when it formats a new cluster of this release, in its order.
    #[must_use]
    pub fn features(self) -> Vec<(String, i16)> {
        let rest = FEATURES.into_iter().filter(|(_, from, _)| *from <= self.level);
        let rest = rest.map(|(name, _, level)| (name.to_owned(), level));
        std::iter::once((feature::METADATA_VERSION.to_owned(), self.level)).chain(rest).collect()
    }

    /// Whether going down to this release from `current` loses nothing that is in the log: no level between brought
    /// records or fields.
    #[must_use]
    pub fn reachable_from(self, current: i16) -> bool {
        !RELEASES.iter().any(|known| known.level > self.level && known.level <= current && known.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with Kafka 4.4.0's MetadataVersion by hand.
    #[test]
    fn names() {
        let level = |name| Release::named(name).map(|it| it.level);
        let known = [("4.3", 30), ("4.3-IV0", 30), ("4.3.1", 30), ("4.4", 33), ("3.3", 7), ("4.0", 25)];
        assert!(known.iter().all(|(name, expected)| level(name) == Some(*expected)));
        assert!(["4.5", "4.1-IV7", "2.8", "foo", "", "4", "4.3-IV"].iter().all(|name| level(name).is_none()));
        assert!(RELEASES.iter().all(|it| Release::of_level(it.level) == Some(*it)));
        assert!(RELEASES.windows(2).all(|two| two[0].level + 1 == two[1].level));
        assert_eq!((LATEST.name, Release::of_level(34)), ("4.4-IV2", None));
    }

    #[test]
    fn features_of_a_release() {
        let of = |name| {
            let features = Release::named(name).unwrap().features();
            features.iter().map(|(name, level)| format!("{name}={level}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("3.9"), "metadata.version=21");
        assert_eq!(of("4.0-IV1"), "metadata.version=23 group.version=1");
        let full = "eligible.leader.replicas.version=1 group.version=1 transaction.version=2";
        assert_eq!(of("4.3"), format!("metadata.version=30 {full}"));
        assert_eq!(of("4.4"), format!("metadata.version=33 {full}"));
    }
}
