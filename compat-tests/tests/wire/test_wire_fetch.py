"""Fetch, ListOffsets and Metadata by hand: long polls, limits, sessions, and the difference of null and empty."""

import struct

import pytest

from harness.raw import batches, build_batch
from harness.raw import produce_v8 as produce
from harness.wire import Connection, Reader, Writer, request

FETCH = 1
OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION = 1, 3


@pytest.fixture
def connection(broker):
    with Connection(broker) as opened:
        yield opened


def fetch(connection: Connection, topic: str, offset: int, *, minimum: int = 1, wait: int = 0, limit: int = 1 << 20) -> Reader:
    body = Writer().i32(-1).i32(wait).i32(minimum).i32(limit).i8(0).i32(1).string(topic).i32(1).i32(0).i64(offset).i32(limit)
    return connection.call(FETCH, 4, body.data)


def fetched(answer: Reader) -> tuple[int, int, int, bytes]:
    """Error, high watermark, last stable offset, records."""
    answer.i32(), answer.i32(), answer.string(), answer.i32(), answer.i32()
    error, high, stable = answer.i16(), answer.i64(), answer.i64()
    for _ in range(answer.i32()):
        answer.i64(), answer.i64()
    return error, high, stable, answer.bytes() or b""


def test_fetch_out_of_range_is_measured_against_the_log_end(connection, topic):
    name = topic()
    produce(connection, name, build_batch([b"a", b"b"]))
    assert fetched(fetch(connection, name, 2))[0] == 0
    assert fetched(fetch(connection, name, 3))[0] == OFFSET_OUT_OF_RANGE
    assert fetched(fetch(connection, name, -5))[0] == OFFSET_OUT_OF_RANGE
    assert fetched(fetch(connection, name, 0))[1:3] == (2, 2)


def test_fetch_serves_whole_batches_from_the_one_that_holds_the_offset(connection, topic):
    name = topic()
    for _ in range(3):
        produce(connection, name, build_batch([b"a", b"b", b"c"]))
    _, _, _, records = fetched(fetch(connection, name, 4))
    assert [b.base_offset for b in batches(records)] == [3, 6]


def test_fetch_serves_the_first_batch_whatever_its_size(connection, topic):
    name = topic()
    produce(connection, name, build_batch([b"x" * 5000]))
    produce(connection, name, build_batch([b"y" * 5000]))
    _, _, _, records = fetched(fetch(connection, name, 0, limit=100))
    assert [b.base_offset for b in batches(records)] == [0]
    assert len(records) == len(batches(records)[0].data)


def test_fetch_waits_for_min_bytes(connection, broker, topic):
    name = topic()
    with Connection(broker) as waiting:
        wait = Writer().i32(-1).i32(60_000).i32(300).i32(1 << 20).i8(0).i32(1).string(name).i32(1).i32(0).i64(0).i32(1 << 20)
        waiting.send(request(FETCH, 4, 1, wait.data))
        for i in range(5):
            assert produce(connection, name, build_batch([b"x" * 60])) == (0, i)
        answer = Reader(waiting.receive())
        assert answer.i32() == 1
        error, _, _, records = fetched(answer)
        assert error == 0 and len(records) >= 300


def test_fetch_is_answered_after_max_wait(connection, topic):
    assert fetched(fetch(connection, topic(), 0, wait=50, minimum=1000)) == (0, 0, 0, b"")


def test_fetch_of_an_unknown_topic(connection, unique):
    assert fetched(fetch(connection, unique("nobody"), 0))[0] == UNKNOWN_TOPIC_OR_PARTITION


def fetch_v7(connection: Connection, session: int, epoch: int, topics: list[tuple[str, list[tuple[int, int]]]], wait: int = 0):
    """Fetch version 7, which has sessions: error, session id, and per topic the partitions answered."""
    body = Writer().i32(-1).i32(wait).i32(1).i32(1 << 20).i8(0).i32(session).i32(epoch).i32(len(topics))
    for name, partitions in topics:
        body.string(name).i32(len(partitions))
        for index, offset in partitions:
            body.i32(index).i64(offset).i64(-1).i32(1 << 20)
    answer = connection.call(FETCH, 7, body.i32(0).data)
    answer.i32()
    error, identity, found = answer.i16(), answer.i32(), {}
    for _ in range(answer.i32()):
        name = answer.string()
        for _ in range(answer.i32()):
            index, code, high = answer.i32(), answer.i16(), answer.i64()
            answer.i64(), answer.i64()
            for _ in range(answer.i32()):
                answer.i64(), answer.i64()
            found[name, index] = (code, high, [b.base_offset for b in batches(answer.bytes() or b"")])
    assert answer.done
    return error, identity, found


