//! The world: virtual time, nodes and clients, and the events that happen to them. One thread, one seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use ottla_types::{Millis, NodeId};

use crate::{
    Fault,
    broker::Broker,
    chance::Rng,
    client::{Client, Known},
    env::{Addr, Env, Note},
    log::Disk,
    message::Message,
    nemesis::Nemesis,
    network::{Network, Passage},
    oracle::{Disks, Oracle, Violation},
    quorum::Controller,
    temper::Temper,
    trace::Trace,
};

/// A clock that runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skew {
    /// Thousandths of true speed.
    rate: i64,
    /// What the wall clock is off by.
    wall_ms: i64,
}

impl Skew {
    fn draw(rng: &mut Rng) -> Self {
        Self { rate: rng.between(950, 1050), wall_ms: rng.between(-5_000, 5_000) }
    }

    const TRUE: Self = Self { rate: 1000, wall_ms: 0 };

    /// The local monotonic clock at true time `us`.
    fn local(self, us: u64) -> Millis {
        let us = i64::try_from(us).expect("runs are short");
        Millis(1_000_000 + us * self.rate / 1_000_000)
    }

    fn wall(self, us: u64) -> Millis {
        let us = i64::try_from(us).expect("runs are short");
        Millis(1_700_000_000_000 + us / 1000 + self.wall_ms)
    }

    /// The first true time at which the local clock shows `at`.
    fn when(self, at: Millis) -> u64 {
        let local = (at.0 - 1_000_000).max(0);
        ((local * 1_000_000 + self.rate - 1) / self.rate).unsigned_abs()
    }
}

/// A machine: what is on its disk, and the process that runs, if one does.
pub(crate) struct Node {
    pub(crate) has_broker: bool,
    pub(crate) controller: Option<Controller>,
    pub(crate) broker: Option<Broker>,
    pub(crate) disk: Disk,
    /// Its power was cut, and it has not registered since: nobody can know what it has lost.
    pub(crate) damaged: bool,
    up: bool,
    /// Counts starts.
    life: u64,
    paused_until: u64,
    skew: Skew,
    wake_at: u64,
}

struct Guest {
    client: Client,
    wake_at: u64,
}

enum Event {
    /// `life`: of the process that it was sent to.
    Deliver {
        from: Addr,
        to: Addr,
        life: u64,
        message: Box<Message>,
    },
    Wake(Addr),
    /// Something bad, or its end.
    Nemesis,
    Restart(NodeId),
}

struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `kill -9`: the page cache stays.
    Killed,
    /// What was not synced may be gone.
    PowerCut,
    /// In an orderly way.
    Stopped,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    /// Microseconds.
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    next_id: u64,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    guests: BTreeMap<Addr, Guest>,
    pub(crate) network: Network,
    pub(crate) nemesis: Nemesis,
    pub(crate) oracle: Oracle,
    pub(crate) known: Known,
    pub(crate) trace: Trace,
    pub(crate) steps: u64,
    pub(crate) temper: Temper,
    fault: Option<Fault>,
}

impl World {
    pub(crate) fn new(seed: u64, fault: Option<Fault>, trace: usize) -> Self {
        let mut rng = Rng::new(seed);
        let network = Network::default();
        let nemesis = Nemesis::draw(&mut rng);
        Self {
            rng,
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            next_id: 0,
            nodes: BTreeMap::new(),
            guests: BTreeMap::new(),
            network,
            nemesis,
            oracle: Oracle::default(),
            known: Known { brokers: Vec::new(), controllers: Vec::new(), draining: false },
            trace: Trace::new(trace),
            steps: 0,
            temper: Temper::of(seed, fault),
            fault,
        }
    }

    pub(crate) fn add_node(&mut self, id: NodeId, controller: bool, broker: bool) {
        if controller {
            self.known.controllers.push(id);
        }
        if broker {
            self.known.brokers.push(id);
        }
        let skew = Skew::draw(&mut self.rng);
        let node = Node {
            has_broker: broker,
            controller: None,
            broker: None,
            disk: Disk::default(),
            damaged: false,
            up: false,
            life: 0,
            paused_until: 0,
            skew,
            wake_at: 0,
        };
        self.nodes.insert(id, node);
        self.after(0, Event::Restart(id));
    }

    pub(crate) fn add_client(&mut self, addr: Addr, client: Client) {
        self.guests.insert(addr, Guest { client, wake_at: 1 });
        self.after(1, Event::Wake(addr));
    }

