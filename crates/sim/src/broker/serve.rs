//! What brokers do for others: produce, fetch (with waiting), groups.

use std::sync::Arc;

use ottla_groups::Command;
use ottla_metadata::Image;
use ottla_partition::Origin;
use ottla_types::{ErrorCode, Millis, TopicId, TopicPartitionId};

use super::Broker;
use crate::{
    env::{Addr, Env, Note},
    log::{Batch, Disk},
    message::{FetchPartition, FetchedPartition, Message, Reader},
    replica::Ticket,
    shard::{Outcome, Shard},
};

/// A fetch that waits for news.
#[derive(Debug)]
pub(super) struct Parked {
    to: Addr,
    id: u64,
    reader: Reader,
    partitions: Vec<FetchPartition>,
    pub(super) deadline: Millis,
}

/// How long a fetch waits.
const MAX_WAIT_MS: i64 = 150;
/// The topic of the group coordinators.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

impl Broker {
    pub(super) fn produce(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        (to, id): (Addr, u64),
        tp: TopicPartitionId,
        batch: Batch,
    ) {
        let mut result = None;
        self.with_replica(env, disk, tp, |replica, env, log, done| {
            let ticket = |base_offset| Ticket::Produce { to, id, base_offset };
            result = Some(replica.append(env, log, batch, (Origin::Client, ticket), done));
            None
        });
        if let Err(code) = result.unwrap_or_else(|| Err(self.why_absent(env, tp.topic))) {
            env.send(to, Message::Produced { id, result: Err(code) });
        }
    }

    pub(super) fn serve_fetch(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        (to, id): (Addr, u64),
        reader: Reader,
        partitions: Vec<FetchPartition>,
    ) {
        self.parked.retain(|parked| parked.to != to || parked.reader != reader);
        self.parked.push(Parked { to, id, reader, partitions, deadline: env.now.plus(MAX_WAIT_MS) });
        let parked = self.parked.len() - 1;
        self.try_parked(env, disk, parked, true);
    }

    pub(super) fn serve_parked(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        for at in (0..self.parked.len()).rev() {
            self.try_parked(env, disk, at, false);
        }
    }

    /// Answers a fetch when there is news, or when it has waited enough. Only the first look is noted as a fetch.
    fn try_parked(&mut self, env: &mut Env<'_>, disk: &mut Disk, at: usize, first: bool) {
        let parked = &self.parked[at];
        let (reader, late) = (parked.reader, parked.deadline <= env.now);
        if !first && !late && !self.has_news(disk, parked) {
            return;
        }
        let mut found = Vec::with_capacity(parked.partitions.len());
        for asked in self.parked[at].partitions.clone() {
            let mut one = None;
            self.with_replica(env, disk, asked.tp, |replica, env, log, done| {
                let (read, proposal) = replica.read(env, log, reader, &asked, done);
                one = Some(read);
                proposal
            });
            let read = one.unwrap_or_else(|| absent(asked.tp, self.why_absent(env, asked.tp.topic)));
            if reader == Reader::Consumer && read.error == ErrorCode::NONE {
                env.note(Note::Served { topic: asked.tp.topic, position: self.image.position.offset });
            }
            found.push(read);
        }
        let news = |it: &FetchedPartition| {
            it.error != ErrorCode::NONE || it.diverging.is_some() || !it.batches.is_empty()
        };
        if late || found.iter().any(news) {
            let parked = self.parked.remove(at);
            env.send(parked.to, Message::Fetched { id: parked.id, partitions: found });
        }
    }

    /// What is told of a partition that has no replica here: `missing` of the router's Produce and Fetch.
    fn why_absent(&self, env: &mut Env<'_>, topic: TopicId) -> ErrorCode {
        if self.image.topic_by_id(topic).is_some() {
            return ErrorCode::NOT_LEADER_OR_FOLLOWER;
        }
        env.note(Note::Unknown { topic, position: self.image.position.offset });
        ErrorCode::UNKNOWN_TOPIC_ID
    }

    fn has_news(&self, disk: &Disk, parked: &Parked) -> bool {
        parked.partitions.iter().any(|asked| {
            let (Some(replica), Some(log)) = (self.replicas.get(&asked.tp), disk.logs.get(&asked.tp)) else {
                return true;
            };
            let end = match parked.reader {
                Reader::Consumer => replica.partition.high_watermark(),
                Reader::Follower { .. } => log.end(),
            };
            let moved = asked.current_leader_epoch >= 0 && asked.current_leader_epoch != replica.epoch();
            replica.leads().is_none() || moved || end > asked.from
        })
    }

