//! Random conversations, and what must hold in all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{CommitPartition, CommitTopic, LeavingMember, Protocol};

/// What a client does next. Members and instances are numbers: of the member ids that were seen, of three instances.
#[derive(Clone, Debug)]
enum Move {
    Join { member: Option<usize>, instance: Option<u8>, protocols: u8, old: bool, rebalance_ms: i32 },
    Sync { member: usize, stale: bool },
    Heartbeat { member: usize },
    Leave { member: usize, instance: Option<u8> },
    Commit { member: Option<usize>, partition: i32 },
    Pass { ms: i64 },
    Refuse,
    Restart,
}

fn moves() -> impl Strategy<Value = Move> {
    let instance = || prop::option::weighted(0.3, 0u8..3);
    prop_oneof![
        6 => (prop::option::weighted(0.6, 0usize..8), instance(), 1u8..4, any::<bool>(), 1_000i32..20_000).prop_map(
            |(member, instance, protocols, old, rebalance_ms)| Move::Join { member, instance, protocols, old, rebalance_ms }
        ),
        6 => (0usize..8, prop::bool::weighted(0.1)).prop_map(|(member, stale)| Move::Sync { member, stale }),
        3 => (0usize..8).prop_map(|member| Move::Heartbeat { member }),
        1 => (0usize..8, instance()).prop_map(|(member, instance)| Move::Leave { member, instance }),
        2 => (prop::option::of(0usize..8), 0i32..3).prop_map(|(member, partition)| Move::Commit { member, partition }),
        4 => (0i64..9_000).prop_map(|ms| Move::Pass { ms }),
        1 => Just(Move::Refuse),
        1 => Just(Move::Restart),
    ]
}

const SESSION_MS: i32 = 6_000;
/// The longest rebalance timeout, twice (a join phase that nobody came to is waited for again), a session, and the
/// initial delay.
const LONGEST_WAIT_MS: i64 = 2 * 20_000 + SESSION_MS as i64 + 3_000;

struct World {
    groups: Groups,
    now: i64,
    drawn: u64,
    asked: BTreeMap<Token, i64>,
    joins: BTreeSet<Token>,
    next: u64,
    members: Vec<(Arc<str>, i32, Option<Arc<str>>)>,
    log: Vec<Record>,
    refuse: bool,
    /// The generation, and the leader's word that all its members must be told.
    settled: BTreeMap<i32, String>,
    highest: i32,
}

impl World {
    fn new() -> Self {
        Self {
            groups: Groups::new(Arc::new(GroupsConfig { max_size: 5, ..GroupsConfig::default() })),
            now: 0,
            drawn: 0,
            asked: BTreeMap::new(),
            joins: BTreeSet::new(),
            next: 0,
            members: Vec::new(),
            log: Vec::new(),
            refuse: false,
            settled: BTreeMap::new(),
            highest: 0,
        }
    }

    fn with_ctx<R>(&mut self, work: impl FnOnce(&mut Groups, &mut Ctx<'_>) -> R) -> R {
        let mut drawn = self.drawn;
        let mut rng = || {
            drawn += 1;
            drawn
        };
        let result =
            work(&mut self.groups, &mut Ctx { now: Millis(self.now), wall: Millis(self.now), rng: &mut rng });
        self.drawn = drawn;
        result
    }

    fn ask(&mut self, command: Command) -> Vec<Answer> {
        let token = Token(self.next);
        self.next += 1;
        self.asked.insert(token, self.now);
        if matches!(command, Command::JoinGroup(_)) {
            self.joins.insert(token);
        }
        self.turn(token, command)
    }

    fn turn(&mut self, token: Token, command: Command) -> Vec<Answer> {
        let mut decision = self.with_ctx(|groups, ctx| groups.decide(ctx, token, command));
        if self.refuse && !decision.records.is_empty() {
            self.refuse = false;
            decision = self
                .with_ctx(|groups, ctx| groups.refused(ctx, decision, ErrorCode::COORDINATOR_NOT_AVAILABLE));
        }
        self.groups.accept(&decision.records);
        self.log.extend(decision.records);
        for (token, answer) in &decision.answers {
            assert!(self.asked.remove(token).is_some(), "{token:?} is answered twice or was never asked");
            self.joins.remove(token);
            self.heard(answer);
        }
        let oldest = self.joins.iter().filter_map(|token| self.asked.get(token)).min();
        assert!(oldest.is_none_or(|asked| self.now - asked <= LONGEST_WAIT_MS), "a join waits for too long");
        decision.answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn heard(&mut self, answer: &Answer) {
        if let Answer::Join(join) = answer {
            if join.error == ErrorCode::NONE {
                assert!(join.generation_id >= self.highest, "generations only go up");
                self.highest = join.generation_id;
            }
            if matches!(join.error, ErrorCode::NONE | ErrorCode::MEMBER_ID_REQUIRED) {
                let known = self.members.iter_mut().find(|(id, _, _)| *id == join.member_id);
                match known {
                    Some(member) => member.1 = join.generation_id,
                    None => self.members.push((join.member_id.clone(), join.generation_id, None)),
                }
            }
        }
    }

    fn member(&self, number: usize) -> (Arc<str>, i32) {
        // The latest members are the interesting ones.
        let known = self.members.iter().rev().nth(number);
        known.map_or_else(|| (Arc::from("nobody"), 1), |(id, generation, _)| (id.clone(), *generation))
    }

    fn check(&self) {
        for group in self.groups.groups.values() {
            group.classic.check(&self.groups.timers);
        }
    }

    fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.groups.deadline().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            for command in self.groups.due(Millis(self.now)) {
                self.turn(Token(u64::MAX), command);
            }
            self.check();
        }
        self.now = until;
    }

