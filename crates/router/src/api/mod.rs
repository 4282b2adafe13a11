//! One file per API.

pub(crate) mod add_raft_voter;
pub(crate) mod allocate_producer_ids;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod api_versions;
pub(crate) mod assign_replicas_to_dirs;
pub(crate) mod broker_changes;
pub(crate) mod broker_heartbeat;
pub(crate) mod broker_registration;
pub(crate) mod controller;
pub(crate) mod controller_registration;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod elect_leaders;
pub(crate) mod envelope;
pub(crate) mod fetch;
pub(crate) mod fetch_snapshot;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leaders;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
#[cfg(test)]
mod loss_tests;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
#[cfg(test)]
mod one_command_tests;
pub(crate) mod operations;
pub(crate) mod ottla_raft;
pub(crate) mod pending;
pub(crate) mod produce;
#[cfg(test)]
pub(crate) mod recorded;
pub(crate) mod remove_raft_voter;
pub(crate) mod sync_group;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
pub(crate) mod told;
pub(crate) mod unregister_broker;
pub(crate) mod unregister_controller;
pub(crate) mod update_features;
pub(crate) mod update_raft_voter;
pub(crate) mod voters;
