//! Golden bytes: what Apache Kafka 4.4.0 wrote, taken from its log.

use super::*;

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
}

fn golden(key: &str, value: Option<&str>, expected: &Record) {
    let (key, value) = (unhex(key), value.map(unhex));
    assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(expected.clone())));
    let (ours, our_value) = expected.encode().expect("short names");
    assert_eq!(&ours[..], &key[..]);
    assert_eq!(our_value.as_deref(), value.as_deref());
}

const SUBSCRIPTION: &str = "000300000001000174000000000000 0000ffffffff0000";
const ASSIGNMENT: &str = "00000000000100017400000002000000000000000100000000";

#[test]
fn an_empty_group_reads_and_writes_as_kafkas() {
    let value = GroupSnapshot { state_since_ms: Some(0x01a2_04d7_669f), ..GroupSnapshot::default() };
    golden(
        "000200026731",
        Some("0003000000000000ffffffff000001a204d7669f00000000"),
        &Record::Group { group: "g1".into(), value },
    );
}

#[test]
fn a_stable_static_group_reads_and_writes_as_kafkas() {
    let member_id: Arc<str> = "i1-b90c18b1-8d59-4111-b6f2-34297f7e2355".into();
    let member = MemberSnapshot {
        member_id: member_id.clone(),
        group_instance_id: Some("i1".into()),
        client_id: "cl".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: unhex(&SUBSCRIPTION.replace(' ', "")).into(),
        assignment: unhex(ASSIGNMENT).into(),
    };
    let value = GroupSnapshot {
        protocol_type: "consumer".into(),
        generation: 1,
        protocol: Some("range".into()),
        leader: Some(member_id),
        state_since_ms: Some(0x01a2_04d7_681f),
        members: vec![member],
    };
    golden(
        "000200026773",
        Some(concat!(
            "00030008636f6e73756d657200000001000572616e6765002769312d62393063313862312d386435392d343131312d",
            "623666322d333432393766376532333535000001a204d7681f00000001002769312d62393063313862312d38643539",
            "2d343131312d623666322d333432393766376532333535000269310002636c000a2f3132372e302e302e31000493e0",
            "0000afc8000000170003000000010001740000000000000000ffffffff000000000019000000000001000174000000",
            "02000000000000000100000000"
        )),
        &Record::Group { group: "gs".into(), value },
    );
}

#[test]
fn offsets_read_and_write_as_kafkas() {
    let topic_id = TopicId(uuid::Uuid::from_u128(0x8392_f8f5_29af_47c3_8d88_3ced_5abc_08bb));
    let value = CommittedOffset {
        offset: 5,
        leader_epoch: -1,
        metadata: "meta\0".into(),
        commit_timestamp_ms: 0x01a2_04d7_6757,
        expire_timestamp_ms: None,
        topic_id,
    };
    golden(
        "0001000267310001740000 0000".replace(' ', "").as_str(),
        Some(
            "00040000000000000005ffffffff066d65746100000001a204d767570100108392f8f529af47c38d883ced5abc08bb",
        ),
        &Record::Offset { group: "g1".into(), topic: "t".into(), partition: 0, value },
    );
    golden(
        "00010002673100017400000000",
        None,
        &Record::OffsetTombstone { group: "g1".into(), topic: "t".into(), partition: 0 },
    );
    golden("000200026731", None, &Record::GroupTombstone { group: "g1".into() });
}

#[test]
fn an_offset_that_says_when_it_expires_is_written_as_version_1() {
    let value = CommittedOffset {
        offset: 7,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp_ms: 1,
        expire_timestamp_ms: Some(2),
        topic_id: TopicId::ZERO,
    };
    golden(
        "00010002673100017400000000",
        Some("000100000000000000070000000000000000000100000000 00000002".replace(' ', "").as_str()),
        &Record::Offset { group: "g1".into(), topic: "t".into(), partition: 0, value },
    );
}

#[test]
fn other_groups_are_passed_over_and_garbage_refused() {
    assert_eq!(Record::decode(&[0, 3, 0, 1, b'g'], Some(&[0, 0])), Ok(None));
    assert!(Record::decode(&[], None).is_err());
    assert!(Record::decode(&[0, 2, 0, 9, b'g'], None).is_err());
    assert!(Record::decode(&[0, 2, 0, 1, b'g'], Some(&[0, 9])).is_err());
    let (key, value) =
        Record::GroupTombstone { group: "x".repeat(40_000).into() }.encode().unwrap_or_default();
    assert!(key.is_empty() && value.is_none());
}
