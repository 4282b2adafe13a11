//! The metadata feed: committed facts become the image, the image becomes replicas.

use std::sync::Arc;

use ottla_metadata::{Image, LeaderRecoveryState, Partition as Assigned, Topic, TopicsDelta};
use ottla_partition::{BrokerStanding, Brokers, Event, LeaderTerm, Rules};
use ottla_types::{NodeId, TopicPartitionId};

use super::{Asked, Broker, REQUEST_TIMEOUT_MS};
use crate::{
    Fault,
    env::{Env, Note},
    log::Disk,
    message::{FactsFrom, Message},
    replica::Replica,
};

/// `replica.lag.time.max.ms`.
pub(crate) const LAG_MS: i64 = 800;
const MIN_ISR: &str = "min.insync.replicas";
/// The configuration that allows a leader that lacks records.
pub(crate) const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

impl Broker {
    pub(super) fn ask_feed(&mut self, env: &mut Env<'_>) {
        if self.feed_asked.as_ref().is_some_and(|asked| asked.deadline <= env.now) {
            self.feed_asked = None;
            if !self.combined {
                self.try_another(env, None);
            }
        }
        if self.feed_asked.is_some() || self.feed_retry > env.now {
            return;
        }
        let (to, only_leader) = if self.combined { (self.id, false) } else { (self.hint, true) };
        let id = env.id();
        env.send(to, Message::FetchFacts { id, from: self.feed.position.offset + 1, only_leader });
        self.feed_asked = Some(Asked { id, deadline: env.now.plus(2 * REQUEST_TIMEOUT_MS) });
    }

    pub(super) fn fed(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        id: u64,
        batches: Result<FactsFrom, Option<NodeId>>,
    ) {
        if self.feed_asked.as_ref().is_none_or(|asked| asked.id != id) {
            return;
        }
        self.feed_asked = None;
        self.feed_retry = env.now;
        let found = match batches {
            Ok(found) => found,
            Err(leader) => {
                self.feed_retry = env.now.plus(50);
                return self.try_another(env, leader);
            }
        };
        if let Some(image) = found.snapshot {
            self.feed = Image::clone(&image);
        }
        for batch in &found.batches {
            if batch.base == self.feed.position.offset + 1 {
                batch.facts.iter().for_each(|fact| self.feed.apply(fact));
            }
        }
        // Before this start is in it, the image tells what an earlier life of this broker was to do.
        let registered =
            self.feed.broker(self.id).is_some_and(|broker| broker.incarnation_id == self.incarnation);
        if registered {
            env.note(Note::Registered);
        }
        if registered || env.has(Fault::LeadBeforeRegistration) {
            self.apply_image(env, disk);
        }
    }

    /// Mirrors `ReplicaManager::apply_image` and, after it, `Coordinators::apply_image`.
    fn apply_image(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let image = Arc::new(self.feed.clone());
        let before = std::mem::replace(&mut self.image, Arc::clone(&image));
        let first = before.position.offset < 0;
        let delta = TopicsDelta::between(&before, &image);
        let stay = env.has(Fault::ServeDeletedTopics);
        for topic in delta.deleted.iter().filter(|_| !stay) {
            for (number, _) in topic.iter() {
                self.drop_replica(env, disk, TopicPartitionId { topic: topic.id, partition: number });
            }
        }
        let mut topics: Vec<&Arc<Topic>> =
            delta.created.iter().chain(delta.changed.iter().map(|it| &it.1)).collect();
        topics.sort_by_key(|topic| topic.id);
        for topic in topics {
            self.host_topic(env, disk, &image, topic);
        }
        if !Arc::ptr_eq(&before.brokers, &image.brokers) {
            let brokers = standings(&image);
            let leading: Vec<_> =
                self.replicas.values().filter(|it| it.leads().is_some()).map(|it| it.tp).collect();
            for tp in leading {
                let event = Event::Brokers(brokers.clone());
                self.with_replica(env, disk, tp, |replica, env, log, done| replica.on(env, log, event, done));
            }
        }
        if !Arc::ptr_eq(&before.configs, &image.configs) {
            self.apply_settings(env, disk, &image);
        }
        if first {
            let strays: Vec<_> =
                disk.logs.keys().filter(|tp| !self.replicas.contains_key(tp)).copied().collect();
            for tp in strays {
                disk.remove_log(tp);
            }
        }
        self.follow_leadership(env, disk, &image);
        let deleted: Vec<_> = delta.deleted.iter().map(|topic| Arc::clone(&topic.name)).collect();
        if !deleted.is_empty() {
            self.topics_deleted(env, disk, &deleted);
        }
    }

