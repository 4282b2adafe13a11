//! A controller: the metadata quorum's member on one node, and what it tells the brokers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ottla_controller::{Answer, Command, Settings, State, bootstrap_features};
use ottla_machine::Token;
use ottla_metadata::{Fact, records};
use ottla_raft::{
    Change, Codec, Core, Disk as RaftDisk, FactLog, Fault as RaftFault, Founding, Keys, MemoryDisk,
    MessageType, Options, Output, Pair, Seen, SubmitError, Visit, Voter, VoterEndpoint, node_of, raft_id,
};
use ottla_types::{LeaderEpoch, Millis, NodeId, Offset};
use uuid::Uuid;

use crate::{
    Fault,
    broker::CLUSTER,
    env::{Addr, Env, Note},
    log::Disk,
    machine::{self, Faulty},
    message::{FactsFrom, Message},
};

/// Messages among controllers.
pub(crate) type RaftMessage = ottla_raft::Message;

/// For the trace.
pub(crate) fn describe(message: &RaftMessage) -> String {
    format!("Raft type {} term {} index {}", message.msg_type, message.term, message.index)
}

/// One committed batch of the metadata log.
#[derive(Debug)]
pub(crate) struct FactBatch {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) epoch: LeaderEpoch,
    /// The batch's stamp first.
    pub(crate) facts: Vec<Fact>,
}

/// What a controller keeps on its disk.
#[derive(Default)]
pub(crate) struct QuorumDisk {
    disk: MemoryDisk,
    /// The committed batches that its log holds, decoded.
    pub(crate) facts: Vec<Arc<FactBatch>>,
    /// Batches at the end of `facts` that are not committed, where that fault is planted.
    premature: usize,
}

impl std::fmt::Debug for QuorumDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuorumDisk of {} batches", self.facts.len())
    }
}

impl QuorumDisk {
    pub(crate) fn power_cut(&mut self) {
        self.disk.crash();
    }

    fn end(&self) -> Offset {
        self.facts.last().map_or(0, |batch| batch.next)
    }

    /// Takes over what the log has and this has not. Where the first new batch is.
    fn follow(&mut self, log: &dyn FactLog) -> usize {
        self.facts.truncate(self.facts.len() - self.premature);
        self.premature = 0;
        if log.start() > self.end() {
            // A snapshot stands for what was before.
            self.facts.clear();
        }
        let first = self.facts.len();
        let from = self.end().max(log.start());
        let facts = &mut self.facts;
        log.read(from, &mut |batch| {
            let header = &batch.header;
            let epoch = header.partition_leader_epoch;
            let decoded = records::decode(&batch, epoch).expect("what was decided can be read");
            facts.push(Arc::new(FactBatch {
                base: header.base_offset,
                next: header.next_offset(),
                epoch,
                facts: decoded,
            }));
            Ok(())
        })
        .expect("memory can be read");
        first
    }
}

/// Keys that forget to sync.
struct Unsynced(Box<dyn Keys>);

impl Keys for Unsynced {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RaftFault> {
        self.0.get(key)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, RaftFault> {
        self.0.last(from, to)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), RaftFault> {
        self.0.scan(from, to, visit)
    }

    fn write(&mut self, changes: Vec<Change>, _: bool) -> Result<(), RaftFault> {
        self.0.write(changes, false)
    }
}

/// A fetch of facts that waits for some.
struct Waiting {
    to: Addr,
    id: u64,
    from: Offset,
    deadline: Millis,
}

/// How long a fetch of facts waits.
const MAX_WAIT_MS: i64 = 300;
/// `broker.session.timeout.ms`.
const SESSION_MS: i64 = 900;
/// How often a controller tells the others that it is there.
const ANNOUNCE_MS: i64 = 300;
/// How long a snapshot takes at most, or it is taken for lost.
const SNAPSHOT_MS: i64 = 1_000;

/// A controller at work.
pub(crate) struct Controller {
    core: Core<Faulty>,
    asked: BTreeMap<Token, (Addr, u64)>,
    waiting: Vec<Waiting>,
    /// The other controllers, where voters come and go.
    others: Vec<NodeId>,
    next_announcement: Millis,
    /// Snapshots on their way, by raft's name of whom they are for.
    snapshots: BTreeMap<u64, Millis>,
    /// Brokers whose heartbeats came here, with the epoch of the last one.
    heard: BTreeMap<NodeId, i64>,
    /// The term in which it was last seen to decide.
    office: LeaderEpoch,
}

/// A number as protocol buffers have it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(0x80 | u8::try_from(number & 127).expect("seven bits"));
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("seven bits"));
    bytes
}

