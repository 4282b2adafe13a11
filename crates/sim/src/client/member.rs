//! A consumer in a group of the classic protocol: joins, reads what it is given, commits.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ottla_groups::{
    Answer, Command, CommitPartition, CommitTopic, FetchTopic, Heartbeat, JoinGroup, LeaveGroup,
    LeavingMember, OffsetCommit, OffsetFetch, Protocol, SyncGroup,
};
use ottla_types::{ErrorCode, Millis, Offset, TopicId, TopicPartitionId, partition_for_key};

use super::{CLIENT_TIMEOUT_MS, Cluster, Known};
use crate::{
    broker::OFFSETS_TOPIC,
    env::{Addr, Env, Note},
    message::{FetchPartition, FetchedPartition, Message, Reader},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Asks to join next.
    Out,
    /// Is a member of a generation, and asks next for what it is to read.
    Joined,
    /// Asks next for what the group has committed.
    Assigned,
    Reads,
}

/// The member's turn while it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Join,
    Sync,
    /// Where to go on.
    Offsets,
    /// The same, out of curiosity.
    Look,
    Heartbeat,
    Commit,
    Read(TopicPartitionId),
    Leave,
}

#[derive(Debug)]
pub(crate) struct Member {
    group: Arc<str>,
    topic: Arc<str>,
    name: Arc<str>,
    cluster: Cluster,
    stage: Stage,
    member_id: Arc<str>,
    generation: i32,
    /// As leader: what every member gets.
    plan: Vec<(Arc<str>, Bytes)>,
    /// As leader: the topic as it was when the plan was made.
    planned: Option<(TopicId, i32)>,
    asked: Option<(u64, Millis, Asked)>,
    next: Millis,
    next_commit: Millis,
    next_heartbeat: Millis,
    positions: BTreeMap<i32, Offset>,
    committed: BTreeMap<i32, Offset>,
}

const SESSION_MS: i32 = 600;
const REBALANCE_MS: i32 = 1_200;

