//! Kafka's bytes for the facts.