fn settings(node: NodeId) -> Arc<Settings> {
    Arc::new(Settings {
        node_id: node,
        cluster_id: CLUSTER.into(),
        num_partitions: 1,
        default_replication_factor: 3,
        delete_topic_enable: true,
        broker_session_timeout_ms: SESSION_MS,
        bootstrap: bootstrap_features(),
        config: Arc::default(),
    })
}

fn codec() -> Codec<Faulty> {
    Codec {
        encode: |facts, at| -> Bytes { records::encode(facts, at) },
        decode: records::decode,
        stamp: Fact::batch,
        snapshot: State::snapshot,
        empty: State::emptied,
        place: State::place,
    }
}

fn directory(node: NodeId) -> Uuid {
    Uuid::from_u128(u128::from(node.unsigned_abs()))
}

/// A voter of a quorum whose voters come and go.
pub(crate) fn voter(id: NodeId) -> Voter {
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "simulated".into(), port: 9093 };
    Voter { id, directory_id: directory(id), endpoints: vec![endpoint] }
}

fn seen(id: NodeId) -> Seen {
    let Voter { id, directory_id, endpoints } = voter(id);
    Seen { id, directory_id, endpoints }
}

/// How many controllers vote first.
pub(crate) const FOUNDERS: usize = 3;

/// What a member is told; snapshots and short logs come often.
fn options(env: &Env<'_>, controllers: &[NodeId], dynamic: bool) -> Options {
    let node = env.node;
    let fixed = |id: &NodeId| Voter { id: *id, directory_id: Uuid::nil(), endpoints: Vec::new() };
    let founders = &controllers[..FOUNDERS];
    let founding = match (dynamic, founders.contains(&node)) {
        (false, _) => Founding::Static(controllers.iter().map(fixed).collect()),
        (true, true) => Founding::Dynamic(founders.iter().map(|id| voter(*id)).collect()),
        (true, false) if env.has(Fault::JoinerFounds) => Founding::Dynamic(vec![voter(node)]),
        (true, false) => Founding::Join,
    };
    let mut options = Options::new(node, directory(node), founding);
    options.endpoints = if dynamic { voter(node).endpoints } else { Vec::new() };
    options.max_bytes_between_snapshots = 20_000;
    options.max_entries = 60;
    options
}

