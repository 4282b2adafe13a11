//! This broker's replicas: append, read, waiting.
//!
//! [`ReplicaManager`] hosts the partitions that the metadata image places here. A [`Replica`] puts the pure rules of
//! `ottla-partition` over a log of `ottla-storage`: an append takes the partition's lock, decides, writes once and
//! publishes a [`View`]; a read looks at the view and the log's shared side and takes no lock that a writer holds
//! while it writes. What must wait (acks=all, long polls) waits on an object of its own: there is no task, timer or
//! thread per partition.
//!
//! Not here: which client may do what, sessions, encoding (the router), the rules themselves (`ottla-partition`).

mod append;
mod aside;
mod assignments;
mod changes;
mod describe;
mod dirs;
mod fetcher;
mod follow;
mod followed;
mod followers;
mod image;
mod load;
mod manager;
mod moves;
mod offsets;
mod options;
mod poll;
mod read;
mod replica;
mod settings;
mod sync;
mod throttle;
mod ticket;
mod upkeep;

pub use append::{AppendOptions, Appended, FrameRef, ProduceRefusal};
pub use aside::aside;
pub use changes::{Changes, Mark};
pub use describe::{DescribedDir, DescribedLog};
pub use fetcher::{
    ControllerLink, FetchOptions, LeaderLink, LeaderLinks, LinkError, PeerLinks, ReplicationParts,
};
pub use image::{Leadership, LeadershipListener};
pub use manager::{HostedTopic, ReplicaManager};
pub use offsets::{FoundOffset, Isolation, OffsetQuery};
pub use options::{AckFsync, DefaultsOf, DirSettings, DirSettingsOf, ProducerExpirationOf, ReplicaOptions};
pub use ottla_partition::{
    AbortedTransaction, EpochEnd, FollowerFetch, IsrAnswer, IsrProposal, Origin, ProducerState, RemoteReplica,
};
pub use poll::LongPoll;
pub use read::{Fetched, ReadAs, ReadRequest};
pub use replica::{Replica, View};
pub use settings::TopicSettings;
pub use throttle::{ReplicationSettings, ReplicationSettingsOf, ThrottledReplicas};
pub use ticket::Ticket;
