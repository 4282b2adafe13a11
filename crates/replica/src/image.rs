//! Follows the metadata image: replicas come, go, take and lose the lead, get other settings.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ottla_metadata::{Image, LeaderRecoveryState, Partition as Assigned, Topic, TopicsDelta, directory};
use ottla_partition::{BrokerStanding, Brokers, Event, LeaderEpochs, LeaderTerm, Partition, Rules};
use ottla_storage::Log;
use ottla_types::{LeaderEpoch, NO_LEADER, TopicId, TopicPartition, TopicPartitionId};

use crate::{
    DefaultsOf, HostedTopic, Replica, ReplicaManager, TopicSettings,
    dirs::Dir,
    fetcher::Following,
    load::{self, Found},
    manager::{Hosting, Registry},
    moves::{self, Future},
};

/// This broker took or lost the lead of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Which partition.
    pub partition: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// The epoch in which this broker leads; `None` when it does not (any more).
    pub leads: Option<LeaderEpoch>,
}

/// Is told of every change of [`Leadership`], in order, on the thread that applies the image. Must not block.
pub type LeadershipListener = Box<dyn Fn(&Leadership) + Send + Sync>;

/// What an image changed here.
#[derive(Default)]
struct Changes {
    leadership: Vec<Leadership>,
    /// Whom replicas follow now.
    following: Vec<(Arc<Replica>, Following)>,
}

impl ReplicaManager {
    /// Calls `listener` at every change from now on, and at once for every partition led already.
    pub fn on_leadership_change(&self, listener: LeadershipListener) {
        // Under the lock that changes are made under: none is missed or told twice.
        let _hosting = self.hosting.lock();
        self.each(|replica| {
            let view = replica.view();
            if view.is_leader {
                listener(&leadership(replica, Some(view.leader_epoch)));
            }
        });
        self.listeners.write().push(listener);
    }

    /// Makes the replicas what `image` says. Costs what changed.
    pub fn apply_image(&self, image: &Arc<Image>) {
        let mut hosting = self.hosting.lock();
        if hosting.closed {
            return;
        }
        let before = std::mem::replace(&mut hosting.image, Arc::clone(image));
        let new_defaults = self.follow_defaults(&mut hosting, &before, image);
        let delta = TopicsDelta::between(&before, image);
        let mut changes = Changes::default();
        let brokers_changed = !Arc::ptr_eq(&before.brokers, &image.brokers);
        if brokers_changed {
            hosting.brokers = standing(image);
        }
        let first = std::mem::take(&mut hosting.first);
        let new_configs = !Arc::ptr_eq(&before.configs, &image.configs);
        if first || new_configs {
            self.follow_dir_settings(image);
            self.follow_replication_settings(image);
        }
        if !delta.is_empty() {
            self.apply_topics(&mut hosting, &delta, &mut changes);
        }
        if brokers_changed {
            // Not before what is deleted is gone: it may let records be acknowledged.
            for replica in self.followed_leaders() {
                replica.on(&*self.clock, Event::Brokers(hosting.brokers.clone()));
            }
        }
        if brokers_changed && let Some(replication) = self.replication.get() {
            replication.brokers_changed(image);
        }
        if new_configs {
            self.apply_settings(&before, image, &hosting.defaults, new_defaults);
        }
        if first {
            self.drop_strays(&mut hosting);
        }
        if brokers_changed || !delta.is_empty() {
            self.next_generation();
        }
        self.tell(changes);
    }

    fn tell(&self, changes: Changes) {
        if let Some(replication) = self.replication.get() {
            replication.follow(changes.following);
        }
        for change in &changes.leadership {
            self.listeners.read().iter().for_each(|listener| listener(change));
        }
    }

    /// Tries once more to create the replicas that could not be created for want of file descriptors.
    pub(crate) fn create_refused(&self) {
        let mut hosting = self.hosting.lock();
        if hosting.refused.is_empty() {
            return;
        }
        let refused = std::mem::take(&mut hosting.refused);
        let topics: HashSet<_> = refused.iter().map(|name| &name.topic).collect();
        let image = Arc::clone(&hosting.image);
        let mut registry = Registry::clone(&self.registry.load());
        let (mut counts, mut changes) = (self.replica_counts(&registry), Changes::default());
        for topic in topics.into_iter().filter_map(|name| image.topic(name)) {
            self.host_topic(&mut hosting, &mut registry, (Some(topic), topic), &mut counts, &mut changes);
        }
        self.registry.store(Arc::new(registry));
        self.next_generation();
        self.tell(changes);
    }

