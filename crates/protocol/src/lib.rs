//! Kafka's messages and persisted records as bytes: headers, the guard, all versions.
