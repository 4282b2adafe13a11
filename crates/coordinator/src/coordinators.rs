//! All shards of this broker: which there are, which one a group belongs to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ottla_groups::{Answer, Command, Groups, ListGroups, ListedGroup};
use ottla_metadata::{Image, TopicsDelta};
use ottla_types::{Clock, ErrorCode, LeaderEpoch, Millis, TopicId};
use parking_lot::{Mutex, RwLock};

use crate::{
    CoordinatorConfig, OFFSETS_TOPIC, OffsetsLog, OffsetsTopic, Pending,
    load::bring_back,
    shard::{Shard, World},
    timer::{self, Alarm},
};

/// The group coordinators of this broker.
pub struct Coordinators {
    config: CoordinatorConfig,
    world: Arc<World>,
    shards: RwLock<Shards>,
    /// The image that was followed last.
    image: Mutex<Arc<Image>>,
    alarm: Arc<Alarm>,
    closed: AtomicBool,
}

struct Shards {
    /// Partitions of the topic; what it is to have as long as it does not exist.
    partitions: i32,
    /// The topic that those led are of.
    topic: Option<TopicId>,
    led: BTreeMap<i32, Arc<Shard>>,
}

/// The groups of this broker that a filter let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// `NONE`, or `COORDINATOR_LOAD_IN_PROGRESS` when some groups are not known yet.
    pub error: ErrorCode,
    /// The groups that are known.
    pub groups: Vec<ListedGroup>,
}

impl Coordinators {
    /// Coordinators without a partition; [`apply_image`](Self::apply_image) gives them theirs. `rng` is for member ids.
    #[must_use]
    pub fn start(
        config: CoordinatorConfig,
        log: Arc<dyn OffsetsLog>,
        clock: Arc<dyn Clock>,
        rng: Box<dyn FnMut() -> u64 + Send>,
        runtime: tokio::runtime::Handle,
    ) -> Arc<Self> {
        let partitions = config.offsets_topic.partitions;
        let shards = Shards { partitions, topic: None, led: BTreeMap::new() };
        let alarm = Arc::new(Alarm::default());
        let world = Arc::new(World { log, clock, rng: Mutex::new(rng), runtime: runtime.clone() });
        let coordinators = Arc::new(Self {
            config,
            world,
            shards: RwLock::new(shards),
            image: Mutex::new(Arc::new(Image::new())),
            alarm: alarm.clone(),
            closed: AtomicBool::new(false),
        });
        runtime.spawn(timer::run(Arc::downgrade(&coordinators), alarm));
        coordinators
    }