    /// Follows who leads the partitions of `__consumer_offsets`: `Coordinators::follow_leadership`.
    pub(super) fn follow_leadership(&mut self, env: &mut Env<'_>, disk: &mut Disk, image: &Image) {
        let topic = image.topic(OFFSETS_TOPIC).cloned();
        let here = topic.iter().flat_map(|topic| topic.iter().map(|(index, it)| (topic.id, index, it)));
        let mine: Vec<_> = here
            .filter(|(_, _, it)| it.leader == self.id)
            .map(|(id, index, it)| (TopicPartitionId { topic: id, partition: index }, it.leader_epoch))
            .collect();
        let gone: Vec<i32> = self
            .shards
            .iter()
            .filter(|(_, shard)| {
                let stays = mine
                    .iter()
                    .find(|(tp, _)| *tp == shard.tp)
                    .is_some_and(|(_, epoch)| shard.leads_on(*epoch));
                !stays
            })
            .map(|(index, _)| *index)
            .collect();
        for index in gone {
            let shard = self.shards.remove(&index).expect("found just now");
            shard.close(env, ErrorCode::NOT_COORDINATOR);
        }
        for (tp, epoch) in mine {
            match self.shards.get_mut(&tp.partition) {
                Some(shard) => shard.epoch = epoch,
                None => drop(self.shards.insert(tp.partition, Shard::new(env, tp, epoch))),
            }
        }
        self.shards_on_time(env, disk);
    }

    /// Mirrors what `Coordinators::apply_image` does about deleted topics.
    pub(super) fn topics_deleted(&mut self, env: &mut Env<'_>, disk: &mut Disk, topics: &[Arc<str>]) {
        let indexes: Vec<i32> = self.shards.keys().copied().collect();
        for index in indexes {
            let outcome = self.shards.get_mut(&index).and_then(|shard| shard.topics_deleted(env, topics));
            self.carry_out(env, disk, index, outcome);
        }
    }

    pub(super) fn group(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        (to, id): (Addr, u64),
        partition: i32,
        command: Command,
    ) {
        let Some(shard) = self.shards.get_mut(&partition) else {
            let answer = Err(ErrorCode::NOT_COORDINATOR);
            return env.send(to, Message::GroupAnswer { id, answer });
        };
        let outcome = shard.submit(env, (to, id), command);
        self.carry_out(env, disk, partition, outcome);
    }

    pub(super) fn facts_done(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        partition: i32,
        number: u64,
        code: ErrorCode,
    ) {
        if let Some(shard) = self.shards.get_mut(&partition) {
            let outcome = shard.durable(env, number, code);
            self.carry_out(env, disk, partition, outcome);
        }
    }

    pub(super) fn shards_on_time(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let indexes: Vec<i32> = self.shards.keys().copied().collect();
        for index in indexes {
            let Some(shard) = self.shards.get_mut(&index) else { continue };
            let (Some(replica), Some(log)) = (self.replicas.get(&shard.tp), disk.logs.get(&shard.tp)) else {
                continue;
            };
            let (loaded, due) = shard.on_time(env, replica, log);
            self.carry_out(env, disk, index, loaded);
            for command in due {
                let outcome = self.shards.get_mut(&index).and_then(|shard| shard.turn(env, command));
                self.carry_out(env, disk, index, outcome);
            }
        }
    }

    /// Appends what a shard has decided, and tells it.
    fn carry_out(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        partition: i32,
        mut outcome: Option<Outcome>,
    ) {
        while let Some(Outcome { number, batch, decision }) = outcome.take() {
            let Some(shard) = self.shards.get_mut(&partition) else { return };
            let (tp, epoch) = (shard.tp, shard.epoch);
            let mut appended = Ok(());
            if let Some(batch) = batch {
                appended = Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
                self.with_replica(env, disk, tp, |replica, env, log, done| {
                    if replica.leads() == Some(epoch) {
                        let ticket = |_| Ticket::Facts(number);
                        appended =
                            replica.append(env, log, batch, (Origin::Coordinator, ticket), done).map(drop);
                    }
                    None
                });
            }
            let Some(shard) = self.shards.get_mut(&partition) else { return };
            outcome = shard.appended(env, number, decision, appended);
        }
    }
}

fn absent(tp: TopicPartitionId, error: ErrorCode) -> FetchedPartition {
    FetchedPartition {
        tp,
        error,
        diverging: None,
        high_watermark: -1,
        log_start: -1,
        log_end: -1,
        batches: Vec::new(),
    }
}
