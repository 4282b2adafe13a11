//! Puts a new metadata image into effect on this node, in one order: replicas, coordinators, then everyone else.
//!
//! Whoever sees a topic in the published image finds its replicas ready.

use std::sync::Arc;

use ottla_coordinator::Coordinators;
use ottla_metadata::{Image, ImageCell};
use ottla_replica::ReplicaManager;
use ottla_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What follows the image on a broker.
pub(crate) type Followers = (Arc<ReplicaManager>, Arc<Coordinators>);

/// Applies images, newest last.
pub(crate) struct Applier {
    /// `None` on a node that is no broker.
    followers: Option<Followers>,
    cell: Arc<ImageCell>,
    gate: Mutex<Gate>,
    /// The newest image, applied or not.
    seen: watch::Sender<Arc<Image>>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    newest: Option<Arc<Image>>,
}

impl Applier {
    pub(crate) fn new(followers: Option<Followers>, cell: Arc<ImageCell>) -> Arc<Self> {
        // Without replicas nothing can be taken for what it is not.
        let gate = Gate { open: followers.is_none(), newest: None };
        Arc::new(Self {
            followers,
            cell,
            gate: Mutex::new(gate),
            seen: watch::Sender::new(Arc::new(Image::new())),
        })
    }

    /// A newer image; applied now, or when the gate opens.
    pub(crate) fn publish(&self, image: Arc<Image>) {
        let mut gate = self.gate.lock();
        if gate.open {
            self.apply(&image);
        }
        gate.newest = Some(image.clone());
        drop(gate);
        self.seen.send_replace(image);
    }

    /// Returns when the newest image tells of the start of `broker` that got this epoch.
    pub(crate) async fn registers(&self, broker: NodeId, epoch: i64) {
        // It fails only when there is no sender any more, which is here.
        let _ = self.seen.subscribe().wait_for(|seen| tells_of(seen, broker, epoch)).await;
    }

    /// Everything committed before this start is in the newest image, and this start itself. Before that nothing may be
    /// applied: a log whose topic is not yet in the image would be taken for one whose topic was deleted, and what this
    /// broker led and was in sync with in an earlier life it no longer may.
    pub(crate) fn open(&self) {
        let mut gate = self.gate.lock();
        gate.open = true;
        if let Some(image) = gate.newest.clone() {
            self.apply(&image);
        }
    }

    fn apply(&self, image: &Arc<Image>) {
        if let Some((replicas, coordinators)) = &self.followers {
            replicas.apply_image(image);
            coordinators.apply_image(image);
        }
        self.cell.publish(image.clone());
    }
}

/// Whether an image has the registration that got this epoch, or a later one, or has seen it go. The epoch is the offset of
/// the registration, but with some of Kafka's controllers only about that.
fn tells_of(image: &Image, broker: NodeId, epoch: i64) -> bool {
    image.position.offset >= epoch && image.broker(broker).is_none_or(|known| known.epoch >= epoch)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_coordinator::{CoordinatorConfig, ReplicasLog};
    use ottla_metadata::Fact;
    use ottla_protocol::persisted::metadata::{PartitionRecord, RegisterBrokerRecord, TopicRecord};
    use ottla_replica::ReplicaOptions;
    use ottla_storage::{DirOptions, LogDir, MetaProperties};
    use ottla_types::{Clock, Millis, SystemClock};
    use uuid::Uuid;

    use super::*;

    /// What an earlier life left: broker 1, registered with epoch 10, leads the topic's one partition.
    fn earlier() -> Image {
        let topic = Uuid::from_u128(7);
        let partition = PartitionRecord::default()
            .with_topic_id(topic)
            .with_partition_id(0)
            .with_replicas(vec![1, 2])
            .with_isr(vec![1, 2])
            .with_leader(1);
        let mut image = Image::new();
        let register = RegisterBrokerRecord::default().with_broker_id(1).with_broker_epoch(10);
        image.apply(&Fact::at_level(register, i16::MAX));
        image.apply(&Fact::at_level(
            TopicRecord::default().with_name("t".into()).with_topic_id(topic),
            i16::MAX,
        ));
        image.apply(&Fact::at_level(partition, i16::MAX));
        at(image, 30)
    }

    fn at(mut image: Image, offset: i64) -> Image {
        image.position.offset = offset;
        image
    }

    fn registered(mut image: Image, epoch: i64) -> Image {
        let register = RegisterBrokerRecord::default().with_broker_id(1).with_broker_epoch(epoch);
        image.apply(&Fact::at_level(register, i16::MAX));
        at(image, epoch)
    }

    #[test]
    fn an_earlier_life_is_not_this_one() {
        assert!(!tells_of(&earlier(), 1, 40));
        assert!(!tells_of(&at(earlier(), 50), 1, 40), "the offset alone says nothing");
        assert!(tells_of(&registered(earlier(), 40), 1, 40));
        assert!(tells_of(&registered(earlier(), 60), 1, 40), "another process has taken the place");
        assert!(tells_of(&at(Image::new(), 50), 1, 40), "it was unregistered");
    }

    #[tokio::test]
    async fn nothing_is_led_before_this_start_is_in_the_image() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let meta = MetaProperties { cluster_id: "test".into(), node_id: 1, directory_id: None };
        meta.format(home.path()).expect("formats");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let dir = LogDir::open(home.path(), DirOptions::default(), clock.clone()).expect("opens");
        let replicas = ReplicaManager::open(ReplicaOptions::new(1), vec![dir], clock.clone()).expect("opens");
        let log = Arc::new(ReplicasLog::new(replicas.clone(), Duration::from_secs(5)));
        let runtime = tokio::runtime::Handle::current();
        let coordinators =
            Coordinators::start(CoordinatorConfig::new(1), log, clock, Box::new(|| 1), runtime);
        let cell = Arc::new(ImageCell::default());
        let applier = Applier::new(Some((replicas.clone(), coordinators)), cell.clone());

        applier.publish(Arc::new(earlier()));
        let waiting = tokio::spawn({
            let applier = applier.clone();
            async move { applier.registers(1, 40).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(replicas.topic("t").is_none() && cell.load().topic("t").is_none());

        let mut image = registered(earlier(), 40);
        let partition = PartitionRecord::default()
            .with_topic_id(Uuid::from_u128(7))
            .with_partition_id(0)
            .with_replicas(vec![1, 2])
            .with_isr(vec![2])
            .with_leader(2)
            .with_leader_epoch(1);
        image.apply(&Fact::at_level(partition, i16::MAX));
        image.position.timestamp = Millis(0);
        applier.publish(Arc::new(image));
        waiting.await.expect("it is told");
        applier.open();
        let replica = replicas.topic("t").and_then(|topic| topic.partition(0).cloned()).expect("hosted");
        assert!(!replica.view().is_leader && cell.load().topic("t").is_some());
    }
}
