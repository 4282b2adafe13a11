//! `kraft.version` from 0 to 1 (KIP-853): the voters of everyone's configuration become voters of the log, named by
//! their directories too. Raft goes on to call them by the plain names it knows them by.

use ottla_machine::{Ctx, Machine};
use ottla_types::{ApiError, ErrorCode, NodeId};
use uuid::Uuid;

use super::{
    Core,
    voters::{Stage, key, refused},
};
use crate::{Voter, control, membership::name_in, raft_id};

impl<M: Machine> Core<M> {
    /// `None` when there is nothing to log: the version stands there already, or it is only asked whether it could.
    pub(super) fn begin_upgrade(
        &mut self,
        version: i16,
        validate_only: bool,
        ctx: &Ctx<'_>,
    ) -> Result<Option<Stage>, ApiError> {
        let current = self.quorum.kraft_version;
        if version == current {
            return Ok(None);
        }
        if version < current || version > control::KRAFT_VERSION {
            return refused(
                ErrorCode::INVALID_UPDATE_VERSION,
                format!("Invalid upgrade of kraft.version from version {current} to {version}"),
            );
        }
        let voters = self.named_voters(version)?;
        if validate_only {
            return Ok(None);
        }
        let batch = control::upgrade(version, &voters, ctx.wall);
        if self.raw.propose(Vec::new(), batch.to_vec()).is_err() {
            return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER, "This node hands its leadership over");
        }
        self.proposed(Some(batch)).map(Some)
    }

    /// The static voters with the directories they said they have.
    fn named_voters(&self, version: i16) -> Result<Vec<Voter>, ApiError> {
        let mut voters = Vec::with_capacity(self.quorum.voters.len());
        for voter in &self.quorum.voters {
            let Some(named) = self.named_voter(voter) else {
                // Who was not heard does not say what it supports.
                return refused(
                    ErrorCode::INVALID_UPDATE_VERSION,
                    format!(
                        "Invalid upgrade of kraft.version to KRAFT_VERSION_{version} because not all of the voters \
                         support it"
                    ),
                );
            };
            voters.push(named);
        }
        if voters.iter().any(|voter| voter.directory_id.is_nil()) {
            let keys: Vec<_> = voters.iter().map(|voter| key(voter.id, voter.directory_id)).collect();
            return refused(
                ErrorCode::INVALID_UPDATE_VERSION,
                format!("Directory id must be known for all of the voters: [{}]", keys.join(", ")),
            );
        }
        voters.sort_by_key(|voter| voter.id);
        Ok(voters)
    }

    fn named_voter(&self, voter: &Voter) -> Option<Voter> {
        let (directory_id, endpoints) = if voter.id == self.options.node_id {
            (self.options.directory_id, &self.options.endpoints)
        } else {
            let seen = self.changes.seen(self.name_of(voter.id, voter.directory_id))?;
            (seen.directory_id, &seen.endpoints)
        };
        let endpoints = if endpoints.is_empty() { &voter.endpoints } else { endpoints };
        Some(Voter { id: voter.id, directory_id, endpoints: endpoints.clone() })
    }

    /// Raft's name for a node with this directory.
    pub(super) fn name_of(&self, id: NodeId, directory: Uuid) -> u64 {
        name_in(self.conf(), id, directory, self.plain_owner(id))
    }

    /// The directory of the member that is known by the plain name of a node, if there is one and it is known.
    fn plain_owner(&self, id: NodeId) -> Option<Uuid> {
        if self.quorum.kraft_version == 0 {
            // Static voters are known by nothing else.
            return None;
        }
        let plain = raft_id(id, Uuid::nil());
        if plain == self.name {
            return Some(self.options.directory_id);
        }
        let votes = self.conf().voters.contains(&plain);
        let voter = self.quorum.voter(id).filter(|_| votes).map(|voter| voter.directory_id);
        // One that votes no more and is not heard is not waited for: whoever else has its number is another.
        voter.or_else(|| Some(self.changes.seen(plain).map_or(Uuid::nil(), |seen| seen.directory_id)))
    }
}
