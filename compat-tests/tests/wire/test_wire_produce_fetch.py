"""Produce and Fetch by hand: what is refused with which code, and idempotence rule by rule."""

import struct

import pytest

from harness.raw import batches, build_batch, fetch_v4
from harness.rdkafka import create_topic
from harness.waiting import until
from harness.wire import Connection, Reader, Writer, request

PRODUCE, FETCH, INIT_PRODUCER_ID = 0, 1, 22

CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION, MESSAGE_TOO_LARGE, OFFSET_OUT_OF_RANGE = 2, 3, 10, 1
OUT_OF_ORDER_SEQUENCE, DUPLICATE_SEQUENCE, INVALID_PRODUCER_EPOCH, INVALID_RECORD, INVALID_TIMESTAMP = 45, 46, 47, 87, 32


@pytest.fixture
def connection(broker):
    with Connection(broker) as opened:
        yield opened


def produce(connection: Connection, topic: str, records: bytes, append_times: list[int] | None = None) -> tuple[int, int]:
    """Produce version 8 with acks=all: error code and base offset of partition 0; the append time goes into the list."""
    body = Writer().string(None).i16(-1).i32(30_000).i32(1).string(topic).i32(1).i32(0).bytes(records)
    answer = connection.call(PRODUCE, 8, body.data)
    assert (answer.i32(), answer.string(), answer.i32(), answer.i32()) == (1, topic, 1, 0)
    error, offset, append_time, start = answer.i16(), answer.i64(), answer.i64(), answer.i64()
    for _ in range(answer.i32()):
        answer.i32(), answer.string()
    answer.string()
    assert answer.i32() == 0 and answer.done
    assert start == 0 or error != 0
    if append_times is not None:
        append_times.append(append_time)
    return error, offset


def producer_id(connection: Connection) -> tuple[int, int]:
    """A new producer id and its epoch."""

    def asked():
        answer = connection.call(INIT_PRODUCER_ID, 1, Writer().string(None).i32(60_000).data)
        answer.i32()
        error, identity, epoch = answer.i16(), answer.i64(), answer.i16()
        assert error in (0, 14) and answer.done
        return error == 0 and (identity, epoch)

    return until("a producer id", asked)


def end(connection: Connection, topic: str) -> int:
    return fetch_v4(connection, topic, 0, 0)[0]


def test_what_is_stored_is_what_was_sent(connection, topic):
    name = topic()
    sent = build_batch([b"a", b"b", b"c"], key=b"k", timestamp=1_700_000_000_000)
    assert produce(connection, name, sent) == (0, 0)
    assert produce(connection, name, sent) == (0, 3)
    _, stored = fetch_v4(connection, name, 0, 0)
    first, second = batches(stored)
    # Base offset and leader epoch are the broker's; from the magic byte on nothing changes.
    assert (first.base_offset, second.base_offset) == (0, 3)
    assert first.data[16:] == second.data[16:] == sent[16:]
    assert first.leader_epoch == second.leader_epoch == 0


def test_producer_ids_are_distinct(broker):
    with Connection(broker) as one, Connection(broker) as two:
        seen = [producer_id(c) for c in (one, two, one, two)]
    assert len({identity for identity, _ in seen}) == 4 and {epoch for _, epoch in seen} == {0}


def test_sequences(connection, topic):
    name = topic()
    pid, epoch = producer_id(connection)

    def send(sequence: int, count: int = 1, *, with_epoch: int = epoch) -> tuple[int, int]:
        records = build_batch([b"v"] * count, producer_id=pid, epoch=with_epoch, sequence=sequence)
        return produce(connection, name, records)

    assert send(0, 2) == (0, 0)
    assert send(2) == (0, 2)
    # A gap and an overlap.
    assert send(4)[0] == OUT_OF_ORDER_SEQUENCE
    assert send(1)[0] == OUT_OF_ORDER_SEQUENCE
    # The last five batches are remembered and answered with the offset they got.
    for i in range(3, 7):
        assert send(i) == (0, i)
    assert [send(i) for i in range(2, 7)] == [(0, i) for i in range(2, 7)]
    assert send(0, 2)[0] == OUT_OF_ORDER_SEQUENCE
    assert end(connection, name) == 7
    # A new epoch starts at 0, and ends the old one.
    assert send(5, with_epoch=epoch + 1)[0] == OUT_OF_ORDER_SEQUENCE
    assert send(0, with_epoch=epoch + 1) == (0, 7)
    assert send(7)[0] == INVALID_PRODUCER_EPOCH
    assert end(connection, name) == 8


def test_a_duplicate_is_answered_with_the_time_of_its_batch(connection, topic):
    name, times = topic(), []
    pid, epoch = producer_id(connection)
    batch = build_batch([b"v"], producer_id=pid, epoch=epoch, sequence=0, timestamp=1_700_000_000_000)
    assert [produce(connection, name, batch, times) for _ in range(2)] == [(0, 0)] * 2
    # Under CreateTime an append has no append time; a duplicate carries the time of what it duplicates.
    assert times == [-1, 1_700_000_000_000]


