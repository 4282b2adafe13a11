//! Which replica a consumer should read from: one in its rack (KIP-392).

use std::ops::RangeInclusive;

use ottla_types::{Millis, NodeId, Offset};

/// The class of `replica.selector.class` that goes by racks.
pub(crate) const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What the leader knows of an in-sync follower.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// Its broker.
    pub(crate) id: NodeId,
    /// Where its log starts and ends.
    pub(crate) log: RangeInclusive<Offset>,
    /// When it last had all that the leader had.
    pub(crate) caught_up: Millis,
}

/// The in-sync follower in the consumer's rack that has most, if what the consumer wants next is in its log. `None` when the
/// leader is in that rack, or nobody is. `rack_of` knows the racks of brokers the consumer can reach.
pub(crate) fn choose<'a>(
    rack: &str,
    leader: NodeId,
    in_sync: impl Iterator<Item = Follower>,
    from: Offset,
    rack_of: impl Fn(NodeId) -> Option<&'a str>,
) -> Option<NodeId> {
    let is_near = |id| rack_of(id) == Some(rack);
    if is_near(leader) {
        return None;
    }
    let near = in_sync.filter(|follower| follower.log.contains(&from) && is_near(follower.id));
    let best = near.max_by_key(|follower| (*follower.log.end(), follower.caught_up, follower.id));
    best.map(|follower| follower.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACKS: [Option<&str>; 5] = [Some("a"), Some("b"), Some("b"), Some("c"), None];

    fn chosen(rack: &str, from: Offset) -> Option<NodeId> {
        let in_sync = [(1, 10, 5), (2, 12, 5), (3, 12, 5), (4, 12, 5)];
        let in_sync =
            in_sync.map(|(id, log_end, at)| Follower { id, log: 2..=log_end, caught_up: Millis(at) });
        choose(rack, 0, in_sync.into_iter(), from, |id| RACKS[id as usize])
    }

    #[test]
    fn the_follower_in_the_rack_that_has_most_is_preferred() {
        assert_eq!(chosen("b", 3), Some(2));
        assert_eq!(chosen("c", 12), Some(3));
    }

    #[test]
    fn the_leader_serves_its_own_rack_and_those_without_a_follower() {
        for rack in ["a", "d", ""] {
            assert_eq!(chosen(rack, 3), None, "{rack}");
        }
    }

    #[test]
    fn nobody_is_sent_to_a_follower_that_lacks_what_is_wanted() {
        assert_eq!(chosen("b", 12), Some(2));
        assert_eq!(chosen("b", 13), None);
        assert_eq!(chosen("b", 1), None);
    }

    #[test]
    fn equals_are_told_apart_by_who_caught_up_last_then_by_id() {
        let rack = |_| Some("x");
        let follower = |id, at| Follower { id, log: 0..=7, caught_up: Millis(at) };
        let choose = |all: [Follower; 2]| {
            choose("x", 9, all.into_iter(), 0, |id| if id == 9 { None } else { rack(id) })
        };
        assert_eq!(choose([follower(1, 50), follower(2, 40)]), Some(1));
        assert_eq!(choose([follower(1, 50), follower(2, 50)]), Some(2));
    }
}
