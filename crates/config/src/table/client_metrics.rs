//! Client metrics subscriptions (KIP-714).
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { CLIENT_METRICS: ClientMetrics;
    accepted "interval.ms": Int = "300000", Any, Medium, Dynamic;
        "How often matching clients push their metrics."
    accepted "match": List = "", Any, Medium, Dynamic;
        "Which clients the subscription is for."
    accepted "metrics": List = "", Any, Medium, Dynamic;
        "Prefixes of the metrics that are pushed."
}
