"""Frames: limits, truncation, hostile lengths, pipelining, and silence where silence is due."""

import contextlib
import socket
import struct
import time

import pytest

from harness.raw import build_batch, fetch_v4
from harness.waiting import until
from harness.wire import Connection, Reader, Writer, frame, request

API_VERSIONS, METADATA, PRODUCE = 18, 3, 0


@pytest.fixture
def connection(broker):
    with Connection(broker) as opened:
        yield opened


def alive(broker) -> bool:
    """Whether the broker serves a new connection."""
    with Connection(broker) as another:
        return another.call(API_VERSIONS, 0).i16() == 0


def produce_body(topic: str, records: bytes, acks: int = 1, partition: int = 0) -> bytes:
    """Produce version 3."""
    return Writer().string(None).i16(acks).i32(30_000).i32(1).string(topic).i32(1).i32(partition).bytes(records).data


def produced(answer: Reader) -> tuple[int, int]:
    """Error code and base offset of the only partition of a Produce version 3 answer."""
    assert answer.i32() == 1
    answer.string()
    assert (answer.i32(), answer.i32()) == (1, 0)
    error, offset = answer.i16(), answer.i64()
    answer.i64(), answer.i32()
    assert answer.done
    return error, offset


@pytest.mark.parametrize("length", [-1, -(2**31), 2**31 - 1, 104_857_601])
def test_frame_lengths_out_of_range_close_the_connection(broker, connection, length):
    connection.send(struct.pack(">i", length) + b"\0" * 64)
    assert connection.closed()
    assert alive(broker)


def test_a_frame_of_no_bytes_closes_the_connection(broker, connection):
    connection.send(struct.pack(">i", 0))
    assert connection.closed()
    assert alive(broker)


@pytest.mark.parametrize("length", range(1, 8))
def test_frames_too_short_for_a_header_close_the_connection(broker, connection, length):
    connection.send(frame(b"\0" * length))
    assert connection.closed()
    assert alive(broker)


def test_the_limit_is_configurable_and_exact(new_broker):
    small = new_broker({"socket.request.max.bytes": "1000"}).start()
    head = len(request(API_VERSIONS, 3, 1, header=2)) - 4
    software = 1000 - head - 2 - 2 - 1  # a compact string's length takes two bytes here, the version "1" two, tags one
    body = Writer().compact_string("x" * software).compact_string("1").tags().data
    with Connection(small) as connection:
        fits = request(API_VERSIONS, 3, 1, body, header=2)
        assert len(fits) == 1004
        connection.send(fits)
        assert Reader(connection.receive()).i32() == 1
        connection.send(struct.pack(">i", 1001) + b"\0" * 1001)
        assert connection.closed()


@pytest.mark.parametrize("version", [12, 13, 9])
def test_the_five_bytes(broker, connection, version):
    """An array that claims four billion elements: must cost nothing."""
    connection.send(request(METADATA, version, 1, b"\xff\xff\xff\xff\x0f", header=2))
    assert connection.closed()
    assert alive(broker)


@pytest.mark.parametrize("count", [2**31 - 1, 1_000_001, 100_000])
def test_arrays_longer_than_their_bytes(broker, connection, count):
    connection.send(request(METADATA, 1, 1, struct.pack(">i", count) + b"\0" * 10))
    assert connection.closed()
    assert alive(broker)


def test_a_string_longer_than_its_bytes(broker, connection):
    connection.send(request(METADATA, 1, 1, Writer().i32(1).i16(30_000).raw(b"abc").data))
    assert connection.closed()
    assert alive(broker)


