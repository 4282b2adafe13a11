//! The thread around a [`Core`]: waits for events and for time, hands them in, and hands out what comes of it.
//!
//! It sleeps until something comes or the core wants to be called; a lone voter has no ticks at all. All commands that
//! wait are decided together and share one synced write.

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

use ottla_machine::{Ctx, Machine, Token};
use ottla_types::{Clock, Millis};
use raft::eraftpb::Message;
use tokio::sync::watch;

use crate::{
    Codec, Core, Disk, Fault, Handle, Membership, Options, Output, Status, SubmitError, VoterEndpoint,
    handle::{Changed, Event, Reply, Shared},
};

/// Events that may wait in the queue.
const QUEUE: usize = 4096;
/// Events handled in one turn, at most.
const BATCH: usize = 1024;
/// How old what `DescribeQuorum` tells may be, in milliseconds.
const VIEW_MS: i64 = 50;
/// How long a member that stops waits until another one leads, in milliseconds.
const HAND_OVER_MS: i64 = 1000;

/// Told the committed state.
pub type Publish<M> = Box<dyn FnMut(&<M as Machine>::State) + Send>;

/// What carries messages to other members. Called on the driver's thread: it must not block.
pub trait Transport: Send + 'static {
    /// Sends messages, or drops them.
    fn send(&mut self, messages: Vec<Message>);
    /// Where members can be reached: raft's names for them, and the places to try.
    fn addresses(&mut self, addresses: Vec<(u64, Vec<VoterEndpoint>)>);
}

impl<F: FnMut(Vec<Message>) + Send + 'static> Transport for F {
    fn send(&mut self, messages: Vec<Message>) {
        self(messages);
    }

    fn addresses(&mut self, _: Vec<(u64, Vec<VoterEndpoint>)>) {}
}

/// What the driver works with.
pub struct Parts<M: Machine> {
    /// How facts look as bytes.
    pub codec: Codec<M>,
    /// The state before any fact.
    pub initial: M::State,
    /// What is kept.
    pub disk: Disk,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Box<dyn FnMut() -> u64 + Send>,
    /// Told the committed state whenever it changed (and once at start), before the answers are given.
    pub publish: Publish<M>,
    /// Sends messages to other members.
    pub transport: Box<dyn Transport>,
}

/// The driver's thread, and what talks to it.
pub struct Running<M: Machine> {
    /// Hands in commands.
    pub handle: Handle<M>,
    thread: JoinHandle<()>,
}

impl<M: Machine> Running<M> {
    /// Stops the thread after what is queued, and waits for it. If this member leads, it hands over to another one
    /// first, for which messages must still get through both ways. The metadata log is synced.
    pub fn stop(self) {
        // A queue that is gone: the thread has ended by itself.
        let _ = self.handle.events.send(Event::Stop);
        drop(self.handle);
        if self.thread.join().is_err() {
            tracing::error!("The metadata quorum's thread panicked");
        }
    }
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
    let Parts { codec, initial, disk, clock, mut rng, mut publish, transport } = parts;
    let (events, queue) = sync_channel(QUEUE);
    let (status, watching) = watch::channel(Status::default());
    let mut ctx = Ctx { now: clock.ticks(), wall: clock.wall(), rng: &mut *rng };
    let core = Core::open(options, codec, initial, disk, &mut ctx)?;
    publish(core.committed());
    let shared = Arc::new(Shared::default());
    let handle = Handle { events, status: watching, shared: shared.clone(), name: core.name() };
    let outside = Outside { publish, transport, waiting: HashMap::new(), changing: HashMap::new() };
    let driver = Driver { core, outside, clock, rng, queue, status, shared, next_token: 1, viewed: None };
    let thread = std::thread::Builder::new()
        .name("raft-io-thread".into())
        .spawn(move || driver.run())
        .map_err(|source| Fault::File { path: PathBuf::from("raft-io-thread"), source })?;
    Ok(Running { handle, thread })
}

/// Where what the core gives out goes.
struct Outside<M: Machine> {
    publish: Publish<M>,
    transport: Box<dyn Transport>,
    waiting: HashMap<Token, Reply<M>>,
    changing: HashMap<Token, Changed>,
}

impl<M: Machine> Outside<M> {
    fn take(&mut self, output: Output<'_, M>) {
        match output {
            Output::Send(messages) => self.transport.send(messages),
            Output::Committed(state) => (self.publish)(state),
            Output::Addresses(addresses) => self.transport.addresses(addresses),
            // Whoever asked may have gone away.
            Output::Answer(token, answer) => {
                let _ = self.waiting.remove(&token).map(|reply| reply.send(answer));
            }
            Output::Changed(token, answer) => {
                let _ = self.changing.remove(&token).map(|reply| reply.send(answer));
            }
        }
    }
}