impl Member {
    pub(crate) fn new(group: &str, topic: &str, name: String) -> Self {
        Self {
            group: group.into(),
            topic: topic.into(),
            name: name.into(),
            cluster: Cluster::new(),
            stage: Stage::Out,
            member_id: "".into(),
            generation: -1,
            plan: Vec::new(),
            planned: None,
            asked: None,
            next: Millis(0),
            next_commit: Millis(0),
            next_heartbeat: Millis(0),
            positions: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, known: &Known, from: Addr, message: Message) {
        match message {
            Message::MetadataIs { id, image } => self.cluster.take(env, id, image),
            Message::GroupAnswer { id, answer } => {
                if let Some((asked, _, what)) = self.asked
                    && asked == id
                {
                    self.asked = None;
                    self.answered(env, from, id, what, answer);
                }
            }
            Message::Fetched { id, partitions } if self.asked.is_some_and(|(asked, _, _)| asked == id) => {
                self.asked = None;
                partitions.into_iter().for_each(|found| self.read(env, found));
            }
            Message::Disconnected => {
                self.cluster.disconnected(env.now);
                if let Some((_, deadline, _)) = &mut self.asked {
                    *deadline = env.now;
                }
            }
            _ => {}
        }
        self.on_time(env, known);
    }

    fn read(&mut self, env: &mut Env<'_>, found: FetchedPartition) {
        if found.error != ErrorCode::NONE {
            if found.error == ErrorCode::OFFSET_OUT_OF_RANGE {
                // `auto.offset.reset=earliest`.
                self.positions.insert(found.tp.partition, found.log_start.max(0));
            }
            self.next = env.now.plus(30);
            return self.cluster.refresh();
        }
        self.next = env.now.plus(5);
        let Some(position) = self.positions.get_mut(&found.tp.partition) else { return };
        let from = *position;
        if let Some(last) = found.batches.last() {
            *position = last.facts.last_offset + 1;
            env.note(Note::Consumed { tp: found.tp, from, batches: found.batches });
        }
    }

    fn answered(
        &mut self,
        env: &mut Env<'_>,
        from: Addr,
        id: u64,
        what: Asked,
        answer: Result<Box<Answer>, ErrorCode>,
    ) {
        self.next = env.now.plus(10);
        let answer = match answer {
            Ok(answer) => *answer,
            Err(code) => return self.failed(env, code),
        };
        match (what, answer) {
            (Asked::Join, Answer::Join(join)) if join.error == ErrorCode::NONE => {
                self.member_id = join.member_id.clone();
                self.generation = join.generation_id;
                let leads = join.leader == join.member_id && !join.skip_assignment;
                let members: Vec<Arc<str>> =
                    join.members.into_iter().map(|member| member.member_id).collect();
                self.plan = if leads { self.assign(env, &members) } else { Vec::new() };
                self.planned = if leads { self.subscribed() } else { None };
                self.stage = Stage::Joined;
            }
            (Asked::Join, Answer::Join(join)) => {
                if join.error == ErrorCode::MEMBER_ID_REQUIRED {
                    self.member_id = join.member_id;
                } else {
                    self.failed(env, join.error);
                }
            }
            (Asked::Sync, Answer::Sync(sync)) if sync.error == ErrorCode::NONE => {
                let mine: Vec<i32> = sync.assignment.iter().map(|byte| i32::from(*byte)).collect();
                env.note(Note::Assigned {
                    group: self.group.clone(),
                    generation: self.generation,
                    member: self.member_id.clone(),
                    partitions: mine.clone(),
                });
                self.positions = mine.into_iter().map(|partition| (partition, -1)).collect();
                self.stage = if self.positions.is_empty() { Stage::Reads } else { Stage::Assigned };
                self.committed.clear();
            }
            (Asked::Sync, Answer::Sync(sync)) => self.failed(env, sync.error),
            (Asked::Offsets | Asked::Look, Answer::OffsetFetch(fetched))
                if fetched.error == ErrorCode::NONE =>
            {
                for one in fetched.topics.into_iter().flat_map(|topic| topic.partitions) {
                    let (group, topic) = (self.group.clone(), self.topic.clone());
                    let (partition, offset) = (one.partition, one.offset);
                    env.note(Note::OffsetFetched { id, from, group, topic, partition, offset });
                    if what == Asked::Offsets {
                        self.positions.insert(partition, offset.max(0));
                        self.committed.insert(partition, offset.max(0));
                    }
                }
                self.stage = Stage::Reads;
            }
            (Asked::Offsets | Asked::Look, Answer::OffsetFetch(fetched)) => self.failed(env, fetched.error),
            (_, Answer::Heartbeat(error)) => self.unless(env, error),
            (_, Answer::OffsetCommit(told)) => {
                let of_partitions =
                    told.topics.iter().flatten().copied().find(|code| *code != ErrorCode::NONE);
                self.unless(
                    env,
                    if told.error == ErrorCode::NONE {
                        of_partitions.unwrap_or(told.error)
                    } else {
                        told.error
                    },
                );
            }
            (Asked::Leave, _) => {
                self.stage = Stage::Out;
                self.member_id = "".into();
                self.next = env.now.plus(200);
            }
            _ => self.failed(env, ErrorCode::UNKNOWN_SERVER_ERROR),
        }
    }

    fn unless(&mut self, env: &mut Env<'_>, error: ErrorCode) {
        if error != ErrorCode::NONE {
            self.failed(env, error);
        }
    }

    fn failed(&mut self, env: &mut Env<'_>, error: ErrorCode) {
        self.next = env.now.plus(40);
        match error {
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member_id = "".into();
                self.stage = Stage::Out;
            }
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => self.stage = Stage::Out,
            _ => self.cluster.refresh(),
        }
    }

    fn subscribed(&self) -> Option<(TopicId, i32)> {
        self.cluster.image.topic(&self.topic).map(|topic| (topic.id, topic.partition_count()))
    }

    fn partitions(&self) -> i32 {
        self.cluster.image.topic(&self.topic).map_or(0, |topic| topic.partition_count())
    }

