//! Who belongs to the quorum: voters as Kafka's records name them, and raft's names for them.

use std::path::Path;

use bytes::Bytes;
use ottla_records::Batch;
use ottla_types::{Millis, NodeId};
use raft::eraftpb::ConfState;
use uuid::Uuid;

use crate::{Fault, SnapshotId, Voter, checkpoint, control, core::assemble, raft_id};

/// The voters, and by which rules they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// `kraft.version`: with 0 the voters are those of everyone's configuration, with 1 they stand in the log and can
    /// be changed.
    pub kraft_version: i16,
    /// The voters.
    pub voters: Vec<Voter>,
}

impl Membership {
    /// The voter with this id.
    #[must_use]
    pub fn voter(&self, id: NodeId) -> Option<&Voter> {
        self.voters.iter().find(|voter| voter.id == id)
    }

    /// Takes in what a batch of the metadata log, or of a snapshot, says about the quorum.
    ///
    /// # Errors
    /// What is wrong with the batch, in words.
    pub fn learn(&mut self, batch: &Batch) -> Result<(), String> {
        control::read(batch, self)
    }

    /// The voters that the bootstrap snapshot in the directory of the metadata log names: that of a node that was
    /// formatted as one of the first controllers. `None` when there is no such snapshot or it names nobody.
    ///
    /// # Errors
    /// When the snapshot cannot be read.
    pub fn bootstrap(dir: &Path) -> Result<Option<Self>, Fault> {
        let bytes = match checkpoint::bytes(dir, SnapshotId::BOOTSTRAP) {
            Ok(bytes) => bytes,
            Err(Fault::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(fault) => return Err(fault),
        };
        let mut found = Self::default();
        for batch in checkpoint::parse(bytes)? {
            control::read(&batch, &mut found).map_err(|why| Fault::BadFacts { offset: 0, why })?;
        }
        Ok(Some(found).filter(|found| !found.voters.is_empty()))
    }
}

/// Writes the bootstrap snapshot of a node that is being formatted into the directory of its metadata log, which is
/// made if it is not there: who votes first (nobody for a node that is to join), and `facts`, a batch of them.
///
/// # Errors
/// When it cannot be written.
pub fn write_bootstrap(dir: &Path, quorum: &Membership, facts: Bytes, at: Millis) -> Result<(), Fault> {
    std::fs::create_dir_all(dir).map_err(|source| Fault::File { path: dir.to_owned(), source })?;
    checkpoint::add(dir, SnapshotId::BOOTSTRAP, &assemble(quorum, [facts], at, at))
}

/// How a quorum begins on a disk where raft never ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Founding {
    /// `controller.quorum.voters`: known by node id alone.
    Static(Vec<Voter>),
    /// The voters a node was formatted with, known by node id and directory.
    Dynamic(Vec<Voter>),
    /// A member of nothing, until a leader takes it in.
    Join,
}

impl Founding {
    /// The voters it begins with, as far as this node knows.
    pub(crate) fn membership(&self) -> Membership {
        match self {
            Self::Static(voters) => {
                let nameless = |voter: &Voter| Voter { directory_id: Uuid::nil(), ..voter.clone() };
                Membership { kraft_version: 0, voters: voters.iter().map(nameless).collect() }
            }
            Self::Dynamic(voters) => Membership { kraft_version: 1, voters: voters.clone() },
            Self::Join => Membership::default(),
        }
    }
}

/// Raft's name for a member: the one with its directory, unless it is known by the plain one. Static voters are, and
/// keep it when `kraft.version` goes up: it is theirs, whatever directory another process of the same node has.
///
/// `owner` is the directory of who is known by the plain name, where that is known.
pub(crate) fn name_in(conf: &ConfState, id: NodeId, directory: Uuid, owner: Option<Uuid>) -> u64 {
    let (plain, own) = (raft_id(id, Uuid::nil()), raft_id(id, directory));
    let is_member = |name: &u64| conf.voters.contains(name) || conf.learners.contains(name);
    let is_plain = if is_member(&own) {
        // It was taken for a newcomer by who did not know its name: what it votes by is it.
        conf.voters.contains(&plain) && owner == Some(directory)
    } else {
        is_member(&plain) && owner.is_none_or(|owner| owner == directory)
    };
    if is_plain { plain } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_votes_by_the_plain_name_is_it_also_where_it_was_taken_for_a_newcomer() {
        let (one, other) = (Uuid::from_u128(10), Uuid::from_u128(11));
        let (plain, own) = (raft_id(1, Uuid::nil()), raft_id(1, one));
        let conf = |voters: &[u64], learners: &[u64]| ConfState {
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            ..ConfState::default()
        };
        let name = |conf: &ConfState, owner| name_in(conf, 1, one, owner);
        assert_eq!(name(&conf(&[plain], &[]), None), plain);
        assert_eq!(name(&conf(&[plain], &[]), Some(other)), own);
        assert_eq!(name(&conf(&[], &[plain]), Some(one)), plain);
        assert_eq!(name(&conf(&[plain], &[own]), Some(one)), plain);
        assert_eq!(name(&conf(&[plain], &[own]), Some(other)), own);
        assert_eq!(name(&conf(&[plain], &[own]), None), own, "whose the plain name is, is not known");
        assert_eq!(name(&conf(&[own], &[plain]), Some(one)), own);
        assert_eq!(name(&conf(&[], &[]), None), own);
    }
}
