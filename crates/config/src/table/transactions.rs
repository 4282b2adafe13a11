//! Transactions and producer ids.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { TRANSACTIONS: Broker;
    accepted "add.partitions.to.txn.retry.backoff.max.ms": Int = "100", AtLeast(0), High, ReadOnly;
        "Longest time the broker itself retries AddPartitionsToTxn."
    accepted "add.partitions.to.txn.retry.backoff.ms": Int = "20", AtLeast(1), High, ReadOnly;
        "Wait between the broker's own retries of AddPartitionsToTxn."
    done "producer.id.expiration.check.interval.ms": Int = "600000", AtLeast(1), Low, ReadOnly, internal;
        "How often idle producer ids are looked for."
    done "producer.id.expiration.ms": Int = "86400000", AtLeast(1), Low, ClusterWide;
        "How long the state of an idle producer id is kept."
    accepted "producer.purgatory.purge.interval.requests": Int = "1000", Any, Medium, ReadOnly;
        "Kafka's tuning of waiting produce requests; nothing here needs it."
    accepted "transaction.abort.timed.out.transaction.cleanup.interval.ms": Int = "10000", AtLeast(1), Low, ReadOnly;
        "How often timed out transactions are looked for."
    accepted "transaction.max.timeout.ms": Int = "900000", AtLeast(1), High, ReadOnly;
        "Longest transaction timeout a producer may ask for."
    accepted "transaction.partition.verification.enable": Boolean = "true", Any, Low, ClusterWide;
        "Checks that a partition belongs to the transaction before its records are taken (KIP-890)."
    accepted "transaction.remove.expired.transaction.cleanup.interval.ms": Int = "3600000", AtLeast(1), Low, ReadOnly;
        "How often expired transactional ids are looked for."
    accepted "transaction.state.log.load.buffer.size": Int = "5242880", AtLeast(1), High, ReadOnly;
        "Batch size while transaction state is loaded."
    accepted "transaction.state.log.min.isr": Int = "2", AtLeast(1), High, ReadOnly;
        "In-sync replicas __transaction_state needs."
    accepted "transaction.state.log.num.partitions": Int = "50", AtLeast(1), High, ReadOnly;
        "Partitions of __transaction_state."
    accepted "transaction.state.log.replication.factor": Short = "3", AtLeast(1), High, ReadOnly;
        "Replicas of __transaction_state."
    accepted "transaction.state.log.segment.bytes": Int = "104857600", AtLeast(1), High, ReadOnly;
        "Segment size of __transaction_state."
    accepted "transaction.two.phase.commit.enable": Boolean = "false", Any, Low, ReadOnly;
        "Allows transactions that take part in two-phase commit (KIP-939)."
    accepted "transactional.id.expiration.ms": Int = "604800000", AtLeast(1), High, ReadOnly;
        "How long an idle transactional id is kept."
}