    fn play(&mut self, play: Move) {
        match play {
            Move::Join { member, instance, protocols, old, rebalance_ms } => {
                let member_id = member.map(|number| self.member(number).0).unwrap_or_default();
                let offers = ["range", "rr"].iter().enumerate().filter(|(at, _)| protocols & (1 << at) != 0);
                self.ask(Command::JoinGroup(JoinGroup {
                    group_id: "g".into(),
                    member_id,
                    group_instance_id: instance.map(|number| format!("i{number}").into()),
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: rebalance_ms,
                    protocol_type: "consumer".into(),
                    protocols: offers
                        .map(|(_, name)| Protocol { name: (*name).into(), metadata: Bytes::new() })
                        .collect(),
                    requires_known_member_id: !old,
                    supports_skipping_assignment: !old,
                }));
            }
            Move::Sync { member, stale } => self.sync(member, stale),
            Move::Heartbeat { member } => {
                let (member_id, generation_id) = self.member(member);
                let heartbeat =
                    Heartbeat { group_id: "g".into(), generation_id, member_id, group_instance_id: None };
                assert_eq!(self.ask(Command::Heartbeat(heartbeat)).len(), 1);
            }
            Move::Leave { member, instance } => {
                let group_instance_id = instance.map(|number| format!("i{number}").into());
                let member_id = if instance.is_some() { Arc::from("") } else { self.member(member).0 };
                let members = vec![LeavingMember { member_id, group_instance_id }];
                self.ask(Command::LeaveGroup(LeaveGroup { group_id: "g".into(), members }));
            }
            Move::Commit { member, partition } => self.commit(member, partition),
            Move::Pass { ms } => self.pass(ms),
            Move::Refuse => self.refuse = true,
            Move::Restart => self.restart(),
        }
    }

    /// Everybody brings an assignment; the leader's counts. It says who gave it and when, so that two are told apart.
    fn sync(&mut self, member: usize, stale: bool) {
        let (member_id, generation_id) = self.member(member);
        let generation_id = generation_id - i32::from(stale);
        let word = format!("{generation_id} by {member_id} at {}", self.next);
        let all = self.members.iter().map(|(id, _, _)| (id.clone(), Bytes::from(word.clone()))).collect();
        let before = self.groups.groups.get("g").map(|group| group.classic.generation);
        let answers = self.ask(Command::SyncGroup(SyncGroup {
            group_id: "g".into(),
            generation_id,
            member_id,
            group_instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: all,
        }));
        for answer in answers {
            if let Answer::Sync(SyncAnswer { error: ErrorCode::NONE, assignment, .. }) = answer {
                let word = String::from_utf8(assignment.to_vec()).expect("our own words");
                let generation = before.expect("a sync that succeeds has a group");
                // A static member that came back under a new id may have been unknown to the leader.
                let settled = self.settled.entry(generation).or_insert_with(|| word.clone());
                assert!(*settled == word || word.is_empty(), "one generation, two assignments");
            }
        }
    }

    fn commit(&mut self, member: Option<usize>, partition: i32) {
        let (member_id, generation_id) = member.map_or((Arc::from(""), -1), |number| self.member(number));
        let offset = i64::try_from(self.next).expect("few moves");
        let metadata = Arc::from("");
        let partitions = vec![CommitPartition { partition, offset, leader_epoch: -1, metadata }];
        self.ask(Command::OffsetCommit(OffsetCommit {
            group_id: "g".into(),
            generation_id,
            member_id,
            group_instance_id: None,
            retention_time_ms: None,
            tells_unknown_group: true,
            topics: vec![CommitTopic { name: "t".into(), topic_id: ottla_types::TopicId::ZERO, partitions }],
        }));
    }

    fn offsets(groups: &Groups) -> OffsetFetchAnswer {
        groups.fetch(&OffsetFetch { group_id: "g".into(), topics: None, require_stable: false })
    }

    /// Another coordinator reads the log. It has the same offsets; whoever waited is told by its driver.
    fn restart(&mut self) {
        let mut groups = Groups::new(self.groups.config.clone());
        for record in &self.log {
            groups.replay(record.clone());
        }
        assert_eq!(Self::offsets(&self.groups), Self::offsets(&groups), "the log has all offsets");
        self.groups = groups;
        self.asked.clear();
        self.joins.clear();
        self.highest = self.groups.groups.get("g").map_or(0, |group| group.classic.generation);
        // A generation that was not settled is decided anew.
        self.settled.retain(|generation, _| *generation <= self.highest);
        self.with_ctx(Groups::take_office);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn conversations_keep_the_rules(moves in prop::collection::vec(moves(), 1..80)) {
        let mut world = World::new();
        for play in moves {
            world.play(play);
            world.check();
        }
        // Nobody says anything any more: everybody who waits is answered, and the group empties.
        world.pass(LONGEST_WAIT_MS + 400_000);
        prop_assert!(world.asked.is_empty(), "left without an answer: {:?}", world.asked);
        prop_assert!(world.groups.groups.values().all(|group| group.classic.members.is_empty()));
        // And in the end even the offsets go, and nothing is waited for.
        world.pass(2 * 10_080 * 60_000);
        prop_assert!(world.groups.is_empty());
        prop_assert_eq!(world.groups.deadline(), None);
    }
}