    fn drop_replica(&mut self, env: &mut Env<'_>, disk: &mut Disk, tp: TopicPartitionId) {
        if let (Some(mut replica), Some(log)) = (self.replicas.remove(&tp), disk.logs.get_mut(&tp)) {
            replica.retire(env, log, &mut self.done);
        }
        self.proposals.remove(&tp);
        disk.remove_log(tp);
    }

    fn host_topic(&mut self, env: &mut Env<'_>, disk: &mut Disk, image: &Image, topic: &Topic) {
        for (number, assigned) in topic.iter() {
            let tp = TopicPartitionId { topic: topic.id, partition: number };
            if !assigned.is_replica(self.id) {
                if self.replicas.contains_key(&tp) {
                    self.drop_replica(env, disk, tp);
                }
                continue;
            }
            if !self.replicas.contains_key(&tp) {
                let log = disk.claim(&topic.name, tp, env.has(Fault::ClaimLogByName));
                self.replicas.insert(tp, Replica::open(self.id, tp, log, rules(image, &topic.name)));
            }
            self.assign(env, disk, (image, rules(image, &topic.name)), tp, assigned);
        }
    }

    fn assign(
        &mut self,
        env: &mut Env<'_>,
        disk: &mut Disk,
        (image, rules): (&Image, Rules),
        tp: TopicPartitionId,
        assigned: &Assigned,
    ) {
        let usurps = env.has(Fault::TwoLeaders)
            && assigned.preferred_replica() == self.id
            && assigned.has_leader()
            && assigned.is_in_sync(self.id);
        let event = if assigned.leader == self.id || usurps {
            Event::Lead(LeaderTerm {
                leader_epoch: assigned.leader_epoch,
                partition_epoch: assigned.partition_epoch,
                replicas: assigned.replicas.clone(),
                isr: assigned.isr.clone(),
                recovering: assigned.leader_recovery_state == LeaderRecoveryState::Recovering,
                brokers: standings(image),
                rules,
            })
        } else {
            Event::Follow { leader: assigned.leader, leader_epoch: assigned.leader_epoch }
        };
        self.with_replica(env, disk, tp, |replica, env, log, done| {
            let follows_anew =
                replica.epoch() != assigned.leader_epoch && assigned.leader != replica.partition.node();
            let proposal = replica.on(env, log, event, done);
            if follows_anew && env.has(Fault::TruncateToHighWatermark) {
                let to = replica.partition.high_watermark();
                let end = ottla_partition::EpochEnd { epoch: i32::MAX, end_offset: to };
                replica.on(env, log, Event::Diverged(end), done);
            }
            proposal
        });
    }

    fn apply_settings(&mut self, env: &mut Env<'_>, disk: &mut Disk, image: &Image) {
        let tps: Vec<TopicPartitionId> = self.replicas.keys().copied().collect();
        for tp in tps {
            let Some(topic) = image.topic_by_id(tp.topic) else { continue };
            let event = Event::RulesChanged(rules(image, &topic.name));
            self.with_replica(env, disk, tp, |replica, env, log, done| replica.on(env, log, event, done));
        }
    }
}

fn standings(image: &Image) -> Brokers {
    Brokers::new(
        image
            .brokers
            .values()
            .map(|broker| (broker.id, BrokerStanding { epoch: broker.epoch, active: broker.is_active() })),
    )
}

fn rules(image: &Image, topic: &str) -> Rules {
    let own = image.configs.topic_value(topic, MIN_ISR);
    let default = image.configs.broker_default();
    let set = own.or_else(|| default.get(MIN_ISR));
    let min_insync_replicas = set.and_then(|value| value.trim().parse().ok()).unwrap_or(1);
    Rules { min_insync_replicas, replica_lag_time_max_ms: LAG_MS }
}
