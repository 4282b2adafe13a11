//! Every request of every version that is served, cut off everywhere, and with single bytes changed.

use std::{net::SocketAddr, ops::RangeInclusive, thread};

use bytes::Bytes;
use ottla_protocol::{
    HeaderVersion, Message, Request, StrBytes, api, encode_request,
    messages::{
        DescribeGroupsRequest, HeartbeatRequest, LeaveGroupRequest, ListOffsetsRequest, MetadataRequest,
        OttlaRaftEndpoint, OttlaRaftRequest, SyncGroupRequest,
        leave_group_request::MemberIdentity,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        sync_group_request::SyncGroupRequestAssignment,
    },
    samples::{self, Fill},
};
use ottla_records::{BatchBuilder, Codec, Producer};
use ottla_types::TopicId;

use crate::{
    Chance,
    support::{
        Client, Home, MIB, Node,
        cluster::{CLUSTER_ID, Three},
        requests::{
            api_versions, await_coordinator, batch, commit_request, create_topic, create_topics_request,
            fetch_request, group_id, join_request, produce, produce_request, read_all, topic_name,
        },
    },
};

/// Of all single-byte changes of a request, one in so many is sent. Prime, so that it meets every position and every
/// kind of change over the requests.
const STRIDE: usize = 101;
/// Changed requests sent on one connection before an answer is read.
const AT_ONCE: usize = 24;
/// Where the body of a request begins at the earliest: behind length, key, version and correlation id.
const HEAD: usize = 12;

/// A whole frame without a client id, and with correlation id 0.
pub(crate) fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let tags: &[u8] = if api::request_header_version(key, version) == Some(2) { &[0] } else { &[] };
    let rest = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 4], &[0, 1, b'x'], tags, body].concat();
    [&(rest.len() as u32).to_be_bytes()[..], &rest].concat()
}

/// Every API that is served at `address`, with the versions it is advertised in.
pub(crate) fn served(address: SocketAddr) -> Vec<(i16, RangeInclusive<i16>)> {
    let answer = api_versions(&mut Client::connect(address));
    let served: Vec<_> =
        answer.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
    assert!(served.len() > 20, "{served:?}");
    served
}

/// Well-formed requests of every API and version, mostly about what does not exist.
fn of_shapes(address: SocketAddr) -> Vec<Vec<u8>> {
    let mut chance = Chance::new(44);
    let mut frames = Vec::new();
    for (key, versions) in served(address) {
        for version in versions {
            for fill in [Fill::All, Fill::Some] {
                let body = samples::request(key, version, fill, &mut || chance.next());
                frames.extend(body.map(|body| frame(key, version, &body)));
            }
        }
    }
    frames
}

/// Requests about what exists, in every version that can say them.
#[derive(Default)]
struct Sensible(Vec<Vec<u8>>);

impl Sensible {
    fn add<R: Request + Message + HeaderVersion>(&mut self, request: &R) {
        let versions = R::VERSIONS;
        for version in versions.min..=versions.max {
            if let Ok(frame) = encode_request(version, 0, Some("x"), request) {
                self.0.push(frame.to_vec());
            }
        }
    }

    fn records(&mut self, records: &Bytes, id: TopicId) {
        for acks in [-1, 0, 1] {
            let mut request = produce_request("live", 0, records.clone(), acks);
            if acks == -1 {
                self.add(&request);
            } else {
                let frame = encode_request(9, 0, Some("x"), &request).expect("version 9 says this");
                self.0.push(frame.to_vec());
            }
            request.topic_data[0].topic_id = id.0;
            request.topic_data[0].name = topic_name("");
            let frame = encode_request(13, 0, Some("x"), &request).expect("version 13 says this");
            self.0.push(frame.to_vec());
        }
    }
}

