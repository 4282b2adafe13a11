//! Requests that name the same thing over and over, and frames that are longer than what they say.

use bytes::Bytes;
use ottla_protocol::{
    StrBytes, encode_request,
    messages::{
        CreateTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, MetadataRequest,
        OffsetFetchRequest, ProduceRequest,
        create_topics_request::CreatableTopicConfig,
        describe_configs_request::DescribeConfigsResource,
        metadata_request::MetadataRequestTopic,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};
use ottla_records::Producer;

use crate::support::{
    Client, Home, MIB,
    requests::{
        FETCH, PRODUCE, batch, commit_request, create_topic, create_topics_request, fetch_request, group_id,
        produce, produce_request, topic_name,
    },
};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[test]
fn what_is_named_often_is_told_once() {
    let home = Home::new();
    let node = home.start(&["node.id=7"]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 50, &[]);
    // A group, and an offset with much said beside it.
    let mut commit = commit_request("group", "plain", 0, 5);
    commit.topics[0].partitions[0].committed_metadata = Some(text(&"m".repeat(4000)));
    crate::support::requests::await_coordinator(&mut client, "group");
    assert_eq!(client.call(8, &commit).topics[0].partitions[0].error_code, 0);
    node.reset_peak();
    let before = node.resident();

    let topic = MetadataRequestTopic::default().with_name(Some(topic_name("plain")));
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 300_000]));
    assert_eq!(client.call(9, &request).topics.len(), 1);

    let named = |name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let mut resources = vec![named("7"); 100_000];
    resources.push(named("07"));
    let answer = client.call(4, &DescribeConfigsRequest::default().with_resources(resources));
    assert_eq!((answer.results.len(), answer.results[0].error_code), (1, 0));

    let request = DescribeGroupsRequest::default().with_groups(vec![group_id("group"); 100_000]);
    assert_eq!(client.call(5, &request).groups.len(), 1);

    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name("plain"))
        .with_partition_indexes(vec![0; 100_000]);
    let group = OffsetFetchRequestGroup::default().with_group_id(group_id("group"));
    let group = group.with_topics(Some(vec![topic; 2]));
    let answer = client.call(8, &OffsetFetchRequest::default().with_groups(vec![group; 2]));
    assert_eq!((answer.groups.len(), answer.groups[0].topics.len()), (1, 1));
    // What is asked of one group in two entries is answered in one.
    let entry = |topic: &str| {
        let topic =
            OffsetFetchRequestTopics::default().with_name(topic_name(topic)).with_partition_indexes(vec![0]);
        OffsetFetchRequestGroup::default().with_group_id(group_id("group")).with_topics(Some(vec![topic]))
    };
    let two = OffsetFetchRequest::default().with_groups(vec![entry("plain"), entry("other")]);
    assert_eq!(client.call(8, &two).groups[0].topics.len(), 2);
    assert_eq!(answer.groups[0].topics[0].partitions.len(), 1);
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 5);

    let grown = node.peak().saturating_sub(before);
    assert!(grown < 200 * MIB, "{} MiB more for requests of at most 3 MB", grown / MIB);
    node.assert_well();
}

#[test]
fn a_topic_with_very_many_configs_is_refused_and_holds_nobody_up() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    let mut request = create_topics_request("plain", 1, &[]);
    request.topics[0].configs = (0..300_000)
        .map(|n| {
            CreatableTopicConfig::default()
                .with_name(text(&format!("key.{n:06}")))
                .with_value(Some(StrBytes::default()))
        })
        .collect();
    let answer = client.call::<CreateTopicsRequest>(5, &request);
    assert_eq!(answer.topics[0].error_code, 40, "INVALID_CONFIG");
    node.assert_well();
}

/// The request with `junk` bytes behind it, which nobody looks at.
fn padded(version: i16, request: &FetchRequest, junk: usize) -> Vec<u8> {
    pad(encode_request(version, 1, None, request).expect("the version can say this"), junk)
}

fn pad(frame: Bytes, junk: usize) -> Vec<u8> {
    let len = u32::try_from(frame.len() - 4 + junk).expect("it is no longer than a frame may be");
    [&len.to_be_bytes()[..], &frame[4..], &vec![0; junk]].concat()
}

#[test]
fn sessions_and_tails_do_not_hold_the_frames_they_came_in() {
    const JUNK: usize = 16 << 20;
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "plain", 1, &[]);
    assert_eq!(produce(&mut client, "plain", 0, batch([&b"first"[..]], Producer::NONE)).error_code, 0);
    let ask = |client: &mut Client, bytes: &[u8]| {
        client.write(bytes).expect("the node reads");
        client.next_frame().expect("an answer")
    };
    let session = fetch_request("plain", 0, 0).with_session_epoch(0);
    let session = padded(FETCH, &session, JUNK);
    // Longer than what is copied rather than kept.
    let records = batch([&vec![7; 20_000][..]], Producer::NONE);
    let records = produce_request("plain", 0, records, 1);
    let records: Bytes =
        encode_request::<ProduceRequest>(PRODUCE, 1, None, &records).expect("it can say this");
    let records = pad(records, JUNK);
    // Once, for the buffers that are kept.
    ask(&mut node.connect(), &session);
    ask(&mut node.connect(), &records);
    let before = node.resident();
    for _ in 0..30 {
        ask(&mut node.connect(), &session);
        ask(&mut node.connect(), &records);
    }
    let grown = node.resident().saturating_sub(before);
    assert!(grown < 160 * MIB, "{} MiB are held by 30 sessions and 30 batches of 20 KB", grown / MIB);
    node.assert_well();
}
