//! Changes of the voters (KIP-853), one at a time: who is added first follows as a learner and votes once it has all
//! there is; who is removed goes on as a learner. To Kafka's tools learners are observers.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use ottla_machine::{Ctx, Machine, Token};
use ottla_types::{ApiError, ErrorCode, Millis, NodeId};
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use uuid::Uuid;

use super::{Core, view};
use crate::{
    Fault, Voter, VoterEndpoint, control,
    ids::{node_of, raft_id},
};

/// A learner that was not heard for this long is forgotten, as Kafka forgets observers, in milliseconds.
const LEARNER_MS: i64 = 300_000;
/// Learners that may follow at a time.
const LEARNERS: usize = 16;
/// Entries that who is added may lack at most when it gets its vote.
const LAG: u64 = 8;

/// A change of the voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoterChange {
    /// `AddRaftVoter`.
    Add {
        /// Who is to vote.
        voter: Voter,
        /// Whether the answer waits until the change is committed.
        wait: bool,
        /// How long it may take to catch up, in milliseconds.
        timeout_ms: i64,
    },
    /// `RemoveRaftVoter`.
    Remove {
        /// Node id.
        id: NodeId,
        /// Its metadata directory.
        directory_id: Uuid,
    },
    /// `UpdateRaftVoter`: other endpoints.
    Update {
        /// The voter as it shall be.
        voter: Voter,
    },
    /// `UpdateFeatures`: a higher `kraft.version`.
    Upgrade {
        /// The version.
        version: i16,
        /// Whether it is only asked if it could be done.
        validate_only: bool,
    },
}

/// A node of the same cluster that was heard, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Node id.
    pub id: NodeId,
    /// Its metadata directory.
    pub directory_id: Uuid,
    /// Where it listens for other controllers.
    pub endpoints: Vec<VoterEndpoint>,
}

pub(super) enum Stage {
    /// It follows, or begins to.
    Learning,
    /// It holds once this entry is committed.
    Proposed(u64),
}

struct Pending {
    /// Nobody waits for what the leader does by itself.
    token: Option<Token>,
    change: VoterChange,
    deadline: Option<Millis>,
    stage: Stage,
}

#[derive(Default)]
pub(super) struct Changes {
    pending: Option<Pending>,
    pub(super) answers: VecDeque<(Token, Result<(), ApiError>)>,
    pub(super) addresses_changed: bool,
    seen: HashMap<u64, Seen>,
    /// In which of raft's names whoever was seen said that it speaks, by node and directory.
    said: HashMap<(NodeId, Uuid), u64>,
    told: bool,
}

impl Changes {
    /// What a member said of itself.
    pub(super) fn seen(&self, name: u64) -> Option<&Seen> {
        self.seen.get(&name)
    }

    fn finish(&mut self, result: Result<(), ApiError>) {
        if let Some(token) = self.pending.take().and_then(|pending| pending.token) {
            self.answers.push_back((token, result));
        }
    }
}

pub(super) fn refused<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(code, message.into()))
}

/// A voter as Kafka prints it.
pub(super) fn key(id: NodeId, directory: Uuid) -> String {
    use std::fmt::Write;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = directory.as_u128();
    let mut text = String::with_capacity(22);
    for at in 0..22u32 {
        // 21 digits of six bits, and the last two bits.
        let six = if at == 21 { (bits << 4) & 63 } else { (bits >> (122 - 6 * at)) & 63 };
        text.push(char::from(ALPHABET[usize::try_from(six).expect("six bits")]));
    }
    let mut key = String::new();
    let _ = write!(key, "ReplicaKey(id={id}, directoryId={text})");
    key
}

impl<M: Machine> Core<M> {
    /// Asks for a change of the voters; `token` names the question and is used once.
    pub fn change_voters(&mut self, token: Token, change: VoterChange, ctx: &mut Ctx<'_>) {
        if let Err(error) = self.begin_change(Some(token), change, ctx) {
            self.changes.answers.push_back((token, Err(error)));
        }
    }

