//! Log segments on disk, RocksDB indexes, recovery.
