//! Nobody means harm here: every version of every request is answered, and the answer has the shape of that version.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use ottla_protocol::{
    guard::{Limits, check_response},
    header::parse_response,
    samples::{self, Fill},
};

use crate::{
    Chance,
    mutations::{frame, served},
    support::{Client, cluster::Three},
};

const PRODUCE: i16 = 0;
/// Samples of a version that are tried until one is answered.
const TRIES: u32 = 12;
/// Some ask to be answered when something has happened, and are not waited for.
const WAIT: Duration = Duration::from_millis(400);

/// Whether a sample of this version is answered; one that closes the connection or waits is not.
fn is_answered(address: SocketAddr, key: i16, version: i16, chance: &mut Chance) -> bool {
    (0..TRIES).any(|turn| {
        let fill = if turn % 2 == 0 { Fill::All } else { Fill::Some };
        let body = samples::request(key, version, fill, &mut || chance.next()).expect("it is known");
        let mut client = Client::connect(address);
        client.write(&frame(key, version, &body)).expect("sent");
        client.stream.set_read_timeout(Some(WAIT)).expect("it can be set");
        if client.stream.peek(&mut [0]).map_or(0, |n| n) == 0 {
            return false;
        }
        let mut answer = client.next_frame().expect("it has begun");
        parse_response(key, version, &mut answer).expect("a response head");
        let shape = check_response(key, version, &answer, &Limits::KAFKA);
        assert!(shape.is_ok(), "API {key} version {version}: {shape:?}");
        true
    })
}

fn all_are_answered(address: SocketAddr) {
    let mut chance = Chance::new(45);
    let mut silent = BTreeSet::new();
    for (key, versions) in served(address) {
        for version in versions {
            // Advertised for old clients that look for it, and never served.
            let probed = key == PRODUCE && version < 3;
            if !probed && !is_answered(address, key, version, &mut chance) {
                silent.insert((key, version));
            }
        }
    }
    assert!(silent.is_empty(), "never answered: {silent:?}");
}

#[test]
fn every_version_is_answered_in_its_shape() {
    let cluster = Three::start("");
    let node = cluster.anyone();
    all_are_answered(node.address);
    for place in cluster.places.values() {
        all_are_answered(place.controller());
    }
    for node in cluster.nodes.values() {
        node.assert_well();
    }
}
