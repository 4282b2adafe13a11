//! An idempotent producer with acks=all: up to five batches in flight per partition, retried in order until they are in.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use ottla_types::{ErrorCode, Millis, TopicPartitionId};

use super::{CLIENT_TIMEOUT_MS, Cluster, Known};
use crate::{
    broker::OFFSETS_TOPIC,
    env::{Addr, Env, Note},
    log::{Batch, Payload, unplaced},
    message::Message,
};

#[derive(Debug)]
struct Unacknowledged {
    /// Counts the lane's batches.
    number: u64,
    batch: Batch,
    asked: Option<(u64, Millis, Addr)>,
}

/// What goes to one partition, under a producer id of its own.
#[derive(Debug)]
struct Lane {
    producer_id: i64,
    next_sequence: i32,
    next_value: u64,
    next_number: u64,
    queue: VecDeque<Unacknowledged>,
    retry: Millis,
    /// Something was acknowledged under this producer id: leaders know it.
    known: bool,
    /// How often in a row it was heard that the topic is not there.
    gone: u32,
    /// How often the first batch in the queue was told that it does not follow the last.
    gaps: u32,
}

#[derive(Debug)]
pub(crate) struct Producer {
    cluster: Cluster,
    lanes: BTreeMap<TopicPartitionId, Lane>,
    next_batch: Millis,
    pace_ms: i64,
}

/// As many as a real producer has in flight.
const IN_FLIGHT: usize = 5;

impl Producer {
    pub(crate) fn new(pace_ms: i64) -> Self {
        Self { cluster: Cluster::new(), lanes: BTreeMap::new(), next_batch: Millis(0), pace_ms }
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, known: &Known, from: Addr, message: Message) {
        match message {
            Message::MetadataIs { id, image } => {
                self.cluster.take(env, id, image);
                self.look_for_topics(env);
            }
            Message::Produced { id, result } => self.produced(env, from, id, result),
            Message::Disconnected => self.disconnected(env, from),
            _ => {}
        }
        self.on_time(env, known);
    }

    /// Gives up what goes to topics that are no more. One broker alone may just be late.
    fn look_for_topics(&mut self, env: &mut Env<'_>) {
        let image = Arc::clone(&self.cluster.image);
        for (tp, lane) in &mut self.lanes {
            lane.gone = if image.topic_by_id(tp.topic).is_some() { 0 } else { lane.gone + 1 };
        }
        self.lanes.retain(|tp, lane| {
            if lane.gone >= 3 {
                env.say(|| format!("gives up {tp:?}, which is no more"));
            }
            lane.gone < 3
        });
    }

    /// Everything in flight to that broker is to be sent again.
    fn disconnected(&mut self, env: &Env<'_>, from: Addr) {
        self.cluster.disconnected(env.now);
        for it in self.lanes.values_mut().flat_map(|lane| &mut lane.queue) {
            if it.asked.is_some_and(|(_, _, to)| to == from) {
                it.asked = None;
                self.cluster.refresh();
            }
        }
    }

