//! Clients that take and do not read, or ask and leave.

use ottla_protocol::messages::ProduceRequest;
use ottla_records::Producer;

use crate::support::{
    Client, Home, MIB, many_files,
    requests::{FETCH, PRODUCE, batch, create_topic, fetch_request, produce, produce_request, read_all},
};

#[test]
fn those_who_pipeline_fetches_and_never_read_hold_no_memory() {
    many_files();
    let home = Home::new();
    let node = home.start(&["log.segment.bytes=16777216"]);
    let mut client = node.connect();
    create_topic(&mut client, "much", 1, &[]);
    create_topic(&mut client, "plain", 1, &[]);
    // More than the tail in memory holds, so that both files and memory are fetched from.
    for _ in 0..64 {
        let answer = produce(&mut client, "much", 0, batch([&vec![7; 1_000_000][..]], Producer::NONE));
        assert_eq!(answer.error_code, 0);
    }
    node.reset_peak();
    let before = node.resident();
    let greedy: Vec<Client> = (0..200)
        .map(|n| {
            let mut client = node.connect();
            for k in 0..40 {
                let mut request = fetch_request("much", 0, (n + k) % 64).with_max_bytes(50 << 20);
                request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
                client.send(FETCH, &request).expect("its requests are small");
            }
            client
        })
        .collect();
    for n in 0..20 {
        let answer = produce(&mut client, "plain", 0, batch([&vec![8; 100_000][..]], Producer::NONE));
        assert_eq!((answer.error_code, answer.base_offset), (0, n));
    }
    assert_eq!(read_all(&mut client, "plain", 0).len(), 20);
    let grown = node.peak().saturating_sub(before);
    // 200 × 40 × 50 MB were asked for. What waits are ranges of files and slices of the tail that all share.
    assert!(grown < 128 * MIB, "{} MiB more", grown / MIB);
    // One of them reads after all, and gets every answer.
    let mut greedy = greedy;
    let mut reader = greedy.pop().expect("there are 200");
    for _ in 0..40 {
        assert!(reader.next_frame().expect("an answer").len() > 1_000_000);
    }
    drop(greedy);
    node.assert_well();
}

#[test]
fn requests_of_those_who_left_are_let_go() {
    many_files();
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 1, &[]);
    let wave = || {
        for _ in 0..500 {
            let mut client = node.connect();
            for _ in 0..20 {
                let request = fetch_request("plain", 0, 0).with_max_wait_ms(3_600_000);
                client.send(FETCH, &request).expect("sent");
            }
        }
        // Everything before it has been accepted by now.
        node.assert_well();
    };
    wave();
    node.reset_peak();
    let before = node.resident();
    for _ in 0..4 {
        wave();
    }
    let grown = node.peak().saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB more after 40,000 long polls whose clients have left", grown / MIB);
}

#[test]
fn a_pipeline_is_answered_in_order_whatever_is_in_it() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 1, &[]);
    let mut pipeline = node.connect();
    // Small requests all written before one answer is read: more than the node takes at once.
    for n in 0..500_i32 {
        let records = batch([&n.to_be_bytes()[..]], Producer::NONE);
        pipeline.send(PRODUCE, &produce_request("plain", 0, records, 1)).expect("sent");
    }
    for n in 0..500 {
        let answer = pipeline.receive::<ProduceRequest>(PRODUCE);
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, n);
    }
    // acks=0 is silent, and an error of it closes: nothing behind it is done.
    let records = batch([&b"silent"[..]], Producer::NONE);
    pipeline.send(PRODUCE, &produce_request("plain", 0, records.clone(), 0)).expect("sent");
    pipeline.send(PRODUCE, &produce_request("nowhere", 0, records.clone(), 0)).expect("sent");
    pipeline.send(PRODUCE, &produce_request("plain", 0, records, 1)).expect("sent");
    assert_eq!(pipeline.answers_before_close(), 0);
    assert_eq!(read_all(&mut client, "plain", 0).len(), 501);
}
