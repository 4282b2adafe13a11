//! Golden bytes of every persisted record in every version: what they say, and that they are written back the
//! same. Apache Kafka 4.4's own classes read each of these bodies and wrote it back byte for byte when it was
//! added.

use std::error::Error;
use std::path::Path;

use goldenscript::{Command, Context, Runner};
use ottla_protocol::persisted::metadata::MetadataRecord;
use ottla_protocol::persisted::{control, offsets, share, snapshot, transactions};
use ottla_protocol::{Decodable, Encodable};
use test_each_file::test_each_path;

test_each_path! { in "crates/protocol/tests/golden/records" => run }

fn run(path: &Path) {
    goldenscript::run(&mut Records, path).expect("golden script");
}

/// Reads a record, writes it in the version of its value, compares.
macro_rules! coordinator {
    ($module:ident, $next:ident) => {{
        let key = bytes($next().ok_or("a key")?)?;
        let value = $next().map(bytes).transpose()?;
        let record = $module::Record::decode(&key, value.as_deref())?;
        let version = value.as_deref().map_or(Ok(0), $module::read_version)?;
        let (key_again, value_again) = record.encode(version)?;
        same(&key, &key_again)?;
        same(value.as_deref().unwrap_or_default(), value_again.as_deref().unwrap_or_default())?;
        Ok(format!("{record:?}"))
    }};
}
struct Records;

impl Runner for Records {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut next = || args.next_pos();
        match command.name.as_str() {
            "metadata" => framed(&bytes(next().ok_or("a frame")?)?),
            "offsets" => coordinator!(offsets, next),
            "transactions" => coordinator!(transactions, next),
            "share" => coordinator!(share, next),
            "control" | "snapshot" => {
                let name = next().ok_or("a name")?;
                let version = next().ok_or("a version")?.parse()?;
                plain(name, version, &bytes(next().ok_or("a body")?)?)
            }
            other => Err(format!("unknown command {other}").into()),
        }
    }
}

fn framed(frame: &[u8]) -> Result<String, Box<dyn Error>> {
    let record = MetadataRecord::decode(frame)?;
    // The keys of all records and their versions are below 128: each is one byte of the frame.
    let version = i16::from(frame[2]);
    same(frame, &record.encode(version)?)?;
    Ok(format!("{record:?}"))
}

fn plain(name: &str, version: i16, body: &[u8]) -> Result<String, Box<dyn Error>> {
    match name {
        "EndTxnMarker" => {
            let marker = control::decode_marker(body)?;
            same(body, &control::encode_marker(&marker))?;
            Ok(format!("{marker:?}"))
        }
        "KRaftVersionRecord" => raft::<control::KRaftVersionRecord>(version, body),
        "LeaderChangeMessage" => raft::<control::LeaderChangeMessage>(version, body),
        "SnapshotFooterRecord" => raft::<control::SnapshotFooterRecord>(version, body),
        "SnapshotHeaderRecord" => raft::<control::SnapshotHeaderRecord>(version, body),
        "VotersRecord" => raft::<control::VotersRecord>(version, body),
        "AbortedTxn" => again::<snapshot::AbortedTxn>(version, body),
        "ProducerSnapshot" => again::<snapshot::ProducerSnapshot>(version, body),
        other => Err(format!("unknown record {other}").into()),
    }
}

fn raft<T: Decodable + Encodable + std::fmt::Debug>(
    version: i16,
    body: &[u8],
) -> Result<String, Box<dyn Error>> {
    let record: T = control::decode_value(body)?;
    same(body, &control::encode_value(version, &record)?)?;
    Ok(format!("{record:?}"))
}

fn again<T: Decodable + Encodable + std::fmt::Debug>(
    version: i16,
    body: &[u8],
) -> Result<String, Box<dyn Error>> {
    let record = T::decode(&mut bytes::Bytes::copy_from_slice(body), version)?;
    let mut out = Vec::new();
    record.encode(&mut out, version)?;
    same(body, &out)?;
    Ok(format!("{record:?}"))
}

fn same(before: &[u8], after: &[u8]) -> Result<(), Box<dyn Error>> {
    if before == after { Ok(()) } else { Err(format!("written back as {after:02x?}").into()) }
}

fn bytes(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    if digits.len() != hex.len() || digits.len() % 2 != 0 {
        return Err(format!("not hexadecimal: {hex}").into());
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
