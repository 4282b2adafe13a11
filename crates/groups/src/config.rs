//! What of the broker's configuration the rules depend on.

/// Limits and times of the group coordinator. Every field is named after the key that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsConfig {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members a group may have.
    pub max_size: usize,
    /// How long a join of a member that has no id yet may wait. Kafka has it fixed at five minutes.
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`. Kafka counts UTF-16 code units, whatever the key says, and so does this.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: the least time between two looks at one group's offsets.
    pub offsets_retention_check_interval_ms: i64,
}

impl GroupsConfig {
    pub(crate) fn allows_session(&self, session_timeout_ms: i32) -> bool {
        (self.min_session_timeout_ms..=self.max_session_timeout_ms).contains(&session_timeout_ms)
    }
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            new_member_join_timeout_ms: 300_000,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}
