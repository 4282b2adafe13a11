//! Carries out the scripts' commands on a core over a log in memory.

mod show;

use std::{collections::BTreeMap, error::Error, sync::Arc};

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command as Line, Context};
use ottla_groups::{
    Answer, Command, CommitPartition, CommitTopic, FetchTopic, Groups, GroupsConfig, Heartbeat, JoinGroup,
    LeaveGroup, LeavingMember, ListGroups, OffsetCommit, OffsetFetch, Protocol, Record, SyncGroup,
};
use ottla_machine::{Ctx, Decision, Token};
use ottla_types::{ErrorCode, Millis, TopicId};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Wall clock at the start of every script.
const EPOCH_MS: i64 = 1_000_000;

/// What the log holds.
enum Entry {
    Fact(Record),
    Transactional(i64, Record),
    Marker(i64, bool),
}

/// One core, its log, and who is called what.
#[derive(Default)]
pub(crate) struct Conversation {
    config: GroupsConfig,
    groups: Option<Groups>,
    log: Vec<Entry>,
    now: i64,
    drawn: u64,
    tokens: BTreeMap<u64, String>,
    /// Member ids in the order in which they were handed out.
    members: Vec<String>,
    refuse: Option<ErrorCode>,
}

impl goldenscript::Runner for Conversation {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &Context) -> Result<String> {
        let mut args = line.consume_args();
        let out = match line.name.as_str() {
            "config" => self.set_config(&mut args)?,
            "tick" => {
                let ms: i64 = required(args.next_pos(), "MS")?.parse()?;
                self.tick(ms)
            }
            "restart" => self.restart(),
            "refuse" => {
                self.refuse = Some(ErrorCode(required(args.next_pos(), "CODE")?.parse()?));
                String::new()
            }
            "txn" => {
                let producer = required(args.next_pos(), "PRODUCER")?.parse()?;
                let group: Arc<str> = required(args.next_pos(), "GROUP")?.into();
                let offset = required(args.next_pos(), "OFFSET")?;
                let entries = self.transactional(producer, &group, offset)?;
                self.log.extend(entries);
                String::new()
            }
            "delete-offset" => {
                let group: Arc<str> = required(args.next_pos(), "GROUP")?.into();
                let (topic, partition) = parse_partition(required(args.next_pos(), "TOPIC:PARTITION")?)?;
                self.log.push(Entry::Fact(Record::OffsetTombstone { group, topic, partition }));
                String::new()
            }
            "marker" => {
                let producer = required(args.next_pos(), "PRODUCER")?.parse()?;
                let committed = required(args.next_pos(), "commit|abort")? == "commit";
                self.log.push(Entry::Marker(producer, committed));
                String::new()
            }
            "deadline" => match self.core().deadline() {
                Some(at) => format!("in {} ms\n", at.0 - self.now),
                None => "none\n".to_owned(),
            },
            "log" => self.log.iter().map(|entry| show::entry(entry, &self.members)).collect(),
            _ => {
                let token = self.token(required(args.next_pos(), "TOKEN")?);
                let command = self.command(&line.name, &mut args)?;
                self.decide(token, command)
            }
        };
        args.reject_next()?;
        Ok(out)
    }

    fn end_script(&mut self) -> Result<()> {
        Ok(())
    }
}

fn required<'a>(value: Option<&'a str>, what: &str) -> Result<&'a str> {
    value.ok_or_else(|| format!("{what} is missing").into())
}

fn number<T: std::str::FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
    or: T,
) -> Result<T> {
    Ok(args.take_key(key).map(str::parse).transpose()?.unwrap_or(or))
}

