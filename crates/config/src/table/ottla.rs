//! Keys Kafka does not have.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { OTTLA: Broker;
    done "ottla.acks.all.fsync": String = "alone", OneOf(&["alone", "always", "never"]), High, ReadOnly;
        "Syncs records to disk before acks=all is answered: alone when no other replica is in sync, always or never."
    done "ottla.log.write.mode": String = "auto", OneOf(&["auto", "buffered", "dontcache"]), Medium, ReadOnly;
        "How segments are written: through the page cache, without keeping pages in it, or what suits the file system."
    done "ottla.tail.cache.bytes": Long = "33554432", AtLeast(0), Medium, ReadOnly;
        "Most memory per data directory for the newest records, served without reading a file; used as readers need it."
}