    fn apply_topics(&self, hosting: &mut Hosting, delta: &TopicsDelta, changes: &mut Changes) {
        let mut registry = Registry::clone(&self.registry.load());
        for topic in &delta.deleted {
            self.drop_topic(&mut registry, topic, changes);
        }
        let mut counts = self.replica_counts(&registry);
        let created = delta.created.iter().map(|topic| (None, topic));
        for (before, topic) in
            created.chain(delta.changed.iter().map(|(before, after)| (Some(before), after)))
        {
            self.host_topic(hosting, &mut registry, (before, topic), &mut counts, changes);
        }
        self.registry.store(Arc::new(registry));
    }

    fn replica_counts(&self, registry: &Registry) -> Vec<usize> {
        let mut counts = vec![0; self.dirs.len()];
        if counts.len() > 1 {
            for replica in registry.by_id.values().flat_map(|topic| topic.replicas()) {
                counts[replica.place().dir.number] += 1;
            }
            for replica in self.moves.list() {
                if let Some(future) = replica.with(|owned| owned.future.clone()) {
                    counts[future.dir.number] += 1;
                }
            }
        }
        counts
    }

    fn drop_topic(&self, registry: &mut Registry, topic: &Topic, changes: &mut Changes) {
        let Some(hosted) = registry.by_id.remove(&topic.id) else { return };
        if registry.by_name.get(&hosted.name).is_some_and(|named| named.id == topic.id) {
            registry.by_name.remove(&hosted.name);
        }
        for replica in hosted.replicas() {
            self.remove(replica, changes);
        }
    }

    fn remove(&self, replica: &Arc<Replica>, changes: &mut Changes) {
        if replica.view().is_leader {
            changes.leadership.push(leadership(replica, None));
        }
        changes.following.push((Arc::clone(replica), Following::NOBODY));
        let future = replica.with(|owned| owned.future.take());
        if let Some(future) = future
            && let Some(copy) = future.take()
            && let Err(fault) = future.dir.dir.remove_log(copy)
        {
            future.dir.fail(&fault);
        }
        if let Some(log) = self.retire(replica)
            && let Err(fault) = replica.place().dir.dir.remove_log(log)
        {
            replica.place().dir.fail(&fault);
        }
    }

    fn host_topic(
        &self,
        hosting: &mut Hosting,
        registry: &mut Registry,
        (before, topic): (Option<&Arc<Topic>>, &Arc<Topic>),
        counts: &mut [usize],
        changes: &mut Changes,
    ) {
        let known = registry.by_id.get(&topic.id).cloned();
        let settings = Arc::new(hosting.defaults.with(hosting.image.topic_config(&topic.name)));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (number, assigned) in topic.iter() {
            let held = known.as_ref().and_then(|topic| topic.partition(number)).cloned();
            let known_here = held.as_ref().map(|replica| replica.topic_id);
            let replica = match (assigned.is_replica(self.options.node), held) {
                (true, Some(replica)) => Some(replica),
                (true, None) => self.create(hosting, (topic, number), assigned, &settings, counts),
                (false, Some(replica)) => {
                    self.remove(&replica, changes);
                    None
                }
                (false, None) => None,
            };
            let before = before.and_then(|topic| topic.partition(number));
            if let Some(replica) = &replica
                && (known_here.is_none() || before.is_none_or(|before| !Arc::ptr_eq(before, assigned)))
            {
                self.take_role(replica, assigned, (&hosting.brokers, self.rules(&settings)), changes);
                self.check_dir(&hosting.image, replica, assigned);
            }
            partitions.push(replica);
        }
        if partitions.iter().all(Option::is_none) {
            registry.by_id.remove(&topic.id);
            return;
        }
        let hosted = Arc::new(HostedTopic { name: Arc::clone(&topic.name), id: topic.id, partitions });
        registry.by_name.insert(Arc::clone(&topic.name), Arc::clone(&hosted));
        registry.by_id.insert(topic.id, hosted);
    }