fn list(value: Option<&str>) -> Vec<String> {
    value.map(|value| value.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

impl Conversation {
    fn core(&mut self) -> &mut Groups {
        let config = Arc::new(self.config.clone());
        self.groups.get_or_insert_with(|| Groups::new(config))
    }

    fn token(&mut self, name: &str) -> Token {
        let token = self.tokens.len() as u64;
        self.tokens.insert(token, name.to_owned());
        Token(token)
    }

    fn set_config(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let config = &mut self.config;
        config.initial_rebalance_delay_ms = number(args, "delay", config.initial_rebalance_delay_ms)?;
        config.max_size = number(args, "max-size", config.max_size)?;
        config.offset_metadata_max_bytes = number(args, "metadata", config.offset_metadata_max_bytes)?;
        config.offsets_retention_ms = number(args, "retention", config.offsets_retention_ms)?;
        let check = config.offsets_retention_check_interval_ms;
        config.offsets_retention_check_interval_ms = number(args, "check", check)?;
        Ok(String::new())
    }

    /// `m1` is the first member id that was handed out; anything else is itself.
    fn member(&self, name: &str) -> Arc<str> {
        let number = name.strip_prefix('m').and_then(|number| number.parse::<usize>().ok());
        let known = number.and_then(|number| self.members.get(number.wrapping_sub(1)));
        known.map_or_else(|| name.into(), |id| id.as_str().into())
    }

    fn command(&self, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<Command> {
        let rest = |args: &mut ArgumentConsumer<'_>| {
            std::iter::from_fn(|| args.next_pos().map(str::to_owned)).collect::<Vec<String>>()
        };
        Ok(match name {
            "list" => Command::ListGroups(ListGroups {
                states: list(args.take_key("states")).iter().map(|name| name.as_str().into()).collect(),
                types: list(args.take_key("types")).iter().map(|name| name.as_str().into()).collect(),
            }),
            "delete-topics" => {
                Command::TopicsDeleted(rest(args).iter().map(|topic| topic.as_str().into()).collect())
            }
            _ => {
                let group: Arc<str> = required(args.next_pos(), "GROUP")?.into();
                match name {
                    "join" => Command::JoinGroup(self.join(group, args)?),
                    "sync" => Command::SyncGroup(self.sync(group, args)?),
                    "heartbeat" => Command::Heartbeat(Heartbeat {
                        group_id: group,
                        generation_id: number(args, "generation", -1)?,
                        member_id: self.member(args.take_key("member").unwrap_or_default()),
                        group_instance_id: args.take_key("instance").map(Into::into),
                    }),
                    "leave" => Command::LeaveGroup(self.leave(group, args)),
                    "commit" => Command::OffsetCommit(self.commit(group, args)?),
                    "fetch" => Command::OffsetFetch(self.fetch(group, args)?),
                    "describe" => Command::DescribeGroup(group),
                    other => return Err(format!("no such command: {other}").into()),
                }
            }
        })
    }

    fn join(&self, group_id: Arc<str>, args: &mut ArgumentConsumer<'_>) -> Result<JoinGroup> {
        let version: i16 = number(args, "v", 9)?;
        let session_timeout_ms = number(args, "session", 10_000)?;
        let offers = args.take_key("protocols").unwrap_or("range");
        let offer = |offer: &str| {
            let (name, metadata) = offer.split_once(':').unwrap_or((offer, ""));
            Protocol { name: name.into(), metadata: metadata_of(metadata) }
        };
        Ok(JoinGroup {
            group_id,
            member_id: self.member(args.take_key("member").unwrap_or_default()),
            group_instance_id: args.take_key("instance").map(Into::into),
            client_id: args.take_key("client").unwrap_or("c").into(),
            client_host: "/1.2.3.4".into(),
            session_timeout_ms,
            rebalance_timeout_ms: number(args, "rebalance", 60_000)?,
            protocol_type: args.take_key("type").unwrap_or("consumer").into(),
            protocols: offers.split(',').filter(|offer| !offer.is_empty()).map(offer).collect(),
            requires_known_member_id: version >= 4,
            supports_skipping_assignment: version >= 9,
        })
    }

    fn sync(&self, group_id: Arc<str>, args: &mut ArgumentConsumer<'_>) -> Result<SyncGroup> {
        let give = |given: &String| {
            let (member, assignment) = given.split_once(':').unwrap_or((given, ""));
            (self.member(member), Bytes::copy_from_slice(assignment.as_bytes()))
        };
        Ok(SyncGroup {
            group_id,
            generation_id: number(args, "generation", -1)?,
            member_id: self.member(args.take_key("member").unwrap_or_default()),
            group_instance_id: args.take_key("instance").map(Into::into),
            protocol_type: args.take_key("type").map(Into::into),
            protocol_name: args.take_key("protocol").map(Into::into),
            assignments: list(args.take_key("give")).iter().map(give).collect(),
        })
    }

    fn leave(&self, group_id: Arc<str>, args: &mut ArgumentConsumer<'_>) -> LeaveGroup {
        let ids = list(args.take_key("members"));
        let instances = list(args.take_key("instances"));
        let members = (0..ids.len().max(instances.len())).map(|at| LeavingMember {
            member_id: self.member(ids.get(at).map(String::as_str).unwrap_or_default()),
            group_instance_id: instances.get(at).map(|instance| instance.as_str().into()),
        });
        LeaveGroup { group_id, members: members.collect() }
    }

    fn commit(&self, group_id: Arc<str>, args: &mut ArgumentConsumer<'_>) -> Result<OffsetCommit> {
        let version: i16 = number(args, "v", 9)?;
        let id = number(args, "id", 0u128)?;
        let retention_time_ms = args.take_key("retention").map(str::parse).transpose()?;
        let generation_id = number(args, "generation", -1)?;
        let member_id = self.member(args.take_key("member").unwrap_or_default());
        let group_instance_id = args.take_key("instance").map(Into::into);
        let mut topics: Vec<CommitTopic> = Vec::new();
        while let Some(offset) = args.next_pos() {
            let (topic, partition) = parse_offset(offset)?;
            match topics.last_mut().filter(|last| last.name == topic) {
                Some(last) => last.partitions.push(partition),
                None => topics.push(CommitTopic {
                    name: topic,
                    topic_id: topic_id(id),
                    partitions: vec![partition],
                }),
            }
        }
        let tells_unknown_group = version >= 9;
        Ok(OffsetCommit {
            group_id,
            generation_id,
            member_id,
            group_instance_id,
            retention_time_ms,
            tells_unknown_group,
            topics,
        })
    }

    fn fetch(&self, group_id: Arc<str>, args: &mut ArgumentConsumer<'_>) -> Result<OffsetFetch> {
        let require_stable = args.take_key("stable").is_some();
        let id = number(args, "id", 0u128)?;
        let mut topics: Vec<FetchTopic> = Vec::new();
        while let Some(wanted) = args.next_pos() {
            let (name, partition) = parse_partition(wanted)?;
            topics.push(FetchTopic { name, topic_id: topic_id(id), partitions: vec![partition] });
        }
        Ok(OffsetFetch { group_id, topics: Some(topics).filter(|topics| !topics.is_empty()), require_stable })
    }

    fn transactional(&self, producer: i64, group: &Arc<str>, offset: &str) -> Result<Vec<Entry>> {
        let (topic, partition) = parse_offset(offset)?;
        let value = ottla_groups::CommittedOffset {
            offset: partition.offset,
            leader_epoch: -1,
            metadata: partition.metadata,
            commit_timestamp_ms: EPOCH_MS + self.now,
            expire_timestamp_ms: None,
            topic_id: TopicId::ZERO,
        };
        let record = Record::Offset { group: group.clone(), topic, partition: partition.partition, value };
        Ok(vec![Entry::Transactional(producer, record)])
    }

    fn with_ctx<R>(&mut self, work: impl FnOnce(&mut Groups, &mut Ctx<'_>) -> R) -> R {
        let (now, mut drawn) = (self.now, self.drawn);
        let mut rng = || {
            drawn += 1;
            drawn
        };
        let mut ctx = Ctx { now: Millis(now), wall: Millis(EPOCH_MS + now), rng: &mut rng };
        let result = work(self.core(), &mut ctx);
        self.drawn = drawn;
        result
    }

    fn decide(&mut self, token: Token, command: Command) -> String {
        let decision = self.with_ctx(|groups, ctx| groups.decide(ctx, token, command));
        self.carry_out(decision)
    }

    fn carry_out(&mut self, decision: Decision<Record, Answer>) -> String {
        let mut decision = decision;
        if let Some(error) = self.refuse.filter(|_| !decision.records.is_empty()) {
            self.refuse = None;
            decision = self.with_ctx(|groups, ctx| groups.refused(ctx, decision, error));
        }
        for (_, answer) in &decision.answers {
            if let Answer::Join(join) = answer
                && !join.member_id.is_empty()
                && !self.members.iter().any(|known| **known == *join.member_id)
                && matches!(join.error, ErrorCode::NONE | ErrorCode::MEMBER_ID_REQUIRED)
            {
                self.members.push(join.member_id.to_string());
            }
        }
        self.core().accept(&decision.records);
        let mut out: String =
            decision.records.iter().map(|record| show::record(record, &self.members)).collect();
        for (token, answer) in &decision.answers {
            let name = self.tokens.get(&token.0).expect("answers go to tokens that were given");
            out.push_str(&show::answer(name, answer, &self.members));
        }
        self.log.extend(decision.records.into_iter().map(Entry::Fact));
        out
    }

    fn tick(&mut self, ms: i64) -> String {
        let until = self.now + ms;
        let mut out = String::new();
        while let Some(at) = self.core().deadline().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            let now = Millis(self.now);
            for command in self.core().due(now) {
                let told = self.decide(Token(u64::MAX), command);
                out.extend(told.lines().map(|line| format!("@{} {line}\n", now.0)));
            }
        }
        self.now = until;
        out
    }

    fn restart(&mut self) -> String {
        let mut groups = Groups::new(Arc::new(self.config.clone()));
        for entry in &self.log {
            match entry {
                Entry::Fact(record) => groups.replay(through_bytes(record)),
                Entry::Transactional(producer, record) => {
                    groups.replay_transactional(*producer, record.clone())
                }
                Entry::Marker(producer, committed) => groups.replay_marker(*producer, *committed),
            }
        }
        self.groups = Some(groups);
        let decision = self.with_ctx(Groups::take_office);
        self.carry_out(decision)
    }
}

/// What a coordinator reads is what another one has written.
fn through_bytes(record: &Record) -> Record {
    let (key, value) = record.encode().expect("the script's names are short");
    Record::decode(&key, value.as_deref()).expect("our own bytes").expect("our own kind")
}

/// `+a+b` is a subscription to the topics a and b, in the way consumers say it.
fn metadata_of(text: &str) -> Bytes {
    let Some(topics) = text.strip_prefix('+') else { return Bytes::copy_from_slice(text.as_bytes()) };
    let topics: Vec<&str> = topics.split('+').collect();
    let mut out = vec![0, 0];
    out.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend((-1i32).to_be_bytes());
    out.into()
}

fn topic_id(id: u128) -> TopicId {
    TopicId(uuid::Uuid::from_u128(id))
}

fn parse_partition(text: &str) -> Result<(Arc<str>, i32)> {
    let (topic, partition) = text.split_once(':').ok_or("TOPIC:PARTITION is wanted")?;
    Ok((topic.into(), partition.parse()?))
}

fn parse_offset(text: &str) -> Result<(Arc<str>, CommitPartition)> {
    let mut parts = text.split(':');
    let mut part = |what| required(parts.next(), what);
    let topic = part("TOPIC")?.into();
    let partition = part("PARTITION")?.parse()?;
    let offset = part("OFFSET")?.parse()?;
    let metadata = parts.next().unwrap_or_default().into();
    Ok((topic, CommitPartition { partition, offset, leader_epoch: -1, metadata }))
}
