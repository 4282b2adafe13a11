//! A partition of `__consumer_offsets` that a broker leads: the group core over it. Mirrors `ottla-coordinator`'s shard:
//! load, decide, append, accept, answer in turn when the facts are durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use ottla_groups::{Answer, Command, Groups, GroupsConfig, Record};
use ottla_machine::{Decision, Token};
use ottla_types::{ErrorCode, LeaderEpoch, Millis, Offset, TopicPartitionId};

use crate::{
    Fault,
    env::{Addr, Env},
    log::{Batch, Log, Payload, unplaced},
    message::Message,
    replica::Replica,
};

/// `offsets.commit.timeout.ms`.
const COMMIT_TIMEOUT_MS: i64 = 1_000;

/// What the broker is to append for a shard, and report back with [`Shard::appended`].
pub(crate) struct Outcome {
    pub(crate) number: u64,
    pub(crate) batch: Option<Batch>,
    pub(crate) decision: Decision<Record, Answer>,
}

#[derive(Debug)]
enum Stage {
    /// Being read back: until the end that the log had when this broker took the lead.
    Loading {
        from: Millis,
        up_to: Option<Offset>,
        /// Topics that were deleted meanwhile.
        deleted: Vec<Arc<str>>,
    },
    Active(Box<Groups>),
}

#[derive(Debug)]
struct Parked {
    /// What it waits for; `None` for answers that only wait their turn.
    number: Option<u64>,
    done: Option<ErrorCode>,
    deadline: Millis,
    answers: Vec<(Token, Answer)>,
}

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) tp: TopicPartitionId,
    pub(crate) epoch: LeaderEpoch,
    stage: Stage,
    waiting: BTreeMap<u64, (Addr, u64)>,
    parked: VecDeque<Parked>,
    next: u64,
}

impl Shard {
    pub(crate) fn new(env: &mut Env<'_>, tp: TopicPartitionId, epoch: LeaderEpoch) -> Self {
        let takes = env.rng.between(0, 20);
        let stage = Stage::Loading { from: env.now.plus(takes), up_to: None, deleted: Vec::new() };
        Self { tp, epoch, stage, waiting: BTreeMap::new(), parked: VecDeque::new(), next: 0 }
    }

    /// Whether this shard is what a leader of `epoch` would load.
    pub(crate) fn leads_on(&self, epoch: LeaderEpoch) -> bool {
        epoch == self.epoch || epoch == self.epoch + 1
    }

    pub(crate) fn close(self, env: &mut Env<'_>, error: ErrorCode) {
        for (_, (to, id)) in self.waiting {
            env.send(to, Message::GroupAnswer { id, answer: Err(error) });
        }
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        let stage = match &self.stage {
            Stage::Loading { from, .. } => Some(*from),
            Stage::Active(groups) => groups.deadline(),
        };
        let parked = self.parked.iter().find(|parked| !parked.answers.is_empty());
        stage.into_iter().chain(parked.map(|parked| parked.deadline)).min()
    }

    pub(crate) fn submit(
        &mut self,
        env: &mut Env<'_>,
        (to, id): (Addr, u64),
        command: Command,
    ) -> Option<Outcome> {
        let Stage::Active(groups) = &mut self.stage else {
            let answer = Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
            env.send(to, Message::GroupAnswer { id, answer });
            return None;
        };
        let token = Token(id);
        self.waiting.insert(id, (to, id));
        let decision = env.with_ctx(|ctx| groups.decide(ctx, token, command));
        Some(self.outcome(env, decision))
    }

    fn outcome(&mut self, env: &mut Env<'_>, decision: Decision<Record, Answer>) -> Outcome {
        self.next += 1;
        let batch = (!decision.records.is_empty()).then(|| {
            let encoded = decision.records.iter().map(|record| record.encode().expect("short names"));
            let payload = Arc::new(Payload::Facts(encoded.collect()));
            let count = i32::try_from(decision.records.len()).expect("few");
            Batch {
                facts: unplaced((-1, -1, -1), count, env.wall),
                tp: self.tp,
                leader_epoch: -1,
                content: env.id(),
                payload,
            }
        });
        Outcome { number: self.next, batch, decision }
    }

    /// The log took the facts of an outcome, or did not.
    pub(crate) fn appended(
        &mut self,
        env: &mut Env<'_>,
        number: u64,
        mut decision: Decision<Record, Answer>,
        result: Result<(), ErrorCode>,
    ) -> Option<Outcome> {
        let Stage::Active(groups) = &mut self.stage else { return None };
        groups.take_notes();
        let mut waits = None;
        if !decision.records.is_empty() {
            match result {
                Ok(()) => {
                    groups.accept(&decision.records);
                    waits = Some(number);
                }
                Err(error) => {
                    // What is decided instead may have facts of its own: they are dropped, as nobody can store them.
                    decision = env.with_ctx(|ctx| groups.refused(ctx, decision, told(error)));
                }
            }
        }
        if env.has(Fault::AnswerBeforeDurable) {
            waits = None;
        }
        let deadline = env.now.plus(COMMIT_TIMEOUT_MS);
        if waits.is_some() || !decision.answers.is_empty() {
            self.parked.push_back(Parked { number: waits, done: None, deadline, answers: decision.answers });
        }
        self.give(env);
        None
    }

