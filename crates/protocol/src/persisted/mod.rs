//! The records Kafka persists: the metadata log and its snapshots, `__consumer_offsets`,
//! `__transaction_state`, `__share_group_state`.
