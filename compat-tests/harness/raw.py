"""Record batches as bytes: building them by hand, sending and fetching them, reading the headers of what was stored."""

import struct
import time
from dataclasses import dataclass

import crc32c

from .wire import Connection, Writer

# base offset, length, leader epoch, magic, crc, attributes, last offset delta, base and max timestamp, producer id,
# producer epoch, base sequence, record count
_HEADER = struct.Struct(">qiibIhiqqqhii")


@dataclass
class Batch:
    """The header of a version 2 batch, and its bytes."""

    base_offset: int
    leader_epoch: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int
    crc_holds: bool
    data: bytes

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & 7


def batches(data: bytes) -> list[Batch]:
    """The whole batches at the start of `data`."""
    found, at = [], 0
    while len(data) - at >= _HEADER.size:
        base, length, epoch, magic, crc, *rest = _HEADER.unpack_from(data, at)
        assert magic == 2, f"magic {magic} at byte {at}"
        if len(data) - at < 12 + length:
            break
        whole = data[at : at + 12 + length]
        found.append(Batch(base, epoch, *rest, crc_holds=crc == crc32c.crc32c(whole[21:]), data=whole))
        at += 12 + length
    return found


def stored_batches(broker, topic: str, partition: int = 0) -> list[Batch]:
    """Every batch of a partition as the broker serves it to Fetch version 4."""
    offset, found = 0, []
    with Connection(broker) as connection:
        while True:
            end, data = fetch_v4(connection, topic, partition, offset)
            new = batches(data)
            found += new
            if not new or (offset := new[-1].base_offset + new[-1].last_offset_delta + 1) >= end:
                return found


def fetch_v4(connection: Connection, topic: str, partition: int, offset: int, max_wait_ms: int = 0) -> tuple[int, bytes]:
    """One Fetch version 4: the high watermark and the records."""
    body = Writer().i32(-1).i32(max_wait_ms).i32(1).i32(50 << 20).i8(0)
    body.i32(1).string(topic).i32(1).i32(partition).i64(offset).i32(50 << 20)
    answer = connection.call(1, 4, body.data)
    throttle, topics, name, partitions, index, error, end, stable = (
        answer.i32(), answer.i32(), answer.string(), answer.i32(), answer.i32(), answer.i16(), answer.i64(), answer.i64()
    )
    assert (throttle, topics, name, partitions, index, error) == (0, 1, topic, 1, partition, 0)
    assert stable == end
    for _ in range(answer.i32()):
        answer.i64(), answer.i64()
    return end, answer.bytes() or b""


def produce_v8(
    connection: Connection, topic: str, records: bytes, append_times: list[int] | None = None, partition: int = 0,
    acks: int = -1, timeout_ms: int = 30_000,
) -> tuple[int, int]:
    """Produce version 8 to one partition: error code and base offset; the append time goes into the list."""
    body = Writer().string(None).i16(acks).i32(timeout_ms).i32(1).string(topic).i32(1).i32(partition).bytes(records)
    answer = connection.call(0, 8, body.data)
    assert (answer.i32(), answer.string(), answer.i32(), answer.i32()) == (1, topic, 1, partition)
    error, offset, append_time, start = answer.i16(), answer.i64(), answer.i64(), answer.i64()
    for _ in range(answer.i32()):
        answer.i32(), answer.string()
    answer.string()
    assert answer.i32() == 0 and answer.done
    assert start == 0 or error != 0
    if append_times is not None:
        append_times.append(append_time)
    return error, offset


def varint(value: int) -> bytes:
    """A signed varint as records use it."""
    value, out = (value << 1) ^ (value >> 63), b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def build_batch(
    values: list[bytes], *, producer_id: int = -1, epoch: int = -1, sequence: int = -1, timestamp: int | None = None,
    attributes: int = 0, count: int | None = None, magic: int = 2, key: bytes | None = None,
) -> bytes:
    """An uncompressed batch; `count` and `magic` can be made to lie."""
    now = timestamp if timestamp is not None else int(time.time() * 1000)
    records = b""
    for delta, value in enumerate(values):
        packed_key = varint(-1) if key is None else varint(len(key)) + key
        body = b"\0" + varint(0) + varint(delta) + packed_key + varint(len(value)) + value + varint(0)
        records += varint(len(body)) + body
    number = len(values) if count is None else count
    covered = struct.pack(
        ">hiqqqhii", attributes, len(values) - 1, now, now, producer_id, epoch, sequence, number
    ) + records
    head = struct.pack(">iBI", -1, magic, crc32c.crc32c(covered)) + covered
    return struct.pack(">qi", 0, len(head)) + head