    fn create(
        &self,
        hosting: &mut Hosting,
        (topic, number): (&Topic, i32),
        assigned: &Assigned,
        settings: &Arc<TopicSettings>,
        counts: &mut [usize],
    ) -> Option<Arc<Replica>> {
        let name = TopicPartition { topic: Arc::clone(&topic.name), partition: number };
        let believed = assigned.directory_of(self.options.node).unwrap_or_default();
        if hosting.damaged.contains(&name) {
            if believed != directory::LOST {
                let id = TopicPartitionId { topic: topic.id, partition: number };
                self.assign(&hosting.image, id, directory::LOST);
            }
            return None;
        }
        let found = match hosting.unclaimed.remove(&name) {
            Some((dir, found)) => claim(&dir, found, topic)?.map(|found| (dir, found)),
            None => self.claim_copy(hosting, &name, topic, believed),
        };
        let config = settings.log_config(number);
        let (dir, Found { log, producers }) = match found {
            Some((dir, mut found)) => {
                found.log.update_config(config);
                (dir, found)
            }
            None => {
                let dir = self.choose_dir(hosting, &name, believed, counts)?;
                match dir.dir.create_log(&name, topic.id, config) {
                    Ok(log) => (dir, Found { log, producers: Default::default() }),
                    Err(fault) => {
                        if fault.is_want_of_files() {
                            hosting.refused.insert(name);
                        }
                        dir.fail(&fault);
                        return None;
                    }
                }
            }
        };
        let copy = self.copy_of(hosting, &dir, &log);
        let partition = Partition::new(
            self.options.node,
            self.rules(settings),
            (log.log_start(), log.log_end()),
            log.checkpointed_high_watermark().unwrap_or(log.log_start()),
            LeaderEpochs::new(log.epochs()),
            producers,
        );
        let replica = Replica::new(topic.id, dir, log, partition, Arc::clone(settings));
        if let Some(copy) = copy {
            self.begin_move(&replica, copy);
        }
        Some(replica)
    }

    /// A copy whose log is gone, because it was about to take its place: it is the log.
    fn claim_copy(
        &self,
        hosting: &mut Hosting,
        name: &TopicPartition,
        topic: &Topic,
        believed: uuid::Uuid,
    ) -> Option<(Arc<Dir>, Found)> {
        let (dir, log) = hosting.futures.get(name)?;
        let meant = dir.id() == Some(believed) || self.failed_dirs() == 0;
        if !meant || dir.is_offline() || log.topic_id() != topic.id {
            return None;
        }
        let (dir, log) = hosting.futures.remove(name)?;
        tracing::warn!("{name}: the copy in log dir {} takes the place of its log", dir.dir.path().display());
        match dir.dir.promote(&log) {
            Ok(()) => {
                let producers = load::replay(&log);
                Some((dir, Found { log, producers }))
            }
            Err(fault) => {
                dir.fail(&fault);
                None
            }
        }
    }

    /// The copy of this log that a move before the restart has begun, cut back to what holds.
    fn copy_of(&self, hosting: &mut Hosting, dir: &Arc<Dir>, log: &Log) -> Option<Arc<Future>> {
        let (to, mut copy) = hosting.futures.remove(log.partition())?;
        let kept = if Arc::ptr_eq(dir, &to) || copy.topic_id() != log.topic_id() {
            to.dir.remove_log(copy).map(|()| None)
        } else {
            moves::agree(&mut copy, log).map(|()| Some(copy))
        };
        match kept {
            Ok(copy) => copy.map(|copy| Future::new(to, copy)),
            Err(fault) => {
                to.fail(&fault);
                None
            }
        }
    }

    fn rules(&self, settings: &TopicSettings) -> Rules {
        Rules {
            min_insync_replicas: settings.min_insync_replicas,
            replica_lag_time_max_ms: self.options.replica_lag_time_max_ms,
        }
    }

    /// Tells the controller where the replica is, if it believes something else.
    fn check_dir(&self, image: &Image, replica: &Replica, assigned: &Assigned) {
        let (Some(here), Some(believed)) =
            (replica.place().dir.id(), assigned.directory_of(self.options.node))
        else {
            return;
        };
        if here == believed || replica.is_offline() {
            return;
        }
        // It is on the way there.
        let moving = replica.with(|owned| owned.future.clone());
        if moving.is_none_or(|future| future.dir.id() != Some(believed)) {
            self.assign(image, replica.id(), here);
        }
    }

    fn take_role(
        &self,
        replica: &Arc<Replica>,
        assigned: &Assigned,
        (brokers, rules): (&Brokers, Rules),
        changes: &mut Changes,
    ) {
        let before = replica.view();
        let leads = assigned.leader == self.options.node;
        let event = if leads {
            Event::Lead(LeaderTerm {
                leader_epoch: assigned.leader_epoch,
                partition_epoch: assigned.partition_epoch,
                replicas: assigned.replicas.clone(),
                isr: assigned.isr.clone(),
                recovering: assigned.leader_recovery_state == LeaderRecoveryState::Recovering,
                brokers: brokers.clone(),
                rules,
            })
        } else {
            Event::Follow { leader: assigned.leader, leader_epoch: assigned.leader_epoch }
        };
        if replica.on(&*self.clock, event) {
            self.propose(replica.id());
        }
        if leads && assigned.replicas.len() > 1 {
            self.with_followers.add(replica.id(), replica);
        }
        let following = Following {
            leader: if leads { NO_LEADER } else { assigned.leader },
            leader_epoch: assigned.leader_epoch,
        };
        if leads != before.is_leader
            || before.leader != assigned.leader
            || before.leader_epoch != assigned.leader_epoch
        {
            changes.following.push((Arc::clone(replica), following));
        }
        let now_leads = leads.then_some(assigned.leader_epoch);
        if now_leads != before.is_leader.then_some(before.leader_epoch) {
            changes.leadership.push(leadership(replica, now_leads));
        }
    }

