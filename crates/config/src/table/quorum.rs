//! The process, its quorum and the metadata log.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { QUORUM: Broker;
    done "broker.heartbeat.interval.ms": Int = "2000", Any, Medium, ReadOnly;
        "How often a broker sends a heartbeat to the controller."
    done "broker.id": Int = "-1", Any, High, ReadOnly;
        "Older name of node.id."
    done "broker.rack": String = null, Any, Medium, ReadOnly;
        "The rack this broker stands in, for placement and for fetching from near replicas."
    done "broker.session.timeout.ms": Int = "9000", Any, Medium, ReadOnly;
        "A broker without a heartbeat for this long is fenced."
    accepted "config.providers": List = "", Any, Low, ClusterWide;
        "Names of the providers that fill in ${...} values of the configuration."
    done "controlled.shutdown.enable": Boolean = "true", Any, Medium, ReadOnly;
        "Moves leaders to other brokers before the process ends."
    done "controller.listener.names": List = required, NonEmptyList, High, ReadOnly;
        "Names of the listeners that belong to the controller."
    accepted "controller.performance.always.log.threshold.ms": Long = "2000", AtLeast(0), Medium, ReadOnly, internal;
        "Controller events slower than this are always logged."
    accepted "controller.performance.sample.period.ms": Long = "60000", AtLeast(100), Medium, ReadOnly, internal;
        "How often the controller logs a summary of its event times."
    accepted "controller.quorum.append.linger.ms": Int = "25", AtLeast(0), Medium, ReadOnly;
        "How long the leader of the quorum gathers writes before it flushes them."
    done "controller.quorum.auto.join.enable": Boolean = "false", Any, Low, ReadOnly;
        "Lets a controller add itself to the voters of a dynamic quorum, in place of its older incarnation (KIP-1186)."
    done "controller.quorum.bootstrap.servers": List = "", NonEmptyList, High, ReadOnly;
        "Where the controllers of a dynamic quorum are found, host:port (KIP-853)."
    accepted "controller.quorum.election.backoff.max.ms": Int = "1000", AtLeast(0), High, ReadOnly;
        "Longest random wait after a failed election."
    done "controller.quorum.election.timeout.ms": Int = "1000", AtLeast(0), High, ReadOnly;
        "How long a voter waits for a leader before it starts an election."
    accepted "controller.quorum.fetch.max.bytes": Int = "1048576", AtLeast(1), Low, ReadOnly;
        "Most bytes of the metadata log one fetch of the quorum brings."
    accepted "controller.quorum.fetch.snapshot.max.bytes": Int = "1048576", AtLeast(1), Low, ReadOnly;
        "Most bytes of a metadata snapshot one fetch brings."
    done "controller.quorum.fetch.timeout.ms": Int = "2000", AtLeast(0), High, ReadOnly;
        "How long a voter goes without hearing from the leader before it starts an election."
    done "controller.quorum.request.timeout.ms": Int = "2000", AtLeast(0), Medium, ReadOnly;
        "How long a controller that adds itself to the voters lets the leader try."
    accepted "controller.quorum.retry.backoff.ms": Int = "20", AtLeast(0), Low, ReadOnly;
        "Wait before a failed quorum request is sent again."
    done "controller.quorum.voters": List = "", NonEmptyList, High, ReadOnly;
        "The controllers of a static quorum, id@host:port."
    accepted "controller.quota.window.num": Int = "11", AtLeast(1), Low, ReadOnly;
        "Samples kept for the quota of topic changes."
    accepted "controller.quota.window.size.seconds": Int = "1", AtLeast(1), Low, ReadOnly;
        "Length of a sample of the quota of topic changes."
    accepted "controller.socket.timeout.ms": Int = "30000", Any, Medium, ReadOnly;
        "Socket timeout between controller and brokers."
    done "initial.broker.registration.timeout.ms": Int = "60000", Any, Medium, ReadOnly;
        "The process ends when it could not register with the controller for this long."
    accepted "internal.metadata.delete.delay.millis": Long = "60000", Any, Low, ReadOnly, internal;
        "Wait before deleted files of the metadata log are unlinked."
    accepted "internal.metadata.log.segment.bytes": Int = null, Any, Low, ReadOnly, internal;
        "Segment size of the metadata log, for tests."
    accepted "internal.metadata.max.batch.size.in.bytes": Int = "8388608", Any, Low, ReadOnly, internal;
        "Largest batch of the metadata log."
    done "metadata.log.dir": String = null, Any, High, ReadOnly;
        "Directory of the metadata log; without it, the first of log.dirs."
    done "metadata.log.max.record.bytes.between.snapshots": Long = "20971520", AtLeast(1), High, ReadOnly;
        "Bytes of metadata after which a snapshot is written."
    done "metadata.log.max.snapshot.interval.ms": Long = "3600000", AtLeast(0), High, ReadOnly;
        "Longest time between two metadata snapshots."
    done "metadata.log.segment.bytes": Int = "1073741824", AtLeast(8_388_608), High, ReadOnly;
        "Size at which a segment of the metadata log is sealed."
    done "metadata.log.segment.ms": Long = "604800000", Any, High, ReadOnly;
        "Time after which a segment of the metadata log is sealed."
    accepted "metadata.max.idle.interval.ms": Int = "500", AtLeast(0), Low, ReadOnly;
        "How often an idle controller writes an empty record."
    done "metadata.max.retention.bytes": Long = "104857600", Any, High, ReadOnly;
        "Bytes of metadata log and snapshots that are kept."
    done "metadata.max.retention.ms": Long = "604800000", Any, High, ReadOnly;
        "How long metadata log and snapshots are kept."
    done "node.id": Int = required, AtLeast(0), High, ReadOnly;
        "The id of this process in the cluster."
    done "process.roles": List = required, ListOf(&["broker", "controller"]), High, ReadOnly;
        "What this process is: broker, controller or both."
    accepted "server.max.startup.time.ms": Long = "9223372036854775807", AtLeast(0), Medium, ReadOnly, internal;
        "Start-up is given up after this time."
    accepted "unstable.api.versions.enable": Boolean = "false", Any, High, ReadOnly, internal;
        "Offers request versions that are not final yet."
    accepted "unstable.feature.versions.enable": Boolean = "false", Any, High, ReadOnly, internal;
        "Allows feature levels that are not final yet."
}