impl Controller {
    /// `dynamic`: voters come and go; those beyond the first are to join.
    pub(crate) fn start(env: &mut Env<'_>, disk: &mut Disk, controllers: &[NodeId], dynamic: bool) -> Self {
        let RaftDisk { mut keys, log, files } = disk.quorum.disk.open();
        if env.has(Fault::ForgetHardState) {
            // Raft's hard state has the key `h`.
            keys.write(vec![Change::DeleteRange(b"h".to_vec(), b"i".to_vec())], true)
                .expect("memory can be written");
        }
        if env.has(Fault::VoteAlone) && keys.get(b"c").expect("memory can be read").is_some() {
            // Raft's members have the key `c`, voters the number 1 in it.
            let directory = if dynamic { directory(env.node) } else { Uuid::nil() };
            let alone = [vec![8], varint(raft_id(env.node, directory))].concat();
            keys.write(vec![Change::Put(b"c".to_vec(), alone)], true).expect("memory can be written");
        }
        if env.has(Fault::RaftForgetsToSync) {
            keys = Box::new(Unsynced(keys));
        }
        let raft_disk = RaftDisk { keys, log, files };
        let (initial, options) = (State::new(settings(env.node)), options(env, controllers, dynamic));
        let core = env.with_ctx(|ctx| Core::open(options, codec(), initial, raft_disk, ctx));
        let core = core.unwrap_or_else(|fault| panic!("the controller does not start: {fault}"));
        disk.quorum.facts.clear();
        disk.quorum.premature = 0;
        disk.quorum.follow(core.log());
        env.note(Note::Facts { from: 0 });
        let others = controllers.iter().copied().filter(|id| dynamic && *id != env.node).collect();
        let mut controller = Self {
            core,
            asked: BTreeMap::new(),
            waiting: Vec::new(),
            others,
            next_announcement: env.now,
            snapshots: BTreeMap::new(),
            heard: BTreeMap::new(),
            office: -1,
        };
        controller.settle(env, disk);
        controller
    }

    fn leader(&self) -> Option<NodeId> {
        self.core.leader()
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, disk: &mut Disk, from: Addr, message: Message) {
        match message {
            Message::Raft(message) => {
                self.hear(from);
                if message.msg_type == MessageType::MsgSnapshot as i32 {
                    env.send(from, Message::SnapshotArrived { name: message.to });
                }
                env.with_ctx(|ctx| self.core.step(RaftMessage::clone(&message), ctx));
            }
            Message::Hello => self.hear(from),
            Message::SnapshotArrived { name } if self.snapshots.remove(&name).is_some() => {
                self.core.snapshot_sent(name, true);
            }
            Message::ChangeVoters { id, change } => {
                let token = Token(env.id());
                self.asked.insert(token, (from, id));
                env.with_ctx(|ctx| self.core.change_voters(token, *change, ctx));
            }
            Message::Command { id, command } => {
                if let Command::BrokerHeartbeat(request) = &*command {
                    self.heard.insert(request.broker_id.0, request.broker_epoch);
                }
                let token = Token(env.id());
                self.asked.insert(token, (from, id));
                env.with_ctx(|ctx| self.core.command(token, *command, ctx));
                if env.has(Fault::ApplyUncommitted) {
                    self.publish_early(env, disk);
                }
            }
            Message::Missed => {
                if let Some(epoch) = self.heard.remove(&from) {
                    let lost = Command::BrokerLost { id: from, epoch, since: env.now };
                    let token = Token(env.id());
                    env.with_ctx(|ctx| self.core.command(token, lost, ctx));
                }
            }
            Message::FetchFacts { id, only_leader: true, .. } if !self.core.status().in_office => {
                let leader = self.leader().filter(|leader| *leader != env.node);
                env.send(from, Message::Facts { id, batches: Err(leader) });
            }
            Message::FetchFacts { id, from: offset, .. } => {
                let deadline = env.now.plus(MAX_WAIT_MS);
                self.waiting.retain(|waiting| waiting.to != from);
                self.waiting.push(Waiting { to: from, id, from: offset, deadline });
            }
            _ => {}
        }
        self.settle(env, disk);
    }

    /// What `Seen` of the real driver does: who is heard is there.
    fn hear(&mut self, from: Addr) {
        if self.others.contains(&from) {
            self.core.seen(seen(from), None);
        }
    }

    /// Tells the others that it is there, while it knows of no leader; gives up snapshots that have not arrived.
    fn tend(&mut self, env: &mut Env<'_>) {
        if self.next_announcement <= env.now {
            self.next_announcement = env.now.plus(ANNOUNCE_MS);
            if self.leader().is_none() {
                self.others.iter().for_each(|other| env.send(*other, Message::Hello));
            }
        }
        let lost: Vec<u64> =
            self.snapshots.iter().filter(|(_, until)| **until <= env.now).map(|(name, _)| *name).collect();
        for name in lost {
            self.snapshots.remove(&name);
            self.core.snapshot_sent(name, false);
        }
    }

