//! Listeners, sockets, requests, quotas, telemetry.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { NETWORK: Broker;
    done "advertised.listeners": List = null, Any, High, ReadOnly;
        "Addresses handed to clients; without it, the listeners themselves."
    accepted "background.threads": Int = "10", AtLeast(1), High, ClusterWide;
        "Threads for housekeeping."
    accepted "client.quota.callback.class": Class = null, Any, Low, ReadOnly;
        "Java class that computes client quotas."
    accepted "connection.failed.authentication.delay.ms": Int = "100", AtLeast(0), Low, ReadOnly;
        "Wait before a connection that failed to authenticate is closed."
    done "connections.max.idle.ms": Long = "600000", Any, Medium, ReadOnly;
        "Connections idle for this long are closed."
    accepted "connections.max.reauth.ms": Long = "0", Any, Medium, ReadOnly;
        "How long a SASL session lives before the client has to authenticate again (KIP-368)."
    accepted "early.start.listeners": List = null, Any, High, ReadOnly;
        "Listeners that open before the authorizer is ready."
    done "fetch.max.bytes": Int = "57671680", AtLeast(1024), Medium, ReadOnly;
        "Most bytes a Fetch response carries, whatever the client asks for."
    accepted "fetch.purgatory.purge.interval.requests": Int = "1000", Any, Medium, ReadOnly;
        "Kafka's tuning of waiting fetches; nothing here needs it."
    done "inter.broker.listener.name": String = null, Any, Medium, ReadOnly;
        "The listener brokers use among themselves."
    accepted "kafka.metrics.polling.interval.secs": Int = "10", AtLeast(1), Low, ReadOnly;
        "How often Kafka's own metrics reporters are called."
    accepted "kafka.metrics.reporters": List = "", Any, Low, ReadOnly;
        "Java classes that report Kafka's own metrics."
    done "listener.security.protocol.map": String = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Any, Low, PerBroker;
        "Which protocol each listener name speaks, NAME:PROTOCOL."
    done "listeners": List = "PLAINTEXT://:9092", NonEmptyList, High, PerBroker;
        "Addresses the process listens on, NAME://host:port."
    accepted "max.connection.creation.rate": Int = "2147483647", AtLeast(0), Medium, ClusterWide;
        "New connections accepted per second; per listener with its prefix."
    done "max.connections": Int = "2147483647", AtLeast(0), Medium, ClusterWide;
        "Connections the process accepts; per listener with its prefix."
    done "max.connections.per.ip": Int = "2147483647", AtLeast(0), Medium, ClusterWide;
        "Connections accepted from one address."
    done "max.connections.per.ip.overrides": String = "", Any, Medium, ClusterWide;
        "Connections accepted from named addresses, host:count."
    done "max.incremental.fetch.session.cache.slots": Int = "1000", AtLeast(0), Medium, ReadOnly;
        "Fetch sessions the broker keeps (KIP-227)."
    done "max.request.partition.size.limit": Int = "2000", AtLeast(1), Medium, ReadOnly;
        "Partitions one DescribeTopicPartitions response carries at most."
    accepted "metric.reporters": List = "org.apache.kafka.common.metrics.JmxReporter", Any, Low, ClusterWide;
        "Java classes that report metrics; the broker serves its metrics over HTTP instead."
    accepted "metrics.num.samples": Int = "2", AtLeast(1), Low, ReadOnly;
        "Samples kept to compute a metric."
    accepted "metrics.recording.level": String = "INFO", Any, Low, ReadOnly;
        "Lowest level of metrics that are recorded."
    accepted "metrics.sample.window.ms": Long = "30000", AtLeast(1), Low, ReadOnly;
        "Length of a metrics sample."
    accepted "num.io.threads": Int = "8", AtLeast(1), High, ClusterWide;
        "Threads that handle requests; here they are handled where they are read."
    accepted "num.network.threads": Int = "3", AtLeast(1), High, ClusterWide;
        "Threads that read and write connections, shared by all listeners."
    done "queued.max.request.bytes": Long = "-1", Any, Medium, ReadOnly;
        "Memory for requests that were read and are not answered yet, over all connections; -1 lets the broker choose (256 MiB). An eighth of it is kept for requests of up to 16 KiB."
    accepted "queued.max.requests": Int = "500", AtLeast(1), High, ReadOnly;
        "Requests that may wait before reading stops."
    accepted "quota.window.num": Int = "11", AtLeast(1), Low, ReadOnly;
        "Samples kept for client quotas."
    accepted "quota.window.size.seconds": Int = "1", AtLeast(1), Low, ReadOnly;
        "Length of a sample of client quotas."
    accepted "request.timeout.ms": Int = "30000", Any, High, ReadOnly;
        "How long the broker waits for an answer to its own requests."
    done "security.inter.broker.protocol": String = "PLAINTEXT", OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly;
        "Protocol of the listener brokers use among themselves, when it is not named."
    accepted "socket.connection.setup.timeout.max.ms": Long = "30000", Any, Medium, ReadOnly;
        "Longest time for an outbound connection to be set up."
    accepted "socket.connection.setup.timeout.ms": Long = "10000", Any, Medium, ReadOnly;
        "First time limit for an outbound connection to be set up."
    done "socket.listen.backlog.size": Int = "50", AtLeast(1), Medium, ReadOnly;
        "Connections that may wait to be accepted, per listener; the stock 50 leaves it to the system, which may also allow less (net.core.somaxconn)."
    done "socket.receive.buffer.bytes": Int = "102400", Any, High, ReadOnly;
        "Receive buffer of a socket, -1 for the system's choice."
    done "socket.request.max.bytes": Int = "104857600", AtLeast(1), High, ReadOnly;
        "Largest request frame that is accepted."
    done "socket.send.buffer.bytes": Int = "102400", Any, High, ReadOnly;
        "Send buffer of a socket, -1 for the system's choice."
    accepted "telemetry.max.bytes": Int = "1048576", AtLeast(1), Low, ReadOnly;
        "Largest metrics push of a client (KIP-714)."
}
