//! Runs a machine on raft-rs over RocksDB.
