"""Produce by hand: what is refused with which code, and idempotence rule by rule."""

import pytest

from harness.raw import batches, build_batch, fetch_v4
from harness.raw import produce_v8 as produce
from harness.rdkafka import create_topic
from harness.waiting import until
from harness.wire import Connection, Writer

PRODUCE, INIT_PRODUCER_ID = 0, 22

CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION, MESSAGE_TOO_LARGE = 2, 3, 10
OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH, INVALID_RECORD, INVALID_TIMESTAMP = 45, 47, 87, 32


@pytest.fixture
def connection(broker):
    with Connection(broker) as opened:
        yield opened


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
