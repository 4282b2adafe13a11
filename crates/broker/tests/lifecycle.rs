//! How the process starts, refuses to start, stops, and comes back.

mod support;

use std::net::{TcpListener, TcpStream};

use ottla_protocol::messages::{FetchRequest, JoinGroupRequest, MetadataRequest};
use ottla_records::Producer;
use support::{
    Home, Node, Signal,
    requests::{
        JOIN_GROUP, await_coordinator, batch, commit_request, committed, create_topic, create_topics_request,
        fetch_request, group_state, join_request, member_id, produce, producer_id, read_all,
    },
};

#[test]
fn sigterm_ends_it_with_0_and_a_clean_log_dir_where_the_next_start_finds_everything() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "kept", 1, &[]);
    assert_eq!(produce(&mut client, "kept", 0, batch([&b"one"[..], b"two"], Producer::NONE)).error_code, 0);
    assert!(!home.is_clean());
    assert_eq!(node.terminate().code(), Some(0));
    assert!(home.is_clean());

    let node = home.start(&[]);
    assert!(!home.is_clean(), "a crash from here on must be seen");
    let read = read_all(&mut node.connect(), "kept", 0);
    assert_eq!(read, [(0, b"one".to_vec()), (1, b"two".to_vec())]);
}

#[test]
fn a_terminal_that_hangs_up_stops_it_as_sigterm_does_unless_it_was_to_outlive_that() {
    let home = Home::new();
    let node = home.start(&[]);
    node.signal(Signal::HUP);
    let (status, said) = node.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("Terminating process due to signal SIGHUP"), "{said}");
    assert!(home.is_clean());

    // As nohup starts it.
    let properties = home.properties("");
    let node = Node::of(home.spawn_after("trap '' HUP", &[properties.to_str().expect("text")]));
    node.signal(Signal::HUP);
    node.assert_well();
    let (status, said) = node.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("due to signal SIGTERM") && !said.contains("SIGHUP"), "{said}");
}

#[test]
fn sigterm_does_not_wait_for_those_who_wait() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    create_topic(&mut client, "quiet", 1, &[]);
    let mut poll = node.connect();
    let patient = fetch_request("quiet", 0, 0).with_max_wait_ms(3_600_000);
    poll.send(12, &patient).expect("sent");

    await_coordinator(&mut client, "group");
    let first = member_id(&mut client, "group");
    assert_eq!(client.call(JOIN_GROUP, &join_request("group", &first)).error_code, 0);
    // The first member does not join again, so the second waits for it until the rebalance timeout.
    let mut joining = node.connect();
    let second = member_id(&mut joining, "group");
    joining.send(JOIN_GROUP, &join_request("group", &second)).expect("sent");
    while group_state(&mut client, "group") != "PreparingRebalance" {
        std::thread::yield_now();
    }

    assert_eq!(node.terminate().code(), Some(0));
    assert!(home.is_clean());
    // Answered or closed: nobody is left hanging.
    poll.try_receive::<FetchRequest>(12);
    joining.try_receive::<JoinGroupRequest>(JOIN_GROUP);
}

#[test]
fn a_second_process_on_the_same_log_dir_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let node = home.start(&[]);
    let said = home.refused(&[home.properties("").to_str().expect("text")]);
    assert!(said.contains(home.data().to_str().expect("text")) && said.contains("lock"), "{said}");
    node.assert_well();
}

#[test]
fn a_used_port_is_named_with_its_listener() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = taken.local_addr().expect("it is bound");
    let listeners = format!("listeners=CLIENTS://{address},CONTROLLER://localhost:0");
    let map = "listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT";
    let properties = home.properties("inter.broker.listener.name=CLIENTS");
    let file = properties.to_str().expect("text");
    let said = home.refused(&[file, "--auto-format", "--override", &listeners, "--override", map]);
    assert!(said.contains(&address.to_string()) && said.contains("CLIENTS"), "{said}");
    assert!(said.to_lowercase().contains("in use"), "{said}");
}

#[test]
fn a_log_dir_is_formatted_on_the_way_only_when_that_was_asked_for() {
    let home = Home::new();
    let properties = home.properties("");
    let file = properties.to_str().expect("text");
    let said = home.refused(&[file]);
    assert!(said.contains(home.data().to_str().expect("text")) && said.contains("storage format"), "{said}");
    assert!(!home.data().join("meta.properties").exists());

    let node = Node::of(home.spawn(&[file, "--auto-format"]));
    node.assert_well();
    assert_eq!(node.terminate().code(), Some(0));
    Node::of(home.spawn(&[file])).assert_well();
}

#[test]
fn the_log_dir_of_another_node_is_refused_and_left_as_it_is() {
    let home = Home::new();
    assert_eq!(home.start(&[]).terminate().code(), Some(0));
    let meta = std::fs::read(home.data().join("meta.properties")).expect("it is formatted");
    let said = home.refused(&[
        home.properties("").to_str().expect("text"),
        "--override",
        "node.id=2",
        "--override",
        "controller.quorum.voters=2@localhost:9093",
    ]);
    assert!(said.contains(home.data().to_str().expect("text")) && said.contains("node.id"), "{said}");
    assert_eq!(std::fs::read(home.data().join("meta.properties")).expect("it is there"), meta);
    assert!(home.is_clean(), "nobody worked on it");
}

