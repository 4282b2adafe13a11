//! One partition's groups at work: decide, append, accept, answer when durable.

mod append;
mod commit;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use ottla_groups::{Answer, Command, Groups, Record};
use ottla_machine::{Ctx, Decision, Token};
use ottla_types::{Clock, ErrorCode, LeaderEpoch, Millis};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Durable, OffsetsLog, log::told_to_client};

/// An answer, or why this broker cannot give one.
pub type Outcome = Result<Answer, ErrorCode>;

/// What a submitted command comes to.
#[derive(Debug)]
pub enum Pending {
    /// It is known now.
    Now(Outcome),
    /// It will be known later; if the sender is dropped, the coordinator has moved.
    Later(oneshot::Receiver<Outcome>),
}

impl Pending {
    /// Waits for the outcome.
    pub async fn outcome(self) -> Outcome {
        match self {
            Self::Now(outcome) => outcome,
            Self::Later(receiver) => receiver.await.unwrap_or(Err(ErrorCode::NOT_COORDINATOR)),
        }
    }
}

/// What all shards use of the world outside.
pub(crate) struct World {
    pub(crate) log: Arc<dyn OffsetsLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Mutex<Box<dyn FnMut() -> u64 + Send>>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl World {
    fn with_ctx<R>(&self, work: impl FnOnce(&mut Ctx<'_>) -> R) -> R {
        let mut rng = || (self.rng.lock())();
        work(&mut Ctx { now: self.clock.ticks(), wall: self.clock.wall(), rng: &mut rng })
    }
}

/// A partition of `__consumer_offsets` that this broker leads.
pub(crate) struct Shard {
    pub(crate) partition: i32,
    epoch: AtomicI32,
    pub(crate) world: Arc<World>,
    stage: Mutex<Stage>,
}

enum Stage {
    Loading(Loading),
    Active(Box<Active>),
    /// Leadership went.
    Closed(ErrorCode),
}

/// Being read back.
#[derive(Default)]
struct Loading {
    /// Topics that were deleted meanwhile.
    deleted: Vec<Arc<str>>,
    /// It did not work, and is tried again.
    failed: bool,
}

struct Active {
    groups: Groups,
    /// The other ends of tokens that are not answered.
    waiting: HashMap<Token, oneshot::Sender<Outcome>>,
    next_token: u64,
    /// Answers that wait for facts to become durable, in the order of the decisions.
    parked: VecDeque<Parked>,
    /// A task is at work on `parked`.
    committing: bool,
    /// There are facts that were not durable in time: until they are certain, every answer is parked.
    settling: bool,
}

struct Parked {
    /// `None` for answers that only wait their turn, and while the committing task waits for it.
    durable: Option<Durable>,
    answers: Vec<(Token, Answer)>,
}

impl Shard {
    pub(crate) fn new(partition: i32, epoch: LeaderEpoch, world: Arc<World>) -> Self {
        Self {
            partition,
            epoch: AtomicI32::new(epoch),
            world,
            stage: Mutex::new(Stage::Loading(Loading::default())),
        }
    }

    /// The leader epoch it is of.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether this shard is what a leader of `epoch` would load: it is of that epoch, or of the one before, and then
    /// nobody else can have led in between. Facts are appended in the new epoch from here on.
    pub(crate) fn leads_on(&self, epoch: LeaderEpoch) -> bool {
        let mine = self.epoch.load(Ordering::Acquire);
        let goes_on = epoch == mine || epoch == mine + 1;
        if goes_on {
            self.epoch.store(epoch, Ordering::Release);
        }
        goes_on
    }

    /// Takes office on what the partition says. Does nothing if leadership has gone meanwhile.
    pub(crate) fn activate(self: &Arc<Self>, groups: Groups) {
        let mut stage = self.stage.lock();
        let Stage::Loading(loading) = &mut *stage else { return };
        let deleted = std::mem::take(&mut loading.deleted);
        *stage = Stage::Active(Box::new(Active {
            groups,
            waiting: HashMap::new(),
            next_token: 0,
            parked: VecDeque::new(),
            committing: false,
            settling: false,
        }));
        let Stage::Active(active) = &mut *stage else { unreachable!("set on the line before") };
        let decision = self.world.with_ctx(|ctx| active.groups.take_office(ctx));
        self.carry_out(active, decision, None);
        if !deleted.is_empty() {
            self.turn(active, Command::TopicsDeleted(deleted), None);
        }
    }

    /// Fails everybody who waits. What is appended stays appended.
    pub(crate) fn close(&self, error: ErrorCode) {
        let before = std::mem::replace(&mut *self.stage.lock(), Stage::Closed(error));
        if let Stage::Active(active) = before {
            for (_, waiting) in active.waiting {
                // A client that has gone away is told nothing.
                let _ = waiting.send(Err(error));
            }
        }
    }

    /// The partition could not be read, for now. Nobody is told to wait here for what may take long, and a list of all
    /// groups does without these. False when it is closed.
    pub(crate) fn is_to_be_read_again(&self) -> bool {
        let mut stage = self.stage.lock();
        let Stage::Loading(loading) = &mut *stage else { return false };
        loading.failed = true;
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*self.stage.lock(), Stage::Closed(_))
    }

    /// How many decisions wait for their turn to be told.
    #[cfg(test)]
    pub(crate) fn parked(&self) -> usize {
        match &*self.stage.lock() {
            Stage::Active(active) => active.parked.len(),
            _ => 0,
        }
    }

    /// Decides on a command. When this returns, its effects are ordered before those of later commands.
    pub(crate) fn submit(self: &Arc<Self>, command: Command) -> Pending {
        match &mut *self.stage.lock() {
            Stage::Loading(Loading { failed: true, .. }) => Pending::Now(Err(ErrorCode::NOT_COORDINATOR)),
            Stage::Loading(_) => Pending::Now(Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)),
            Stage::Closed(error) => Pending::Now(Err(*error)),
            Stage::Active(active) => {
                let token = Token(active.next_token);
                active.next_token += 1;
                let now = self.turn(active, command, Some(token));
                now.map_or_else(|| active.wait_for(token), |answer| Pending::Now(Ok(answer)))
            }
        }
    }

