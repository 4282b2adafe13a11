//! Every configuration key of Kafka: parsing, defaults, origins, scopes.