    /// How `__consumer_offsets` is to be made.
    #[must_use]
    pub fn offsets_topic(&self) -> &OffsetsTopic {
        &self.config.offsets_topic
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &CoordinatorConfig {
        &self.config
    }

    /// Takes a command to the shard of its group. When this returns, the command's effects are ordered.
    #[must_use]
    pub fn submit(&self, group_id: &str, command: Command) -> Pending {
        let shard = {
            let shards = self.shards.read();
            shards.led.get(&OffsetsTopic::partition_of(group_id, shards.partitions)).cloned()
        };
        let Some(shard) = shard else { return Pending::Now(Err(ErrorCode::NOT_COORDINATOR)) };
        let pending = shard.submit(command);
        self.alarm.at(shard.deadline());
        pending
    }

    /// The groups of all shards.
    pub async fn list(&self, filter: &ListGroups) -> Listing {
        let shards: Vec<Arc<Shard>> = self.shards.read().led.values().cloned().collect();
        let pending: Vec<Pending> =
            shards.iter().map(|shard| shard.submit(Command::ListGroups(filter.clone()))).collect();
        let mut listing = Listing { error: ErrorCode::NONE, groups: Vec::new() };
        for pending in pending {
            match pending.outcome().await {
                Ok(Answer::List(groups)) => listing.groups.extend(groups),
                Ok(_) => unreachable!("a list is answered with a list"),
                Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => {
                    listing.error = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
                }
                // Moved away while it was asked, so its new coordinator lists it; or it cannot be read yet, and nobody
                // knows its groups.
                Err(_) => {}
            }
        }
        listing.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        listing
    }

    /// Follows the cluster: partitions of `__consumer_offsets` that are newly led here are loaded, those that are not any
    /// more are let go, offsets of deleted topics are dropped. To be called after the replicas have followed.
    pub fn apply_image(&self, image: &Arc<Image>) {
        let mut last = self.image.lock();
        let before = std::mem::replace(&mut *last, image.clone());
        self.follow_leadership(image);
        let deleted: Vec<Arc<str>> =
            TopicsDelta::between(&before, image).deleted.iter().map(|topic| topic.name.clone()).collect();
        if !deleted.is_empty() {
            let shards: Vec<Arc<Shard>> = self.shards.read().led.values().cloned().collect();
            for shard in shards {
                shard.topics_deleted(&deleted);
                self.alarm.at(shard.deadline());
            }
        }
        drop(last);
    }

    fn follow_leadership(&self, image: &Image) {
        let mut mine: BTreeMap<i32, LeaderEpoch> = BTreeMap::new();
        if let Some(topic) = image.topic(OFFSETS_TOPIC) {
            let here = topic.iter().filter(|(_, partition)| partition.leader == self.config.node_id);
            mine.extend(here.map(|(index, partition)| (index, partition.leader_epoch)));
        }
        let mut shards = self.shards.write();
        shards.partitions = image
            .topic(OFFSETS_TOPIC)
            .map_or(self.config.offsets_topic.partitions, |topic| topic.partition_count());
        // Deleted and made anew since the last image, the topic has nothing of what was read of the one before.
        let topic = image.topic(OFFSETS_TOPIC).map(|topic| topic.id);
        let same = std::mem::replace(&mut shards.topic, topic) == topic;
        shards.led.retain(|index, shard| {
            let stays = same && mine.get(index).is_some_and(|epoch| shard.leads_on(*epoch));
            if !stays {
                shard.close(ErrorCode::NOT_COORDINATOR);
            }
            stays
        });
        let mut new = Vec::new();
        for (index, epoch) in mine {
            shards.led.entry(index).or_insert_with(|| {
                let shard = Arc::new(Shard::new(index, epoch, self.world.clone()));
                new.push(shard.clone());
                shard
            });
        }
        drop(shards);
        for shard in new {
            self.open(shard);
        }
    }

    /// Reads a shard back: at once when there is nothing to read; else when what is to be read is certain to stay.
    fn open(&self, shard: Arc<Shard>) {
        let config = self.config.groups.clone();
        if self.world.log.bounds(shard.partition).is_ok_and(|bounds| bounds.is_empty()) {
            shard.activate(Groups::new(config));
            return;
        }
        self.world.runtime.spawn(bring_back(shard, config, self.alarm.clone()));
    }

    /// Lets go of every partition and fails all who wait. Nothing is accepted afterwards.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let led = std::mem::take(&mut self.shards.write().led);
        for shard in led.values() {
            shard.close(ErrorCode::NOT_COORDINATOR);
        }
        self.alarm.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Millis {
        self.world.clock.ticks()
    }

    /// The earliest deadline of all shards.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.shards.read().led.values().filter_map(|shard| shard.deadline()).min()
    }

    /// Does what is due, in every shard.
    pub(crate) fn on_deadline(&self) {
        let now = self.now();
        let due: Vec<Arc<Shard>> = self
            .shards
            .read()
            .led
            .values()
            .filter(|shard| shard.deadline().is_some_and(|at| at <= now))
            .cloned()
            .collect();
        for shard in due {
            shard.on_deadline();
        }
    }
}

impl Drop for Coordinators {
    fn drop(&mut self) {
        // Shards that are being read back, or wait for the log, end with us.
        self.close();
    }
}
