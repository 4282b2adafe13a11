"""A relay between a client and a broker that can keep Produce requests waiting, refuse them, and belie answers.

With it a test says, request by request, what else only a change of leader at the right moment does.
"""

import socket
import struct
import threading

from . import settings
from .ports import free_port
from .wire import Reader, Writer, frame

PRODUCE = 0
NOT_LEADER_OR_FOLLOWER, OUT_OF_ORDER_SEQUENCE_NUMBER = 6, 45

#: What is done with a Produce request. PASS: the broker gets it, the client its answer. HIDE: the broker gets it, the
#: client is told that it does not lead, as a leader says that resigns before all replicas have the batch. REFUSE: the
#: broker does not get it, and the client is told so.
PASS, HIDE, REFUSE = "pass", "hide", "refuse"


class Relay:
    """Listens on a port of its own. The broker must advertise it, or clients go past it."""

    def __init__(self):
        self.port = free_port()
        self._broker: tuple[str, int] | None = None
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._changed = threading.Condition()
        self._plans: list[list[str]] = []
        self._held = 0
        #: What the broker answered to each Produce request it was handed, as (what was done with it, error code).
        self.answers: list[tuple[str, int]] = []

    def to(self, broker) -> "Relay":
        """Begins to serve."""
        self._broker = (broker.host, broker.port)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def close(self) -> None:
        self._listener.close()

    # ---- what tests say and ask

    def hold(self, *plans: tuple[str, ...]) -> None:
        """The next Produce requests wait until there are as many as in the first plan, then it is done to them; those that
        come then are held by the next plan. All of them come over one connection."""
        with self._changed:
            self._plans, self._held = [list(plan) for plan in plans], 0

    def until_held(self, count: int) -> None:
        """Waits until so many requests wait, or did."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held >= count, settings.PATIENCE), f"{self._held} of {count} requests came"

    # ---- connections

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One request after the other, but for those that are held."""
        with client, socket.create_connection(self._broker) as broker:
            try:
                while (request := _receive(client)) is not None:
                    if _key(request) != PRODUCE:
                        client.sendall(frame(_ask(broker, request)))
                        continue
                    for what, one in self._gather(client, broker, request):
                        client.sendall(frame(self._produce(broker, what, one)))
            except (ConnectionError, OSError):
                return

    def _gather(self, client: socket.socket, broker: socket.socket, first: bytes) -> list[tuple[str, bytes]]:
        with self._changed:
            plan = self._plans.pop(0) if self._plans else []
        requests = []
        while plan:
            if _key(first) == PRODUCE:
                with self._changed:
                    self._held += 1
                    self._changed.notify_all()
            else:
                # Whatever else the client asks meanwhile is answered in its turn: answers keep their order.
                plan.insert(len(requests), PASS)
            requests.append(first)
            if len(requests) == len(plan):
                return list(zip(plan, requests))
            first = _receive(client)
            if first is None:
                raise ConnectionResetError
        return [(PASS, first)]

    def _produce(self, broker: socket.socket, what: str, request: bytes) -> bytes:
        if _key(request) != PRODUCE:
            return _ask(broker, request)
        if what == REFUSE:
            return _refusal(request)
        answer = _ask(broker, request)
        place = _error_at(answer)
        with self._changed:
            self.answers.append((what, struct.unpack_from(">h", answer, place)[0]))
        if what == HIDE:
            # The error and the base offset behind it.
            return answer[:place] + struct.pack(">hq", NOT_LEADER_OR_FOLLOWER, -1) + answer[place + 10 :]
        return answer


def _receive(peer: socket.socket) -> bytes | None:
    size = _exactly(peer, 4)
    return None if size is None else _exactly(peer, struct.unpack(">i", size)[0])


def _exactly(peer: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = peer.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data


def _ask(broker: socket.socket, request: bytes) -> bytes:
    broker.sendall(frame(request))
    answer = _receive(broker)
    if answer is None:
        raise ConnectionResetError
    return answer


def _key(request: bytes) -> int:
    return struct.unpack_from(">h", request)[0]


def _error_at(answer: bytes) -> int:
    """Where the error code of a Produce response of version 9 to 12 stands, that is about one partition."""
    reader = Reader(answer)
    reader.i32(), reader.tags()
    assert reader.compact_count() == 1
    reader.compact_string()
    assert reader.compact_count() == 1
    reader.i32()
    return reader.at


def _refusal(request: bytes) -> bytes:
    """The answer of a broker that does not lead the partition, to a request of version 9 to 12."""
    reader = Reader(request)
    _, version, correlation = reader.i16(), reader.i16(), reader.i32()
    assert 9 <= version <= 12, f"Produce version {version}"
    reader.string(), reader.tags(), reader.compact_string(), reader.i16(), reader.i32()
    assert reader.compact_count() == 1
    topic = reader.compact_string()
    assert reader.compact_count() == 1
    answer = Writer().i32(correlation).tags().uvarint(2).compact_string(topic).uvarint(2).i32(reader.i32())
    answer.i16(NOT_LEADER_OR_FOLLOWER).i64(-1).i64(-1).i64(-1).uvarint(1).compact_string(None).tags()
    return answer.tags().i32(0).tags().data
