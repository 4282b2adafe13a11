//! Record batches: view, validate, build, compress, without copying.
//!
//! A batch of format 2 (KIP-98) is 61 bytes of header and then its records, compressed or not. Everything here
//! works on [`bytes::Bytes`] that somebody else read from a socket or a file:
//!
//! * [`Batch`] is a view of one batch, [`batches`] walks over several, [`Batch::records`] over the records inside;
//! * [`validate::check_produce`] decides whether a client's batch may be appended, with Kafka's codes;
//! * [`Stamped`] is a batch with its place in the log written into a copied header, the payload shared;
//! * [`BatchBuilder`] writes batches; [`compression`] holds the codecs; [`time`] finds records by timestamp.
//!
//! Whatever comes in is hostile: no length is believed before it is checked, nothing is allocated by an unchecked
//! number, and a compressed batch is walked in chunks, so that a bomb costs time within a limit but not memory.

mod batch;
mod builder;
pub mod compression;
mod error;
mod header;
pub mod legacy;
mod record;
mod records;
mod skip;
mod source;
mod stamp;
#[cfg(test)]
mod testing;
pub mod time;
pub mod validate;
mod varint;

pub use batch::{Batch, Batches, batches, batches_lenient};
pub use builder::{BatchBuilder, Producer};
pub use compression::Codec;
pub use error::{BatchError, RecordFault};
pub use header::{BatchHeader, MAGIC, NO_SEQUENCE, NO_TIMESTAMP, TimestampType};
pub use record::{Header, Headers, RecordView};
pub use records::{DEFAULT_RECORD_LIMIT, Entries, Entry, Records};
pub use stamp::Stamped;
pub use validate::{ProduceRules, Refusal, Validated, check_produce};
