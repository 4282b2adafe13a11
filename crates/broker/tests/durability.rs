//! kill -9 under idempotent producers with acks=all: nothing acknowledged is lost, duplicated or reordered.

mod support;

use std::{collections::VecDeque, net::SocketAddr, sync::mpsc, thread};

use bytes::Bytes;
use ottla_protocol::messages::ProduceRequest;
use ottla_records::Producer;
use support::{
    Client, Home,
    requests::{PRODUCE, batch, create_topic, produce_request, producer_id, read_all},
};

const ROUNDS: usize = 10;
const PARTITIONS: i32 = 3;
const IN_FLIGHT: usize = 5;
const TOPIC: &str = "kept";

/// One producer on one partition. It numbers its records from 0, so that number, sequence and offset of a record are
/// the same if and only if nothing was lost, duplicated or reordered.
struct Sender {
    partition: i32,
    producer: Producer,
    /// Sent or to be sent, oldest first, and not acknowledged: the number of the first record, and the batch.
    pending: VecDeque<(i32, Bytes)>,
    /// Number of the first record that was not acknowledged.
    acknowledged: i32,
    /// Number of the next record that was never in a batch.
    next: i32,
}

impl Sender {
    fn new(partition: i32, id: i64) -> Self {
        let producer = Producer { id, epoch: 0, base_sequence: 0 };
        Self { partition, producer, pending: VecDeque::new(), acknowledged: 0, next: 0 }
    }

    fn grow(&mut self) {
        let (first, count) = (self.next, 1 + self.next % 17);
        let values: Vec<Vec<u8>> = (first..first + count).map(value).collect();
        let producer = Producer { base_sequence: first, ..self.producer };
        self.pending.push_back((first, batch(values.iter().map(Vec::as_slice), producer)));
        self.next += count;
    }

    /// Produces until the node is gone; what was in flight then is sent first, in its order. Says `told` for each
    /// acknowledgement.
    fn produce(mut self, address: SocketAddr, told: &mpsc::Sender<()>) -> Self {
        let mut client = Client::connect(address);
        let mut sent = 0;
        loop {
            while sent < IN_FLIGHT {
                if sent == self.pending.len() {
                    self.grow();
                }
                let request = produce_request(TOPIC, self.partition, self.pending[sent].1.clone(), -1);
                if client.send(PRODUCE, &request).is_err() {
                    return self;
                }
                sent += 1;
            }
            let Some(mut answer) = client.try_receive::<ProduceRequest>(PRODUCE) else { return self };
            let answer = answer.responses.remove(0).partition_responses.remove(0);
            let (first, _) = self.pending.pop_front().expect("it was in flight");
            assert_eq!((answer.error_code, answer.base_offset), (0, first.into()), "{answer:?}");
            self.acknowledged = self.pending.front().map_or(self.next, |(first, _)| *first);
            sent -= 1;
            // Nobody counts any more once the kill is on its way.
            let _ = told.send(());
        }
    }

    /// Everything acknowledged is there once, in order; behind it, nothing but a beginning of what was in flight.
    fn verify(&self, client: &mut Client) {
        let read = read_all(client, TOPIC, self.partition);
        let (have, partition) = (i32::try_from(read.len()).expect("few"), self.partition);
        assert!(
            (self.acknowledged..=self.next).contains(&have),
            "partition {partition}: {have} records, {} acknowledged, {} sent",
            self.acknowledged,
            self.next
        );
        for (number, (offset, found)) in (0..).zip(&read) {
            assert_eq!((*offset, found), (number.into(), &value(number)), "partition {partition}");
        }
    }
}

/// The record of this number: of various lengths, so that a shifted byte is seen.
fn value(number: i32) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(4 + (number as usize * 37) % 300, number as u8);
    value
}

#[test]
fn ten_kills_lose_duplicate_and_reorder_nothing() {
    let home = Home::new();
    // Small segments, so that kills also meet the roll from one to the next.
    let overrides = ["log.segment.bytes=1048576"];
    let mut node = home.start(&overrides);
    let mut client = node.connect();
    create_topic(&mut client, TOPIC, PARTITIONS, &[]);
    let mut senders: Vec<Sender> =
        (0..PARTITIONS).map(|partition| Sender::new(partition, producer_id(&mut client))).collect();
    for round in 0..ROUNDS {
        let (told, acknowledgements) = mpsc::channel();
        let address = node.address;
        let working: Vec<_> = senders
            .into_iter()
            .map(|sender| {
                let told = told.clone();
                thread::spawn(move || sender.produce(address, &told))
            })
            .collect();
        drop(told);
        for _ in 0..600 + 211 * round {
            acknowledgements.recv().expect("producers go on until the kill");
        }
        node.kill();
        senders = working.into_iter().map(|worker| worker.join().expect("no answer was wrong")).collect();
        node = home.start(&overrides);
        let mut client = node.connect();
        for sender in &senders {
            assert!(sender.acknowledged > 0, "partition {} took part", sender.partition);
            sender.verify(&mut client);
        }
    }
    // What was in flight at the last kill is sent once more, and then everything is there.
    let mut client = node.connect();
    for mut sender in senders {
        for (first, batch) in std::mem::take(&mut sender.pending) {
            let answer = support::requests::produce(&mut client, TOPIC, sender.partition, batch);
            assert_eq!((answer.error_code, answer.base_offset), (0, first.into()));
        }
        sender.acknowledged = sender.next;
        sender.verify(&mut client);
    }
    node.assert_well();
}