struct Driver<M: Machine> {
    core: Core<M>,
    outside: Outside<M>,
    clock: Arc<dyn Clock>,
    rng: Box<dyn FnMut() -> u64 + Send>,
    queue: Receiver<Event<M>>,
    status: watch::Sender<Status>,
    shared: Arc<Shared>,
    next_token: u64,
    /// When the view was told, of whose leadership, and who the voters were.
    viewed: Option<(Millis, Status, Membership)>,
}

impl<M: Machine> Driver<M> {
    fn run(mut self) {
        let mut fault = self.serve().err();
        // Whoever asked before the end is told, too.
        while let Ok(event) = self.queue.try_recv() {
            if !matches!(event, Event::Stop) {
                self.handle(event);
            }
        }
        let Self { core, outside, .. } = &mut self;
        fault = fault.or(core.stop(&mut |output| outside.take(output)).err());
        if let Some(fault) = &fault {
            tracing::error!("The metadata quorum's driver stops: {fault}");
        }
        self.outside.waiting.drain().for_each(|(_, reply)| {
            let _ = reply.send(Err(SubmitError::Stopped));
        });
        self.status.send_modify(|status| {
            status.fault = fault.map(|fault| fault.to_string()).or(status.fault.take());
            status.in_office = false;
        });
    }

    fn serve(&mut self) -> Result<(), Fault> {
        self.settle()?;
        let mut leave_by = None;
        while let Some(first) = self.wait(leave_by) {
            let mut next = first;
            let mut budget = BATCH;
            while let Some(event) = next {
                if matches!(event, Event::Stop) {
                    self.core.resign();
                    leave_by = Some(self.clock.ticks().plus(HAND_OVER_MS));
                } else {
                    self.handle(event);
                }
                budget -= 1;
                next = if budget > 0 { self.queue.try_recv().ok() } else { None };
            }
            self.settle()?;
            if leave_by.is_some_and(|at| self.core.has_resigned() || self.clock.ticks() >= at) {
                break;
            }
        }
        Ok(())
    }

    /// Sleeps until there is an event (`Some(Some)`), or until time has something to say (`Some(None)`). `None` when
    /// nobody can send any more.
    #[expect(clippy::option_option, reason = "an event, the time, or the end")]
    fn wait(&mut self, leave_by: Option<Millis>) -> Option<Option<Event<M>>> {
        let until = [self.core.deadline(), leave_by].into_iter().flatten().min();
        let Some(until) = until else { return self.queue.recv().ok().map(Some) };
        let left = until.since(self.clock.ticks()).max(0);
        match self.queue.recv_timeout(Duration::from_millis(left.unsigned_abs())) {
            Ok(event) => Some(Some(event)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn handle(&mut self, event: Event<M>) {
        let token = self.token();
        let mut ctx = Ctx { now: self.clock.ticks(), wall: self.clock.wall(), rng: &mut *self.rng };
        match event {
            Event::Command(command, reply) => {
                self.outside.waiting.insert(token, reply);
                self.core.command(token, command, &mut ctx);
            }
            Event::Change(change, reply) => {
                self.outside.changing.insert(token, reply);
                self.core.change_voters(token, change, &mut ctx);
            }
            Event::Step(message) => self.core.step(*message, &mut ctx),
            Event::Seen(seen, speaks_as) => self.core.seen(seen, speaks_as),
            Event::Lost(node) => self.core.lost(node, &mut ctx),
            Event::Unreachable(to) => self.core.unreachable(to),
            Event::SnapshotSent(to, delivered) => self.core.snapshot_sent(to, delivered),
            Event::Snapshot => self.core.snapshot(),
            Event::Stop => unreachable!("stopping is handled by the loop"),
        }
    }

    fn settle(&mut self) -> Result<(), Fault> {
        let Self { core, outside, clock, rng, .. } = self;
        let mut ctx = Ctx { now: clock.ticks(), wall: clock.wall(), rng: &mut **rng };
        // Who is told that the voters changed asks who they are: that is told first.
        let mut changed = Vec::new();
        core.settle(&mut ctx, &mut |output| match output {
            Output::Changed(token, result) => changed.push((token, result)),
            output => outside.take(output),
        })?;
        self.tell();
        for (token, result) in changed {
            self.outside.take(Output::Changed(token, result));
        }
        Ok(())
    }

    fn tell(&mut self) {
        let new = self.core.status();
        let now = self.clock.ticks();
        // Who belongs to it is news at once: on a lone voter nothing else would come and tell it.
        let membership = self.core.membership();
        let fresh = self.viewed.as_ref().is_some_and(|(at, of, voters)| {
            (of.leader, of.epoch) == (new.leader, new.epoch)
                && voters == membership
                && now.since(*at) < VIEW_MS
        });
        if !fresh {
            let membership = membership.clone();
            self.shared.show(self.core.quorum(self.clock.wall()));
            self.viewed = Some((now, new.clone(), membership));
        }
        self.status.send_if_modified(|old| {
            let changed = *old != new;
            *old = new;
            changed
        });
    }
}
