//! The loop: wait for an event, decide, let raft write and commit, apply, answer.
//!
//! One thread owns everything. It sleeps until a command comes or the machine wants to be called; a lone voter has no
//! ticks at all. All commands that wait are decided together and share one synced write.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use ottla_machine::{Ctx, Decision, Machine, Replicated, Token};
use ottla_records::Batch;
use ottla_storage::Store;
use ottla_types::{Clock, LeaderEpoch, Millis, NodeId, Offset};
use raft::{Config, RawNode, StateRole, eraftpb::Message};
use tokio::sync::watch;

use crate::{
    Codec, FactLog, Fault, Handle, RaftStore, SnapshotId, Status, SubmitError, Voter, control,
    handle::{Event, Reply},
    logger::logger,
    quorum_state, recover,
};

mod apply;

/// Commands that may wait in the queue.
const QUEUE: usize = 4096;
/// Commands decided together, at most.
const BATCH: usize = 1024;
/// Raft's unit of time, where there is more than one voter.
const TICK_MS: i64 = 100;
/// Ticks without a leader before an election (at least; at most twice that).
const ELECTION_TICKS: usize = 10;

/// What the driver is told once.
pub struct Options {
    /// This node.
    pub node_id: NodeId,
    /// The voters, this node among them. Only the first start on an empty store uses them to found the quorum.
    pub voters: Vec<Voter>,
    /// The directory of the metadata log: checkpoints and `quorum-state` live there.
    pub dir: PathBuf,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub max_bytes_between_snapshots: u64,
    /// Entries that raft's log keeps for followers that lag, before they need a snapshot.
    pub max_entries: u64,
}

/// Told the committed state.
pub type Publish<M> = Box<dyn FnMut(&<M as Machine>::State) + Send>;

/// What the driver works with.
pub struct Parts<M: Machine> {
    /// How facts look as bytes.
    pub codec: Codec<M>,
    /// The state before any fact.
    pub initial: M::State,
    /// Where raft's log lives.
    pub store: Store,
    /// Where committed batches go.
    pub log: Box<dyn FactLog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Box<dyn FnMut() -> u64 + Send>,
    /// Told the committed state whenever it changed (and once at start), before the answers are given.
    pub publish: Publish<M>,
    /// Sends messages to other voters; may drop them.
    pub send: Box<dyn FnMut(Vec<Message>) + Send>,
}

/// The driver's thread, and what talks to it.
pub struct Running<M: Machine> {
    /// Hands in commands.
    pub handle: Handle<M>,
    thread: JoinHandle<()>,
}

impl<M: Machine> Running<M> {
    /// Stops the thread after what is queued, and waits for it. The metadata log is synced.
    pub fn stop(self) {
        // A queue that is full or gone: the thread ends by itself when its last handle is dropped.
        let _ = self.handle.events.send(Event::Stop);
        drop(self.handle);
        if self.thread.join().is_err() {
            tracing::error!("The metadata quorum's thread panicked");
        }
    }
}

pub(crate) fn raft_id(node: NodeId) -> u64 {
    // Kafka's ids start at 0, which raft keeps for "nobody".
    u64::from(node.unsigned_abs()) + 1
}

fn node_id(raft_id: u64) -> Option<NodeId> {
    raft_id.checked_sub(1).and_then(|id| NodeId::try_from(id).ok())
}

/// Recovers, publishes the state that is on disk, and starts the thread. A lone voter is leader when this returns or
/// very soon after; commands may be submitted at once and wait their turn.
pub fn start<M>(options: Options, parts: Parts<M>) -> Result<Running<M>, Fault>
where
    M: Machine + 'static,
    M::State: Send,
    M::Soft: Send,
    M::Command: Send,
    M::Answer: Send,
{
    let (events, queue) = sync_channel(QUEUE);
    let (status, watching) = watch::channel(Status::default());
    let driver = Driver::new(options, parts, queue, status)?;
    let thread = std::thread::Builder::new()
        .name("raft-io-thread".into())
        .spawn(move || driver.run())
        .map_err(|source| Fault::File { path: PathBuf::from("raft-io-thread"), source })?;
    Ok(Running { handle: Handle { events, status: watching }, thread })
}

struct Driver<M: Machine> {
    options: Options,
    codec: Codec<M>,
    raw: RawNode<RaftStore>,
    machine: Replicated<M>,
    log: Box<dyn FactLog>,
    clock: Arc<dyn Clock>,
    rng: Box<dyn FnMut() -> u64 + Send>,
    publish: Publish<M>,
    send: Box<dyn FnMut(Vec<Message>) + Send>,
    queue: Receiver<Event<M>>,
    status: watch::Sender<Status>,
    waiting: HashMap<Token, Reply<M>>,
    next_token: u64,
    /// The term whose control batch was proposed.
    opened: u64,
    /// Index of the last entry applied, and its term.
    applied: (u64, u64),
    last_epoch: LeaderEpoch,
    last_timestamp: Millis,
    election_timeout: usize,
    next_tick: Millis,
    snapshot: Option<SnapshotId>,
    bytes_since_snapshot: u64,
}