fn sensible(id: TopicId) -> Vec<Vec<u8>> {
    let mut all = Sensible::default();
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(0).compression(codec, None);
        for n in 0..6_u8 {
            builder.append(1_700_000_000_000 + i64::from(n), Some(&[n]), Some(&[n; 20]), &[]);
        }
        all.records(&builder.build(), id);
    }
    let idempotent = batch([&b"x"[..]], Producer { id: 7, epoch: 0, base_sequence: 0 });
    all.records(&idempotent, id);
    let mut fetch = fetch_request("live", 0, 0);
    all.add(&fetch);
    fetch.session_epoch = 0;
    fetch.topics[0].topic_id = id.0;
    fetch.topics[0].topic = topic_name("");
    all.add(&fetch);
    for timestamp in [-1, -2, -3, 1_700_000_000_002] {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name("live")).with_partitions(vec![partition]);
        all.add(&ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]));
    }
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name("live")));
    all.add(&MetadataRequest::default().with_topics(Some(vec![topic])));
    all.add(&create_topics_request(
        "made",
        2,
        &[("cleanup.policy", "compact"), ("segment.bytes", "1048576")],
    ));
    all.add(&commit_request("group", "live", 0, 3));
    all.add(&join_request("group", ""));
    all.add(&join_request("other", "somebody"));
    let assignment = SyncGroupRequestAssignment::default().with_assignment(Bytes::from_static(b"all"));
    all.add(&SyncGroupRequest::default().with_group_id(group_id("group")).with_assignments(vec![assignment]));
    all.add(&HeartbeatRequest::default().with_group_id(group_id("group")));
    let member = MemberIdentity::default();
    all.add(&LeaveGroupRequest::default().with_group_id(group_id("group")).with_members(vec![member]));
    all.add(&DescribeGroupsRequest::default().with_groups(vec![group_id("group"), group_id("")]));
    all.0
}

/// The frame, cut off at every length.
fn truncations(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (4..frame.len()).map(|end| {
        let mut cut = frame[..end].to_vec();
        cut[..4].copy_from_slice(&((end - 4) as u32).to_be_bytes());
        cut
    })
}

/// The frame with one byte changed, for one in [`STRIDE`] of all changes; `at` goes on from frame to frame.
fn changes<'a>(frame: &'a [u8], at: &'a mut usize) -> impl Iterator<Item = Vec<u8>> + 'a {
    let end = (frame.len() - HEAD) * 255;
    std::iter::from_fn(move || {
        if *at >= end {
            *at -= end;
            return None;
        }
        let mut changed = frame.to_vec();
        changed[HEAD + *at / 255] ^= 1 + (*at % 255) as u8;
        *at += STRIDE;
        Some(changed)
    })
}

/// Sends all, many on one connection, and goes on behind the first that was not answered: by then it has been served
/// (its answer waits for something, or there is none) or has had the connection closed.
fn send_all(address: SocketAddr, mut frames: &mut [Vec<u8>]) {
    while !frames.is_empty() {
        let some = frames.len().min(AT_ONCE);
        for (n, frame) in (0_u32..).zip(&mut frames[..some]) {
            if frame.len() >= HEAD {
                frame[8..HEAD].copy_from_slice(&n.to_be_bytes());
            }
        }
        let mut client = Client::connect(address);
        // No frame has no bytes: this one closes the connection, whatever those before it wait for.
        let all = [&frames[..some].concat()[..], &[0; 4]].concat();
        // The node may have closed before all is written.
        let _ = client.write(&all);
        let mut done = 0;
        while let Some(answer) = client.next_frame() {
            let correlation = answer.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
            let correlation = correlation.expect("an answer has a head") as usize;
            assert!(correlation >= done && correlation < some, "answers come in order, each to a request");
            done = correlation + 1;
        }
        frames = &mut frames[(done + 1).min(some)..];
    }
}

