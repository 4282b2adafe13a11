//! Lengths and counts that are not followed by what they announce.

use std::io::Write;

use ottla_protocol::messages::ProduceRequest;
use ottla_records::Producer;

use crate::{
    Chance,
    support::{
        Client, Home, MIB, Node, many_files,
        requests::{PRODUCE, batch, create_topic, produce, produce_request},
    },
};

const CLIENTS: usize = 2000;
const ANNOUNCED: i32 = 100 << 20;
/// The least `queued.max.request.bytes` there is: one request of `socket.request.max.bytes`.
const QUEUED: u64 = 100 * MIB;
/// What requests take together, in buffers that are a quarter larger at most; then buffers kept for the next (48 MiB), the
/// tail of the logs (32 MiB), and what the allocator and some thousand connections need.
const MOST: u64 = QUEUED * 5 / 4 + 48 * MIB + 32 * MIB + 48 * MIB;

/// A frame with this key, version and body, from a client without a name.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(10 + body.len()).expect("short");
    let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), &1_i32.to_be_bytes(), &[0xff, 0xff]].concat();
    [&len.to_be_bytes()[..], &head, body].concat()
}

#[test]
fn counts_that_nothing_follows_take_no_memory() {
    let home = Home::new();
    let node = home.start(&[]);
    node.assert_well();
    node.reset_peak();
    let before = node.resident();
    let huge = i32::MAX.to_be_bytes();
    // Metadata: four bytes that say how many topics there are, and one more of none.
    for count in [i32::MAX, 0x7fff_fff0, 100_000_000, 1_000_001, 1_000_000, 2, -2, i32::MIN] {
        for version in 0..=8 {
            let mut client = node.connect();
            client.write(&frame(3, version, &[&count.to_be_bytes()[..], &[0]].concat())).expect("sent");
            assert_eq!(client.answers_before_close(), 0, "{count} topics in Metadata version {version}");
        }
    }
    // The same as a compact count, in a flexible version, and as a count of tags.
    for body in [&[0, 0xff, 0xff, 0xff, 0xff, 0x07, 0][..], &[0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]] {
        let mut client = node.connect();
        client.write(&frame(3, 12, body)).expect("sent");
        assert_eq!(client.answers_before_close(), 0);
    }
    // DescribeGroups and DeleteTopics: arrays of strings. Fetch and ListOffsets: behind a few numbers.
    for (key, at) in [(15, 0), (20, 0), (1, 17), (2, 4)] {
        let mut client = node.connect();
        let version = if key == 1 { 4 } else { 1 };
        client.write(&frame(key, version, &[&vec![0; at][..], &huge, &[0]].concat())).expect("sent");
        assert_eq!(client.answers_before_close(), 0, "API {key}");
    }
    node.assert_well();
    let grown = node.peak().saturating_sub(before);
    assert!(grown < 16 * MIB, "{} MiB more for a hundred requests of 20 bytes", grown / MIB);
}

/// `CLIENTS` connections that announce 100 MB each and send `sent` bytes of it.
fn announcers(node: &Node, sent: usize) -> Vec<Client> {
    let bytes = vec![0; sent];
    (0..CLIENTS)
        .map(|_| {
            let mut client = node.connect();
            client.write(&ANNOUNCED.to_be_bytes()).expect("the node reads");
            client.write(&bytes).expect("the node reads, or the kernel keeps it");
            client
        })
        .collect()
}

/// Ten times 900 KB. Where memory is short a connection that waits for it may be closed; clients connect again.
fn produce_whatever_it_takes(node: &Node) {
    let request = produce_request("plain", 0, batch([&vec![7; 900_000][..]], Producer::NONE), -1);
    let mut client = node.connect();
    let mut acknowledged = 0;
    while acknowledged < 10 {
        let sent = client.send(PRODUCE, &request);
        let Some(answer) = sent.ok().and_then(|()| client.try_receive::<ProduceRequest>(PRODUCE)) else {
            client = node.connect();
            continue;
        };
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, acknowledged));
        acknowledged += 1;
    }
}

#[test]
fn two_thousand_that_announce_100_mb_and_send_a_byte_take_almost_nothing() {
    many_files();
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 1, &[]);
    node.reset_peak();
    let before = node.resident();
    let announcers = announcers(&node, 1);
    for n in 0..10 {
        let answer = produce(&mut client, "plain", 0, batch([&vec![7; 900_000][..]], Producer::NONE));
        assert_eq!((answer.error_code, answer.base_offset), (0, n));
    }
    let grown = node.peak().saturating_sub(before);
    // 16 KiB for each connection, which is what a busy one may take, and room for the plain client's records.
    assert!(grown < 96 * MIB, "{} MiB more", grown / MIB);
    drop(announcers);
    node.assert_well();
}

#[test]
fn two_thousand_that_send_64_kb_of_100_mb_share_what_requests_may_take() {
    many_files();
    let home = Home::new();
    let node = home.start(&[&format!("queued.max.request.bytes={QUEUED}")]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 1, &[]);
    node.reset_peak();
    let before = node.resident();
    let announcers = announcers(&node, 64 << 10);
    produce_whatever_it_takes(&node);
    let grown = node.peak().saturating_sub(before);
    assert!(grown < MOST, "{} MiB more", grown / MIB);
    drop(announcers);
    node.assert_well();
}

#[test]
fn those_who_hold_all_memory_and_want_more_make_room() {
    let home = Home::new();
    let node = home.start(&[&format!("queued.max.request.bytes={QUEUED}")]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 1, &[]);
    node.reset_peak();
    let before = node.resident();
    let bytes = vec![0; 2 << 20];
    let greedy: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = node.connect();
            client.write(&ANNOUNCED.to_be_bytes()).expect("the node reads");
            // As much as the kernel keeps for it: the node takes that when it has room.
            client.stream.set_nonblocking(true).expect("a socket");
            let _ = client.write(&bytes);
            client
        })
        .collect();
    produce_whatever_it_takes(&node);
    drop(greedy);
    let grown = node.peak().saturating_sub(before);
    assert!(grown < MOST, "{} MiB more", grown / MIB);
    node.assert_well();
}

#[test]
fn garbage_closes_its_connection_and_nothing_else() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut chance = Chance::new(0x6f_7474_6c61);
    for round in 0..400_usize {
        let mut client = node.connect();
        let mut bytes: Vec<u8> = (0..round * 13).map(|_| chance.next() as u8).collect();
        if round % 2 == 0 {
            // A true length, so that the garbage is taken for a request: of some API that is served, every fourth time.
            let len = u32::try_from(bytes.len()).expect("short").to_be_bytes();
            if round % 4 == 0 && bytes.len() > 8 {
                bytes[..4].copy_from_slice(&[0, (round % 80) as u8, 0, (round % 13) as u8]);
            }
            bytes.splice(0..0, len);
        }
        // The node may close before all of it is written.
        let _ = client.write(&bytes);
        let _ = client.write(&[0; 4]);
        let _ = client.stream.flush();
        client.answers_before_close();
    }
    for hello in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x60\x82",
    ] {
        let mut client = node.connect();
        client.write(hello).expect("sent");
        client.stream.shutdown(std::net::Shutdown::Write).expect("connected");
        assert_eq!(client.answers_before_close(), 0);
    }
    node.assert_well();
}