    fn produced(&mut self, env: &mut Env<'_>, from: Addr, id: u64, result: Result<i64, ErrorCode>) {
        let asked = |it: &Unacknowledged| it.asked.is_some_and(|(asked, _, _)| asked == id);
        let Some((tp, lane)) = self.lanes.iter_mut().find(|(_, lane)| lane.queue.iter().any(asked)) else {
            return;
        };
        let at = lane.queue.iter().position(asked).expect("it is in this lane");
        match result {
            Ok(base_offset) => {
                let done = lane.queue.remove(at).expect("found just now");
                (lane.gaps, lane.known) = (0, true);
                let count = done.batch.facts.last_offset + 1;
                env.note(Note::Acked { tp: *tp, base_offset, content: done.batch.content, count, from });
            }
            Err(code) => {
                lane.queue[at].asked = None;
                lane.retry = env.now.plus(30);
                self.cluster.refresh();
                if code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && at == 0 {
                    lane.gaps += 1;
                    if lane.gaps >= 12 {
                        env.note(Note::SequenceLost { tp: *tp, from });
                        lane.start_over(env);
                    }
                }
            }
        }
    }

    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, known: &Known) {
        self.cluster.on_time(env, known);
        if self.next_batch <= env.now {
            let pause = env.rng.between(1, 2 * self.pace_ms);
            self.next_batch = env.now.plus(pause);
            if !known.draining {
                self.write(env);
            }
        }
        for (tp, lane) in &mut self.lanes {
            let Some(leader) = self.cluster.leader(*tp) else {
                self.cluster.refresh();
                lane.retry = lane.retry.max(env.now.plus(50));
                continue;
            };
            if lane.send(env, *tp, leader) {
                self.cluster.refresh();
            }
        }
    }

    fn write(&mut self, env: &mut Env<'_>) {
        let image = Arc::clone(&self.cluster.image);
        let mut tps: Vec<TopicPartitionId> = image
            .topics
            .iter()
            .filter(|topic| &*topic.name != OFFSETS_TOPIC)
            .flat_map(|topic| {
                topic.iter().map(|(partition, _)| TopicPartitionId { topic: topic.id, partition })
            })
            .collect();
        tps.sort();
        let Some(tp) = env.rng.pick(&tps) else { return self.cluster.refresh() };
        let producer_id =
            self.lanes.get(&tp).map_or_else(|| i64::try_from(env.id()).expect("few"), |it| it.producer_id);
        let lane = self.lanes.entry(tp).or_insert_with(|| Lane {
            producer_id,
            next_sequence: 0,
            next_value: 0,
            next_number: 0,
            queue: VecDeque::new(),
            retry: Millis(0),
            known: false,
            gone: 0,
            gaps: 0,
        });
        if lane.queue.len() >= 2 * IN_FLIGHT {
            return;
        }
        let count = i32::try_from(env.rng.between(1, 3)).expect("few");
        let values = (0..count).map(|_| {
            lane.next_value += 1;
            lane.next_value
        });
        let payload = Arc::new(Payload::Values(values.collect()));
        let facts = unplaced((lane.producer_id, 0, lane.next_sequence), count, env.wall);
        lane.next_sequence += count;
        let batch = Batch { facts, tp, leader_epoch: -1, content: env.id(), payload };
        lane.next_number += 1;
        lane.queue.push_back(Unacknowledged { number: lane.next_number, batch, asked: None });
    }

    pub(crate) fn deadline(&self) -> Millis {
        let lanes = self.lanes.values().flat_map(|lane| {
            let waits = lane.queue.iter().any(|it| it.asked.is_none() && it.number < lane.window());
            let asked = lane.queue.iter().filter_map(|it| it.asked.map(|(_, deadline, _)| deadline));
            asked.chain(waits.then_some(lane.retry))
        });
        lanes.chain([self.next_batch]).chain(self.cluster.deadline()).min().expect("there is a next batch")
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        let (tp, lane) = self.lanes.iter().find(|(_, lane)| !lane.queue.is_empty())?;
        Some(format!("{} batches for {tp:?} are not acknowledged", lane.queue.len()))
    }
}

impl Lane {
    /// The number of the first batch that may not be sent yet: leaders know a producer's last five batches. And of one they do
    /// not know they take whatever sequence comes first, as Kafka's do.
    fn window(&self) -> u64 {
        let in_flight = if self.known { IN_FLIGHT as u64 } else { 1 };
        self.queue.front().map_or(u64::MAX, |first| first.number + in_flight)
    }

    /// Sends what may be in flight. True when something was not answered in time.
    fn send(&mut self, env: &mut Env<'_>, tp: TopicPartitionId, leader: Addr) -> bool {
        let mut late = false;
        for it in &mut self.queue {
            if it.asked.is_some_and(|(_, deadline, _)| deadline <= env.now) {
                late = true;
            }
        }
        if late {
            // A client closes the connection then.
            self.queue.iter_mut().for_each(|it| it.asked = None);
            self.retry = env.now.plus(30);
        }
        if self.retry > env.now {
            return late;
        }
        let window = self.window();
        for it in self.queue.iter_mut().filter(|it| it.asked.is_none() && it.number < window) {
            let id = env.id();
            it.asked = Some((id, env.now.plus(CLIENT_TIMEOUT_MS), leader));
            env.send(leader, Message::Produce { id, tp, batch: it.batch.clone() });
        }
        late
    }

    /// Begins anew under another producer id, as a client does whose records are gone.
    fn start_over(&mut self, env: &mut Env<'_>) {
        self.producer_id = i64::try_from(env.id()).expect("few");
        (self.gaps, self.known) = (0, false);
        self.next_sequence = 0;
        for it in &mut self.queue {
            let count = i32::try_from(it.batch.facts.last_offset + 1).expect("few");
            it.batch.facts = unplaced((self.producer_id, 0, self.next_sequence), count, env.wall);
            it.batch.content = env.id();
            it.asked = None;
            self.next_sequence += count;
        }
    }
}
