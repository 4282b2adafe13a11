//! A broker: its replicas, coordinators and metadata feed around the cores, and how it keeps in touch with the others.
//!
//! Mirrors what `ottla-replica`, `ottla-coordinator` and the broker's life cycle do with threads and sockets.

mod feed;
mod fetch;
mod isr;
mod life;
mod serve;

use std::{collections::BTreeMap, sync::Arc};

use ottla_metadata::Image;
use ottla_partition::IsrProposal;
use ottla_types::{ErrorCode, Millis, NodeId, TopicPartitionId};
use uuid::Uuid;

use crate::{
    env::{Addr, Env, Note},
    log::Disk,
    message::Message,
    replica::{Done, Replica, Ticket},
    shard::Shard,
};

pub(crate) use feed::UNCLEAN_ELECTION;
pub(crate) use life::{CLUSTER, Life, text};
pub(crate) use serve::OFFSETS_TOPIC;

/// How long a request is waited for.
pub(crate) const REQUEST_TIMEOUT_MS: i64 = 500;

/// A question to the active controller: sent until it is answered.
#[derive(Debug)]
pub(crate) struct Asked {
    id: u64,
    deadline: Millis,
}

#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) id: NodeId,
    incarnation: Uuid,
    pub(crate) life: Life,
    /// Told by the controller; -1 before.
    pub(crate) epoch: i64,
    previous_epoch: i64,
    /// All nodes with a controller.
    controllers: Vec<NodeId>,
    /// This node is one of them: its own log is its feed.
    combined: bool,
    /// Who is believed to be the active one.
    hint: NodeId,
    asked: Option<Asked>,
    next_heartbeat: Millis,
    /// What is committed, as far as it was heard.
    feed: Image,
    /// Read from the node's own copy of the metadata log, by batches.
    feed_asked: Option<Asked>,
    feed_retry: Millis,
    /// What this broker goes by; empty before it is registered.
    pub(crate) image: Arc<Image>,
    pub(crate) replicas: BTreeMap<TopicPartitionId, Replica>,
    fetchers: BTreeMap<NodeId, fetch::Fetcher>,
    proposals: BTreeMap<TopicPartitionId, IsrProposal>,
    altering: Option<isr::Altering>,
    alter_retry: Millis,
    parked: Vec<serve::Parked>,
    pub(crate) shards: BTreeMap<i32, Shard>,
    next_checkpoint: Millis,
    done: Vec<Done>,
}

impl Broker {
    /// A process that starts on what its disk holds.
    pub(crate) fn start(env: &mut Env<'_>, disk: &mut Disk, controllers: &[NodeId]) -> Self {
        let id = env.node;
        let incarnation = env.with_ctx(|ctx| Uuid::from_u128(ctx.random_u128()));
        let previous_epoch = disk.clean.take().unwrap_or(-1);
        let combined = controllers.contains(&id);
        let hint = if combined { id } else { controllers[env.rng.index(controllers.len())] };
        Self {
            id,
            incarnation,
            life: Life::Registering,
            epoch: -1,
            previous_epoch,
            controllers: controllers.to_vec(),
            combined,
            hint,
            asked: None,
            next_heartbeat: env.now,
            feed: Image::new(),
            feed_asked: None,
            feed_retry: env.now,
            image: Arc::new(Image::new()),
            replicas: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            proposals: BTreeMap::new(),
            altering: None,
            alter_retry: env.now,
            parked: Vec::new(),
            shards: BTreeMap::new(),
            next_checkpoint: env.now.plus(500),
            done: Vec::new(),
        }
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, disk: &mut Disk, from: Addr, message: Message) {
        match message {
            Message::Answer { id, answer } => {
                self.answered(env, id, answer);
                self.take_answers(env, disk);
            }
            Message::Facts { id, batches } => self.fed(env, disk, id, batches),
            Message::Fetch { id, reader, partitions } => {
                self.serve_fetch(env, disk, (from, id), reader, partitions)
            }
            Message::Fetched { id, partitions } => self.fetched(env, disk, from, id, partitions),
            Message::Produce { id, tp, batch } => self.produce(env, disk, (from, id), tp, batch),
            Message::Group { id, partition, command } => {
                self.group(env, disk, (from, id), partition, *command)
            }
            Message::Metadata { id } => {
                let image = Arc::clone(&self.image);
                env.send(from, Message::MetadataIs { id, image });
            }
            Message::Disconnected => self.disconnected(env, from),
            _ => {}
        }
        self.settle(env, disk);
    }

