//! Small batches that decompress to gigabytes.

use bytes::Bytes;
use ottla_protocol::messages::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use ottla_records::{BatchHeader, Codec, Producer, compression::Encoder};

use crate::support::{
    Client, Home, MIB,
    requests::{PRODUCE, batch, create_topic, produce, produce_request, read_all, topic_name},
};

/// A batch of one record whose value has `len` zeros, and says so.
fn bomb(codec: Codec, len: u64) -> Bytes {
    let mut payload = Encoder::new(codec, None, Vec::new());
    // Attributes, timestamp delta, offset delta, no key; then the value, and no headers.
    let mut head = vec![0, 0, 0, 1];
    varint(len, &mut head);
    let mut record = Vec::new();
    varint(head.len() as u64 + len + 1, &mut record);
    payload.write(&record);
    payload.write(&head);
    let zeros = vec![0; 1 << 20];
    let mut left = len + 1;
    while left > 0 {
        let some = left.min(zeros.len() as u64) as usize;
        payload.write(&zeros[..some]);
        left -= some as u64;
    }
    around(codec, &payload.finish())
}

/// A batch of one record with this payload.
fn around(codec: Codec, payload: &[u8]) -> Bytes {
    let plain = batch([&b""[..]], Producer::NONE);
    let mut header = BatchHeader::parse(&plain).expect("a whole batch");
    header.attributes = codec.code().into();
    header.batch_length = BatchHeader::MIN_LENGTH + i32::try_from(payload.len()).expect("it is small");
    let mut bytes = [&header.to_bytes()[..], payload].concat();
    let crc = crc32c::crc32c(&bytes[BatchHeader::CRC_FROM..]);
    bytes[BatchHeader::CRC_FROM - 4..BatchHeader::CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A zigzag varint of a number that is not negative.
fn varint(value: u64, out: &mut Vec<u8>) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Looks for a timestamp, which goes through the records of the batches.
fn search(client: &mut Client, timestamp: i64) -> i16 {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(topic_name("bombs")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    client.call(7, &request).topics[0].partitions[0].error_code
}

#[test]
fn bombs_are_refused_or_stored_without_memory() {
    let home = Home::new();
    let node = home.start(&["message.max.bytes=8388608"]);
    let mut client = node.connect();
    create_topic(&mut client, "bombs", 1, &[]);
    create_topic(&mut client, "recompressed", 1, &[("compression.type", "lz4")]);
    create_topic(&mut client, "plain", 1, &[]);
    assert_eq!(produce(&mut client, "plain", 0, batch([&b"x"[..]], Producer::NONE)).error_code, 0);
    node.reset_peak();
    let before = node.resident();
    // Snappy shrinks to a twentieth, LZ4 to a 255th: theirs are as large as the limit of the topic lets them be.
    let bombs = [
        (Codec::Zstd, 2 << 30),
        (Codec::Gzip, 2 << 30),
        (Codec::Lz4, 1800 << 20),
        (Codec::Snappy, 150 << 20),
        (Codec::Zstd, 300 << 20),
        (Codec::Gzip, 300 << 20),
        (Codec::Lz4, 300 << 20),
    ];
    for (codec, len) in bombs {
        let bomb = bomb(codec, len);
        for topic in ["bombs", "recompressed"] {
            let answer = produce(&mut client, topic, 0, bomb.clone());
            // MESSAGE_TOO_LARGE or INVALID_RECORD, or it was taken.
            assert!(matches!(answer.error_code, 0 | 10 | 87), "{codec:?} {len} in {topic}: {answer:?}");
            assert!(len < 1 << 30 || answer.error_code != 0, "{codec:?} {len} in {topic}: {answer:?}");
        }
    }
    for timestamp in [-3, 0, 1_700_000_000_000, i64::MAX] {
        search(&mut client, timestamp);
    }
    let grown = node.peak().saturating_sub(before);
    assert!(grown < 128 * MIB, "{} MiB more", grown / MIB);
    assert_eq!(read_all(&mut client, "plain", 0).len(), 1);
    node.assert_well();
}

#[test]
fn nobody_else_waits_for_a_bomb() {
    let home = Home::new();
    let node = home.start(&["message.max.bytes=8388608"]);
    let mut client = node.connect();
    create_topic(&mut client, "bombs", 1, &[]);
    create_topic(&mut client, "plain", 1, &[]);
    let mut bomber = node.connect();
    let bomb = produce_request("bombs", 0, bomb(Codec::Gzip, 900 << 20), -1);
    bomber.send(PRODUCE, &bomb).expect("sent");
    bomber.stream.set_nonblocking(true).expect("a socket");
    let mut served = 0;
    while bomber.stream.peek(&mut [0]).is_err() {
        assert_eq!(produce(&mut client, "plain", 0, batch([&b"x"[..]], Producer::NONE)).error_code, 0);
        served += 1;
    }
    // A few may be served before the node has read the bomb; until it is in the log there is time for hundreds.
    assert!(served > 20, "{served} requests of another client were served while one bomb was taken apart");
    node.assert_well();
}

#[test]
fn payloads_that_announce_gigabytes_take_no_memory() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "bombs", 1, &[]);
    node.reset_peak();
    let before = node.resident();
    let xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    let payloads: [(Codec, Vec<u8>); 8] = [
        // Raw snappy that announces 4 GiB, and the same in Java's framing; a block of that length.
        (Codec::Snappy, b"\xff\xff\xff\xff\x0f\0a".to_vec()),
        (Codec::Snappy, [&xerial[..], b"\0\0\0\x07\xff\xff\xff\xff\x0f\0a"].concat()),
        (Codec::Snappy, [&xerial[..], b"\x7f\xff\xff\xff\0"].concat()),
        // LZ4 frames: content of 2^63 bytes; a block of 2^31.
        (Codec::Lz4, b"\x04\x22\x4d\x18\x68\x70\0\0\0\0\0\0\0\x80\0".to_vec()),
        (Codec::Lz4, b"\x04\x22\x4d\x18\x60\x70\x73\xff\xff\xff\x7f".to_vec()),
        // Zstandard: content of 2^63 bytes in one segment; the largest window there is.
        (Codec::Zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x80\x01\0\0".to_vec()),
        (Codec::Zstd, b"\x28\xb5\x2f\xfd\0\xff\x01\0\0".to_vec()),
        // A record that announces 2 GiB.
        (Codec::None, b"\xfe\xff\xff\xff\x0f\0\0\0\x01\xf0\xff\xff\xff\x0f".to_vec()),
    ];
    for (codec, payload) in payloads {
        for _ in 0..20 {
            let answer = produce(&mut client, "bombs", 0, around(codec, &payload));
            // A codec that fails is UNKNOWN_SERVER_ERROR, as in Kafka.
            assert!(matches!(answer.error_code, -1 | 2 | 10 | 87), "{codec:?} {payload:?}: {answer:?}");
        }
    }
    let grown = node.peak().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB more", grown / MIB);
    assert!(read_all(&mut client, "bombs", 0).is_empty());
    node.assert_well();
}
