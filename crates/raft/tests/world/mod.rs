//! Members of a quorum in one thread, on disks in memory, in time that passes only when it is told to.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of this")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_controller::{Answer, Command, Controller, State};
use ottla_machine::{Ctx, Token};
use ottla_raft::{
    Core, FactLog, Fault, Founding, MemoryDisk, Message, MessageType, Options, Output, Seen, SubmitError,
    Voter, VoterChange, VoterEndpoint, node_of,
};
use ottla_types::{ApiError, Millis, NodeId};
use uuid::Uuid;

use crate::common;

pub struct Member {
    pub disk: MemoryDisk,
    pub directory: Uuid,
    pub founding: Founding,
    pub core: Option<Core<Controller>>,
    /// Whom it knows where to reach: raft's names.
    places: BTreeSet<u64>,
    pub faults: Vec<Fault>,
}

pub struct World {
    pub now: i64,
    pub members: BTreeMap<NodeId, Member>,
    pub net: VecDeque<Message>,
    /// Directions that carry nothing.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Messages reach only whom their sender was told a place of. Whoever is heard says where it is, and who knows of no
    /// leader says so to all.
    pub by_address: bool,
    /// Members whose threads get no time, and what waits for them.
    stalled: BTreeSet<NodeId>,
    held: Vec<Message>,
    pub answers: BTreeMap<u64, Result<Answer, SubmitError>>,
    pub changed: BTreeMap<u64, Result<(), ApiError>>,
    pub max_entries: u64,
    next: u64,
    seed: u64,
}

pub fn directory(id: NodeId) -> Uuid {
    Uuid::from_u128(1000 + u128::from(id.unsigned_abs()))
}

pub fn voter(id: NodeId) -> Voter {
    let port = 9000 + u16::try_from(id).expect("a small id");
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "here".into(), port };
    Voter { id, directory_id: directory(id), endpoints: vec![endpoint] }
}

pub fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let x = *seed ^ (*seed >> 33);
    x.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (x >> 29)
}

impl World {
    pub fn new(seed: u64, voters: i32) -> Self {
        let founding = Founding::Dynamic((1..=voters).map(voter).collect());
        let mut world = Self::empty(seed);
        (1..=voters).for_each(|id| world.add(id, founding.clone()));
        world
    }

    pub fn empty(seed: u64) -> Self {
        Self {
            now: 1000,
            members: BTreeMap::new(),
            net: VecDeque::new(),
            cut: BTreeSet::new(),
            by_address: false,
            stalled: BTreeSet::new(),
            held: Vec::new(),
            answers: BTreeMap::new(),
            changed: BTreeMap::new(),
            max_entries: 1000,
            next: 0,
            seed,
        }
    }

    pub fn add(&mut self, id: NodeId, founding: Founding) {
        self.add_in(id, directory(id), founding);
    }

    /// A node on a new disk with this directory; in place of the one of its id, if there is one.
    pub fn add_in(&mut self, id: NodeId, directory: Uuid, founding: Founding) {
        let disk = MemoryDisk::default();
        let (places, faults) = (BTreeSet::new(), Vec::new());
        self.members.insert(id, Member { disk, directory, founding, core: None, places, faults });
        self.start(id);
    }

    pub fn start(&mut self, id: NodeId) {
        let (now, max_entries) = (self.now, self.max_entries);
        let member = self.members.get_mut(&id).expect("a member");
        let options = Options {
            endpoints: voter(id).endpoints,
            max_entries,
            ..Options::new(id, member.directory, member.founding.clone())
        };
        let mut rng = || next(&mut self.seed);
        let mut ctx = Ctx { now: Millis(now), wall: Millis(now), rng: &mut rng };
        let initial = State::new(common::settings(id));
        let core = Core::open(options, common::codec(), initial, member.disk.open(), &mut ctx);
        member.core = Some(core.expect("recovers"));
        member.places.clear();
    }

    /// Ends a member; with `power` its disk forgets what was not synced.
    pub fn kill(&mut self, id: NodeId, power: bool) {
        let member = self.members.get_mut(&id).expect("a member");
        member.core = None;
        if power {
            member.disk.crash();
        } else {
            member.disk.keep();
        }
    }

