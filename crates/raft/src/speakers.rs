//! Over which connection each node was heard last, and whose was closed.
//!
//! That one says whether the node lives. Others do not: of those that it gave up while the network was cut this end hears
//! nothing, and they stay open here for minutes.

use std::collections::HashMap;

use ottla_types::NodeId;

/// The connection that each node was heard over last, with what it said of itself there.
#[derive(Debug)]
pub struct Speakers<T> {
    /// Each connection here is in `nodes`, and each of `nodes` here.
    connections: HashMap<u64, NodeId>,
    nodes: HashMap<NodeId, (u64, T)>,
}

impl<T> Default for Speakers<T> {
    fn default() -> Self {
        Self { connections: HashMap::new(), nodes: HashMap::new() }
    }
}

impl<T> Speakers<T> {
    /// A node was heard over a connection. What it had said of itself before over the same one.
    ///
    /// Another node on this connection takes the place of the one before.
    pub fn heard(&mut self, connection: u64, node: NodeId, says: T) -> Option<T> {
        if let Some(other) = self.connections.insert(connection, node)
            && other != node
        {
            self.nodes.remove(&other);
        }
        let (before, said) = self.nodes.insert(node, (connection, says))?;
        if before == connection {
            return Some(said);
        }
        self.connections.remove(&before);
        None
    }

    /// A connection was closed. The node that was heard over it last, if any.
    pub fn closed(&mut self, connection: u64) -> Option<(NodeId, T)> {
        let node = self.connections.remove(&connection)?;
        let (_, said) = self.nodes.remove(&node)?;
        Some((node, said))
    }

    /// What a node said of itself, if the connection it was heard over last is open.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&T> {
        self.nodes.get(&node).map(|(_, said)| said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_missed_when_the_connection_it_spoke_over_last_is_closed() {
        let mut speakers = Speakers::default();
        assert_eq!(speakers.heard(1, 7, 'a'), None);
        assert_eq!(speakers.heard(3, 8, 'x'), None);
        // It gave up the first one, of which nothing was heard here.
        assert_eq!(speakers.heard(2, 7, 'b'), None);
        assert_eq!(speakers.heard(2, 7, 'c'), Some('b'));
        assert_eq!(speakers.closed(2), Some((7, 'c')));
        assert_eq!((speakers.get(7), speakers.get(8)), (None, Some(&'x')));
        // What is left of it is no news.
        assert_eq!(speakers.closed(1), None);
        assert_eq!(speakers.closed(9), None);
        // It is back.
        speakers.heard(4, 7, 'd');
        assert_eq!(speakers.closed(4), Some((7, 'd')));
    }

    #[test]
    fn a_connection_that_was_given_up_may_be_closed_before_the_last_one() {
        let mut speakers = Speakers::default();
        speakers.heard(1, 7, ());
        speakers.heard(2, 7, ());
        assert_eq!(speakers.closed(1), None);
        assert_eq!(speakers.closed(2), Some((7, ())));
    }

    #[test]
    fn a_connection_belongs_to_the_node_it_last_spoke_for() {
        let mut speakers = Speakers::default();
        speakers.heard(1, 7, 'a');
        assert_eq!(speakers.heard(1, 8, 'b'), None);
        assert_eq!(speakers.get(7), None);
        assert_eq!(speakers.closed(1), Some((8, 'b')));
        assert!(speakers.connections.is_empty() && speakers.nodes.is_empty());
    }
}