    /// Facts are durable, or will not be.
    pub(crate) fn durable(&mut self, env: &mut Env<'_>, number: u64, code: ErrorCode) -> Option<Outcome> {
        if let Some(parked) = self.parked.iter_mut().find(|parked| parked.number == Some(number)) {
            parked.done = Some(code);
        }
        self.give(env);
        None
    }

    /// Gives answers in turn. What waits too long is told so; what is behind it waits on, as it may rest on facts that
    /// are not replicated.
    fn give(&mut self, env: &mut Env<'_>) {
        while let Some(parked) = self.parked.front() {
            let code = match (parked.number, parked.done) {
                (None, _) => ErrorCode::NONE,
                (Some(_), Some(code)) => code,
                (Some(_), None) if env.has(Fault::TellPastTimeouts) && parked.deadline <= env.now => {
                    ErrorCode::REQUEST_TIMED_OUT
                }
                (Some(_), None) => break,
            };
            let parked = self.parked.pop_front().expect("there is a first");
            self.tell(env, parked.answers, code);
        }
        let late = |parked: &&mut Parked| parked.deadline <= env.now;
        let late: Vec<_> = self
            .parked
            .iter_mut()
            .take_while(late)
            .flat_map(|parked| std::mem::take(&mut parked.answers))
            .collect();
        self.tell(env, late, ErrorCode::REQUEST_TIMED_OUT);
    }

    fn tell(&mut self, env: &mut Env<'_>, answers: Vec<(Token, Answer)>, code: ErrorCode) {
        for (token, answer) in answers {
            let answer = if code == ErrorCode::NONE { answer } else { answer.failed(told(code)) };
            if let Some((to, id)) = self.waiting.remove(&token.0) {
                env.send(to, Message::GroupAnswer { id, answer: Ok(Box::new(answer)) });
            }
        }
    }

    /// Loads when it may; gives what is due, to be taken a [`turn`](Self::turn) each.
    pub(crate) fn on_time(
        &mut self,
        env: &mut Env<'_>,
        replica: &Replica,
        log: &Log,
    ) -> (Option<Outcome>, Vec<Command>) {
        self.give(env);
        let (decision, deleted) = match &mut self.stage {
            Stage::Active(groups) => return (None, groups.due(env.now)),
            Stage::Loading { from, up_to, deleted } => {
                if *from > env.now || replica.leads() != Some(self.epoch) {
                    return (None, Vec::new());
                }
                let high_watermark = replica.partition.high_watermark();
                let end = *up_to.get_or_insert(log.end());
                let unsettled = env.has(Fault::LoadUnsettled);
                if high_watermark < end && !unsettled && !env.has(Fault::LoadToHighWatermark) {
                    *from = env.now.plus(10);
                    return (None, Vec::new());
                }
                let mut groups = load(log, if unsettled { log.end() } else { high_watermark });
                let decision = env.with_ctx(|ctx| groups.take_office(ctx));
                let deleted = std::mem::take(deleted);
                self.stage = Stage::Active(Box::new(groups));
                (decision, deleted)
            }
        };
        let then = if deleted.is_empty() { Vec::new() } else { vec![Command::TopicsDeleted(deleted)] };
        (Some(self.outcome(env, decision)), then)
    }

    /// Topics are gone, and with them the offsets committed for them.
    pub(crate) fn topics_deleted(&mut self, env: &mut Env<'_>, topics: &[Arc<str>]) -> Option<Outcome> {
        match &mut self.stage {
            Stage::Loading { deleted, .. } => {
                deleted.extend_from_slice(topics);
                None
            }
            Stage::Active(_) => self.turn(env, Command::TopicsDeleted(topics.to_vec())),
        }
    }

    /// Decides about something that nobody asked for.
    pub(crate) fn turn(&mut self, env: &mut Env<'_>, command: Command) -> Option<Outcome> {
        let Stage::Active(groups) = &mut self.stage else { return None };
        let token = Token(env.id());
        let decision = env.with_ctx(|ctx| groups.decide(ctx, token, command));
        Some(self.outcome(env, decision))
    }
}

/// What the partition says up to `end`.
fn load(log: &Log, end: Offset) -> Groups {
    let mut groups = Groups::new(config());
    for batch in log.read(0, end, usize::MAX) {
        if let Payload::Facts(facts) = &*batch.payload {
            for (key, value) in facts {
                if let Ok(Some(fact)) = Record::decode(key, value.as_deref()) {
                    groups.replay(fact);
                }
            }
        }
    }
    groups
}

fn config() -> Arc<GroupsConfig> {
    Arc::new(GroupsConfig {
        min_session_timeout_ms: 100,
        initial_rebalance_delay_ms: 100,
        ..GroupsConfig::default()
    })
}

/// What a client is told when the log did not take its facts, or not in time.
fn told(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        other => other,
    }
}
