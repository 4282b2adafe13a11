//! Topics by id and by name.

use std::sync::Arc;

use ottla_types::TopicId;

use crate::{Partition, shards::Shards};

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, new with every creation.
    pub id: TopicId,
    /// Its partitions; the index is the partition's number. A partition is replaced as a whole when it changes, so two
    /// images share the ones that did not.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get(index))
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("partition numbers are i32 when they are created")
    }

    /// Partitions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Arc<Partition>)> {
        (0..).zip(&self.partitions)
    }
}

/// All topics. A clone shares everything with the original and costs some hundred reference counts.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    by_id: Shards<TopicId, Arc<Topic>>,
    by_name: Shards<Arc<str>, Arc<Topic>>,
    partitions: usize,
}

impl Topics {
    /// The topic of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, in no useful order (the same for the same history).
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.values()
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.len() == 0
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    pub(crate) fn put(&mut self, topic: Topic) {
        self.remove(topic.id);
        self.partitions += topic.partitions.len();
        let topic = Arc::new(topic);
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    pub(crate) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        self.partitions -= topic.partitions.len();
        Some(topic)
    }

    /// Changes a topic in place where nobody else holds it, else a copy of it.
    pub(crate) fn update(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) -> bool {
        let Some(mut topic) = self.remove(id) else { return false };
        change(Arc::make_mut(&mut topic));
        self.partitions += topic.partitions.len();
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(id, topic);
        true
    }

    /// Pairs of what differs by identity: (before, after).
    pub(crate) fn differences<'a>(
        &'a self,
        old: &'a Self,
        mut each: impl FnMut(Option<&'a Arc<Topic>>, Option<&'a Arc<Topic>>),
    ) {
        self.by_id.differences(&old.by_id, |before, after| {
            if !matches!((before, after), (Some(a), Some(b)) if Arc::ptr_eq(a, b)) {
                each(before, after);
            }
        });
    }
}
