//! How members are called in raft: by node id, and where the quorum knows directories, by directory too.
//!
//! A node whose disk was replaced has forgotten whom it voted for: it must not pass for the voter it was. With the
//! directory in the name it is another member (KIP-853's replica key). A quorum of static voters knows no directories.

use ottla_types::NodeId;
use uuid::Uuid;

/// Raft's name of a member; with the nil directory the plain one of a static voter.
#[must_use]
pub fn raft_id(node: NodeId, directory: Uuid) -> u64 {
    let (high, low) = directory.as_u64_pair();
    let mixed = high ^ low;
    let folded = (mixed >> 32) ^ (mixed & u64::from(u32::MAX));
    let folded = if directory.is_nil() { 0 } else { folded.max(1) };
    // Kafka's ids start at 0, which raft keeps for "nobody".
    (folded << 32) | (u64::from(node.unsigned_abs()) + 1)
}

/// The node of a member.
#[must_use]
pub fn node_of(raft_id: u64) -> Option<NodeId> {
    let low = u32::try_from(raft_id & u64::from(u32::MAX)).expect("32 bits");
    low.checked_sub(1).and_then(|id| NodeId::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_the_node_back() {
        for node in [0, 1, 77, NodeId::MAX] {
            for directory in [0, 1, 0x1234_5678_9abc_4def_8123_4567_89ab_cdef, u128::MAX] {
                assert_eq!(node_of(raft_id(node, Uuid::from_u128(directory))), Some(node));
            }
        }
        assert_eq!(node_of(0), None);
        assert_eq!(raft_id(1, Uuid::nil()), 2);
        assert_ne!(raft_id(1, Uuid::from_u128(7)), raft_id(1, Uuid::from_u128(8)));
        assert_ne!(raft_id(1, Uuid::from_u128(u128::MAX)), raft_id(1, Uuid::nil()), "halves that cancel out");
    }
}