/// Sends what is derived from each request, on as many connections as there are workers.
fn sweep(
    address: SocketAddr,
    requests: &[Vec<u8>],
    derive: impl Fn(&[Vec<u8>]) -> Vec<Vec<u8>> + Sync,
) -> usize {
    thread::scope(|scope| {
        let workers = requests.chunks(requests.len().div_ceil(2)).map(|some| {
            let derive = &derive;
            scope.spawn(move || {
                let mut sent = 0;
                for request in some.chunks(8) {
                    let mut frames = derive(request);
                    sent += frames.len();
                    send_all(address, &mut frames);
                }
                sent
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().expect("answers were well-formed")).sum()
    })
}

/// A node with a topic, records, a group, and everything warmed up that the requests will warm up.
fn prepared(home: &Home) -> (Node, TopicId) {
    let node = home.start(&[]);
    let mut client = node.connect();
    let id = create_topic(&mut client, "live", 1, &[]);
    create_topic(&mut client, "plain", 1, &[]);
    for topic in ["live", "plain"] {
        assert_eq!(produce(&mut client, topic, 0, batch([&b"x"[..]], Producer::NONE)).error_code, 0);
    }
    await_coordinator(&mut client, "group");
    (node, id)
}

fn finish(node: &Node, before: u64, what: usize) {
    node.assert_well();
    let mut client = node.connect();
    assert_eq!(read_all(&mut client, "plain", 0), [(0, b"x".to_vec())]);
    let grown = node.peak().saturating_sub(before);
    assert!(grown < 96 * MIB, "{} MiB more after {what} requests", grown / MIB);
}

#[test]
fn truncated_requests_do_no_harm() {
    let home = Home::new();
    let (node, id) = prepared(&home);
    let requests = [of_shapes(node.address), sensible(id)].concat();
    node.reset_peak();
    let before = node.resident();
    let sent =
        sweep(node.address, &requests, |requests| requests.iter().flat_map(|r| truncations(r)).collect());
    finish(&node, before, sent);
    eprintln!("{} requests, {sent} truncations", requests.len());
}

#[test]
fn requests_with_a_byte_changed_do_no_harm() {
    let home = Home::new();
    let (node, id) = prepared(&home);
    let requests = [of_shapes(node.address), sensible(id)].concat();
    node.reset_peak();
    let before = node.resident();
    let sent = sweep(node.address, &requests, |requests| {
        let mut at = 0;
        requests.iter().flat_map(|request| changes(request, &mut at).collect::<Vec<_>>()).collect()
    });
    finish(&node, before, sent);
    eprintln!("{} requests, {sent} changes", requests.len());
}

/// What controllers tell each other, from one that may be a member, for one that is not, and of nobody.
fn of_raft() -> Vec<Vec<u8>> {
    let mut all = Sensible::default();
    for from in [1, 2, 7] {
        let endpoint = OttlaRaftEndpoint {
            name: StrBytes::from_static_str("CONTROLLER"),
            host: StrBytes::from_static_str("127.0.0.1"),
            port: 1,
            ..OttlaRaftEndpoint::default()
        };
        all.add(&OttlaRaftRequest {
            cluster_id: StrBytes::from_static_str(CLUSTER_ID),
            from,
            to: -1,
            endpoints: vec![endpoint],
            messages: vec![Bytes::from_static(&[8, 5, 16, 1, 24, 2, 32, 1])],
            speaks_as: u64::from(from.unsigned_abs()),
            ..OttlaRaftRequest::default()
        });
    }
    all.0
}

#[test]
fn a_controller_is_not_harmed_either() {
    let mut cluster = Three::start("");
    let node = cluster.nodes.remove(&1).expect("it runs");
    let address = cluster.places[&1].controller();
    let requests = [of_shapes(address), of_raft()].concat();
    assert!(requests.len() > 150, "{}", requests.len());
    let mut at = 0;
    let mut turn = 0;
    let mut derive = |request: &Vec<u8>| {
        turn += 1;
        // Together they are cut off at every length that one of them is.
        let cut = truncations(request).skip(turn % 4).step_by(4);
        cut.chain(changes(request, &mut at).step_by(3)).collect::<Vec<_>>()
    };
    let mut frames: Vec<_> = requests.iter().flat_map(&mut derive).collect();
    let sent = frames.len();
    let half = frames.split_at_mut(sent / 2);
    thread::scope(|scope| {
        for some in [half.0, half.1] {
            scope.spawn(move || send_all(address, some));
        }
    });
    node.assert_well();
    for node in cluster.nodes.values() {
        node.assert_well();
    }
    eprintln!("{} requests, {sent} derived from them", requests.len());
}
