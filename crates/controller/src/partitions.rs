//! Changes of partitions within a decision: of one that a request names, or of all that an event touches.

use std::sync::Arc;

use ottla_config::Layers;
use ottla_metadata::{Image, Partition, Topic};
use ottla_types::{NodeId, TopicId};

use crate::{
    State, Turn,
    bootstrap::MIN_ISR,
    directories::is_online,
    leadership::{Change, Rules},
};

/// The configuration that allows unclean elections.
pub(crate) const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

/// Which partitions an event touches, and what it means for brokers.
#[derive(Clone, Copy)]
pub(crate) struct Affected<'a> {
    /// Whether it touches a partition.
    pub(crate) which: &'a dyn Fn(&Partition) -> bool,
    /// A broker that leaves the in-sync sets it is in, and may not lead.
    pub(crate) without: Option<NodeId>,
    /// Whether that broker may have lost records: then it is not eligible either.
    pub(crate) unclean: bool,
    /// A broker that is back, though its registration does not say so yet.
    pub(crate) back: Option<NodeId>,
    /// At most so many changes.
    pub(crate) limit: usize,
}

impl<'a> Affected<'a> {
    /// Touches those, and means nothing.
    pub(crate) fn which(which: &'a dyn Fn(&Partition) -> bool) -> Self {
        Self { which, without: None, unclean: false, back: None, limit: usize::MAX }
    }
}

impl State {
    /// The finalized `metadata.version`.
    pub(crate) fn level(&self) -> i16 {
        self.image.feature_level(ottla_metadata::feature::METADATA_VERSION)
    }

    /// The broker's configuration as this node knows it.
    pub(crate) fn layers(&self) -> Layers {
        let configs = &self.image.configs;
        Layers::new(
            self.settings.config.clone(),
            configs.broker_default().as_ref().clone(),
            configs.broker(self.settings.node_id).as_ref().clone(),
        )
    }

    /// The rules of topics that set nothing of their own.
    fn default_rules(&self) -> Rules {
        let layers = self.layers();
        Rules {
            min_isr: usize::try_from(layers.int(MIN_ISR)).unwrap_or(1),
            unclean_election: layers.flag(UNCLEAN_ELECTION),
            elr_enabled: self.elr_enabled(),
            level: self.level(),
        }
    }

    /// The rules of a topic.
    fn rules(&self, default: Rules, topic: &Topic) -> Rules {
        let own = self.image.configs.topic(&topic.name);
        let min_isr = own.get(MIN_ISR).and_then(|value| value.trim().parse().ok());
        let unclean = own.get(UNCLEAN_ELECTION).map(|value| value.trim().eq_ignore_ascii_case("true"));
        let replicas = topic.partitions.first().map_or(usize::MAX, |partition| partition.replicas.len());
        Rules {
            min_isr: min_isr.unwrap_or(default.min_isr).min(replicas),
            unclean_election: unclean.unwrap_or(default.unclean_election),
            ..default
        }
    }

    /// Whether a broker is up.
    pub(crate) fn is_active(&self, node: NodeId) -> bool {
        self.image.broker(node).is_some_and(|broker| broker.is_active())
    }
}

/// Whether the log dir that holds a broker's replica works.
fn dir_online(image: &Image, partition: &Partition, node: NodeId) -> bool {
    let dir = partition.directory_of(node);
    dir.is_none_or(|dir| image.broker(node).is_some_and(|broker| is_online(broker, dir)))
}

impl Turn<'_, '_> {
    /// A partition with what this decision has changed of it already.
    pub(crate) fn partition(&self, topic: &Topic, index: i32) -> Option<Arc<Partition>> {
        self.touched.get(&(topic.id, index)).or_else(|| topic.partition(index)).cloned()
    }

    /// The rules of a topic. What holds for all is read once for a decision.
    pub(crate) fn rules(&mut self, topic: &Topic) -> Rules {
        let state = self.state;
        state.rules(*self.rules.get_or_insert_with(|| state.default_rules()), topic)
    }

    /// Changes a partition; what becomes of it, `None` when nothing changes.
    pub(crate) fn change(
        &mut self,
        topic: &Topic,
        index: i32,
        intent: impl FnOnce(&mut Change<'_>),
    ) -> Option<Arc<Partition>> {
        self.change_where(topic, index, |_| true, intent)
    }

    /// The same where a broker that is still up may not lead.
    pub(crate) fn change_without(
        &mut self,
        topic: &Topic,
        index: i32,
        without: NodeId,
        intent: impl FnOnce(&mut Change<'_>),
    ) -> Option<Arc<Partition>> {
        self.change_where(topic, index, |node| node != without, intent)
    }

    fn change_where(
        &mut self,
        topic: &Topic,
        index: i32,
        may: impl Fn(NodeId) -> bool,
        intent: impl FnOnce(&mut Change<'_>),
    ) -> Option<Arc<Partition>> {
        let state = self.state;
        let old = self.partition(topic, index)?;
        let rules = self.rules(topic);
        let may_lead = |node| may(node) && state.is_active(node) && dir_online(&state.image, &old, node);
        let new_dir = |node| state.new_dir(node);
        let mut change = Change::new(&old, rules, &may_lead, &new_dir);
        intent(&mut change);
        let record = change.record(topic.id, index)?;
        let mut after = Partition::clone(&old);
        after.apply(&record);
        self.facts.push(state.fact(record));
        let after = Arc::new(after);
        self.touched.insert((topic.id, index), Arc::clone(&after));
        Some(after)
    }

    /// Changes every partition that is touched, all in this decision. Whether the limit was reached.
    pub(crate) fn change_partitions(&mut self, affected: &Affected<'_>) -> bool {
        let state = self.state;
        let up = |node: NodeId| {
            Some(node) != affected.without && (Some(node) == affected.back || state.is_active(node))
        };
        let new_dir = |node| state.new_dir(node);
        let mut made = 0;
        for topic in touched(&state.image, affected.which) {
            let rules = self.rules(topic);
            for (index, partition) in topic.iter().filter(|(_, partition)| (affected.which)(partition)) {
                if made == affected.limit {
                    return true;
                }
                let may_lead = |node| up(node) && dir_online(&state.image, partition, node);
                let mut change = Change::new(partition, rules, &may_lead, &new_dir);
                change.isr.retain(|node| Some(*node) != affected.without);
                change.unclean = affected.without.filter(|_| affected.unclean);
                if let Some(record) = change.record(topic.id, index) {
                    made += 1;
                    self.facts.push(state.fact(record));
                }
            }
        }
        false
    }
}

/// Topics with a partition that is meant, by name: the order of facts depends on nothing else.
pub(crate) fn touched<'a>(image: &'a Image, which: &dyn Fn(&Partition) -> bool) -> Vec<&'a Arc<Topic>> {
    let any = |topic: &&Arc<Topic>| topic.partitions.iter().any(|partition| which(partition));
    let mut topics: Vec<&Arc<Topic>> = image.topics.iter().filter(any).collect();
    topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    topics
}

/// What a decision has changed of partitions so far.
pub(crate) type Touched = std::collections::HashMap<(TopicId, i32), Arc<Partition>>;