#[test]
fn somebody_elses_directory_is_refused_and_left_as_it_is() {
    let home = Home::new();
    std::fs::create_dir(home.data()).expect("a new directory");
    std::fs::write(home.data().join("meta.properties"), b"\x00not ours\xff").expect("a file");
    let said = home.refused(&[home.properties("").to_str().expect("text"), "--auto-format"]);
    assert!(said.contains("meta.properties"), "{said}");
    let left: Vec<_> = std::fs::read_dir(home.data()).expect("it is there").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_bad_property_is_named_with_value_file_and_line() {
    let home = Home::new();
    for (line, key, value) in [
        ("num.partitions=many", "num.partitions", "many"),
        ("log.segment.bytes = 1k", "log.segment.bytes", "1k"),
        ("listeners=PLAINTEXT://127.0.0.1:99999", "listeners", "99999"),
    ] {
        let properties = home.properties(&format!("# A comment.\n{line}"));
        let text = std::fs::read_to_string(&properties).expect("just written");
        let number = text.lines().position(|found| found == line).expect("it is in it") + 1;
        let said = home.refused(&[properties.to_str().expect("text")]);
        let place = format!("server.properties:{number}");
        assert!(said.contains(key) && said.contains(value) && said.contains(&place), "{place}: {said}");
        assert!(!home.data().exists(), "nothing was touched");
    }
    let said = home.refused(&[home.path().join("nowhere.properties").to_str().expect("text")]);
    assert!(said.contains("nowhere.properties"), "{said}");
}

#[test]
fn a_kill_loses_no_topic_no_record_no_committed_offset_and_no_sequence() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut client = node.connect();
    let id = create_topic(&mut client, "kept", 3, &[("retention.ms", "123456789")]);
    let producer = Producer { id: producer_id(&mut client), epoch: 0, base_sequence: 0 };
    let batches: Vec<_> = (0..7_i32)
        .map(|n| {
            let values = [n * 2, n * 2 + 1].map(i32::to_be_bytes);
            batch(values.iter().map(|value| &value[..]), Producer { base_sequence: n * 2, ..producer })
        })
        .collect();
    for (n, batch) in (0..).zip(&batches) {
        assert_eq!(produce(&mut client, "kept", 2, batch.clone()).base_offset, n * 2);
    }
    await_coordinator(&mut client, "group");
    let committing = client.call(8, &commit_request("group", "kept", 2, 9));
    assert_eq!(committing.topics[0].partitions[0].error_code, 0);
    node.kill();
    assert!(!home.is_clean());

    let node = home.start(&[]);
    let mut client = node.connect();
    let metadata = client.call(12, &MetadataRequest::default().with_topics(None));
    let topic = metadata.topics.iter().find(|topic| topic.topic_id == id.0).expect("it is still there");
    assert_eq!((topic.name.as_ref().map(|name| &*name.0), topic.partitions.len()), (Some("kept"), 3));
    let read = read_all(&mut client, "kept", 2);
    let want: Vec<_> = (0..14_i32).map(|n| (i64::from(n), n.to_be_bytes().to_vec())).collect();
    assert_eq!(read, want);
    await_coordinator(&mut client, "group");
    assert_eq!(committed(&mut client, "group", "kept", 2), (0, 9));
    // The last five are known as duplicates, with their offsets; what is older or skips one is out of order.
    for (n, duplicate) in (0..).zip(&batches).skip(2) {
        let again = produce(&mut client, "kept", 2, duplicate.clone());
        assert_eq!((again.error_code, again.base_offset), (0, n * 2), "duplicate of batch {n}");
    }
    assert_eq!(produce(&mut client, "kept", 2, batches[1].clone()).error_code, 45);
    let skips = batch([&b"later"[..]], Producer { base_sequence: 15, ..producer });
    assert_eq!(produce(&mut client, "kept", 2, skips).error_code, 45);
    let next = batch([&b"next"[..]], Producer { base_sequence: 14, ..producer });
    let next = produce(&mut client, "kept", 2, next);
    assert_eq!((next.error_code, next.base_offset), (0, 14));
    assert_ne!(producer_id(&mut client), producer.id, "no producer id is given twice");
}

#[test]
fn it_ends_when_all_its_log_dirs_have_failed() {
    let home = Home::new();
    let node = home.start(&["broker.heartbeat.interval.ms=100"]);
    std::fs::rename(home.data(), home.path().join("elsewhere")).expect("it is there");
    let mut client = node.connect();
    client.send(7, &create_topics_request("nowhere", 1, &[])).expect("sent");
    let (status, said) = node.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("Shutdown broker because all log dirs in") && said.contains("have failed"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn more_connections_than_files_do_not_take_the_logs_their_files() {
    let home = Home::new();
    let properties = home.properties("");
    let node = Node::of(home.spawn_with_files(256, &[properties.to_str().expect("text"), "--auto-format"]));
    let mut client = node.connect();
    create_topic(&mut client, "before", 1, &[]);
    // Most of them wait in the listen queue.
    let crowd: Vec<_> = (0..400).map(|_| TcpStream::connect(node.address).expect("queued")).collect();
    create_topic(&mut client, "kept", 20, &[]);
    for partition in 0..20 {
        let answer = produce(&mut client, "kept", partition, batch([&b"one"[..]], Producer::NONE));
        assert_eq!(answer.error_code, 0, "partition {partition}: {}", node.said());
    }
    drop(crowd);
    node.assert_well();
    assert!(!node.said().contains("offline"), "{}", node.said());
    assert_eq!(node.terminate().code(), Some(0));
}
