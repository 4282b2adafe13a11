//! This broker's replicas: append, fetch, waiting.
