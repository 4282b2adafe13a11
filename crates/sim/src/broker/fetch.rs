//! Followers: one fetch at a time from every broker that leads something held here.

use std::collections::BTreeMap;

use ottla_partition::Event;
use ottla_types::{ErrorCode, LeaderEpoch, Millis, NodeId, Offset, TopicPartitionId};

use super::{Broker, REQUEST_TIMEOUT_MS};
use crate::{
    Fault,
    env::{Addr, Env},
    log::Disk,
    message::{FetchPartition, FetchedPartition, Message, Reader},
};

/// What is fetched from one broker.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    asked: Option<(u64, Millis)>,
    /// What was asked: epoch and offset.
    partitions: BTreeMap<TopicPartitionId, (LeaderEpoch, Offset)>,
    /// Partitions that are let be until then.
    delayed: BTreeMap<TopicPartitionId, Millis>,
    retry: Millis,
    /// There is something to ask for.
    wanted: bool,
}

impl Fetcher {
    pub(super) fn disconnected(&mut self, now: Millis) {
        if let Some((_, deadline)) = &mut self.asked {
            *deadline = now;
        }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.asked {
            Some((_, deadline)) => Some(deadline),
            None if self.wanted => Some(self.retry),
            None => self.delayed.values().min().copied(),
        }
    }
}

/// How long a partition is let be after an error.
const BACKOFF_MS: i64 = 40;

impl Broker {
    pub(super) fn send_fetches(&mut self, env: &mut Env<'_>) {
        let mut wanted: BTreeMap<NodeId, Vec<FetchPartition>> = BTreeMap::new();
        for (tp, replica) in &self.replicas {
            let Some((leader, epoch)) = replica.follows() else { continue };
            let blind = env.has(Fault::IgnoreLeaderEpochs);
            let skips = blind || env.has(Fault::SkipTruncation);
            let last = replica.partition.epochs().latest().map_or(-1, |(epoch, _)| epoch);
            wanted.entry(leader).or_default().push(FetchPartition {
                tp: *tp,
                from: replica.partition.log_end(),
                current_leader_epoch: if blind { -1 } else { epoch },
                last_fetched_epoch: if skips { -1 } else { last },
            });
        }
        self.fetchers.retain(|leader, _| wanted.contains_key(leader));
        for (leader, partitions) in wanted {
            let fetcher = self.fetchers.entry(leader).or_default();
            fetcher.wanted = false;
            if let Some((_, deadline)) = fetcher.asked {
                if deadline > env.now {
                    continue;
                }
                fetcher.asked = None;
                fetcher.retry = env.now.plus(BACKOFF_MS);
            }
            fetcher.delayed.retain(|_, until| *until > env.now);
            let ready = |it: &FetchPartition| !fetcher.delayed.contains_key(&it.tp);
            let partitions: Vec<_> = partitions.into_iter().filter(ready).collect();
            fetcher.wanted = !partitions.is_empty();
            if partitions.is_empty() || fetcher.retry > env.now {
                continue;
            }
            let epoch_of = |tp: &TopicPartitionId| self.replicas[tp].epoch();
            fetcher.partitions = partitions.iter().map(|it| (it.tp, (epoch_of(&it.tp), it.from))).collect();
            let id = env.id();
            fetcher.asked = Some((id, env.now.plus(REQUEST_TIMEOUT_MS)));
            let reader = Reader::Follower { broker: self.id, broker_epoch: self.epoch };
            env.send(leader, Message::Fetch { id, reader, partitions });
        }
    }

    pub(super) fn fetched(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        from: Addr,
        id: u64,
        partitions: Vec<FetchedPartition>,
    ) {
        let Some(fetcher) = self.fetchers.get_mut(&from) else { return };
        if fetcher.asked.is_none_or(|(asked, _)| asked != id) {
            return;
        }
        fetcher.asked = None;
        let asked = std::mem::take(&mut fetcher.partitions);
        for found in partitions {
            let Some(replica) = self.replicas.get(&found.tp) else { continue };
            // What was asked for must still be what is wanted: same leader, same epoch, same offset.
            let now = (replica.epoch(), replica.partition.log_end());
            let follows = replica.follows().is_some_and(|(leader, _)| leader == from);
            if !follows || asked.get(&found.tp) != Some(&now) {
                continue;
            }
            if found.error == ErrorCode::NONE || found.error == ErrorCode::OFFSET_OUT_OF_RANGE {
                self.take_over(env, disk, found);
            } else if let Some(fetcher) = self.fetchers.get_mut(&from) {
                fetcher.delayed.insert(found.tp, env.now.plus(BACKOFF_MS));
            }
        }
    }

    fn take_over(&mut self, env: &mut Env<'_>, disk: &mut Disk, found: FetchedPartition) {
        let FetchedPartition { tp, error, diverging, high_watermark, log_start, log_end, batches } = found;
        self.with_replica(env, disk, tp, |replica, env, log, done| {
            if error == ErrorCode::OFFSET_OUT_OF_RANGE {
                let event = Event::OutOfRange { leader_start: log_start, leader_end: log_end };
                return replica.on(env, log, event, done);
            }
            if let Some(end) = diverging {
                return replica.on(env, log, Event::Diverged(end), done);
            }
            replica.append_as_follower(env, log, batches, done);
            replica.on(env, log, Event::LeaderSaid { high_watermark, log_start }, done)
        });
    }
}