    pub(crate) fn client(&self, addr: Addr) -> Option<&Client> {
        self.guests.get(&addr).map(|guest| &guest.client)
    }

    /// Why clients are not content.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.guests.values().find_map(|guest| guest.client.complaint())
    }

    fn after(&mut self, us: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + us, order: self.order, event }));
    }

    pub(crate) fn nemesis_after(&mut self, us: u64) {
        self.after(us, Event::Nemesis);
    }

    pub(crate) fn restart_after(&mut self, us: u64, node: NodeId) {
        self.after(us, Event::Restart(node));
    }

    pub(crate) fn say(&mut self, who: Addr, text: &str) {
        self.trace.add(self.now, who, text);
    }

    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.up)
    }

    /// Lets the next event happen.
    pub(crate) fn step(&mut self) -> Result<(), Violation> {
        let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() else { return Ok(()) };
        self.now = self.now.max(at);
        self.steps += 1;
        self.trace.count(self.now);
        match event {
            Event::Deliver { from, to, life, message } => self.deliver(from, to, life, message),
            Event::Wake(addr) => self.wake(at, addr),
            Event::Nemesis => {
                crate::nemesis::strike(self);
                Ok(())
            }
            Event::Restart(node) => self.start(node),
        }
    }

    /// Whether `to` stands still: then what happens to it waits.
    fn paused(&self, to: Addr) -> Option<u64> {
        let until = self.nodes.get(&to)?.paused_until;
        (until > self.now).then(|| until - self.now)
    }

    fn life(&self, addr: Addr) -> u64 {
        self.nodes.get(&addr).map_or(0, |node| node.life)
    }

    fn deliver(&mut self, from: Addr, to: Addr, life: u64, message: Box<Message>) -> Result<(), Violation> {
        if let Some(left) = self.paused(to) {
            self.after(left, Event::Deliver { from, to, life, message });
            return Ok(());
        }
        let down = self.nodes.get(&to).is_some_and(|node| !node.up);
        if (down || self.life(to) != life) && !matches!(*message, Message::Disconnected) {
            // Answers to who has gone are of no account; who asks is told that nobody listens.
            if !message.is_answer()
                && !message.is_loose()
                && let Some(at) = self.network.refuse(self.now, from, to)
            {
                self.disconnect(from, to, at);
            }
            return Ok(());
        }
        if self.trace.is_on() {
            let text = format!("<- {from} {}", message.name());
            self.say(to, &text);
        }
        self.act(to, |world, env| match world {
            Actor::Node(node) => node.on_message(env, from, *message),
            Actor::Client(client, known) => client.on_message(env, known, from, *message),
        })
    }

    fn wake(&mut self, at: u64, addr: Addr) -> Result<(), Violation> {
        if let Some(left) = self.paused(addr) {
            if let Some(node) = self.nodes.get_mut(&addr) {
                node.wake_at = self.now + left;
            }
            self.after(left, Event::Wake(addr));
            return Ok(());
        }
        let wanted = match (self.nodes.get(&addr), self.guests.get(&addr)) {
            (Some(node), _) => node.wake_at,
            (None, Some(guest)) => guest.wake_at,
            (None, None) => return Ok(()),
        };
        // Of several that were set only the last one counts.
        if wanted != at {
            return Ok(());
        }
        self.act(addr, |actor, env| match actor {
            Actor::Node(node) => node.on_time(env),
            Actor::Client(client, known) => client.on_time(env, known),
        })
    }

    fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        let controllers = self.known.controllers.clone();
        let dynamic = self.temper.joiners > 0;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        if node.up {
            return Ok(());
        }
        node.up = true;
        node.life += 1;
        node.paused_until = 0;
        self.say(id, "starts");
        self.act(id, |actor, env| {
            let Actor::Node(node) = actor else { return };
            if controllers.contains(&env.node) {
                node.controller = Some(Controller::start(env, &mut node.disk, &controllers, dynamic));
            }
            if node.has_broker {
                node.broker = Some(Broker::start(env, &mut node.disk, &controllers));
            }
            node.on_time(env);
        })
    }

    /// Lets somebody work, and sees to what comes of it.
    fn act(&mut self, addr: Addr, work: impl FnOnce(Actor<'_>, &mut Env<'_>)) -> Result<(), Violation> {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let now = self.now;
        let node = self.nodes.get_mut(&addr);
        let skew = node.as_ref().map_or(Skew::TRUE, |node| node.skew);
        let mut env = Env {
            node: addr,
            now: skew.local(now),
            wall: skew.wall(now),
            rng: &mut self.rng,
            out: &mut out,
            notes: &mut notes,
            fault: self.fault,
            next_id: &mut self.next_id,
        };
        let deadline = match node {
            Some(node) if node.up => {
                work(Actor::Node(node), &mut env);
                node.deadline()
            }
            Some(_) => return Ok(()),
            None => {
                let Some(guest) = self.guests.get_mut(&addr) else { return Ok(()) };
                work(Actor::Client(&mut guest.client, &self.known), &mut env);
                Some(guest.client.deadline())
            }
        };
        // Not at once again: whoever wants that would never let go.
        let wake_at = deadline.map(|at| skew.when(at).max(now + 100));
        self.plan_wake(addr, wake_at);
        for (to, message) in out {
            self.post(addr, to, message);
        }
        self.take_notes(addr, notes)
    }

    fn post(&mut self, from: Addr, to: Addr, message: Message) {
        let life = self.life(to);
        if from == to || message.is_loose() {
            for us in self.network.deliveries(&mut self.rng, from, to) {
                self.after(us, Event::Deliver { from, to, life, message: Box::new(message.clone()) });
            }
            return;
        }
        let answer = message.is_answer();
        match self.network.pass(&mut self.rng, self.now, (from, to), answer) {
            Passage::Arrives(at) => {
                self.after(at - self.now, Event::Deliver { from, to, life, message: Box::new(message) });
            }
            Passage::Lost => {}
            Passage::Breaks(at) => {
                let (opened, other) = if answer { (to, from) } else { (from, to) };
                self.disconnect(opened, other, at);
                if self.temper.misses && self.rng.permille(60) {
                    self.miss(opened);
                }
            }
        }
    }

    fn disconnect(&mut self, who: Addr, from: Addr, at: u64) {
        let life = self.life(who);
        let message = Box::new(Message::Disconnected);
        self.after(at - self.now, Event::Deliver { from, to: who, life, message });
    }

    /// Controllers are told that a broker is gone.
    fn miss(&mut self, broker: Addr) {
        if !self.nodes.contains_key(&broker) {
            return;
        }
        let controllers = self.nodes.iter().filter(|(_, node)| node.controller.is_some());
        let told: Vec<NodeId> = controllers.map(|(id, _)| *id).filter(|id| *id != broker).collect();
        for to in told {
            let (life, us) = (self.life(to), self.rng.between(100, 20_000).unsigned_abs());
            self.after(us, Event::Deliver { from: broker, to, life, message: Box::new(Message::Missed) });
        }
    }

    fn plan_wake(&mut self, addr: Addr, wake_at: Option<u64>) {
        let Some(at) = wake_at else { return };
        let planned = match (self.nodes.get_mut(&addr), self.guests.get_mut(&addr)) {
            (Some(node), _) => &mut node.wake_at,
            (None, Some(guest)) => &mut guest.wake_at,
            (None, None) => return,
        };
        if *planned <= self.now || at < *planned {
            *planned = at;
            self.after(at - self.now, Event::Wake(addr));
        }
    }

    /// What new facts say of partitions and brokers, for the trace.
    fn tell_facts(&self, node: NodeId, from: usize) -> String {
        use ottla_protocol::persisted::metadata::MetadataRecord;
        let Some(node) = self.nodes.get(&node) else { return String::new() };
        let mut text = "committed:".to_owned();
        for batch in &node.disk.quorum.facts[from..] {
            text += &format!(" @{}", batch.base);
            for record in batch.facts.iter().filter_map(ottla_metadata::Fact::record) {
                text += &match record {
                    MetadataRecord::PartitionChange(it) => format!(
                        " [{} isr {:?} leader {} elr {:?} last {:?} replicas {:?}]",
                        &ottla_types::TopicId(it.topic_id).to_string()[..4],
                        it.isr,
                        it.leader,
                        it.eligible_leader_replicas,
                        it.last_known_elr,
                        it.replicas,
                    )
                    .replacen(" isr", &format!("-{} isr", it.partition_id), 1),
                    MetadataRecord::RegisterBroker(it) => {
                        format!(" [broker {} epoch {}]", it.broker_id, it.broker_epoch)
                    }
                    MetadataRecord::BrokerRegistrationChange(it) => {
                        format!(
                            " [broker {} fenced {} leaving {}]",
                            it.broker_id, it.fenced, it.in_controlled_shutdown
                        )
                    }
                    other => format!(" {}", format!("{other:?}").split('(').next().unwrap_or_default()),
                };
            }
        }
        text
    }

    fn take_notes(&mut self, addr: Addr, notes: Vec<Note>) -> Result<(), Violation> {
        let mut stopped = false;
        for note in notes {
            if self.trace.is_on() {
                let text = match &note {
                    Note::Said(text) => text.clone(),
                    Note::Facts { from } => self.tell_facts(addr, *from),
                    note => {
                        let mut text = format!("{note:?}");
                        text.truncate(text.char_indices().nth(200).map_or(text.len(), |(at, _)| at));
                        text
                    }
                };
                self.say(addr, &text);
            }
            stopped |= matches!(note, Note::Stopped);
            if let Note::Registered = note
                && let Some(node) = self.nodes.get_mut(&addr)
            {
                node.damaged = false;
            }
            self.oracle.on(addr, &note, &Disks(&self.nodes))?;
        }
        if stopped {
            self.end(addr, End::Stopped);
            let rest = self.rng.between(50_000, 1_500_000).unsigned_abs();
            self.restart_after(rest, addr);
        }
        Ok(())
    }

    /// A process ends.
    pub(crate) fn end(&mut self, id: NodeId, how: End) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) else { return };
        let epoch = node.broker.as_ref().map_or(-1, |broker| broker.epoch);
        node.up = false;
        node.broker = None;
        node.controller = None;
        match how {
            End::Killed => {}
            End::Stopped => node.disk.close(epoch),
            End::PowerCut => {
                node.damaged = true;
                node.disk.power_cut(&mut self.rng);
            }
        }
        self.say(id, &format!("ends: {how:?}"));
        for (who, at) in self.network.hang_up(&mut self.rng, self.now, id) {
            self.disconnect(who, id, at);
        }
        if self.temper.misses {
            self.miss(id);
        }
        if how == End::PowerCut {
            self.oracle.power_was_cut(id, &Disks(&self.nodes));
        }
    }

    pub(crate) fn pause(&mut self, id: NodeId, us: u64) {
        let until = self.now + us;
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) {
            node.paused_until = until;
            self.say(id, &format!("stands still for {} ms", us / 1000));
        }
    }

    /// An operator stops a broker in an orderly way.
    pub(crate) fn shut_down(&mut self, id: NodeId) -> Result<(), Violation> {
        self.act(id, |actor, env| {
            if let Actor::Node(node) = actor
                && let Some(broker) = &mut node.broker
            {
                broker.leave(env);
                env.say(|| "is told to shut down".into());
            }
        })
    }

    /// Everything comes back, nothing goes wrong any more, nobody begins anything new.
    pub(crate) fn heal(&mut self) {
        self.network.calm();
        self.nemesis.is_over = true;
        self.known.draining = true;
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.nodes.get_mut(&id).expect("listed just now").paused_until = 0;
            self.restart_after(1_000, id);
        }
        self.say(0, "everything is healed");
    }

    pub(crate) fn disks(&self) -> Disks<'_> {
        Disks(&self.nodes)
    }
}

enum Actor<'a> {
    Node(&'a mut Node),
    Client(&'a mut Client, &'a Known),
}

impl Node {
    fn on_message(&mut self, env: &mut Env<'_>, from: Addr, message: Message) {
        match message {
            Message::Command { .. }
            | Message::FetchFacts { .. }
            | Message::ChangeVoters { .. }
            | Message::Raft(_)
            | Message::Hello
            | Message::Missed
            | Message::SnapshotArrived { .. } => {
                if let Some(controller) = &mut self.controller {
                    controller.on_message(env, &mut self.disk, from, message);
                }
            }
            _ => {
                if let Some(broker) = &mut self.broker {
                    broker.on_message(env, &mut self.disk, from, message);
                }
            }
        }
    }

    fn on_time(&mut self, env: &mut Env<'_>) {
        if let Some(controller) = &mut self.controller {
            controller.on_time(env, &mut self.disk);
        }
        if let Some(broker) = &mut self.broker {
            broker.on_time(env, &mut self.disk);
        }
    }

    fn deadline(&self) -> Option<Millis> {
        let controller = self.controller.as_ref().and_then(Controller::deadline);
        controller.into_iter().chain(self.broker.as_ref().map(Broker::deadline)).min()
    }
}
