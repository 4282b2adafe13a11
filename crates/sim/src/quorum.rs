//! A controller: the metadata quorum's member on one node, and what it tells the brokers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ottla_controller::{Answer, Settings, State, bootstrap_features};
use ottla_machine::Token;
use ottla_metadata::{Fact, records};
use ottla_raft::{
    Change, Codec, Core, Disk as RaftDisk, FactLog, Fault as RaftFault, Founding, Keys, MemoryDisk, Options,
    Output, Pair, SubmitError, Visit, Voter, node_of,
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

/// A controller at work.
pub(crate) struct Controller {
    core: Core<Faulty>,
    asked: BTreeMap<Token, (Addr, u64)>,
    waiting: Vec<Waiting>,
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

/// What a member is told; snapshots and short logs come often.
fn options(node: NodeId, controllers: &[NodeId]) -> Options {
    let voter = |id: &NodeId| Voter { id: *id, directory_id: Uuid::nil(), endpoints: Vec::new() };
    let founding = Founding::Static(controllers.iter().map(voter).collect());
    let mut options = Options::new(node, Uuid::from_u128(u128::from(node.unsigned_abs())), founding);
    options.max_bytes_between_snapshots = 20_000;
    options.max_entries = 60;
    options
}

impl Controller {
    pub(crate) fn start(env: &mut Env<'_>, disk: &mut Disk, controllers: &[NodeId]) -> Self {
        let RaftDisk { mut keys, log, files } = disk.quorum.disk.open();
        if env.has(Fault::ForgetHardState) {
            // Raft's hard state has the key `h`.
            keys.write(vec![Change::DeleteRange(b"h".to_vec(), b"i".to_vec())], true)
                .expect("memory can be written");
        }
        if env.has(Fault::RaftForgetsToSync) {
            keys = Box::new(Unsynced(keys));
        }
        let raft_disk = RaftDisk { keys, log, files };
        let (initial, options) = (State::new(settings(env.node)), options(env.node, controllers));
        let core = env.with_ctx(|ctx| Core::open(options, codec(), initial, raft_disk, ctx));
        let core = core.unwrap_or_else(|fault| panic!("the controller does not start: {fault}"));
        disk.quorum.facts.clear();
        disk.quorum.premature = 0;
        disk.quorum.follow(core.log());
        env.note(Note::Facts { from: 0 });
        let mut controller = Self { core, asked: BTreeMap::new(), waiting: Vec::new() };
        controller.settle(env, disk);
        controller
    }

    fn leader(&self) -> Option<NodeId> {
        self.core.leader()
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, disk: &mut Disk, from: Addr, message: Message) {
        match message {
            Message::Raft(message) => {
                env.with_ctx(|ctx| self.core.step(RaftMessage::clone(&message), ctx));
            }
            Message::Command { id, command } => {
                let token = Token(env.id());
                self.asked.insert(token, (from, id));
                env.with_ctx(|ctx| self.core.command(token, *command, ctx));
                if env.has(Fault::ApplyUncommitted) {
                    self.publish_early(env, disk);
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
        self.settle(env, disk);
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.core.deadline().into_iter().chain(self.waiting.iter().map(|waiting| waiting.deadline)).min()
    }

    fn settle(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let (mut messages, mut answers, mut committed) = (Vec::new(), Vec::new(), false);
        let core = &mut self.core;
        let settled = env.with_ctx(|ctx| {
            core.settle(ctx, &mut |output| match output {
                Output::Send(more) => messages.extend(more),
                Output::Committed(_) => committed = true,
                Output::Answer(token, answer) => answers.push((token, answer)),
                Output::Changed(..) | Output::Addresses(_) => {}
            })
        });
        if let Err(fault) = settled {
            panic!("the controller stops: {fault}");
        }
        for message in messages {
            if let Some(to) = node_of(message.to) {
                env.send(to, Message::Raft(Arc::new(message)));
            }
        }
        if committed {
            let from = disk.quorum.follow(self.core.log());
            env.note(Note::Facts { from });
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