def test_fetch_sessions(connection, topic):
    """KIP-227: after a full fetch only what changed is named, by either side."""
    name = topic(partitions=2)
    error, session, found = fetch_v7(connection, 0, 0, [(name, [(0, 0), (1, 0)])])
    assert error == 0 and session != 0
    assert found == {(name, 0): (0, 0, []), (name, 1): (0, 0, [])}
    assert fetch_v7(connection, session, 1, []) == (0, session, {})
    produce(connection, name, build_batch([b"a"]))
    assert fetch_v7(connection, session, 2, []) == (0, session, {(name, 0): (0, 1, [0])})
    assert fetch_v7(connection, session, 3, [(name, [(0, 1)])]) == (0, session, {})
    # 71 INVALID_FETCH_SESSION_EPOCH, 70 FETCH_SESSION_ID_NOT_FOUND
    assert fetch_v7(connection, session, 9, [])[0] == 71
    assert fetch_v7(connection, 123456, 1, [])[0] == 70
    # Epoch -1 closes the session.
    assert fetch_v7(connection, session, -1, [])[:2] == (0, 0)
    assert fetch_v7(connection, session, 4, [])[0] == 70


def test_list_offsets(connection, topic):
    name = topic()
    for i in range(3):
        produce(connection, name, build_batch([b"a", b"b"], timestamp=1_700_000_000_000 + i))

    def ask(when: int) -> tuple[int, int, int]:
        body = Writer().i32(-1).i32(1).string(name).i32(1).i32(0).i64(when)
        answer = connection.call(2, 1, body.data)
        answer.i32(), answer.string(), answer.i32(), answer.i32()
        return answer.i16(), answer.i64(), answer.i64()

    assert ask(-2) == (0, -1, 0)
    assert ask(-1) == (0, -1, 6)
    assert ask(1_700_000_000_001) == (0, 1_700_000_000_001, 2)
    assert ask(1_700_000_000_003) == (0, -1, -1)


def test_metadata_null_and_empty_topic_lists(connection, topic):
    name = topic()

    def names(version: int, count: int) -> list[str]:
        answer = connection.call(3, version, struct.pack(">i", count))
        for _ in range(answer.i32()):
            answer.i32(), answer.string(), answer.i32()
            if version >= 1:
                answer.string()
        if version >= 1:
            answer.i32()
        found = []
        for _ in range(answer.i32()):
            assert answer.i16() == 0
            found.append(answer.string())
            if version >= 1:
                answer.i8()
            for _ in range(answer.i32()):
                answer.i16(), answer.i32(), answer.i32()
                for _ in range(2):
                    for _ in range(answer.i32()):
                        answer.i32()
        return found

    assert name in names(0, 0)
    assert name in names(1, -1)
    assert names(1, 0) == []


@pytest.mark.parametrize("version", [10, 11])
def test_metadata_by_id_is_refused_where_an_answer_needs_a_name(connection, topic, version):
    name, some_id = topic(), bytes(range(16))
    asked = [(some_id, None), (bytes(16), name)]
    body = Writer().uvarint(len(asked) + 1)
    for topic_id, called in asked:
        body.raw(topic_id).compact_string(called).tags()
    body.i8(1)
    if version == 10:
        body.i8(0)
    answer = connection.call(3, version, body.i8(0).tags().data, header=2, response_header=1)
    throttled, brokers, cluster_id = answer.i32(), answer.compact_count(), answer.compact_string()
    assert (throttled, brokers, cluster_id, answer.i32()) == (0, 0, None, -1)
    told = []
    for _ in range(answer.compact_count()):
        code, called, topic_id = answer.i16(), answer.compact_string(), answer.take(16)
        told.append((code, called, topic_id, answer.i8(), answer.compact_count(), answer.i32()))
        answer.tags()
    nothing = -(1 << 31)
    assert told == [(42, "", some_id, 0, 0, nothing), (42, name, bytes(16), 0, 0, nothing)]
    if version == 10:
        assert answer.i32() == nothing
    answer.tags()
    assert answer.done