    /// What was asked there will not be answered.
    fn disconnected(&mut self, env: &mut Env<'_>, from: Addr) {
        if self.hint == from {
            for asked in [&mut self.asked, &mut self.feed_asked].into_iter().flatten() {
                asked.deadline = env.now;
            }
            if let Some(altering) = &mut self.altering {
                altering.deadline = env.now;
            }
        }
        if let Some(fetcher) = self.fetchers.get_mut(&from) {
            fetcher.disconnected(env.now);
        }
    }

    /// Time passed.
    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let tps: Vec<TopicPartitionId> = self.replicas.keys().copied().collect();
        for tp in tps {
            self.with_replica(env, disk, tp, |replica, env, log, done| replica.on_time(env, log, done));
        }
        if self.next_checkpoint <= env.now {
            self.next_checkpoint = env.now.plus(500);
            for (tp, replica) in &self.replicas {
                if let Some(log) = disk.logs.get_mut(tp) {
                    log.checkpoint_high_watermark(replica.partition.high_watermark());
                }
            }
        }
        self.shards_on_time(env, disk);
        self.settle(env, disk);
    }

    /// What follows from what has happened: acknowledgements, waiting fetches, requests to others.
    fn settle(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        loop {
            let done = std::mem::take(&mut self.done);
            if done.is_empty() {
                break;
            }
            for (tp, ticket, code) in done {
                self.acknowledge(env, disk, tp, ticket, code);
            }
        }
        self.serve_parked(env, disk);
        self.ask_controller(env);
        self.ask_feed(env);
        self.send_proposals(env);
        self.send_fetches(env);
    }

    fn acknowledge(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        tp: TopicPartitionId,
        ticket: Ticket,
        code: ErrorCode,
    ) {
        match ticket {
            Ticket::Produce { to, id, base_offset } => {
                let result = if code == ErrorCode::NONE { Ok(base_offset) } else { Err(code) };
                if result.is_ok() {
                    env.note(Note::Served { topic: tp.topic, position: self.image.position.offset });
                }
                env.send(to, Message::Produced { id, result });
            }
            Ticket::Facts(number) => self.facts_done(env, disk, tp.partition, number, code),
        }
    }

    /// Lets a replica do something; keeps what it proposes and whom it acknowledges.
    fn with_replica(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        tp: TopicPartitionId,
        work: impl FnOnce(&mut Replica, &mut Env<'_>, &mut crate::log::Log, &mut Vec<Done>) -> Option<IsrProposal>,
    ) {
        let (Some(replica), Some(log)) = (self.replicas.get_mut(&tp), disk.logs.get_mut(&tp)) else { return };
        if let Some(proposal) = work(replica, env, log, &mut self.done) {
            self.proposals.insert(tp, proposal);
        }
    }

    /// When [`on_time`](Self::on_time) wants to be called.
    pub(crate) fn deadline(&self) -> Millis {
        let asked = [&self.asked, &self.feed_asked].into_iter().flatten().map(|asked| asked.deadline);
        let heartbeat = self.asked.is_none().then_some(self.next_heartbeat);
        let feed = self.feed_asked.is_none().then_some(self.feed_retry);
        let alter = match &self.altering {
            Some(altering) => Some(altering.deadline),
            None => (!self.proposals.is_empty()).then_some(self.alter_retry),
        };
        let fetchers = self.fetchers.values().filter_map(fetch::Fetcher::deadline);
        let parked = self.parked.iter().map(|parked| parked.deadline);
        let replicas = self.replicas.values().filter_map(Replica::deadline);
        let shards = self.shards.values().filter_map(Shard::deadline);
        let own = [heartbeat, feed, alter, Some(self.next_checkpoint)].into_iter().flatten();
        let all = asked.chain(own).chain(fetchers).chain(parked).chain(replicas).chain(shards);
        all.min().expect("there is always a checkpoint to come")
    }
}
