//! Facts, and how they look as record batches of the metadata log.

use bytes::Bytes;
use ottla_protocol::{DecodeError, persisted::metadata::MetadataRecord};
use ottla_records::{Batch, BatchBuilder};
use ottla_types::{LeaderEpoch, Millis};

/// What the metadata log is made of.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every fact is a record")]
pub enum Fact {
    /// The facts after this one stand in a batch of this epoch and time. Derived from the batch's header: takes no
    /// offset and is not written.
    Batch {
        /// Leader epoch of the batch.
        epoch: LeaderEpoch,
        /// When it was appended.
        timestamp: Millis,
    },
    /// A record of raft's own, or of a snapshot's frame. It says nothing about the cluster but takes an offset.
    Control,
    /// A metadata record, and the version in which it is written.
    Record(MetadataRecord, i16),
}

impl Fact {
    /// A record in the version that `level` of `metadata.version` asks for.
    ///
    /// Kafka writes changes of a registration in the lowest version that can say them.
    #[must_use]
    pub fn at_level(record: impl Into<MetadataRecord>, level: i16) -> Self {
        let record = record.into();
        let version = match &record {
            MetadataRecord::BrokerRegistrationChange(change) => {
                let needed = if change.cordoned_log_dirs.is_some() {
                    3
                } else if !change.log_dirs.is_empty() {
                    2
                } else {
                    i16::from(change.in_controlled_shutdown != 0)
                };
                needed.min(record.version_at(level))
            }
            _ => record.version_at(level),
        };
        Self::Record(record, version)
    }

    /// The fact that opens a batch.
    #[must_use]
    pub fn batch(epoch: LeaderEpoch, timestamp: Millis) -> Self {
        Self::Batch { epoch, timestamp }
    }

    /// The metadata record, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<&MetadataRecord> {
        match self {
            Self::Record(record, _) => Some(record),
            Self::Batch { .. } | Self::Control => None,
        }
    }
}

/// Writes facts as one batch, base offset 0, every record created at `at`.
///
/// # Panics
/// When a record has a field set that its version lacks: whoever made it chose both.
#[must_use]
pub fn encode(facts: &[Fact], at: Millis) -> Bytes {
    let mut batch = BatchBuilder::with_capacity(0, facts.len() * 64);
    for fact in facts {
        if let Fact::Record(record, version) = fact {
            let value = record.encode(*version).expect("a fact is made in a version that holds it");
            batch.append(at.0, None, Some(&value), &[]);
        }
    }
    batch.build()
}

/// Reads a batch of the metadata log or of a snapshot: [`Fact::Batch`], then a fact per record.
///
/// # Errors
/// What is wrong with the batch, in words: damage, or a record of a newer Kafka.
pub fn decode(batch: &Batch, epoch: LeaderEpoch) -> Result<Vec<Fact>, String> {
    read(batch, epoch, &mut |error| Err(error.to_string()))
}

/// As [`decode`], but a record of a kind or version that is not known here becomes a [`Fact::Control`], which takes its
/// offset and changes nothing; `skipped` is told of it. For those who follow controllers that are newer than they.
///
/// # Errors
/// What is wrong with the batch, in words: damage.
pub fn decode_known(
    batch: &Batch,
    epoch: LeaderEpoch,
    skipped: &mut dyn FnMut(&DecodeError),
) -> Result<Vec<Fact>, String> {
    read(batch, epoch, &mut |error| match error {
        DecodeError::UnknownKey(_) | DecodeError::UnsupportedVersion { .. } => {
            skipped(error);
            Ok(())
        }
        error => Err(error.to_string()),
    })
}

/// `unreadable` says what becomes of a record that cannot be decoded: nothing but an offset, or an error.
fn read(
    batch: &Batch,
    epoch: LeaderEpoch,
    unreadable: &mut dyn FnMut(&DecodeError) -> Result<(), String>,
) -> Result<Vec<Fact>, String> {
    let header = &batch.header;
    let count = usize::try_from(header.records_count).unwrap_or(0);
    // A record takes 7 bytes at least, so the count cannot promise more than the payload holds.
    let mut facts = Vec::with_capacity(1 + count.min(batch.payload().len() / 7 + 1));
    facts.push(Fact::batch(epoch, Millis(header.max_timestamp)));
    let control = header.is_control();
    let mut records = batch.records().map_err(|error| error.to_string())?;
    while let Some(record) = records.try_next().map_err(|error| error.to_string())? {
        if control {
            facts.push(Fact::Control);
            continue;
        }
        let value = record.value.ok_or("a metadata record without a value")?;
        facts.push(match MetadataRecord::decode(value) {
            Ok(decoded) => Fact::Record(decoded, version_of(value)),
            Err(error) => {
                unreadable(&error)?;
                Fact::Control
            }
        });
    }
    Ok(facts)
}

/// The third varint of a frame that was decoded; versions are below 128.
fn version_of(frame: &[u8]) -> i16 {
    frame.get(2).copied().map_or(0, i16::from)
}
