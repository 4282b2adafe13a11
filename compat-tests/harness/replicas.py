"""What a replica really holds: the batches in its segment files, read without the process that wrote them."""

import gzip
import hashlib
import io
import struct
from pathlib import Path

import crc32c

from .history import Origin, Stored

_HEAD = struct.Struct(">qiibIh")
#: From the first record's timestamp to the base sequence; the largest timestamp is left out.
_PRODUCER = struct.Struct(">q8xqhi")


def partition_bytes(data: Path, topic: str, partition: int) -> bytes:
    """All segments of a partition, one after the other: segment borders may lie elsewhere on each replica."""
    return b"".join(path.read_bytes() for path in sorted((Path(data) / f"{topic}-{partition}").glob("*.log")))


def stored(data: bytes, known: dict[str, tuple] | None = None) -> list[Stored]:
    """The batches in a partition's bytes. `known` saves taking the same batch apart for every replica."""
    known = {} if known is None else known
    found, at = [], 0
    while len(data) - at >= 61:
        base, length, leader_epoch, magic, crc, attributes = _HEAD.unpack_from(data, at)
        if length < 49 or len(data) - at < 12 + length:
            break
        whole = data[at : at + 12 + length]
        digest = hashlib.blake2b(whole, digest_size=12).hexdigest()
        sound = magic == 2 and crc32c.crc32c(whole[21:]) == crc
        if digest not in known:
            known[digest] = _records(whole, base, attributes) if sound else ()
        last = base + struct.unpack_from(">i", whole, 23)[0]
        timestamp, producer_id, producer_epoch, sequence = _PRODUCER.unpack_from(whole, 27)
        origin = Origin(producer_id, producer_epoch, sequence, leader_epoch, timestamp)
        found.append(Stored(base, last, digest, known[digest], sound, origin))
        at += 12 + length
    if data[at:].strip(b"\0"):
        found.append(Stored(found[-1].last + 1 if found else 0, found[-1].last + 1 if found else 0, "torn", (), False))
    return found


def _decompressed(codec: int, payload: bytes) -> bytes:
    if codec == 1:
        return gzip.decompress(payload)
    if codec == 2:
        import snappy

        if payload[:8] != b"\x82SNAPPY\x00":
            return snappy.decompress(payload)
        out, at = b"", 16
        while at < len(payload):
            (size,) = struct.unpack_from(">i", payload, at)
            out, at = out + snappy.decompress(payload[at + 4 : at + 4 + size]), at + 4 + size
        return out
    if codec == 3:
        import lz4.frame

        return lz4.frame.decompress(payload)
    if codec == 4:
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(payload)).read()
    return payload


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def _records(whole: bytes, base: int, attributes: int) -> tuple[tuple[int, int, int], ...]:
    """(offset, producer, number) of the records whose value is one of a load's."""
    if attributes & 0x20:
        return ()
    (count,) = struct.unpack_from(">i", whole, 57)
    data, at, found = _decompressed(attributes & 7, whole[61:]), 0, []
    for _ in range(count):
        length, at = _varint(data, at)
        end = at + length
        _, at = _varint(data, at + 1)
        delta, at = _varint(data, at)
        size, at = _varint(data, at)
        size, at = _varint(data, at + max(size, 0))
        producer, space, number = data[at : at + max(size, 0)].partition(b" ")
        if space and producer.isdigit() and number.isdigit():
            found.append((base + delta, int(producer), int(number)))
        at = end
    return tuple(found)


def collect(directories: dict[int, Path], topic: str, partitions: range) -> dict[int, dict[int, list[Stored]]]:
    """Partition -> node -> batches, of the data directories given by node; a node without the partition is left out."""
    replicas: dict[int, dict[int, list[Stored]]] = {}
    for partition in partitions:
        known: dict[str, tuple] = {}
        for node, data in directories.items():
            if (Path(data) / f"{topic}-{partition}").is_dir():
                replicas.setdefault(partition, {})[node] = stored(partition_bytes(data, topic, partition), known)
    return replicas