    /// Topics are gone, and with them the offsets committed for them.
    pub(crate) fn topics_deleted(self: &Arc<Self>, topics: &[Arc<str>]) {
        match &mut *self.stage.lock() {
            Stage::Loading(loading) => loading.deleted.extend_from_slice(topics),
            Stage::Closed(_) => {}
            Stage::Active(active) => {
                self.turn(active, Command::TopicsDeleted(topics.to_vec()), None);
            }
        }
    }

    /// When [`on_deadline`](Self::on_deadline) wants to be called.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        match &*self.stage.lock() {
            Stage::Active(active) => active.groups.deadline(),
            _ => None,
        }
    }

    /// Does what is due.
    pub(crate) fn on_deadline(self: &Arc<Self>) {
        if let Stage::Active(active) = &mut *self.stage.lock() {
            for command in active.groups.due(self.world.clock.ticks()) {
                self.turn(active, command, None);
            }
        }
    }

    /// One turn. Returns the answer to `own` if it may be given at once.
    fn turn(self: &Arc<Self>, active: &mut Active, command: Command, own: Option<Token>) -> Option<Answer> {
        // Whoever does not wait for an answer still has a token of its own.
        let from = own.unwrap_or_else(|| {
            active.next_token += 1;
            Token(active.next_token - 1)
        });
        let decision = self.world.with_ctx(|ctx| active.groups.decide(ctx, from, command));
        self.carry_out(active, decision, own)
    }

    fn carry_out(
        self: &Arc<Self>,
        active: &mut Active,
        decision: Decision<Record, Answer>,
        own: Option<Token>,
    ) -> Option<Answer> {
        for note in active.groups.take_notes() {
            tracing::info!("[GroupCoordinator] {note}");
        }
        let (mut decision, mut durable) = (decision, None);
        if !decision.records.is_empty() {
            let appended = self.append(active, &decision.records);
            durable = appended.durable;
            if let Some(error) = appended.refusal {
                decision.records.drain(..appended.taken);
                decision = self.take_back(active, decision, error);
            }
        }
        if durable.is_none() && active.parked.is_empty() && !active.settling {
            return active.give(decision.answers, own);
        }
        let answers = decision.answers;
        if durable.is_some() || !answers.is_empty() {
            active.parked.push_back(Parked { durable, answers });
            if !std::mem::replace(&mut active.committing, true) {
                self.world.runtime.spawn(commit::commit(self.clone()));
            }
        }
        None
    }

    /// The log did not take the facts. What the core decides instead may have facts of its own, which are dropped if the
    /// log does not take them either: then nobody is left to tell.
    fn take_back(
        &self,
        active: &mut Active,
        decision: Decision<Record, Answer>,
        error: ErrorCode,
    ) -> Decision<Record, Answer> {
        tracing::warn!(
            partition = self.partition,
            error = error.name(),
            "facts of groups could not be stored"
        );
        let told = told_to_client(error);
        self.world.with_ctx(|ctx| active.groups.refused(ctx, decision, told))
    }
}

impl Active {
    fn wait_for(&mut self, token: Token) -> Pending {
        let (sender, receiver) = oneshot::channel();
        // Clients that went away while they waited leave their end behind.
        if self.waiting.len() >= 1024 && self.waiting.len().is_power_of_two() {
            self.waiting.retain(|_, sender| !sender.is_closed());
        }
        self.waiting.insert(token, sender);
        Pending::Later(receiver)
    }

    fn fail(&mut self, answers: Vec<(Token, Answer)>, error: ErrorCode) {
        let failed = answers.into_iter().map(|(token, answer)| (token, answer.failed(error))).collect();
        self.give(failed, None);
    }

    fn give(&mut self, answers: Vec<(Token, Answer)>, own: Option<Token>) -> Option<Answer> {
        let mut to_own = None;
        for (token, answer) in answers {
            if Some(token) == own {
                to_own = Some(answer);
            } else if let Some(waiting) = self.waiting.remove(&token) {
                let _ = waiting.send(Ok(answer));
            }
        }
        to_own
    }
}