    pub fn isolate(&mut self, id: NodeId) {
        let others: Vec<_> = self.members.keys().copied().filter(|other| *other != id).collect();
        self.cut.extend(others.iter().flat_map(|other| [(id, *other), (*other, id)]));
    }

    /// Does something with a running core.
    pub fn with<T>(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut Core<Controller>, &mut Ctx<'_>) -> T,
    ) -> Option<T> {
        let core = self.members.get_mut(&id)?.core.as_mut()?;
        let mut rng = || next(&mut self.seed);
        let mut ctx = Ctx { now: Millis(self.now), wall: Millis(self.now), rng: &mut rng };
        Some(act(core, &mut ctx))
    }

    pub fn settle(&mut self, id: NodeId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let (Some(core), places) = (member.core.as_mut(), &mut member.places) else { return };
        let mut rng = || next(&mut self.seed);
        let mut ctx = Ctx { now: Millis(self.now), wall: Millis(self.now), rng: &mut rng };
        let (net, answers, changed) = (&mut self.net, &mut self.answers, &mut self.changed);
        let settled = core.settle(&mut ctx, &mut |output| match output {
            Output::Send(messages) => net.extend(messages),
            Output::Answer(token, answer) => drop(answers.insert(token.0, answer)),
            Output::Changed(token, answer) => drop(changed.insert(token.0, answer)),
            Output::Addresses(known) => *places = known.into_iter().map(|(name, _)| name).collect(),
            Output::Committed(_) => {}
        });
        if let Err(fault) = settled {
            let member = self.members.get_mut(&id).expect("a member");
            member.faults.push(fault);
            member.core = None;
        }
    }

