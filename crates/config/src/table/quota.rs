//! Client quotas.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { QUOTA: Quota;
    accepted "consumer_byte_rate": Long = "9223372036854775807", Any, Medium, Dynamic;
        "Bytes per second a user or client may fetch from a broker."
    accepted "controller_mutation_rate": Double = "2.147483647E9", Any, Medium, Dynamic;
        "Partitions per second a user or client may create or delete."
    accepted "producer_byte_rate": Long = "9223372036854775807", Any, Medium, Dynamic;
        "Bytes per second a user or client may produce to a broker."
    accepted "request_percentage": Double = "2.147483647E9", Any, Medium, Dynamic;
        "Share of the broker's time a user or client may use."
}