    fn begin_change(
        &mut self,
        token: Option<Token>,
        change: VoterChange,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), ApiError> {
        if !self.machine.in_office() || self.leaving {
            return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER, "This node does not lead the metadata quorum");
        }
        if self.changes.pending.is_some() {
            return refused(
                ErrorCode::REQUEST_TIMED_OUT,
                "Request timed out waiting for leader to handle previous voter change request",
            );
        }
        if self.raw.raft.has_pending_conf() {
            return refused(
                ErrorCode::REQUEST_TIMED_OUT,
                "Request timed out waiting for leader to establish HWM and fence previous voter changes",
            );
        }
        let deadline = match &change {
            VoterChange::Add { timeout_ms, .. } => Some(ctx.now.plus((*timeout_ms).max(0))),
            _ => None,
        };
        let stage = match &change {
            VoterChange::Add { voter, .. } => Some(self.begin_add(voter)?),
            VoterChange::Remove { id, directory_id } => Some(self.begin_remove(*id, *directory_id, ctx)?),
            VoterChange::Update { voter } => self.begin_update(voter, ctx)?,
            VoterChange::Upgrade { version, validate_only } => {
                self.begin_upgrade(*version, *validate_only, ctx)?
            }
        };
        let Some(stage) = stage else {
            self.changes.answers.extend(token.map(|token| (token, Ok(()))));
            return Ok(());
        };
        self.changes.pending = Some(Pending { token, change, deadline, stage });
        self.changes.addresses_changed = true;
        Ok(())
    }

    fn can_change(&self, doing: &str) -> Result<(), ApiError> {
        if self.quorum.kraft_version > 0 {
            return Ok(());
        }
        refused(
            ErrorCode::UNSUPPORTED_VERSION,
            format!("Cluster doesn't support {doing} voter because the kraft.version feature is 0"),
        )
    }

    fn begin_add(&mut self, voter: &Voter) -> Result<Stage, ApiError> {
        self.can_change("adding")?;
        if self.quorum.voter(voter.id).is_some() {
            let keys: Vec<_> =
                self.quorum.voters.iter().map(|voter| key(voter.id, voter.directory_id)).collect();
            return refused(
                ErrorCode::DUPLICATE_VOTER,
                format!(
                    "The voter id for {} is already part of the set of voters [{}].",
                    key(voter.id, voter.directory_id),
                    keys.join(", ")
                ),
            );
        }
        if voter.endpoints.is_empty() || voter.id < 0 {
            return refused(ErrorCode::INVALID_REQUEST, "Add voter request didn't include a valid voter");
        }
        Ok(Stage::Learning)
    }

    fn begin_remove(&mut self, id: NodeId, directory: Uuid, ctx: &Ctx<'_>) -> Result<Stage, ApiError> {
        self.can_change("removing")?;
        let known = self.quorum.voter(id).is_some_and(|voter| voter.directory_id == directory);
        if !known || self.quorum.voters.len() < 2 {
            let keys: Vec<_> =
                self.quorum.voters.iter().map(|voter| key(voter.id, voter.directory_id)).collect();
            return refused(
                ErrorCode::VOTER_NOT_FOUND,
                format!(
                    "Cannot remove voter {} from the set of voters [{}]",
                    key(id, directory),
                    keys.join(", ")
                ),
            );
        }
        let name = self.name_of(id, directory);
        let left: Vec<Voter> = self.quorum.voters.iter().filter(|voter| voter.id != id).cloned().collect();
        self.propose_member(ConfChangeType::AddLearnerNode, name, Some(control::voters(&left, ctx.wall)))
    }

    /// `None` when there is nothing to log: static voters are not in the log.
    fn begin_update(&mut self, update: &Voter, ctx: &Ctx<'_>) -> Result<Option<Stage>, ApiError> {
        if update.endpoints.is_empty() {
            return refused(
                ErrorCode::INVALID_REQUEST,
                "Update voter request didn't include the endpoint for the default listener",
            );
        }
        let known = |voter: &Voter| {
            let same = self.quorum.kraft_version == 0 || voter.directory_id == update.directory_id;
            voter.id == update.id && same
        };
        let Some(at) = self.quorum.voters.iter().position(known) else {
            return refused(
                ErrorCode::VOTER_NOT_FOUND,
                format!(
                    "Cannot update voter {}: it is not in the set of voters",
                    key(update.id, update.directory_id)
                ),
            );
        };
        if self.quorum.voters[at].endpoints == update.endpoints {
            return Ok(None);
        }
        let mut voters = self.quorum.voters.clone();
        voters[at].endpoints.clone_from(&update.endpoints);
        if self.quorum.kraft_version == 0 {
            self.quorum.voters = voters;
            self.changes.addresses_changed = true;
            return Ok(None);
        }
        let batch = control::voters(&voters, ctx.wall);
        if self.raw.propose(Vec::new(), batch.to_vec()).is_err() {
            return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER, "This node hands its leadership over");
        }
        self.proposed(Some(batch)).map(Some)
    }

    fn propose_member(
        &mut self,
        kind: ConfChangeType,
        name: u64,
        batch: Option<Bytes>,
    ) -> Result<Stage, ApiError> {
        let mut single = ConfChangeSingle { node_id: name, ..ConfChangeSingle::default() };
        single.set_change_type(kind);
        let change = ConfChangeV2 {
            changes: vec![single],
            context: batch.as_ref().map(|batch| batch.to_vec()).unwrap_or_default(),
            ..ConfChangeV2::default()
        };
        if self.raw.raft.has_pending_conf() || self.raw.propose_conf_change(Vec::new(), change).is_err() {
            return refused(ErrorCode::REQUEST_TIMED_OUT, "The quorum takes no change of its voters now");
        }
        self.proposed(batch)
    }

    pub(super) fn proposed(&mut self, batch: Option<Bytes>) -> Result<Stage, ApiError> {
        if let Some(batch) = batch
            && let Err(fault) = self.accept_batch(&batch)
        {
            // It was built here, of what was read before.
            return refused(ErrorCode::UNKNOWN_SERVER_ERROR, fault.to_string());
        }
        Ok(Stage::Proposed(self.raw.raft.raft_log.last_index()))
    }

    pub(super) fn change_due(&self) -> Option<Millis> {
        self.changes.pending.as_ref().and_then(|pending| pending.deadline)
    }

    /// The leader's next step in whatever change is under way.
    pub(super) fn pursue_changes(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Fault> {
        if !self.machine.in_office() {
            return Ok(());
        }
        match &self.changes.pending {
            Some(Pending { stage: Stage::Proposed(index), .. }) if self.applied.0 >= *index => {
                self.changes.finish(Ok(()));
            }
            Some(Pending { stage: Stage::Learning, deadline, .. }) => {
                if deadline.is_some_and(|at| at <= ctx.now) {
                    self.give_up_adding();
                } else {
                    self.pursue_adding(ctx);
                }
            }
            Some(_) => {}
            None => self.tend(ctx),
        }
        // Whoever asked for that: this member may have come to lead with its own removal in the log, and made it hold.
        if !self.conf().voters.contains(&self.name) {
            self.leave_voters();
        }
        Ok(())
    }

    fn adding(&self) -> Option<(Voter, bool)> {
        match self.changes.pending.as_ref().map(|pending| &pending.change) {
            Some(VoterChange::Add { voter, wait, .. }) => Some((voter.clone(), *wait)),
            _ => None,
        }
    }

    /// Raft's name of who is to vote: what it said it is called. A static voter that was removed keeps the plain name on
    /// its disk, whether or not it is still a member.
    fn name_to_add(&self, voter: &Voter) -> u64 {
        let said = self.changes.said.get(&(voter.id, voter.directory_id)).copied();
        said.unwrap_or_else(|| self.name_of(voter.id, voter.directory_id))
    }

    fn give_up_adding(&mut self) {
        let Some((voter, _)) = self.adding() else { return };
        let name = self.name_to_add(&voter);
        let matched = self.raw.raft.prs().get(name).map_or(0, |progress| progress.matched);
        let message = format!(
            "Aborted add voter operation for {} since it is lagging behind: it has {matched} of {} entries",
            key(voter.id, voter.directory_id),
            self.raw.raft.raft_log.last_index()
        );
        self.changes.finish(refused(ErrorCode::REQUEST_TIMED_OUT, message));
    }

    fn pursue_adding(&mut self, ctx: &Ctx<'_>) {
        let Some((voter, wait)) = self.adding() else { return };
        let name = self.name_to_add(&voter);
        if self.raw.raft.has_pending_conf() {
            return;
        }
        if !self.conf().learners.contains(&name) {
            // Not proposed, or dropped: asked again next turn.
            let _ = self.propose_member(ConfChangeType::AddLearnerNode, name, None);
            return;
        }
        let last = self.raw.raft.raft_log.last_index();
        // Raft holds a new member for active before it was heard.
        let heard = self.heard.get(&name).is_some_and(view::Heard::was_heard);
        let progress = self.raw.raft.prs().get(name);
        let follows = heard
            && progress.is_some_and(|progress| {
                progress.recent_active && progress.matched > 0 && progress.matched + LAG >= last
            });
        if !follows {
            return;
        }
        let mut voters = self.quorum.voters.clone();
        voters.push(voter);
        voters.sort_by_key(|voter| voter.id);
        let batch = control::voters(&voters, ctx.wall);
        if let Ok(stage) = self.propose_member(ConfChangeType::AddNode, name, Some(batch))
            && let Some(pending) = &mut self.changes.pending
        {
            (pending.stage, pending.deadline) = (stage, None);
            if !wait && let Some(token) = pending.token.take() {
                self.changes.answers.push_back((token, Ok(())));
            }
        }
    }

    /// This leader was removed: the voter that has most is asked to campaign at once.
    fn leave_voters(&mut self) {
        tracing::info!(
            "[RaftManager id={}] Resigning: this node was removed from the voters",
            self.options.node_id
        );
        if let Some(next) = self.successor() {
            self.raw.raft.send_timeout_now(next);
        }
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, raft::INVALID_ID);
    }

    /// What a leader does by itself: its own endpoints are those in the log, and learners that are gone are forgotten.
    fn tend(&mut self, ctx: &mut Ctx<'_>) {
        if self.quorum.kraft_version == 0 || self.raw.raft.has_pending_conf() {
            return;
        }
        if let Some(voter) = self.moved_voter() {
            // Refused or lost: asked again next turn.
            let _ = self.begin_change(None, VoterChange::Update { voter }, ctx);
            return;
        }
        let gone = self
            .conf()
            .learners
            .iter()
            .copied()
            .find(|name| self.heard.get(name).is_some_and(|heard| ctx.now.since(heard.at) > LEARNER_MS));
        if let Some(name) = gone {
            self.heard.remove(&name);
            let _ = self.propose_member(ConfChangeType::RemoveNode, name, None);
        }
    }

    /// A voter that says it is to be reached elsewhere than the log has it, as it shall stand there.
    fn moved_voter(&self) -> Option<Voter> {
        self.quorum.voters.iter().find_map(|voter| {
            let (directory_id, endpoints) = if voter.id == self.options.node_id {
                (self.options.directory_id, &self.options.endpoints)
            } else {
                let seen = self.changes.seen.get(&self.name_of(voter.id, voter.directory_id))?;
                (seen.directory_id, &seen.endpoints)
            };
            let same = directory_id == voter.directory_id;
            let moved = same && !endpoints.is_empty() && *endpoints != voter.endpoints;
            moved.then(|| Voter { endpoints: endpoints.clone(), ..voter.clone() })
        })
    }

    /// A leader that lost its office does not know what becomes of a change.
    pub(super) fn abandon_changes(&mut self) {
        if self.changes.pending.is_some() {
            let lost = refused(
                ErrorCode::NOT_LEADER_OR_FOLLOWER,
                "The leader resigned before the change of the voters was committed",
            );
            self.changes.finish(lost);
        }
    }

    /// A node of this cluster was heard, and raft's name that it speaks in, if it said anything. The leader lets a
    /// controller follow that is no member yet; where a voter can be reached now goes to the log with its next turn.
    pub fn seen(&mut self, seen: Seen, speaks_as: Option<u64>) {
        if seen.id < 0 || seen.id == self.options.node_id {
            return;
        }
        if self.quorum.kraft_version > 0 && seen.directory_id.is_nil() {
            return;
        }
        let names = [raft_id(seen.id, Uuid::nil()), raft_id(seen.id, seen.directory_id)];
        let said = speaks_as.filter(|name| names.contains(name));
        let name = said.unwrap_or_else(|| self.name_of(seen.id, seen.directory_id));
        let another = |voter: &Voter| !voter.directory_id.is_nil() && voter.directory_id != seen.directory_id;
        if name == names[0] && self.quorum.voter(seen.id).is_some_and(another) {
            // It has a voter's number and is not that voter: where it is does not say where the voter is.
            return;
        }
        let heard = (seen.id, seen.directory_id);
        if let Some(said) = said
            && (self.changes.said.len() < 4 * LEARNERS || self.changes.said.contains_key(&heard))
        {
            self.changes.said.insert(heard, said);
        }
        let known = self.changes.seen.get(&name);
        if known != Some(&seen) {
            if known.is_none() && self.changes.seen.len() >= 4 * LEARNERS {
                return;
            }
            self.changes.seen.insert(name, seen.clone());
            self.changes.addresses_changed = true;
        }
        let busy = self.changes.pending.is_some() || self.raw.raft.has_pending_conf();
        if !self.machine.in_office() || self.quorum.kraft_version == 0 || busy || self.leaving {
            return;
        }
        let conf = self.conf();
        if conf.voters.contains(&name) || conf.learners.contains(&name) {
            return;
        }
        if conf.learners.len() < LEARNERS {
            tracing::info!("Node {} begins to follow the metadata quorum", seen.id);
            let _ = self.propose_member(ConfChangeType::AddLearnerNode, name, None);
        } else if let Some(before) = conf.learners.iter().copied().find(|it| node_of(*it) == Some(seen.id)) {
            // The same node in a directory that is lost, which makes room: it is heard again, and begins to follow then.
            self.heard.remove(&before);
            let _ = self.propose_member(ConfChangeType::RemoveNode, before, None);
        } else {
            tracing::debug!("Node {} may not follow: {LEARNERS} that have no vote do already", seen.id);
        }
    }

    /// Where every member that is known can be reached, when that changed.
    pub(super) fn new_addresses(&mut self) -> Option<Vec<(u64, Vec<VoterEndpoint>)>> {
        if self.changes.told && !self.changes.addresses_changed {
            return None;
        }
        (self.changes.told, self.changes.addresses_changed) = (true, false);
        let mut places: HashMap<u64, Vec<VoterEndpoint>> = HashMap::new();
        let adding = self.adding().map(|(voter, _)| voter);
        let voters = self.quorum.voters.iter();
        let voters = voters.map(|voter| (self.name_of(voter.id, voter.directory_id), voter));
        let adding = adding.iter().map(|voter| (self.name_to_add(voter), voter));
        places.extend(voters.chain(adding).map(|(name, voter)| (name, voter.endpoints.clone())));
        for (name, seen) in &self.changes.seen {
            if !seen.endpoints.is_empty() {
                // What a node says of itself is newer than what is in the log.
                places.insert(*name, seen.endpoints.clone());
            }
        }
        places.remove(&self.name);
        let mut places: Vec<_> = places.into_iter().filter(|(name, _)| node_of(*name).is_some()).collect();
        places.sort_unstable_by_key(|(name, _)| *name);
        Some(places)
    }
}