    /// Lets a millisecond pass.
    pub fn pass(&mut self) {
        self.now += 1;
        let arriving: Vec<Message> = self.net.drain(..).collect();
        for message in arriving {
            let (from, to) = (node_of(message.from).expect("a node"), node_of(message.to).expect("a node"));
            if self.stalled.contains(&to) {
                self.held.push(message);
                continue;
            }
            let (name, speaks_as) = (message.to, message.from);
            let snapshot = message.msg_type == MessageType::MsgSnapshot as i32;
            let placed = !self.by_address || self.members[&from].places.contains(&name);
            let arrives = placed
                && !self.cut.contains(&(from, to))
                && self.with(to, |core, ctx| core.step(message, ctx)).is_some();
            if snapshot {
                self.with(from, |core, _| core.snapshot_sent(name, arrives));
            }
            if self.by_address && arrives {
                let seen = self.seen(from);
                self.with(to, |core, _| core.seen(seen, Some(speaks_as)));
            }
        }
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            let lost = self.members[&id].core.as_ref().is_some_and(|core| core.leader().is_none());
            if self.by_address && lost && self.now % 300 == 0 {
                self.introduce(id);
            }
            if !self.stalled.contains(&id) {
                self.settle(id);
            }
        }
    }

    /// Lets time pass that the threads of these members do not get. Then they find all that came meanwhile.
    pub fn stall(&mut self, ids: impl IntoIterator<Item = NodeId>, ms: i64) {
        self.stalled.extend(ids);
        self.run(ms);
        self.stalled.clear();
        let late = std::mem::take(&mut self.held);
        self.net.extend(late);
    }

    pub fn run(&mut self, ms: i64) {
        (0..ms).for_each(|_| self.pass());
    }

    /// Lets a long time pass, in steps that are short enough for elections.
    pub fn skip(&mut self, ms: i64) {
        for _ in 0..ms / 20 {
            self.now += 19;
            self.pass();
        }
    }

    pub fn until(&mut self, ms: i64, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ms {
            if holds(self) {
                return;
            }
            self.pass();
        }
        let states: Vec<_> =
            self.members.iter().map(|(id, one)| (id, one.core.as_ref().map(Core::status))).collect();
        panic!("not within {ms} ms: {states:?}");
    }

    /// Who is in office in the newest epoch.
    pub fn leader(&self) -> Option<NodeId> {
        let offices = self.members.iter().filter_map(|(id, one)| {
            let status = one.core.as_ref()?.status();
            status.in_office.then_some((status.epoch, *id))
        });
        offices.max().map(|(_, id)| id)
    }

    pub fn elected(&mut self) -> NodeId {
        self.until(5000, |world| world.leader().is_some());
        self.leader().expect("just seen")
    }

    pub fn submit(&mut self, id: NodeId, command: Command) -> u64 {
        self.next += 1;
        let token = self.next;
        self.with(id, |core, ctx| core.command(Token(token), command, ctx)).expect("runs");
        token
    }

    /// Creates a topic through whoever leads, however often that changes.
    pub fn create(&mut self, name: &str) {
        for _ in 0..20 {
            let leader = self.elected();
            let token = self.submit(leader, common::create(name, 1));
            for _ in 0..3000 {
                if self.answers.contains_key(&token) || self.leader() != Some(leader) {
                    break;
                }
                self.pass();
            }
            self.run(5);
            match self.answers.get(&token) {
                Some(Ok(_)) => return,
                _ => self.run(50),
            }
        }
        panic!("{name} was not created");
    }

    /// Registers and unfences the broker that topics are placed on.
    pub fn broker(&mut self) {
        let leader = self.elected();
        let token = self.submit(leader, Command::RegisterBroker(common::registration(-1)));
        self.until(1000, |world| world.answers.contains_key(&token));
        let Some(Ok(Answer::RegisterBroker(answer))) = self.answers.get(&token) else { panic!("no answer") };
        let beat = common::heartbeat(answer.broker_epoch);
        let token = self.submit(leader, beat);
        self.until(1000, |world| world.answers.contains_key(&token));
    }

    pub fn change(&mut self, id: NodeId, change: VoterChange) -> u64 {
        self.next += 1;
        let token = self.next;
        self.with(id, |core, ctx| core.change_voters(Token(token), change, ctx)).expect("runs");
        self.settle(id);
        token
    }

    pub fn refused(&self, token: u64) -> i16 {
        match self.changed.get(&token) {
            Some(Err(error)) => error.code.0,
            other => panic!("{other:?}"),
        }
    }

    fn seen(&self, id: NodeId) -> Seen {
        Seen { id, directory_id: self.members[&id].directory, endpoints: voter(id).endpoints }
    }

    /// What a transport does: every member hears where the others are, and what they are called.
    pub fn introduce(&mut self, id: NodeId) {
        let (seen, name) = (self.seen(id), self.members[&id].core.as_ref().map(Core::name));
        for other in self.members.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            let seen = seen.clone();
            self.with(other, |core, _| core.seen(seen, name));
        }
    }

    /// Waits until all that run have applied the same, and compares their logs byte for byte.
    pub fn agree(&mut self) {
        self.until(20_000, |world| {
            let ends: BTreeSet<_> = world
                .members
                .values()
                .filter_map(|one| one.core.as_ref())
                .map(|core| (core.log().end(), core.status().leader))
                .collect();
            ends.len() == 1 && ends.first().is_some_and(|(_, leader)| leader.is_some())
        });
        self.compare();
    }

    /// What two logs both have is the same.
    pub fn compare(&self) {
        let mut known: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        for (id, member) in &self.members {
            for batch in member.disk.log().batches() {
                let bytes = [&batch.header.to_bytes()[..], batch.payload()].concat();
                let before = known.entry(batch.header.base_offset).or_insert_with(|| bytes.clone());
                assert!(*before == bytes, "node {id} differs at offset {}", batch.header.base_offset);
            }
        }
    }

    pub fn topics(&self, id: NodeId) -> usize {
        self.members[&id].core.as_ref().map_or(0, |core| core.committed().image.topics.len())
    }
}

pub fn end_of(member: &Member) -> i64 {
    member.core.as_ref().map_or(-1, |core| FactLog::end(&member.disk).min(core.log().end()))
}