impl<M: Machine> Driver<M> {
    fn new(
        options: Options,
        parts: Parts<M>,
        queue: Receiver<Event<M>>,
        status: watch::Sender<Status>,
    ) -> Result<Self, Fault> {
        let Parts { codec, initial, store, mut log, clock, rng, mut publish, send } = parts;
        let voters = options.voters.iter().map(|voter| raft_id(voter.id)).collect();
        let found = recover::recover(&codec, initial, &store, &mut *log, &options.dir, voters)?;
        publish(&found.state);
        let config = Config {
            id: raft_id(options.node_id),
            election_tick: ELECTION_TICKS,
            heartbeat_tick: 2,
            applied: found.applied,
            max_size_per_msg: 1 << 20,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        let applied_term = raft::Storage::term(&found.store, found.applied)?;
        let raw = RawNode::new(&config, found.store, &logger())?;
        Ok(Self {
            codec,
            machine: Replicated::new(found.state),
            log,
            rng,
            publish,
            send,
            queue,
            status,
            waiting: HashMap::new(),
            next_token: 1,
            opened: 0,
            applied: (found.applied, applied_term),
            last_epoch: found.position.0,
            last_timestamp: found.position.1,
            election_timeout: 0,
            next_tick: clock.ticks(),
            snapshot: found.snapshot,
            bytes_since_snapshot: 0,
            clock,
            options,
            raw,
        })
    }

    fn alone(&self) -> bool {
        let conf = self.raw.store().conf_state();
        conf.voters == [raft_id(self.options.node_id)] && conf.voters_outgoing.is_empty()
    }

    fn run(mut self) {
        if let Err(fault) = self.serve() {
            tracing::error!("The metadata quorum's driver stops: {fault}");
            self.status.send_modify(|status| status.fault = Some(fault.to_string()));
        }
        self.machine.leave_office();
        self.refuse_waiting(SubmitError::Stopped);
        self.status.send_modify(|status| status.in_office = false);
    }

    fn serve(&mut self) -> Result<(), Fault> {
        if self.alone() {
            self.raw.campaign()?;
        }
        self.settle()?;
        while let Some(first) = self.wait() {
            let mut next = first;
            let mut budget = BATCH;
            while let Some(event) = next {
                if matches!(event, Event::Stop) {
                    self.settle()?;
                    return self.log.sync();
                }
                self.handle(event)?;
                budget -= 1;
                next = if budget > 0 { self.queue.try_recv().ok() } else { None };
            }
            self.settle()?;
        }
        self.log.sync()
    }

    /// Sleeps until there is an event (`Some(Some)`), or until time has something to say (`Some(None)`). `None` when
    /// nobody can send any more.
    #[expect(clippy::option_option, reason = "an event, the time, or the end")]
    fn wait(&mut self) -> Option<Option<Event<M>>> {
        let tick = (!self.alone()).then_some(self.next_tick);
        let until = [self.machine.deadline(), tick].into_iter().flatten().min();
        let Some(until) = until else { return self.queue.recv().ok().map(Some) };
        let left = until.since(self.clock.ticks()).max(0);
        match self.queue.recv_timeout(Duration::from_millis(left.unsigned_abs())) {
            Ok(event) => Some(Some(event)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn handle(&mut self, event: Event<M>) -> Result<(), Fault> {
        match event {
            Event::Command(command, reply) => self.command(command, reply),
            Event::Step(message) => {
                if let Err(error) = self.raw.step(*message) {
                    tracing::debug!("A raft message was refused: {error}");
                }
            }
            Event::Snapshot => self.write_snapshot()?,
            Event::Stop => unreachable!("stopping is handled by the loop"),
        }
        Ok(())
    }

    fn command(&mut self, command: M::Command, reply: Reply<M>) {
        if !self.machine.in_office() {
            let leader = node_id(self.raw.raft.leader_id).filter(|id| *id != self.options.node_id);
            // Whoever asked may have gone away.
            let _ = reply.send(Err(SubmitError::NotLeader { leader }));
            return;
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        self.waiting.insert(token, reply);
        self.decide(token, command);
    }

    fn decide(&mut self, token: Token, command: M::Command) {
        let (now, wall) = (self.clock.ticks(), self.clock.wall());
        let mut ctx = Ctx { now, wall, rng: &mut *self.rng };
        let Some(mut decision) = self.machine.draft(&mut ctx, token, command) else { return };
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
        if let Some(reply) = self.waiting.remove(&token) {
            // Whoever asked may have gone away.
            let _ = reply.send(answer);
        }
    }

    fn refuse_waiting(&mut self, error: SubmitError) {
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Err(error));
        }
    }

    /// Everything that follows from what was handed in, until nothing is left to do.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            self.tick();
            self.change_office()?;
            for command in self.machine.due(self.clock.ticks()) {
                self.decide(Token(0), command);
            }
            while let Some((token, answer)) = self.machine.poll_answer() {
                self.answer(token, Ok(answer));
            }
            if !self.raw.has_ready() {
                break;
            }
            self.ready()?;
        }
        self.tell_status();
        self.housekeep()
    }

    fn tick(&mut self) {
        if self.alone() {
            return;
        }
        let now = self.clock.ticks();
        while now >= self.next_tick {
            self.raw.tick();
            self.next_tick = self.next_tick.plus(TICK_MS);
            if now.since(self.next_tick) > TICK_MS * 20 {
                // We slept: catching up tick by tick would only depose a leader that is well.
                self.next_tick = now.plus(TICK_MS);
            }
        }
        self.reseed_jitter();
    }

    /// raft-rs draws its election jitter from the system; ours comes from the source that was handed in.
    fn reseed_jitter(&mut self) {
        let drawn = self.raw.raft.randomized_election_timeout();
        if drawn != self.election_timeout {
            let jitter = usize::try_from((self.rng)() % ELECTION_TICKS as u64).expect("a few ticks");
            self.election_timeout = ELECTION_TICKS + jitter;
            self.raw.raft.set_randomized_election_timeout(self.election_timeout);
        }
    }

    /// Opens a term that was won; leaves office when the term was lost.
    fn change_office(&mut self) -> Result<(), Fault> {
        let term = self.raw.raft.term;
        let leads = self.raw.raft.state == StateRole::Leader;
        if self.machine.in_office() && (!leads || self.opened != term) {
            tracing::info!(
                "[RaftManager id={}] Resigned as leader of the metadata quorum",
                self.options.node_id
            );
            self.machine.leave_office();
            self.refuse_waiting(SubmitError::Lost);
        }
        if leads && self.opened != term {
            self.open_term(term)?;
        }
        Ok(())
    }

    /// Proposes the term's control batch. Where the log holds nothing that is not applied (always so for a lone voter),
    /// the committed state is all there is, and office is taken at once: the first decisions share the write with the
    /// election. Otherwise it is taken when the control batch is applied.
    fn open_term(&mut self, term: u64) -> Result<(), Fault> {
        let all_applied = self.raw.store().last() == self.applied.0;
        let (at, first) = (self.clock.wall(), self.log.end() == 0);
        let batch = control::election(self.options.node_id, &self.options.voters, first, at);
        if self.raw.propose(Vec::new(), batch.to_vec()).is_err() {
            // Refused for now; asked again next turn.
            return Ok(());
        }
        self.opened = term;
        if all_applied {
            let bad = |why| Fault::BadFacts { offset: self.log.end(), why };
            let batch = Batch::parse(&batch, 0).expect("it was just built");
            let records = (self.codec.decode)(&batch, epoch_of(term)).map_err(bad)?;
            self.enter_office();
            self.machine.accept(Decision { records, answers: Vec::new() });
        }
        Ok(())
    }

    fn enter_office(&mut self) {
        let (id, term) = (self.options.node_id, self.raw.raft.term);
        tracing::info!("[RaftManager id={id}] Became leader of the metadata quorum in epoch {term}");
        self.machine.take_office(self.clock.ticks());
    }

    fn next_offset(&self) -> Offset {
        self.log.end()
    }

    fn tell_status(&mut self) {
        let new = Status {
            leader: node_id(self.raw.raft.leader_id),
            epoch: epoch_of(self.raw.raft.term),
            in_office: self.machine.in_office(),
            high_watermark: self.next_offset(),
            fault: None,
        };
        let leader_changed = {
            let old = self.status.borrow();
            (old.leader, old.epoch) != (new.leader, new.epoch)
        };
        if leader_changed && let Some(leader) = new.leader {
            // Only a courtesy to a Kafka controller that takes the directory over.
            if let Err(error) = quorum_state::write(&self.options.dir, leader, new.epoch) {
                tracing::warn!("Could not write quorum-state: {error}");
            }
        }
        self.status.send_if_modified(|old| {
            let changed = *old != new;
            *old = new;
            changed
        });
    }
}

pub(crate) fn epoch_of(term: u64) -> LeaderEpoch {
    LeaderEpoch::try_from(term).expect("a term rises by one per election and started from an epoch")
}
