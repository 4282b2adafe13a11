//! Answers of all kinds, one after the other.

use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    SnapshotId as WireId,
};

use super::*;

fn observer() -> Observer {
    let me = Identity {
        node_id: 7,
        cluster_id: "c".into(),
        directory_id: Uuid::from_u128(9),
        max_bytes: 1000,
        snapshot_max_bytes: 100,
    };
    Observer::new(me, vec![("a".into(), 1), ("b".into(), 2)], BTreeMap::new(), 0)
}

const END: LogEnd = LogEnd { offset: 10, epoch: 3 };

fn answer(code: ErrorCode, leader: i32, epoch: i32) -> FetchResponse {
    let partition =
        PartitionData::default().with_error_code(code.0).with_high_watermark(12).with_current_leader(
            LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch),
        );
    let topic =
        FetchableTopicResponse::default().with_topic_id(TopicId::METADATA.0).with_partitions(vec![partition]);
    let at = NodeEndpoint::default().with_node_id(BrokerId(leader)).with_host("l".into()).with_port(9);
    FetchResponse::default().with_responses(vec![topic]).with_node_endpoints(vec![at])
}

#[test]
fn whoever_is_asked_first_says_who_leads() {
    let mut observer = observer();
    let first = observer.target();
    assert_eq!(observer.fetched(answer(ErrorCode::FENCED_LEADER_EPOCH, 3, 5), END), Verdict::Redirected);
    assert_eq!(observer.target(), ("l".into(), 9));
    assert_eq!(observer.fetch(END, 18).topics[0].partitions[0].current_leader_epoch, 5);
    assert_eq!(
        observer.fetched(answer(ErrorCode::NONE, 3, 5), END),
        Verdict::Append { records: Bytes::new(), high_watermark: 12 }
    );
    // Gone: the others are asked in turn.
    observer.failed();
    assert_ne!(observer.target(), first);
    observer.failed();
    assert_eq!(observer.target(), first);
}

#[test]
fn a_leader_of_the_past_is_not_followed() {
    let mut observer = observer();
    observer.fetched(answer(ErrorCode::NONE, 3, 5), END);
    assert_eq!(observer.fetched(answer(ErrorCode::NONE, 2, 4), END), Verdict::Wait(None));
    assert_eq!(observer.leader(), None);
    // The one who was asked no longer leads, and nobody does.
    observer.fetched(answer(ErrorCode::NONE, 3, 5), END);
    let nobody = answer(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1, 6);
    assert_eq!(observer.fetched(nobody, END), Verdict::Wait(None));
    assert_eq!(observer.leader(), None);
}

#[test]
fn the_high_watermark_never_goes_back() {
    let mut observer = observer();
    observer.fetched(answer(ErrorCode::NONE, 3, 5), END);
    let mut lower = answer(ErrorCode::NONE, 4, 6);
    partition(&mut lower).high_watermark = 3;
    let verdict = observer.fetched(lower, END);
    assert_eq!(verdict, Verdict::Append { records: Bytes::new(), high_watermark: 12 });
}

#[test]
fn a_different_log_is_cut_and_one_that_is_too_old_is_replaced() {
    let mut observer = observer();
    let mut differs = answer(ErrorCode::NONE, 3, 5);
    partition(&mut differs).diverging_epoch = EpochEndOffset::default().with_epoch(2).with_end_offset(8);
    assert_eq!(observer.fetched(differs, END), Verdict::Truncate { epoch: 2, end: 8 });
    let mut begins_later = answer(ErrorCode::NONE, 3, 5);
    partition(&mut begins_later).snapshot_id = WireId::default().with_end_offset(50).with_epoch(4);
    let id = SnapshotId { end_offset: 50, epoch: 4 };
    assert_eq!(observer.fetched(begins_later, END), Verdict::BeginSnapshot(id));
    assert_eq!(observer.ask(), Ask::Snapshot { id, position: 0 });
}

