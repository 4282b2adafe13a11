//! What changed between two images, found by identity of what they share.

use std::sync::Arc;

use crate::{Image, Topic};

/// Topics that differ. A topic deleted and created anew under its name stands in both lists, by id.
#[derive(Clone, Debug, Default)]
pub struct TopicsDelta {
    /// Only in the newer image.
    pub created: Vec<Arc<Topic>>,
    /// In both, but some partition differs: (before, after).
    pub changed: Vec<(Arc<Topic>, Arc<Topic>)>,
    /// Only in the older image.
    pub deleted: Vec<Arc<Topic>>,
}

impl TopicsDelta {
    /// From `old` to `new`. Costs what changed (and the hash neighbours of what changed), not what exists.
    #[must_use]
    pub fn between(old: &Image, new: &Image) -> Self {
        let mut delta = Self::default();
        new.topics.differences(&old.topics, |before, after| match (before, after) {
            (Some(before), Some(after)) => delta.changed.push((Arc::clone(before), Arc::clone(after))),
            (None, Some(after)) => delta.created.push(Arc::clone(after)),
            (Some(before), None) => delta.deleted.push(Arc::clone(before)),
            (None, None) => {}
        });
        delta
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.changed.is_empty() && self.deleted.is_empty()
    }
}
