//! What `DescribeQuorum` tells: who follows how far behind.

use ottla_machine::{Ctx, Machine};
use ottla_types::{LeaderEpoch, Millis, NodeId, Offset};
use uuid::Uuid;

use super::{Core, epoch_of};
use crate::{VoterEndpoint, ids::node_of};

/// When a member was last heard, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Ticks.
    pub(super) at: Millis,
    wall: Option<Millis>,
    caught_up: Option<Millis>,
}

impl Heard {
    /// Whether it said something to this leader.
    pub(super) fn was_heard(&self) -> bool {
        self.wall.is_some()
    }
}

/// One who follows the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    /// Node id.
    pub id: NodeId,
    /// Its metadata directory; nil when that is not known.
    pub directory_id: Uuid,
    /// How far its log goes; -1 when that is not known.
    pub log_end: Offset,
    /// When it last asked or answered, wall clock; -1 when it never did.
    pub last_fetch: Millis,
    /// When it last had all there was, wall clock; -1 when it never had.
    pub last_caught_up: Millis,
    /// Its controller listeners; none for observers.
    pub endpoints: Vec<VoterEndpoint>,
}

/// The quorum as a member sees it; whole on the leader only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumView {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub epoch: LeaderEpoch,
    /// The first offset that is not committed.
    pub high_watermark: Offset,
    /// `kraft.version`.
    pub kraft_version: i16,
    /// The voters, by id.
    pub voters: Vec<ReplicaView>,
    /// Who else follows.
    pub observers: Vec<ReplicaView>,
}

impl<M: Machine> Core<M> {
    /// The quorum as this member sees it. Followers know the voters, but not how far they are.
    #[must_use]
    pub fn quorum(&self, wall: Millis) -> QuorumView {
        let mut voters: Vec<_> = self
            .quorum
            .voters
            .iter()
            .map(|voter| {
                let name = self.name_of(voter.id, voter.directory_id);
                let endpoints = voter.endpoints.clone();
                ReplicaView { endpoints, ..self.replica(name, voter.id, voter.directory_id, wall) }
            })
            .collect();
        voters.sort_by_key(|voter| voter.id);
        // One that was not heard since this member leads is perhaps gone for good: Kafka does not list those either.
        let heard = |name: &u64| self.heard.get(name).is_some_and(|heard| heard.wall.is_some());
        let listed = |name: &&u64| **name == self.name || (self.leads() && heard(name));
        let learners = self.conf().learners.iter().filter(listed);
        let observers = learners.filter_map(|name| {
            let directory = self.changes.seen(*name).map_or(Uuid::nil(), |seen| seen.directory_id);
            Some(self.replica(*name, node_of(*name)?, directory, wall))
        });
        QuorumView {
            leader: self.leader(),
            epoch: epoch_of(self.raw.raft.term),
            high_watermark: self.log.end(),
            kraft_version: self.quorum.kraft_version,
            voters,
            observers: observers.collect(),
        }
    }

    fn replica(&self, name: u64, id: NodeId, directory_id: Uuid, wall: Millis) -> ReplicaView {
        let (log_end, fetched, caught_up) = if name == self.name {
            (self.log.end(), Some(wall), Some(wall))
        } else if self.leads() {
            let matched = self.raw.raft.prs().get(name).map_or(0, |progress| progress.matched);
            let heard = self.heard.get(&name);
            let end = heard.and_then(|heard| heard.wall).map_or(-1, |_| self.end_of(matched));
            (end, heard.and_then(|heard| heard.wall), heard.and_then(|heard| heard.caught_up))
        } else {
            (-1, None, None)
        };
        ReplicaView {
            id,
            directory_id,
            log_end,
            last_fetch: fetched.unwrap_or(Millis(-1)),
            last_caught_up: caught_up.unwrap_or(Millis(-1)),
            endpoints: Vec::new(),
        }
    }

    /// Where the metadata log of a member ends whose raft log goes to `index`, as far as this is remembered.
    fn end_of(&self, index: u64) -> Offset {
        if index >= self.applied.0 {
            return self.log.end();
        }
        let at = self.ends.partition_point(|(known, _)| *known <= index);
        match at.checked_sub(1).and_then(|at| self.ends.get(at)) {
            Some((_, end)) => *end,
            None => self.raw.store().cut().offset.min(self.log.end()),
        }
    }

    /// A new leader has heard nobody yet.
    pub(super) fn begin_hearing(&mut self, ctx: &Ctx<'_>) {
        self.heard.clear();
        let conf = self.raw.store().conf_state();
        let heard = Heard { at: ctx.now, wall: None, caught_up: None };
        self.heard.extend(conf.voters.iter().chain(&conf.learners).map(|name| (*name, heard)));
    }

    pub(super) fn heard_from(&mut self, from: u64, ctx: &Ctx<'_>) {
        if !self.leads() {
            return;
        }
        let Some(progress) = self.raw.raft.prs().get(from) else { return };
        let caught_up = progress.matched >= self.raw.raft.raft_log.last_index();
        let heard = self.heard.entry(from).or_insert(Heard { at: ctx.now, wall: None, caught_up: None });
        (heard.at, heard.wall) = (ctx.now, Some(ctx.wall));
        if caught_up {
            heard.caught_up = Some(ctx.wall);
        }
    }
}