fn piece(position: i64, size: i64, bytes: &'static [u8]) -> FetchSnapshotResponse {
    use ottla_protocol::messages::fetch_snapshot_response as wire;
    let one = wire::PartitionSnapshot::default()
        .with_snapshot_id(wire::SnapshotId::default().with_end_offset(50).with_epoch(4))
        .with_size(size)
        .with_position(position)
        .with_unaligned_records(Bytes::from_static(bytes))
        .with_current_leader(
            wire::LeaderIdAndEpoch::default().with_leader_id(BrokerId(3)).with_leader_epoch(5),
        );
    FetchSnapshotResponse::default()
        .with_topics(vec![wire::TopicSnapshot::default().with_partitions(vec![one])])
}

fn fetching_a_snapshot() -> (Observer, SnapshotId) {
    let mut observer = observer();
    let mut begins_later = answer(ErrorCode::NONE, 3, 5);
    partition(&mut begins_later).snapshot_id = WireId::default().with_end_offset(50).with_epoch(4);
    observer.fetched(begins_later, END);
    (observer, SnapshotId { end_offset: 50, epoch: 4 })
}

#[test]
fn a_snapshot_comes_piece_by_piece() {
    let (mut observer, id) = fetching_a_snapshot();
    let bytes = Bytes::from_static(b"abc");
    let verdict = observer.fetched_snapshot(piece(0, 5, b"abc"));
    assert_eq!(verdict, Verdict::Piece { id, bytes, last: false });
    assert_eq!(observer.ask(), Ask::Snapshot { id, position: 3 });
    let verdict = observer.fetched_snapshot(piece(3, 5, b"de"));
    assert_eq!(verdict, Verdict::Piece { id, bytes: Bytes::from_static(b"de"), last: true });
    assert_eq!(observer.ask(), Ask::Log);
}

#[test]
fn pieces_that_do_not_fit_are_refused() {
    for wrong in [piece(1, 5, b"abc"), piece(0, 2, b"abc"), piece(0, 5, b""), piece(0, i64::MAX, b"abc")] {
        let (mut observer, _) = fetching_a_snapshot();
        assert!(matches!(observer.fetched_snapshot(wrong), Verdict::Wait(Some(_))));
        assert_eq!(observer.ask(), Ask::Log);
    }
}

#[test]
fn nonsense_and_other_clusters_are_told() {
    for wrong in [
        FetchResponse::default(),
        FetchResponse::default().with_error_code(ErrorCode::UNKNOWN_SERVER_ERROR.0),
        answer(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, -1, 0),
    ] {
        assert!(matches!(observer().fetched(wrong, END), Verdict::Wait(Some(_))));
    }
    let foreign = FetchResponse::default().with_error_code(ErrorCode::INCONSISTENT_CLUSTER_ID.0);
    assert!(matches!(observer().fetched(foreign, END), Verdict::Foreign(_)));
    let mut half = answer(ErrorCode::NONE, 3, 5);
    partition(&mut half).diverging_epoch = EpochEndOffset::default().with_epoch(2);
    assert!(matches!(observer().fetched(half, END), Verdict::Wait(Some(_))));
    let mut behind = answer(ErrorCode::NONE, 3, 5);
    partition(&mut behind).snapshot_id = WireId::default().with_end_offset(5).with_epoch(4);
    assert!(matches!(observer().fetched(behind, END), Verdict::Wait(Some(_))));
}

#[test]
fn where_the_log_is_cut() {
    let epochs = [(1, 0), (3, 10), (4, 15)];
    // The leader has our epoch: the shorter of both counts.
    assert_eq!(cut(&epochs, 20, 3, 12), 12);
    assert_eq!(cut(&epochs, 20, 3, 17), 15);
    assert_eq!(cut(&epochs, 20, 4, 18), 18);
    // It has one that we do not: all behind our last one before it goes.
    assert_eq!(cut(&epochs, 20, 2, 12), 10);
    // It knows none of ours.
    assert_eq!(cut(&epochs, 20, 0, 0), 0);
    assert_eq!(cut(&[], 20, 0, 5), 5);
}
