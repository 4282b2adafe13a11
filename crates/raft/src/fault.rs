//! What can go wrong here: this node's disk, or two logs that contradict each other.

use std::path::PathBuf;

use ottla_types::Offset;

/// A fault that stops the driver.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The log dir's store or log refused.
    #[error("metadata: {0}")]
    Storage(#[from] ottla_storage::Fault),
    /// The store holds what this version cannot read.
    #[error("raft store: {what} cannot be read; the store is damaged or of a newer version")]
    BadStore {
        /// Which key.
        what: &'static str,
    },
    /// raft-rs refused.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// The Kafka-format log could not be read or written.
    #[error("metadata log: {0}")]
    Log(String),
    /// A file beside the log could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A batch in the log, in raft's log or in a snapshot does not hold facts.
    #[error("facts at offset {offset} cannot be read: {why}")]
    BadFacts {
        /// Base offset of the batch.
        offset: Offset,
        /// What is wrong with it.
        why: String,
    },
    /// The metadata log and raft's log tell different stories.
    #[error(
        "the metadata log ends at offset {log_end} but raft's log begins at offset {raft_start}: records between them \
         are lost; restore the metadata directory from another controller"
    )]
    Gap {
        /// Where the Kafka-format log ends.
        log_end: Offset,
        /// The first offset that raft's log can give.
        raft_start: Offset,
    },
    /// A metadata log, nothing of raft's, and several voters: the log is Kafka's, or the store was lost (ADR 0009).
    #[error(
        "the metadata log already ends at offset {log_end}, but raft's store knows of nothing: only a lone voter can go on \
         from there. A directory of a Kafka controller: start it alone (format it with --standalone under the id it \
         has), then add the others with kafka-metadata-quorum add-controller. A store that was damaged and set aside: \
         take this node out of the voters, empty and format its metadata directory, and add it again"
    )]
    TakeOver {
        /// Where the metadata log ends.
        log_end: Offset,
    },
    /// A Kafka controller has led from this directory since raft was here, and there are several voters.
    #[error(
        "a Kafka controller has written the metadata log, which ends at offset {log_end}, since this directory was last \
         Ottla's: only a lone voter can go on from there. Take this node out of the voters, empty and format its metadata \
         directory, and add it again; or start it alone, then add the others with kafka-metadata-quorum add-controller"
    )]
    Overtaken {
        /// Where the metadata log ends.
        log_end: Offset,
    },
    /// The metadata log holds something else than what was written, and raft's log does not have it any more.
    #[error(
        "the metadata log is damaged at offset {offset} ({why}) and raft's log does not reach back to it: restore the \
         metadata directory from a copy, or put a checkpoint into it that ends after this offset"
    )]
    Damaged {
        /// The first offset that cannot be read.
        offset: Offset,
        /// What is wrong there.
        why: String,
    },
    /// The metadata log has a batch that raft's log says is another one.
    #[error(
        "the metadata log differs from raft's log at offset {offset}: one of them is damaged; restore the metadata \
         directory from a copy"
    )]
    Contradiction {
        /// Base offset of the batch.
        offset: Offset,
    },
}
