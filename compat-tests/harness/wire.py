"""Kafka's protocol by hand: a socket, frames, and just enough reading and writing of fields for the wire tests."""

import socket
import struct

from . import settings


class Writer:
    """Builds bytes; every method returns the writer."""

    def __init__(self, data: bytes = b""):
        self.data = data

    def _pack(self, form: str, value: int) -> "Writer":
        self.data += struct.pack(form, value)
        return self

    def i8(self, value: int) -> "Writer":
        return self._pack(">b", value)

    def i16(self, value: int) -> "Writer":
        return self._pack(">h", value)

    def i32(self, value: int) -> "Writer":
        return self._pack(">i", value)

    def i64(self, value: int) -> "Writer":
        return self._pack(">q", value)

    def raw(self, value: bytes) -> "Writer":
        self.data += value
        return self

    def string(self, value: str | None) -> "Writer":
        """A nullable string with a two-byte length."""
        return self.i16(-1) if value is None else self.i16(len(value.encode())).raw(value.encode())

    def bytes(self, value: bytes | None) -> "Writer":
        """Nullable bytes with a four-byte length."""
        return self.i32(-1) if value is None else self.i32(len(value)).raw(value)

    def uvarint(self, value: int) -> "Writer":
        while value > 127:
            self.data += bytes([value & 127 | 128])
            value >>= 7
        self.data += bytes([value])
        return self

    def compact_string(self, value: str | None) -> "Writer":
        return self.uvarint(0) if value is None else self.uvarint(len(value.encode()) + 1).raw(value.encode())

    def tags(self) -> "Writer":
        """No tagged fields."""
        return self.uvarint(0)


class Reader:
    """Takes bytes apart; reading past the end is an error, and `done` says whether everything was read."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        assert self.at + count <= len(self.data), f"needs {count} bytes at {self.at}, has {len(self.data)}: {self.data[:200].hex()}"
        self.at += count
        return self.data[self.at - count : self.at]

    def i8(self) -> int:
        return struct.unpack(">b", self.take(1))[0]

    def i16(self) -> int:
        return struct.unpack(">h", self.take(2))[0]

    def i32(self) -> int:
        return struct.unpack(">i", self.take(4))[0]

    def i64(self) -> int:
        return struct.unpack(">q", self.take(8))[0]

    def string(self) -> str | None:
        length = self.i16()
        return None if length < 0 else self.take(length).decode()

    def bytes(self) -> bytes | None:
        length = self.i32()
        return None if length < 0 else self.take(length)

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def compact_string(self) -> str | None:
        length = self.uvarint()
        return None if length == 0 else self.take(length - 1).decode()

    def compact_count(self) -> int:
        """The length of a compact array."""
        return self.uvarint() - 1

    def tags(self) -> dict[int, bytes]:
        found = {}
        for _ in range(self.uvarint()):
            tag = self.uvarint()
            found[tag] = self.take(self.uvarint())
        return found

    @property
    def done(self) -> bool:
        return self.at == len(self.data)


def request(key: int, version: int, correlation: int, body: bytes = b"", *, header: int = 1, client: str | None = "wire") -> bytes:
    """A request with its length in front; header version 2 adds the empty tag section."""
    head = Writer().i16(key).i16(version).i32(correlation).string(client)
    if header == 2:
        head.tags()
    return frame(head.data + body)


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return struct.pack(">i", len(payload)) + payload


class Connection:
    """A TCP connection to the broker."""

    def __init__(self, broker, timeout: float = settings.PATIENCE):
        self.socket = socket.create_connection((broker.host, broker.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def send(self, data: bytes) -> None:
        """Sends bytes; a broker that has already closed is found out by reading."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> bytes | None:
        """The next frame without its length, or None if the broker closed the connection instead."""
        size = self._exactly(4)
        return None if size is None else self._exactly(struct.unpack(">i", size)[0])

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                assert not data, f"closed in the middle of a frame, {len(data)} of {count} bytes"
                return None
            data += piece
        return data

    def call(self, key: int, version: int, body: bytes = b"", *, header: int = 1, response_header: int = 0) -> Reader:
        """Sends a request, awaits its answer, checks the correlation id, and returns a reader on the body."""
        self.correlation += 1
        self.send(request(key, version, self.correlation, body, header=header))
        answer = self.receive()
        assert answer is not None, f"closed instead of answering API {key} version {version}"
        reader = Reader(answer)
        assert reader.i32() == self.correlation
        if response_header == 1:
            reader.tags()
        return reader

    def closed(self) -> bool:
        """Waits for the broker to close; False if it sends something instead."""
        return self.receive() is None

    def silent(self) -> bool:
        """Whether nothing arrived so far that would have to come before the answer to a request sent now."""
        return self.call(18, 0) is not None

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.close()
