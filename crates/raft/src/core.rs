//! One member of the quorum without thread, clock or disk: events in, effects out.
//!
//! Time and chance are handed in with every call that needs them ([`Ctx`]); what is kept is behind [`Disk`]; what
//! others are to be told comes out as [`Output`]. A turn is: hand in any number of events, then [`Core::settle`]. Within
//! a turn a message that rests on something written is given out only after the disk said that it is synced. To model a
//! crash, drop the core and open another one on what the disk kept.

use std::collections::{BTreeSet, HashMap, VecDeque};

use ottla_machine::{Ctx, Decision, Machine, Replicated, Token};
use ottla_types::{ApiError, LeaderEpoch, Millis, NodeId, Offset};
use raft::{
    Config, RawNode, StateRole,
    eraftpb::{ConfState, Message},
};
use uuid::Uuid;

use crate::{
    Codec, Disk, FactLog, Fault, Founding, Membership, Status, SubmitError, VoterEndpoint, disk::Files,
    ids::node_of, logger::logger, membership::name_in, recover, store::RaftStore,
};

mod guard;
mod office;
mod ready;
mod snapshots;
mod time;
mod upgrade;
mod view;
mod voters;

pub(crate) use snapshots::assemble;
pub use view::{QuorumView, ReplicaView};
pub use voters::{Seen, VoterChange};

/// What a member is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub node_id: NodeId,
    /// The directory that holds its metadata log.
    pub directory_id: Uuid,
    /// Where it listens for other controllers.
    pub endpoints: Vec<VoterEndpoint>,
    /// How the quorum begins, where raft never ran.
    pub founding: Founding,
    /// A voter that hears nothing of a leader for this long tries to become leader, at the latest after twice as long.
    pub election_ms: i64,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub max_bytes_between_snapshots: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 for no limit.
    pub max_snapshot_interval_ms: i64,
    /// `metadata.max.retention.bytes`; negative for no limit.
    pub retention_bytes: i64,
    /// `metadata.max.retention.ms`; negative for no limit.
    pub retention_ms: i64,
    /// Entries that raft's log keeps for followers that lag, before they need a snapshot; at most half as many again.
    pub max_entries: u64,
}

impl Options {
    /// Kafka's defaults, and elections as quick as a quiet machine allows.
    #[must_use]
    pub fn new(node_id: NodeId, directory_id: Uuid, founding: Founding) -> Self {
        Self {
            node_id,
            directory_id,
            endpoints: Vec::new(),
            founding,
            election_ms: 500,
            max_bytes_between_snapshots: 20 << 20,
            max_snapshot_interval_ms: 60 * 60 * 1000,
            retention_bytes: 100 << 20,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            max_entries: 10_000,
        }
    }
}

/// What a turn brings to the outside, in order.
pub enum Output<'a, M: Machine> {
    /// For other members; may be lost.
    Send(Vec<Message>),
    /// The committed state changed.
    Committed(&'a M::State),
    /// The answer to a command. Every token that was handed in gets one, at the latest when the core is stopped.
    Answer(Token, Result<M::Answer, SubmitError>),
    /// The answer to a change of the voters.
    Changed(Token, Result<(), ApiError>),
    /// Where members can be reached changed: raft's names, and the places to try.
    Addresses(Vec<(u64, Vec<VoterEndpoint>)>),
}

/// Takes what a turn brings.
pub type Sink<'a, M> = dyn FnMut(Output<'_, M>) + 'a;

/// A member of the quorum.
pub struct Core<M: Machine> {
    options: Options,
    codec: Codec<M>,
    raw: RawNode<RaftStore>,
    machine: Replicated<M>,
    log: Box<dyn FactLog>,
    files: Box<dyn Files>,
    /// Raft's name of this member.
    name: u64,
    /// The voters as of the last entry applied.
    quorum: Membership,
    /// Commands that were taken and not answered.
    waiting: BTreeSet<Token>,
    answers: VecDeque<(Token, Result<M::Answer, SubmitError>)>,
    changes: voters::Changes,
    /// The term whose control batch was proposed.
    opened: u64,
    /// Index of the last entry applied, and its term.
    applied: (u64, u64),
    last_epoch: LeaderEpoch,
    last_timestamp: Millis,
    clockwork: time::Clockwork,
    snapshots: snapshots::Upkeep,
    /// Where entries ended in the metadata log, the last ones.
    ends: VecDeque<(u64, Offset)>,
    /// Marks at which raft's log may be cut.
    marks: recover::Marks,
    heard: HashMap<u64, view::Heard>,
    /// Whether this member is about to stop, and should not lead.
    leaving: bool,
    noted: (Option<NodeId>, LeaderEpoch),
    /// From whom a message was refused last, and why: members repeat themselves several times a second.
    refused: Option<(u64, String)>,
}