    /// The fault of taking a decision for committed.
    fn publish_early(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let decided = machine::take_decided();
        if decided.is_empty() {
            return;
        }
        let epoch = self.core.status().epoch;
        let count = i64::try_from(decided.len()).expect("few");
        let mut facts = vec![Fact::batch(epoch, env.wall)];
        facts.extend(decided);
        let base = disk.quorum.end();
        env.note(Note::Facts { from: disk.quorum.facts.len() });
        disk.quorum.facts.push(Arc::new(FactBatch { base, next: base + count, epoch, facts }));
        disk.quorum.premature += 1;
    }

    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        self.tend(env);
        self.settle(env, disk);
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        let waiting = self.waiting.iter().map(|waiting| waiting.deadline);
        let announcement = (!self.others.is_empty()).then_some(self.next_announcement);
        let own = self.core.deadline().into_iter().chain(announcement);
        own.chain(waiting).chain(self.snapshots.values().copied()).min()
    }

    fn settle(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let (mut messages, mut answers, mut committed) = (Vec::new(), Vec::new(), false);
        let mut changed = Vec::new();
        let core = &mut self.core;
        let settled = env.with_ctx(|ctx| {
            core.settle(ctx, &mut |output| match output {
                Output::Send(more) => messages.extend(more),
                Output::Committed(_) => committed = true,
                Output::Answer(token, answer) => answers.push((token, answer)),
                Output::Changed(token, result) => changed.push((token, result)),
                Output::Addresses(_) => {}
            })
        });
        if let Err(fault) = settled {
            panic!("the controller stops: {fault}");
        }
        for message in messages {
            if let Some(to) = node_of(message.to) {
                if message.msg_type == MessageType::MsgSnapshot as i32 {
                    self.snapshots.insert(message.to, env.now.plus(SNAPSHOT_MS));
                }
                env.send(to, Message::Raft(Arc::new(message)));
            }
        }
        if committed {
            let from = disk.quorum.follow(self.core.log());
            env.note(Note::Facts { from });
        }
        let status = self.core.status();
        if status.in_office && status.epoch != self.office {
            self.office = status.epoch;
            env.note(Note::Office { term: status.epoch });
        }
        for (token, result) in changed {
            if let Some((to, id)) = self.asked.remove(&token) {
                env.send(to, Message::VotersChanged { id, result: result.map_err(|error| error.code) });
            }
        }
        for (token, answer) in answers {
            let answer = match answer {
                Ok(answer) => Ok(Box::new(answer)),
                Err(SubmitError::NotLeader { leader }) => Err(leader),
                Err(_) => Err(None),
            };
            self.answer(env, token, answer);
        }
        self.feed(env, disk);
    }

    fn feed(&mut self, env: &mut Env<'_>, disk: &Disk) {
        let facts = &disk.quorum.facts;
        let end = disk.quorum.end().max(self.core.log().end());
        let (ready, later): (Vec<Waiting>, Vec<Waiting>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.from < end || waiting.deadline <= env.now);
        self.waiting = later;
        for Waiting { to, id, from, .. } in ready {
            let reaches = facts.first().map_or(self.core.log().start(), |first| first.base) <= from;
            let found = if reaches {
                let first = facts.partition_point(|batch| batch.base < from);
                FactsFrom { snapshot: None, batches: facts[first..].iter().take(20).cloned().collect() }
            } else {
                let image = Arc::new(self.core.committed().image.clone());
                FactsFrom { snapshot: Some(image), batches: Vec::new() }
            };
            env.send(to, Message::Facts { id, batches: Ok(found) });
        }
    }

    fn answer(&mut self, env: &mut Env<'_>, token: Token, answer: Result<Box<Answer>, Option<NodeId>>) {
        if let Some((to, id)) = self.asked.remove(&token) {
            env.send(to, Message::Answer { id, answer });
        }
    }
}
