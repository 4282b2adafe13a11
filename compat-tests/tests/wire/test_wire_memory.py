"""What is announced, and what unfolds, may not cost more than a small multiple of what was sent."""

import gzip
import resource
import socket
import struct

import crc32c
import pytest

from harness.raw import build_batch, varint
from harness.rdkafka import create_topic
from harness.wire import Connection, Writer

MIB = 1 << 20


def resident(broker) -> int:
    """Resident memory of the broker, in bytes."""
    with open(f"/proc/{broker.pid}/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def alive(broker) -> bool:
    with Connection(broker) as another:
        return another.call(18, 0).i16() == 0


@pytest.mark.only("ottla", reason="Kafka takes the announced memory, and ten such connections use up its heap")
def test_2000_connections_that_announce_100_mb(new_broker):
    broker = new_broker().start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    assert alive(broker)
    before = resident(broker)
    opened = []
    try:
        for number in range(2000):
            if number % 32 == 0:
                assert alive(broker)  # which also leaves it time to accept: the listen queue is as short as Kafka's
            announced = socket.create_connection(("127.0.0.1", broker.port))
            announced.sendall(struct.pack(">i", 100_000_000))
            opened.append(announced)
        assert alive(broker)
        assert resident(broker) - before < 100 * MIB
    finally:
        for announced in opened:
            announced.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def bomb(unfolded: int) -> bytes:
    """A gzip batch of one record whose value is that many zeros."""
    length = 1 + 1 + 1 + 1 + len(varint(unfolded)) + unfolded + 1
    head = varint(length) + b"\0" + varint(0) + varint(0) + varint(-1) + varint(unfolded)
    squeezed = gzip.compress(head + bytes(unfolded) + varint(0), compresslevel=9)
    plain = build_batch([b""], attributes=1)
    return rebuild(plain[:61] + squeezed)


def rebuild(batch: bytes) -> bytes:
    """The batch with its length and checksum made right."""
    batch = batch[:8] + struct.pack(">i", len(batch) - 12) + batch[12:]
    return batch[:17] + struct.pack(">I", crc32c.crc32c(batch[21:])) + batch[21:]


def test_a_compression_bomb(new_broker):
    """300 MB of zeros in 300 kB, on a topic that makes the broker look inside and on one that makes it recompress."""
    broker = new_broker().start()
    create_topic(broker.bootstrap, "looked-into")
    create_topic(broker.bootstrap, "recompressed", config={"compression.type": "lz4"})
    records = bomb(300 * MIB)
    assert len(records) < MIB
    before = resident(broker)
    for name in ("looked-into", "recompressed"):
        with Connection(broker) as connection:
            body = Writer().string(None).i16(-1).i32(30_000).i32(1).string(name).i32(1).i32(0).bytes(records)
            # Whether it is stored or refused is each broker's own choice of limits.
            connection.call(0, 8, body.data)
    assert alive(broker)
    if broker.target == "ottla":
        assert resident(broker) - before < 100 * MIB