pub(crate) fn epoch_of(term: u64) -> LeaderEpoch {
    LeaderEpoch::try_from(term).expect("terms that are no epochs are refused")
}

impl<M: Machine> Core<M> {
    /// Recovers what is on disk.
    ///
    /// # Errors
    /// When it cannot be read, or contradicts itself.
    pub fn open(
        options: Options,
        codec: Codec<M>,
        initial: M::State,
        disk: Disk,
        ctx: &mut Ctx<'_>,
    ) -> Result<Self, Fault> {
        let found = recover::recover(&codec, initial, disk, &options)?;
        let (conf, id, directory) = (found.store.conf_state(), options.node_id, options.directory_id);
        let name = found.store.name().unwrap_or_else(|| name_in(conf, id, directory, None));
        let config = Config {
            id: name,
            election_tick: time::ELECTION_TICKS,
            heartbeat_tick: time::HEARTBEAT_TICKS,
            applied: found.applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let applied_term = raft::Storage::term(&found.store, found.applied)?;
        let raw = RawNode::new(&config, found.store, &logger())?;
        let mut core = Self {
            codec,
            raw,
            machine: Replicated::new(found.state),
            log: found.log,
            files: found.files,
            name,
            quorum: found.quorum,
            waiting: BTreeSet::new(),
            answers: VecDeque::new(),
            changes: voters::Changes::default(),
            opened: 0,
            applied: (found.applied, applied_term),
            last_epoch: found.position.0,
            last_timestamp: found.position.1,
            clockwork: time::Clockwork::new(options.election_ms, ctx),
            snapshots: snapshots::Upkeep::new(found.snapshot, found.bytes, ctx.now),
            ends: VecDeque::new(),
            marks: found.marks,
            heard: HashMap::new(),
            leaving: false,
            noted: (None, 0),
            refused: None,
            options,
        };
        core.reseed_jitter(ctx);
        if core.is_sole_voter() {
            core.raw.campaign()?;
        }
        Ok(core)
    }

    /// The committed state.
    #[must_use]
    pub fn committed(&self) -> &M::State {
        self.machine.committed()
    }

    /// The Kafka-format log.
    #[must_use]
    pub fn log(&self) -> &dyn FactLog {
        &*self.log
    }

    /// The voters as of the last entry applied.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.quorum
    }

    /// Raft's name of this member.
    #[must_use]
    pub fn name(&self) -> u64 {
        self.name
    }