    /// Takes over what was set on brokers; true when topics get something else by default now.
    fn follow_defaults(&self, hosting: &mut Hosting, before: &Image, image: &Image) -> bool {
        let Some(DefaultsOf(defaults_of)) = &self.options.defaults_of else { return false };
        if Arc::ptr_eq(&before.configs, &image.configs) {
            return false;
        }
        let defaults = defaults_of(image);
        let changed = defaults != hosting.defaults;
        hosting.defaults = defaults;
        changed
    }

    fn apply_settings(&self, before: &Image, image: &Image, defaults: &TopicSettings, all: bool) {
        let registry = self.registry.load_full();
        for topic in registry.by_id.values() {
            let values = image.topic_config(&topic.name);
            if !all && Arc::ptr_eq(before.topic_config(&topic.name), values) {
                continue;
            }
            let settings = Arc::new(defaults.with(values));
            for replica in topic.replicas() {
                replica.settings.store(Arc::clone(&settings));
                let config = settings.log_config(replica.name.partition);
                replica.with(|owned| owned.log.as_mut().map(|log| log.update_config(config)));
                replica.on(&*self.clock, Event::RulesChanged(self.rules(&settings)));
            }
        }
    }

    /// Logs that the cluster no longer knows: their topics were deleted, or moved away, while this broker was down.
    /// Copies go with them; but not those whose logs are in a dir that is offline.
    fn drop_strays(&self, hosting: &mut Hosting) {
        let strays: HashMap<_, _> = std::mem::take(&mut hosting.unclaimed);
        for (_, (dir, found)) in strays {
            keep_stray(&dir, found.log, "the cluster does not place this partition on this broker");
        }
        let (image, node) = (Arc::clone(&hosting.image), self.options.node);
        for (name, (dir, log)) in std::mem::take(&mut hosting.futures) {
            let topic = image.topic_by_id(log.topic_id()).filter(|topic| topic.name == name.topic);
            let assigned = topic.and_then(|topic| topic.partition(name.partition));
            if assigned.is_some_and(|assigned| assigned.is_replica(node)) {
                hosting.futures.insert(name, (dir, log));
            } else {
                keep_stray(
                    &dir,
                    log,
                    "it is a copy, and the cluster does not place its partition on this broker",
                );
            }
        }
    }
}

/// Takes the log for the topic. `Some(None)` when it is of another topic, and kept as a stray now; `None` when the disk
/// refuses.
fn claim(dir: &Dir, mut found: Found, topic: &Topic) -> Option<Option<Found>> {
    let (name, id) = (found.log.partition().clone(), found.log.topic_id());
    if id == topic.id {
        return Some(Some(found));
    }
    if id != TopicId::ZERO {
        // Of a topic of the same name that was deleted while this broker was down.
        let why = format!("it is of topic id {id}, and the topic of this name has the id {}", topic.id);
        keep_stray(dir, found.log, &why);
        return Some(None);
    }
    tracing::warn!("{name} has lost its partition.metadata: it is taken for one of topic id {}", topic.id);
    if let Err(fault) = found.log.adopt(topic.id) {
        dir.fail(&fault);
        return None;
    }
    Some(Some(found))
}

/// Takes a log out of the way that has no place here. What is in it may be all that is left of it: it is the
/// operator's to delete.
fn keep_stray(dir: &Dir, log: Log, why: &str) {
    let from = log.reader().path();
    match dir.dir.stray_log(log) {
        Ok(to) => tracing::warn!(
            "{} is a stray: {why}. It is kept as {}: delete that directory if its data is not needed; to get it \
             back, stop the broker, give the directory its old name and start with the right metadata",
            from.display(),
            to.display()
        ),
        Err(fault) => dir.fail(&fault),
    }
}

fn standing(image: &Image) -> Brokers {
    Brokers::new(
        image
            .brokers
            .values()
            .map(|broker| (broker.id, BrokerStanding { epoch: broker.epoch, active: broker.is_active() })),
    )
}

fn leadership(replica: &Replica, leads: Option<LeaderEpoch>) -> Leadership {
    Leadership { partition: replica.name.clone(), topic_id: replica.topic_id, leads }
}