def test_an_unknown_producer_may_start_anywhere(connection, topic):
    name = topic()
    pid, epoch = producer_id(connection)
    assert produce(connection, name, build_batch([b"v"], producer_id=pid, epoch=epoch, sequence=1000)) == (0, 0)
    assert produce(connection, name, build_batch([b"v"], producer_id=pid, epoch=epoch, sequence=1001)) == (0, 1)


def test_sequences_wrap(connection, topic):
    name = topic()
    pid, epoch = producer_id(connection)

    def send(sequence: int, count: int) -> tuple[int, int]:
        return produce(connection, name, build_batch([b"v"] * count, producer_id=pid, epoch=epoch, sequence=sequence))

    assert send(2**31 - 3, 2) == (0, 0)
    # This batch takes 2147483647, 0 and 1.
    assert send(2**31 - 1, 3) == (0, 2)
    assert send(2**31 - 1, 3) == (0, 2)
    assert send(3, 1)[0] == OUT_OF_ORDER_SEQUENCE
    assert send(2, 1) == (0, 5)


def test_sequences_survive_a_kill(new_broker):
    own = new_broker().start()
    create_topic(own.bootstrap, "kept")
    with Connection(own) as connection:
        pid, epoch = producer_id(connection)

        def send(on: Connection, sequence: int) -> tuple[int, int]:
            return produce(on, "kept", build_batch([b"v"], producer_id=pid, epoch=epoch, sequence=sequence))

        assert [send(connection, i) for i in range(4)] == [(0, i) for i in range(4)]
    own.kill()
    own.start()
    with Connection(own) as connection:
        until("the leader", lambda: send(connection, 3)[0] == 0)
        assert send(connection, 3) == (0, 3)
        assert send(connection, 5)[0] == OUT_OF_ORDER_SEQUENCE
        assert send(connection, 4) == (0, 4)
        assert producer_id(connection)[0] != pid
        assert end(connection, "kept") == 5


def test_refused_batches(connection, topic):
    name = topic()
    good = build_batch([b"a", b"b"])
    broken_crc = good[:-1] + bytes([good[-1] ^ 1])
    assert produce(connection, name, broken_crc)[0] == CORRUPT_MESSAGE
    assert produce(connection, name, good[:16] + b"\x02\0\0\0\0" + good[21:])[0] == CORRUPT_MESSAGE
    assert produce(connection, name, build_batch([b"a"], count=2))[0] == INVALID_RECORD
    assert produce(connection, name, build_batch([b"a", b"b"], count=1))[0] == INVALID_RECORD
    # A control batch.
    assert produce(connection, name, build_batch([b"a"], attributes=0x20))[0] == INVALID_RECORD
    # Compressed attributes over bytes that are not.
    assert produce(connection, name, build_batch([b"a"], attributes=4))[0] != 0
    assert end(connection, name) == 0
    assert produce(connection, name, good) == (0, 0)


def test_two_batches_in_one_partition_are_refused(connection, topic):
    name = topic()
    body = Writer().string(None).i16(-1).i32(30_000).i32(1).string(name).i32(1).i32(0).bytes(build_batch([b"a"]) * 2)
    answer = connection.call(PRODUCE, 8, body.data)
    assert (answer.i32(), answer.string(), answer.i32(), answer.i32(), answer.i16()) == (1, name, 1, 0, INVALID_RECORD)


@pytest.mark.parametrize("config, timestamp", [
    ({"message.timestamp.before.max.ms": "1000"}, 1_600_000_000_000),
    ({"message.timestamp.after.max.ms": "1000"}, 4_000_000_000_000),
    ({}, 4_000_000_000_000),
])
def test_timestamps_out_of_bounds(connection, topic, config, timestamp):
    name = topic(config=config)
    assert produce(connection, name, build_batch([b"a"], timestamp=timestamp))[0] == INVALID_TIMESTAMP
    assert end(connection, name) == 0


def test_too_large(connection, topic):
    name = topic(config={"max.message.bytes": "500"})
    exact = build_batch([b"x" * (500 - len(build_batch([b""])) - 2)])
    assert len(exact) == 500
    assert produce(connection, name, exact) == (0, 0)
    assert produce(connection, name, build_batch([b"x" * 500]))[0] == MESSAGE_TOO_LARGE


def test_unknown_topics_are_answered(connection, unique):
    assert produce(connection, unique("nobody"), build_batch([b"a"]))[0] == UNKNOWN_TOPIC_OR_PARTITION


def test_an_invalid_record_names_itself(connection, topic):
    name = topic(config={"cleanup.policy": "compact"})
    body = Writer().string(None).i16(-1).i32(30_000).i32(1).string(name).i32(1).i32(0).bytes(build_batch([b"a", b"b"]))
    answer = connection.call(PRODUCE, 8, body.data)
    assert (answer.i32(), answer.string(), answer.i32(), answer.i32(), answer.i16()) == (1, name, 1, 0, INVALID_RECORD)
    answer.i64(), answer.i64(), answer.i64()
    indexes = [(answer.i32(), answer.string())[0] for _ in range(answer.i32())]
    assert indexes == [0, 1]
    assert answer.string()


# ---- Fetch

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
