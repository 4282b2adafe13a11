//! Where topic ids become names and names become ids.

use std::sync::Arc;

use ottla_metadata::{Image, Topic};
use ottla_types::{ErrorCode, TopicId};

/// Finds a topic that a request names by id (newer versions) or by name (older ones).
///
/// # Errors
/// `UNKNOWN_TOPIC_ID` for an id, `UNKNOWN_TOPIC_OR_PARTITION` for a name that is not there.
pub(crate) fn topic<'a>(image: &'a Image, id: TopicId, name: &str) -> Result<&'a Arc<Topic>, ErrorCode> {
    if id.is_zero() {
        image.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    } else {
        image.topic_by_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
    }
}
