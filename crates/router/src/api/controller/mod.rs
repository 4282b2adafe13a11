//! APIs that controllers answer otherwise than brokers: about the quorum instead of about topics.

pub(crate) mod describe_cluster;
pub(crate) mod fetch;
pub(crate) mod leader;
pub(crate) mod list_partition_reassignments;