    fn assign(&self, env: &mut Env<'_>, members: &[Arc<str>]) -> Vec<(Arc<str>, Bytes)> {
        let shift = env.rng.index(members.len().max(1));
        let of = |at: usize| -> Bytes {
            let partitions = 0..u8::try_from(self.partitions()).expect("few");
            partitions.filter(|p| (usize::from(*p) + shift) % members.len() == at).collect::<Vec<u8>>().into()
        };
        members.iter().enumerate().map(|(at, member)| (member.clone(), of(at))).collect()
    }

    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, known: &Known) {
        self.cluster.on_time(env, known);
        if self.asked.is_some_and(|(_, deadline, _)| deadline <= env.now) {
            self.asked = None;
            self.cluster.refresh();
        }
        if self.asked.is_some() || self.next > env.now {
            return;
        }
        self.next = env.now.plus(50);
        match self.stage {
            Stage::Out => self.join(env),
            Stage::Joined => self.ask(
                env,
                Asked::Sync,
                Command::SyncGroup(SyncGroup {
                    group_id: self.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                    group_instance_id: None,
                    protocol_type: None,
                    protocol_name: None,
                    assignments: self.plan.clone(),
                }),
            ),
            Stage::Assigned => self.ask_offsets(env, Asked::Offsets),
            Stage::Reads => self.go_on(env, known),
        }
    }

    fn go_on(&mut self, env: &mut Env<'_>, known: &Known) {
        if self.next_heartbeat <= env.now {
            self.next_heartbeat = env.now.plus(120);
            return self.ask(
                env,
                Asked::Heartbeat,
                Command::Heartbeat(Heartbeat {
                    group_id: self.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                    group_instance_id: None,
                }),
            );
        }
        if self.positions.is_empty() && env.rng.permille(100) {
            self.cluster.refresh();
        }
        if self.planned.is_some() && self.planned != self.subscribed() {
            // The group's leader sees that the topic has grown, or is another one.
            self.planned = None;
            self.stage = Stage::Out;
            return;
        }
        if self.next_commit <= env.now && self.positions != self.committed {
            self.next_commit = env.now.plus(150);
            self.committed = self.positions.clone();
            return self.commit(env);
        }
        if env.rng.permille(40) {
            return self.ask_offsets(env, Asked::Look);
        }
        if !known.draining && env.rng.permille(3) {
            let members = vec![LeavingMember { member_id: self.member_id.clone(), group_instance_id: None }];
            let leave = LeaveGroup { group_id: self.group.clone(), members };
            return self.ask(env, Asked::Leave, Command::LeaveGroup(leave));
        }
        let partitions: Vec<i32> = self.positions.keys().copied().collect();
        let (Some(partition), Some(topic)) =
            (env.rng.pick(&partitions), self.cluster.image.topic(&self.topic))
        else {
            return;
        };
        let tp = TopicPartitionId { topic: topic.id, partition };
        let Some(leader) = self.cluster.leader(tp) else { return self.cluster.refresh() };
        let id = env.id();
        let from = self.positions[&partition];
        let asked = FetchPartition { tp, from, current_leader_epoch: -1, last_fetched_epoch: -1 };
        env.send(leader, Message::Fetch { id, reader: Reader::Consumer, partitions: vec![asked] });
        self.asked = Some((id, env.now.plus(CLIENT_TIMEOUT_MS), Asked::Read(tp)));
    }

    fn join(&mut self, env: &mut Env<'_>) {
        let subscription = Protocol { name: "range".into(), metadata: Bytes::from_static(b"all") };
        let join = JoinGroup {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            group_instance_id: None,
            client_id: self.name.clone(),
            client_host: "/simulated".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".into(),
            protocols: vec![subscription],
            requires_known_member_id: true,
            supports_skipping_assignment: true,
        };
        self.ask(env, Asked::Join, Command::JoinGroup(join));
    }

    fn ask_offsets(&mut self, env: &mut Env<'_>, why: Asked) {
        let partitions = self.positions.keys().copied().collect();
        let topic = FetchTopic { name: self.topic.clone(), topic_id: TopicId::ZERO, partitions };
        let fetch =
            OffsetFetch { group_id: self.group.clone(), topics: Some(vec![topic]), require_stable: true };
        self.ask(env, why, Command::OffsetFetch(fetch));
        if let Some((id, _, Asked::Offsets | Asked::Look)) = self.asked {
            env.note(Note::OffsetsAsked { id });
        }
    }

    fn commit(&mut self, env: &mut Env<'_>) {
        let partitions = self.positions.iter().map(|(partition, offset)| CommitPartition {
            partition: *partition,
            offset: *offset,
            leader_epoch: -1,
            metadata: "".into(),
        });
        let topic = CommitTopic {
            name: self.topic.clone(),
            topic_id: TopicId::ZERO,
            partitions: partitions.collect(),
        };
        let commit = OffsetCommit {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: None,
            retention_time_ms: None,
            tells_unknown_group: false,
            topics: vec![topic],
        };
        self.ask(env, Asked::Commit, Command::OffsetCommit(commit));
    }

    fn ask(&mut self, env: &mut Env<'_>, what: Asked, command: Command) {
        let coordinators =
            self.cluster.image.topic(OFFSETS_TOPIC).map(|topic| (topic.id, topic.partition_count()));
        let Some((topic, count)) = coordinators else { return self.cluster.refresh() };
        let partition = partition_for_key(&self.group, count);
        let Some(leader) = self.cluster.leader(TopicPartitionId { topic, partition }) else {
            return self.cluster.refresh();
        };
        let id = env.id();
        env.send(leader, Message::Group { id, partition, command: Box::new(command) });
        let patience = if what == Asked::Join { 4 * CLIENT_TIMEOUT_MS } else { CLIENT_TIMEOUT_MS };
        self.asked = Some((id, env.now.plus(patience), what));
    }

    pub(crate) fn deadline(&self) -> Millis {
        let asked = self.asked.map_or(self.next, |(_, deadline, _)| deadline);
        self.cluster.deadline().into_iter().chain([asked]).min().expect("there is one")
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        (self.stage != Stage::Reads).then(|| format!("{} of {} is {:?}", self.name, self.group, self.stage))
    }
}
