//! Time: raft's ticks, elections before their time, and what to wait for.

use ottla_machine::{Ctx, Machine};
use ottla_types::{Millis, NodeId};
use raft::StateRole;

use super::Core;
use crate::{Fault, ids::node_of};

/// Ticks without a leader before an election (at least; at most twice that).
pub(super) const ELECTION_TICKS: usize = 8;
/// Ticks between two heartbeats of a leader.
pub(super) const HEARTBEAT_TICKS: usize = 2;
/// Ticks that are made up for, of those a member was too late for: enough for a leader's heartbeat.
const MADE_UP_TICKS: i64 = 2;
/// A campaign that was brought forward begins within this time, in milliseconds: the others must have noticed, too.
const EARLY_MS: u64 = 40;
/// How often it is tried before the ordinary time-out has its turn.
const EARLY_TRIES: u8 = 4;

pub(super) struct Clockwork {
    tick_ms: i64,
    next_tick: Millis,
    election_timeout: usize,
    /// The term and role that it was drawn for.
    drawn_for: Option<(u64, StateRole)>,
    early: Option<(Millis, u8)>,
}

impl Clockwork {
    pub(super) fn new(election_ms: i64, ctx: &Ctx<'_>) -> Self {
        let ticks = i64::try_from(ELECTION_TICKS).expect("a few ticks");
        Self {
            tick_ms: (election_ms / ticks).max(1),
            next_tick: ctx.now,
            election_timeout: 0,
            drawn_for: None,
            early: None,
        }
    }
}

impl<M: Machine> Core<M> {
    /// When [`settle`](Self::settle) has something to do although nothing was handed in.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let tick = (!self.is_quiet()).then_some(self.clockwork.next_tick);
        let early = self.clockwork.early.map(|(at, _)| at);
        [self.machine.deadline(), tick, early, self.snapshot_due(), self.change_due()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn tick(&mut self, ctx: &mut Ctx<'_>) {
        if self.is_quiet() {
            self.clockwork.next_tick = ctx.now;
            return;
        }
        let Clockwork { tick_ms, .. } = self.clockwork;
        let late = ctx.now.since(self.clockwork.next_tick);
        let patience = 2 * tick_ms * i64::try_from(ELECTION_TICKS).expect("a few ticks");
        if late > patience {
            // We slept. The others may have chosen another leader meanwhile; and ticking through the time that was
            // missed would only depose a leader that is well.
            self.clockwork.next_tick = ctx.now;
            if self.leads() && !self.is_sole_voter() {
                tracing::info!(
                    "[RaftManager id={}] Resigning: this process stood still for {late} ms",
                    self.options.node_id
                );
                let term = self.raw.raft.term;
                self.raw.raft.become_follower(term, raft::INVALID_ID);
            }
        }
        // Time that this thread did not get is not the others' silence: what they said meanwhile is only heard now, and
        // it would be held against them all at once. Where a whole machine stands still every voter would campaign.
        let lost = ctx.now.since(self.clockwork.next_tick) - MADE_UP_TICKS * tick_ms;
        self.clockwork.next_tick = self.clockwork.next_tick.plus(lost.max(0));
        while ctx.now >= self.clockwork.next_tick {
            if !self.leaving || self.leads() {
                self.raw.tick();
                self.reseed_jitter(ctx);
            }
            self.clockwork.next_tick = self.clockwork.next_tick.plus(tick_ms);
        }
        self.forget_silent_leader();
        self.campaign_early(ctx);
        self.reseed_jitter(ctx);
    }

    /// Who does not vote holds no election that would show it that its leader is gone. The next leader may not know where
    /// it can be reached, and it makes itself known only while it follows nobody.
    fn forget_silent_leader(&mut self) {
        let raft = &mut self.raw.raft;
        let silent = raft.election_elapsed > 2 * ELECTION_TICKS;
        if raft.promotable() || raft.leader_id == raft::INVALID_ID || !silent {
            return;
        }
        tracing::info!(
            "[RaftManager id={}] Nothing was heard of the leader, node {:?}, for two election timeouts",
            self.options.node_id,
            node_of(raft.leader_id)
        );
        let term = raft.term;
        raft.become_follower(term, raft::INVALID_ID);
    }

    /// raft-rs draws its election jitter from the system; ours comes from the source that was handed in, anew with every
    /// change of term or role. What raft-rs drew is not looked at: how often we draw must not depend on it, or a
    /// simulation could not be replayed.
    pub(super) fn reseed_jitter(&mut self, ctx: &mut Ctx<'_>) {
        let standing = (self.raw.raft.term, self.raw.raft.state);
        if self.clockwork.drawn_for != Some(standing) {
            let jitter = usize::try_from((ctx.rng)() % ELECTION_TICKS as u64).expect("a few ticks");
            self.clockwork.election_timeout = ELECTION_TICKS + jitter;
            self.clockwork.drawn_for = Some(standing);
        }
        self.raw.raft.set_randomized_election_timeout(self.clockwork.election_timeout);
    }

    /// News that a node's process ended or cannot be reached. If it leads, it is not waited for: this member stops
    /// holding on to it, and, where it votes, asks the others soon whether they do. Those who still hear it say no.
    pub fn lost(&mut self, node: NodeId, ctx: &mut Ctx<'_>) {
        if self.leads() || self.leader() != Some(node) || self.leaving {
            return;
        }
        tracing::info!(
            "[RaftManager id={}] The connection to the leader, node {node}, was lost",
            self.options.node_id
        );
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, raft::INVALID_ID);
        if !self.raw.raft.promotable() {
            return;
        }
        let wait = i64::try_from((ctx.rng)() % EARLY_MS).expect("a short time");
        self.clockwork.early = Some((ctx.now.plus(1 + wait), EARLY_TRIES));
        self.reseed_jitter(ctx);
    }

    /// A sole voter waits for nobody, and may have no ticks: raft-rs refuses its first campaign while a change of the
    /// members is committed and not applied (after a power cut), and nothing would bring another. Whether it leads now.
    pub(super) fn campaign_alone(&mut self) -> Result<bool, Fault> {
        let log = &self.raw.raft.raft_log;
        if self.leads() || self.leaving || !self.is_sole_voter() || log.applied < log.committed {
            return Ok(false);
        }
        self.raw.campaign()?;
        Ok(self.leads())
    }

    fn campaign_early(&mut self, ctx: &mut Ctx<'_>) {
        let Some((at, tries)) = self.clockwork.early else { return };
        if self.raw.raft.leader_id != raft::INVALID_ID || self.leaving {
            self.clockwork.early = None;
            return;
        }
        if ctx.now < at {
            return;
        }
        if let Err(error) = self.raw.campaign() {
            tracing::debug!("An early campaign was refused: {error}");
        }
        let wait = i64::try_from(EARLY_MS + (ctx.rng)() % (2 * EARLY_MS)).expect("a short time");
        self.clockwork.early = (tries > 1).then(|| (ctx.now.plus(wait), tries - 1));
    }
}