    /// What this member knows of the quorum.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            leader: self.leader(),
            epoch: epoch_of(self.raw.raft.term),
            in_office: self.machine.in_office(),
            high_watermark: self.log.end(),
            kraft_version: self.quorum.kraft_version,
            fault: None,
        }
    }

    /// Who leads, as far as this member knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        node_of(self.raw.raft.leader_id)
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn conf(&self) -> &ConfState {
        self.raw.store().conf_state()
    }

    fn is_sole_voter(&self) -> bool {
        let conf = self.conf();
        conf.voters == [self.name] && conf.voters_outgoing.is_empty()
    }

    /// Whether there is nobody to speak with: alone, or a member of nothing whom no leader takes in.
    fn is_quiet(&self) -> bool {
        let conf = self.conf();
        let alone = self.is_sole_voter() && conf.learners.is_empty();
        alone || (conf.voters.is_empty() && self.raw.raft.leader_id == raft::INVALID_ID)
    }

    /// A message from another member. One that does not make sense is dropped, as a network may.
    pub fn step(&mut self, message: Message, ctx: &mut Ctx<'_>) {
        if let Err(why) = self.check(&message) {
            let (kind, node) = (message.msg_type, node_of(message.from));
            let refused = Some((message.from, why.to_string()));
            if self.refused != refused {
                tracing::warn!("A raft message (type {kind}) from {node:?} was refused: {why}");
                self.refused = refused;
            }
            return;
        }
        let from = message.from;
        if let Err(error) = self.raw.step(message) {
            tracing::debug!("A raft message was refused: {error}");
            return;
        }
        self.heard_from(from, ctx);
    }

    /// A message to a member was not delivered.
    pub fn unreachable(&mut self, to: u64) {
        self.raw.report_unreachable(to);
    }

    /// A snapshot (a message with a snapshot in it) was handed to a member, or could not be. Must be told for each: raft
    /// sends a member nothing more until then.
    pub fn snapshot_sent(&mut self, to: u64, delivered: bool) {
        let status = if delivered { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(to, status);
    }

    /// Asks the machine for something; `token` names the question and is used once.
    pub fn command(&mut self, token: Token, command: M::Command, ctx: &mut Ctx<'_>) {
        if !self.machine.in_office() || self.leaving {
            let leader = self.leader().filter(|id| *id != self.options.node_id);
            self.answers.push_back((token, Err(SubmitError::NotLeader { leader })));
            return;
        }
        self.waiting.insert(token);
        self.decide(token, command, ctx);
    }

    fn decide(&mut self, token: Token, command: M::Command, ctx: &mut Ctx<'_>) {
        let wall = ctx.wall;
        let Some(mut decision) = self.machine.draft(ctx, token, command) else { return };
        if !decision.records.is_empty() {
            let data = (self.codec.encode)(&decision.records, wall);
            if let Err(error) = self.raw.propose(Vec::new(), data.into()) {
                tracing::warn!("A decision was dropped before it was logged: {error}");
                for (token, _) in decision.answers {
                    self.answer(token, Err(SubmitError::Lost));
                }
                return;
            }
            // Every batch says which epoch and time it is of, also to the state ahead.
            let stamp = (self.codec.stamp)(epoch_of(self.raw.raft.term), wall);
            decision.records.insert(0, stamp);
        }
        self.machine.accept(decision);
    }

    fn answer(&mut self, token: Token, answer: Result<M::Answer, SubmitError>) {
        if self.waiting.remove(&token) {
            self.answers.push_back((token, answer));
        }
    }

    fn refuse_waiting(&mut self, error: SubmitError) {
        let waiting = std::mem::take(&mut self.waiting);
        self.answers.extend(waiting.into_iter().map(|token| (token, Err(error))));
    }

    fn give_answers(&mut self, out: &mut Sink<'_, M>) {
        while let Some((token, answer)) = self.answers.pop_front() {
            out(Output::Answer(token, answer));
        }
        while let Some((token, answer)) = self.changes.answers.pop_front() {
            out(Output::Changed(token, answer));
        }
        if let Some(addresses) = self.new_addresses() {
            out(Output::Addresses(addresses));
        }
    }

    /// Everything that follows from what was handed in, until nothing is left to do.
    ///
    /// # Errors
    /// When the disk fails or holds what cannot be read: the core is of no use after that.
    pub fn settle(&mut self, ctx: &mut Ctx<'_>, out: &mut Sink<'_, M>) -> Result<(), Fault> {
        loop {
            self.tick(ctx);
            self.change_office(ctx)?;
            for command in self.machine.due(ctx.now) {
                self.decide(Token(0), command, ctx);
            }
            while let Some((token, answer)) = self.machine.poll_answer() {
                self.answer(token, Ok(answer));
            }
            self.pursue_changes(ctx)?;
            self.give_answers(out);
            if self.raw.has_ready() {
                self.ready(ctx.now, out)?;
            } else if !self.campaign_alone()? {
                break;
            }
        }
        self.note_leader();
        self.housekeep(ctx)
    }

    /// Ends: whoever waits is told, and the metadata log is synced.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn stop(&mut self, out: &mut Sink<'_, M>) -> Result<(), Fault> {
        self.machine.leave_office();
        self.refuse_waiting(SubmitError::Stopped);
        self.abandon_changes();
        self.give_answers(out);
        self.log.sync()
    }

    /// Facts that stand in a batch of raft's own, for the state ahead of the committed one.
    fn accept_batch(&mut self, batch: &bytes::Bytes) -> Result<(), Fault> {
        let bad = |why| Fault::BadFacts { offset: self.log.end(), why };
        let batch = ottla_records::Batch::parse(batch, 0).expect("it was just built");
        let records = (self.codec.decode)(&batch, epoch_of(self.raw.raft.term)).map_err(bad)?;
        self.machine.accept(Decision { records, answers: Vec::new() });
        Ok(())
    }

    fn note_leader(&mut self) {
        let now = (self.leader(), epoch_of(self.raw.raft.term));
        if now == self.noted {
            return;
        }
        self.noted = now;
        if let (Some(leader), epoch) = now
            // Only a courtesy to a Kafka controller that takes the directory over.
            && let Err(error) = self.files.note_leader(leader, epoch)
        {
            tracing::warn!("Could not write quorum-state: {error}");
        }
    }
}
