"""Version negotiation on the wire: what every client's first bytes rely on."""

import struct

import pytest

from harness.wire import Connection, Reader, Writer, request

API_VERSIONS, METADATA, PRODUCE, JOIN_GROUP = 18, 3, 0, 11


@pytest.fixture
def connection(broker):
    with Connection(broker) as opened:
        yield opened


def table_v0(reader: Reader) -> dict[int, tuple[int, int]]:
    """The array of ApiVersions versions 0 to 2: key to lowest and highest version."""
    return {reader.i16(): (reader.i16(), reader.i16()) for _ in range(reader.i32())}


def body_v3(name: str = "wire", version: str = "1.0") -> bytes:
    return Writer().compact_string(name).compact_string(version).tags().data


def table_v3(reader: Reader) -> dict[int, tuple[int, int]]:
    found = {}
    for _ in range(reader.compact_count()):
        key = reader.i16()
        found[key] = (reader.i16(), reader.i16())
        assert reader.tags() == {}
    return found


def test_version_0(connection):
    answer = connection.call(API_VERSIONS, 0)
    assert answer.i16() == 0
    table = table_v0(answer)
    assert answer.done
    assert len(table) >= 22 and all(0 <= low <= high for low, high in table.values())


def test_version_1_adds_the_throttle_time(connection):
    answer = connection.call(API_VERSIONS, 1)
    assert answer.i16() == 0
    table_v0(answer)
    assert answer.i32() == 0 and answer.done


@pytest.mark.parametrize("version", [3, 4, 5])
def test_flexible_versions_are_answered_with_header_version_0(connection, version):
    body = body_v3()
    if version == 5:
        # Version 5 asks whether this is the node the client thinks it is: no cluster id, node id -1 ask nothing.
        body = Writer().compact_string("wire").compact_string("1.0").compact_string(None).i32(-1).tags().data
    answer = connection.call(API_VERSIONS, version, body, header=2)
    # With a response header of version 1 an empty tag section would stand here, and nothing after it would fit.
    assert answer.i16() == 0
    table = table_v3(answer)
    assert answer.i32() == 0
    tags = answer.tags()
    assert answer.done
    assert table[API_VERSIONS] == (0, 5)
    features = finalized(Reader(tags[2]))
    assert features["metadata.version"] >= 25
    assert struct.unpack(">q", tags[1])[0] >= 0


def finalized(reader: Reader) -> dict[str, int]:
    """Tag 2 of ApiVersions: feature to its highest finalized level."""
    found = {}
    for _ in range(reader.compact_count()):
        name, level = reader.compact_string(), reader.i16()
        assert reader.i16() <= level
        reader.tags()
        found[name] = level
    return found


def test_version_5_names_the_node_it_expects(broker, connection):
    right = Writer().compact_string("wire").compact_string("1.0").compact_string(broker.cluster_id).i32(1).tags().data
    assert connection.call(API_VERSIONS, 5, right, header=2).i16() == 0
    other = Writer().compact_string("wire").compact_string("1.0").compact_string(broker.cluster_id).i32(77).tags().data
    # 129 REBOOTSTRAP_REQUIRED
    assert connection.call(API_VERSIONS, 5, other, header=2).i16() == 129


@pytest.mark.parametrize("version, header", [(99, 2), (6, 2), (32767, 2), (-1, 1)])
def test_an_unknown_version_is_answered_in_version_0_with_the_range(connection, version, header):
    answer = connection.call(API_VERSIONS, version, b"\xff" * 7, header=header)
    # 35 UNSUPPORTED_VERSION; the key of ApiVersions must be among those listed, or clients cannot retry.
    assert answer.i16() == 35
    assert table_v0(answer)[API_VERSIONS] == (0, 5)
    assert answer.done
    # The connection goes on.
    assert connection.call(API_VERSIONS, 0).i16() == 0


@pytest.mark.parametrize("name, version", [("", "1"), ("-x", "1"), ("x", ""), ("sp ace", "1"), ("ok", "1_0")])
def test_a_bad_client_name_is_an_invalid_request(connection, name, version):
    assert connection.call(API_VERSIONS, 3, body_v3(name, version), header=2).i16() == 42


