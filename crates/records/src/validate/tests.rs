//! What Kafka 4.4.0 answered to each of these batches, sent as raw Produce requests; where we differ, it says so.

mod accepted;
mod refused;
mod rewritten;
