//! Those who use the cluster: producers, members of groups, an operator.

mod member;
mod operator;
mod producer;

use std::sync::Arc;

use ottla_metadata::Image;
use ottla_types::{Millis, NodeId, TopicPartitionId};

pub(crate) use member::Member;
pub(crate) use operator::{Operator, Wanted};
pub(crate) use producer::Producer;

use crate::{
    env::{Addr, Env},
    message::Message,
};

/// How long a client waits for an answer.
pub(crate) const CLIENT_TIMEOUT_MS: i64 = 700;

/// What the rest of the world tells clients.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) brokers: Vec<NodeId>,
    pub(crate) controllers: Vec<NodeId>,
    /// No new work: finish what is begun.
    pub(crate) draining: bool,
}

#[derive(Debug)]
pub(crate) enum Client {
    Producer(Producer),
    Member(Member),
    Operator(Operator),
}

impl Client {
    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, known: &Known, from: Addr, message: Message) {
        match self {
            Self::Producer(it) => it.on_message(env, known, from, message),
            Self::Member(it) => it.on_message(env, known, from, message),
            Self::Operator(it) => it.on_message(env, known, message),
        }
    }

    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, known: &Known) {
        match self {
            Self::Producer(it) => it.on_time(env, known),
            Self::Member(it) => it.on_time(env, known),
            Self::Operator(it) => it.on_time(env, known),
        }
    }

    pub(crate) fn deadline(&self) -> Millis {
        match self {
            Self::Producer(it) => it.deadline(),
            Self::Member(it) => it.deadline(),
            Self::Operator(it) => it.deadline(),
        }
    }

    /// Why this client is not content, when it is not.
    pub(crate) fn complaint(&self) -> Option<String> {
        match self {
            Self::Producer(it) => it.complaint(),
            Self::Member(it) => it.complaint(),
            Self::Operator(it) => it.complaint(),
        }
    }
}

/// What a client knows of the cluster, refreshed when something did not work.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) image: Arc<Image>,
    asked: Option<(u64, Millis)>,
    stale: bool,
    retry: Millis,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self { image: Arc::new(Image::new()), asked: None, stale: true, retry: Millis(0) }
    }

    /// What is known is wrong.
    pub(crate) fn refresh(&mut self) {
        self.stale = true;
    }

    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, known: &Known) {
        if self.asked.is_some_and(|(_, deadline)| deadline <= env.now) {
            self.asked = None;
        }
        if self.stale && self.asked.is_none() && self.retry <= env.now {
            let Some(to) = env.rng.pick(&known.brokers) else { return };
            let id = env.id();
            env.send(to, Message::Metadata { id });
            self.asked = Some((id, env.now.plus(CLIENT_TIMEOUT_MS)));
        }
    }

    pub(crate) fn disconnected(&mut self, now: Millis) {
        if let Some((_, deadline)) = &mut self.asked {
            *deadline = now;
        }
    }

    pub(crate) fn take(&mut self, env: &Env<'_>, id: u64, image: Arc<Image>) {
        if self.asked.is_none_or(|(asked, _)| asked != id) {
            return;
        }
        self.asked = None;
        self.retry = env.now.plus(60);
        // A broker that has just started knows nothing yet.
        if image.position.offset >= 0 {
            self.stale = false;
            self.image = image;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        match self.asked {
            Some((_, deadline)) => Some(deadline),
            None => self.stale.then_some(self.retry),
        }
    }

    pub(crate) fn leader(&self, tp: TopicPartitionId) -> Option<NodeId> {
        let partition = self.image.partition_by_id(tp.topic, tp.partition)?;
        partition.has_leader().then_some(partition.leader)
    }
}