def test_what_old_clients_probe_for(connection):
    answer = connection.call(API_VERSIONS, 0)
    answer.i16()
    table = table_v0(answer)
    # librdkafka before 2.11 drops compression if Produce does not start at 0, and groups if JoinGroup does not.
    assert table[PRODUCE] == (0, 13)
    assert table[JOIN_GROUP] == (0, 9)
    assert table[10] == (0, 6), "FindCoordinator"
    assert table[METADATA] == (0, 13)
    assert table[1] == (4, 18), "Fetch"
    assert table[2] == (1, 11), "ListOffsets"


#: What this issue's broker serves, as Kafka 4.4 advertises it. InitProducerId 6 is unstable there.
SERVED = {
    0: (0, 13), 1: (4, 18), 2: (1, 11), 3: (0, 13), 8: (2, 10), 9: (1, 10), 10: (0, 6), 11: (0, 9), 12: (0, 4),
    13: (0, 5), 14: (0, 5), 15: (0, 6), 16: (0, 5), 18: (0, 5), 19: (2, 7), 20: (1, 6), 22: (0, 5), 32: (1, 4),
    37: (0, 3), 44: (0, 1), 60: (0, 2), 75: (0, 0),
}


def test_the_table_is_kafkas(connection):
    answer = connection.call(API_VERSIONS, 0)
    answer.i16()
    table = table_v0(answer)
    assert {key: table.get(key) for key in SERVED} == SERVED
    # Controllers' and brokers' own requests are not for this listener.
    assert not {52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82} & set(table)


@pytest.mark.parametrize("key, version", [(METADATA, 14), (METADATA, -1), (1, 3), (1, 19), (8, 1), (19, 1), (22, 99)])
def test_any_other_unsupported_version_closes_the_connection(broker, connection, key, version):
    connection.send(request(key, version, 1, b"\0" * 32, header=1))
    assert connection.closed()
    with Connection(broker) as another:
        assert another.call(API_VERSIONS, 0).i16() == 0


@pytest.mark.parametrize("key", [-1, 4, 5, 6, 7, 87, 500, 32767])
def test_unknown_keys_close_the_connection(connection, key):
    connection.send(request(key, 0, 1))
    assert connection.closed()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_old_produce_is_not_served_though_advertised(broker, connection, topic, version):
    body = Writer().i16(1).i32(1000).i32(1).string(topic()).i32(1).i32(0).bytes(b"")
    connection.send(request(PRODUCE, version, 1, body.data))
    assert connection.closed()


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5])
def test_old_join_group_is_served(broker, connection, unique, version):
    body = Writer().string(unique("group")).i32(10_000)
    if version >= 1:
        body.i32(10_000)
    body.string("")
    if version >= 5:
        body.string(None)
    body.string("consumer").i32(1).string("range").bytes(b"meta")
    # The coordinator may have to create its topic first: 15 and 16 say so, 14 that it is loading.
    while True:
        answer = connection.call(JOIN_GROUP, version, body.data)
        if version >= 2:
            assert answer.i32() == 0
        error = answer.i16()
        if error not in (14, 15, 16):
            break
        find_coordinator(connection)
    if version >= 4:
        # 79 MEMBER_ID_REQUIRED: the member is told its name and asks again.
        assert error == 79
        return
    assert error == 0
    generation, protocol, leader, member = answer.i32(), answer.string(), answer.string(), answer.string()
    assert (generation, protocol) == (1, "range") and leader == member and member.startswith("wire-")
    assert answer.i32() == 1 and answer.string() == member
    assert answer.bytes() == b"meta" and answer.done


def find_coordinator(connection: Connection) -> None:
    """Makes the broker create the offsets topic."""
    connection.call(10, 0, Writer().string("any").data)


def test_null_and_empty_client_ids(broker):
    with Connection(broker) as connection:
        for number, client in enumerate([None, "", "ü" * 100]):
            connection.send(request(API_VERSIONS, 0, number, client=client))
            answer = Reader(connection.receive())
            assert (answer.i32(), answer.i16()) == (number, 0)


def test_unknown_tags_are_skipped(connection):
    body = Writer().compact_string("wire").compact_string("1.0").uvarint(2)
    body.uvarint(7).uvarint(3).raw(b"abc").uvarint(9000).uvarint(0)
    assert connection.call(API_VERSIONS, 3, body.data, header=2).i16() == 0
    head = Writer().i16(API_VERSIONS).i16(3).i32(5).string("wire").uvarint(1).uvarint(42).uvarint(2).raw(b"xy")
    payload = head.raw(body_v3()).data
    connection.send(struct.pack(">i", len(payload)) + payload)
    answer = Reader(connection.receive())
    assert (answer.i32(), answer.i16()) == (5, 0)