#: One well-formed request per API and version, which is then cut short at every byte.
SAMPLES = {
    "metadata-4": (METADATA, 4, 1, Writer().i32(1).string("topic-of-no-one").i8(0).data),
    "metadata-12": (METADATA, 12, 2, Writer().uvarint(2).raw(b"\0" * 16).compact_string("t").tags().i8(0).i8(0).tags().data),
    "fetch-4": (1, 4, 1, Writer().i32(-1).i32(0).i32(1).i32(1 << 20).i8(0).i32(1).string("t").i32(1).i32(0).i64(0).i32(9).data),
    "list-offsets-1": (2, 1, 1, Writer().i32(-1).i32(1).string("t").i32(1).i32(0).i64(-1).data),
    "find-coordinator-3": (10, 3, 2, Writer().compact_string("g").i8(0).tags().data),
    "find-coordinator-4": (10, 4, 2, Writer().i8(0).uvarint(2).compact_string("g").tags().data),
    "offset-fetch-8": (9, 8, 2, Writer().uvarint(2).compact_string("g").uvarint(0).tags().i8(0).tags().data),
    "create-topics-2": (
        19, 2, 1, Writer().i32(1).string("never/made").i32(1).i16(1).i32(0).i32(1).string("k").string("v").i32(100).i8(1).data
    ),
    "delete-topics-1": (20, 1, 1, Writer().i32(1).string("never-made").i32(100).data),
    "describe-configs-1": (32, 1, 1, Writer().i32(1).i8(2).string("never-made").i32(-1).i8(0).data),
    "join-group-2": (
        11, 2, 1, Writer().string("").i32(6000).i32(6000).string("").string("consumer").i32(1).string("r").bytes(b"m").data
    ),
    "sync-group-3": (14, 3, 1, Writer().string("g").i32(1).string("m").string(None).i32(1).string("m").bytes(b"a").data),
    "init-producer-id-2": (22, 2, 2, Writer().compact_string(None).i32(60_000).tags().data),
    "describe-groups-5": (15, 5, 2, Writer().uvarint(2).compact_string("g").i8(0).tags().data),
    "describe-cluster-0": (60, 0, 2, Writer().i8(0).tags().data),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_truncation_closes_the_connection_and_nothing_else(broker, sample):
    key, version, header, body = SAMPLES[sample]
    with Connection(broker) as connection:
        answer = connection.call(key, version, body, header=header, response_header=header - 1)
        assert len(answer.data) > 4
    for length in range(len(body)):
        with Connection(broker) as connection:
            connection.send(request(key, version, 1, body[:length], header=header))
            assert connection.closed(), f"{length} of {len(body)} bytes were answered"
    assert alive(broker)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_changed_byte_leaves_the_broker_alive(broker, sample):
    """What is answered does not matter here, only that the next connection is served."""
    key, version, header, body = SAMPLES[sample]
    for at in range(len(body)):
        for value in {0, 1, 0x7F, 0x80, 0xFF} - {body[at]}:
            with Connection(broker) as connection:
                connection.send(request(key, version, 1, body[:at] + bytes([value]) + body[at + 1 :], header=header))
                connection.socket.shutdown(socket.SHUT_WR)
                connection.socket.settimeout(0.05)
                with contextlib.suppress(OSError):
                    connection.socket.recv(1)
        assert broker.alive()
    assert alive(broker)


def test_a_frame_that_arrives_byte_by_byte(connection):
    for byte in request(API_VERSIONS, 0, 77):
        connection.send(bytes([byte]))
        time.sleep(0)
    answer = Reader(connection.receive())
    assert (answer.i32(), answer.i16()) == (77, 0)


def test_a_connection_closed_in_the_middle_of_a_frame(broker, connection):
    connection.send(request(METADATA, 1, 1, struct.pack(">i", 0))[:-2])
    connection.close()
    assert alive(broker)


def test_pipelined_requests_are_answered_in_order(broker, connection, topic):
    name = topic()
    # A long poll first, then quick ones: the quick ones' answers must not overtake it.
    fetch = Writer().i32(-1).i32(300).i32(1).i32(1 << 20).i8(0).i32(1).string(name).i32(1).i32(0).i64(0).i32(1 << 20)
    frames = [request(1, 4, 0, fetch.data)]
    for number in range(1, 60):
        if number % 3 == 0:
            frames.append(request(METADATA, 1, number, Writer().i32(1).string(name).data))
        elif number % 3 == 1:
            frames.append(request(PRODUCE, 3, number, produce_body(name, build_batch([b"%d" % number]))))
        else:
            frames.append(request(API_VERSIONS, 0, number))
    connection.send(b"".join(frames))
    assert [Reader(connection.receive()).i32() for _ in frames] == list(range(60))


def test_pipelined_produce_keeps_its_order(connection, topic):
    name = topic()
    connection.send(b"".join(request(PRODUCE, 3, i, produce_body(name, build_batch([b"%d" % i]), -1)) for i in range(50)))
    answers = [Reader(connection.receive()) for _ in range(50)]
    assert [(a.i32(), *produced(a)) for a in answers] == [(i, 0, i) for i in range(50)]


def test_acks_0_is_answered_with_nothing(broker, connection, topic):
    name = topic()
    for i in range(3):
        connection.send(request(PRODUCE, 3, 900 + i, produce_body(name, build_batch([b"%d" % i]), 0)))
    # The next bytes on the connection are the answer to the next request.
    assert connection.call(API_VERSIONS, 0).i16() == 0
    until("three records", lambda: fetch_v4(connection, name, 0, 0)[0] == 3)


def test_an_error_under_acks_0_closes_the_connection(broker, connection, topic):
    name = topic()
    connection.send(request(PRODUCE, 3, 1, produce_body(name, build_batch([b"x"]), 0, partition=99)))
    assert connection.closed()
    assert alive(broker)


def test_acks_out_of_range(connection, topic):
    error, _ = produced(connection.call(PRODUCE, 3, produce_body(topic(), build_batch([b"x"]), 7)))
    assert error == 21  # INVALID_REQUIRED_ACKS


def test_many_connections(broker):
    opened = []
    for _ in range(300):
        opened.append(Connection(broker))
        assert opened[-1].call(API_VERSIONS, 0).i16() == 0
    for connection in opened:
        assert connection.call(API_VERSIONS, 0).i16() == 0
    for connection in opened:
        connection.close()
