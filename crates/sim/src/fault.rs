//! Faults that can be planted, to show that the checks bite. Each sits in the simulation's own drivers or wraps what goes
//! into and comes out of a core; production code knows nothing of them.

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A planted fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// A follower whose history differs goes on where it is.
    SkipTruncation = "skip-truncation",
    /// The leader takes every follower for one that has everything.
    HighWatermarkEarly = "high-watermark-early",
    /// Fetches say nothing of epochs, neither the leader's nor the last record's.
    IgnoreLeaderEpochs = "ignore-leader-epochs",
    /// A controller that restarts knows neither its term nor its vote.
    ForgetHardState = "forget-hard-state",
    /// Raft's log and hard state are written and not synced.
    RaftForgetsToSync = "raft-forgets-to-sync",
    /// acks=all is answered when the leader has written.
    AckBeforeReplication = "ack-before-replication",
    /// Nobody looks at broker epochs (KIP-903): who was in sync before its restart still is.
    IgnoreBrokerEpochs = "ignore-broker-epochs",
    /// Controllers publish what they have decided before it is committed.
    ApplyUncommitted = "apply-uncommitted",
    /// The controller takes any broker into the in-sync set.
    FencedIntoIsr = "fenced-into-isr",
    /// A preferred replica leads in any epoch in which it is in sync.
    TwoLeaders = "two-leaders",
    /// Sequences of idempotent producers are not looked at.
    SkipSequenceCheck = "skip-sequence-check",
    /// A new leader knows no producers.
    ForgetProducers = "forget-producers",
    /// A follower cuts its log back to its own high watermark, as before KIP-101.
    TruncateToHighWatermark = "truncate-to-high-watermark",
    /// A broker leads what the old metadata on its disk says, before it is registered.
    LeadBeforeRegistration = "lead-before-registration",
    /// A leader that is alone in sync acknowledges what it has not synced.
    NoSyncWhenAlone = "no-sync-when-alone",
    /// Whatever the controller answers to a proposal, the leader falls back to the old in-sync set.
    ForgetProposal = "forget-proposal",
    /// A new coordinator reads its partition only up to the high watermark it happens to know.
    LoadToHighWatermark = "load-to-high-watermark",
    /// A new coordinator reads its partition to the end of its log, whoever else has that.
    LoadUnsettled = "load-unsettled",
    /// When facts are not replicated in time, a coordinator goes on as if they were.
    TellPastTimeouts = "tell-past-timeouts",
    /// A coordinator answers before its facts are replicated.
    AnswerBeforeDurable = "answer-before-durable",
    /// Every restart claims that the shutdown before it was clean.
    ClaimCleanShutdown = "claim-clean-shutdown",
    /// A broker takes the log that lies under a topic's name for that topic's, whichever topic it is of.
    ClaimLogByName = "claim-log-by-name",
    /// Replicas of deleted topics stay.
    ServeDeletedTopics = "serve-deleted-topics",
    /// The controller elects whoever is up where it may only wait.
    UncleanWhereForbidden = "unclean-where-forbidden",
    /// The controller forgets who was in sync when it lets the last of them go.
    ForgetEligible = "forget-eligible",
    /// A controller that is to join founds a quorum of its own.
    JoinerFounds = "joiner-founds",
    /// A controller that restarts takes itself for the only voter.
    VoteAlone = "vote-alone",
}

impl Fault {
    /// The fault of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}
