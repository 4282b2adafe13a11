"""What a cluster says about itself, asked by hand of each node: leaders, in-sync replicas, the active controller."""

import time
from dataclasses import dataclass

from . import settings
from .cluster import Cluster, Node
from .waiting import until
from .wire import Connection, Writer

METADATA, FIND_COORDINATOR, CREATE_TOPICS, DESCRIBE_CONFIGS, INCREMENTAL_ALTER_CONFIGS, DESCRIBE_QUORUM = 3, 10, 19, 32, 44, 55
#: The kinds of what has configs.
TOPIC_CONFIGS, BROKER_CONFIGS = 2, 4
TOPIC_ALREADY_EXISTS = 36


@dataclass(frozen=True)
class Partition:
    """A partition as a broker's metadata has it."""

    index: int
    leader: int
    epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


@dataclass(frozen=True)
class Quorum:
    """What the quorum's leader knows of it: the log end offset of each voter and observer, and when it fetched last."""

    leader: int
    epoch: int
    high_watermark: int
    voters: dict[int, int]
    observers: dict[int, int]
    fetched: dict[int, int]
    #: of the voters, by node: zeros where voters are static
    directories: dict[int, bytes]


def askable(cluster: Cluster, but: tuple[int, ...] = ()) -> list[Node]:
    """The brokers that may answer."""
    return [n for n in cluster.brokers if n.alive() and not n.paused and n.number not in but]


def partitions_by(node: Node, topic: str, timeout: float = 2) -> dict[int, Partition]:
    """The topic's partitions as one broker has them; empty if it does not answer or does not know the topic."""
    try:
        with Connection(node, timeout) as connection:
            answer = connection.call(METADATA, 7, Writer().i32(1).string(topic).i8(0).data)
    except (OSError, AssertionError):
        return {}
    answer.i32()
    for _ in range(answer.i32()):
        answer.i32(), answer.string(), answer.i32(), answer.string()
    answer.string(), answer.i32(), answer.i32(), answer.i16(), answer.string(), answer.i8()
    found = {}
    for _ in range(answer.i32()):
        _, index, leader, epoch = answer.i16(), answer.i32(), answer.i32(), answer.i32()
        replicas, isr, _ = (tuple(answer.i32() for _ in range(answer.i32())) for _ in range(3))
        found[index] = Partition(index, leader, epoch, replicas, isr)
    return found


def partitions(cluster: Cluster, topic: str, but: tuple[int, ...] = ()) -> dict[int, Partition]:
    """The newest that any broker knows of the topic, by leader epoch."""
    newest: dict[int, Partition] = {}
    for node in askable(cluster, but):
        for index, seen in partitions_by(node, topic).items():
            if index not in newest or seen.epoch > newest[index].epoch:
                newest[index] = seen
    return newest


def whole(cluster: Cluster, topic: str, count: int) -> bool:
    """Whether every broker that runs agrees: each partition has a leader, and all its replicas are in sync."""
    views = [partitions_by(node, topic) for node in askable(cluster)]
    return all(
        len(view) == count and all(p.leader >= 0 and set(p.isr) == set(p.replicas) for p in view.values()) for view in views
    ) and all(view == views[0] or _same(view, views[0]) for view in views)


def _same(one: dict[int, Partition], other: dict[int, Partition]) -> bool:
    return {(p.index, p.leader, p.epoch) for p in one.values()} == {(p.index, p.leader, p.epoch) for p in other.values()}


def until_whole(cluster: Cluster, topic: str, count: int, patience: float = 2 * settings.PATIENCE) -> None:
    """Waits for `whole`."""
    until(f"all replicas of {topic} to be in sync", lambda: whole(cluster, topic, count), patience)


def config_by(node: Node, kind: int, name: str, key: str) -> str | None:
    """The value of a config as one broker has it; None where it has none."""
    body = Writer().i32(1).i8(kind).string(name).i32(1).string(key).i8(0)
    with Connection(node) as connection:
        answer = connection.call(DESCRIBE_CONFIGS, 1, body.data)
    assert (answer.i32(), answer.i32(), answer.i16()) == (0, 1, 0)
    answer.string(), answer.i8(), answer.string()
    return answer.string() if answer.i32() == 1 and answer.string() == key else None


def configure(node, kind: int, name: str, config: dict[str, str | None], timeout: float = settings.PATIENCE) -> None:
    """Sets configs by way of this broker, and no other; None takes one back. A broker's own go by way of itself."""
    set_it, take_back = 0, 1
    body = Writer().i32(1).i8(kind).string(name).i32(len(config))
    for key, value in config.items():
        body.string(key).i8(take_back if value is None else set_it).string(value)
    with Connection(node, timeout) as connection:
        answer = connection.call(INCREMENTAL_ALTER_CONFIGS, 0, body.i8(0).data)
    assert (answer.i32(), answer.i32(), answer.i16()) == (0, 1, 0), answer.string()


def quorum(node: Node, timeout: float = 2) -> Quorum | None:
    """What this broker's quorum says, or None if there is no answer."""
    body = Writer().uvarint(2).compact_string("__cluster_metadata").uvarint(2).i32(0).tags().tags().tags()
    try:
        with Connection(node, timeout) as connection:
            answer = connection.call(DESCRIBE_QUORUM, 2, body.data, header=2, response_header=1)
    except (OSError, AssertionError):
        return None
    error, _ = answer.i16(), answer.compact_string()
    if error != 0 or answer.compact_count() != 1:
        return None
    answer.compact_string(), answer.compact_count()
    _, error, _, leader, epoch, high = answer.i32(), answer.i16(), answer.compact_string(), answer.i32(), answer.i32(), answer.i64()
    if error != 0:
        return None

    fetched = {}

    def replicas() -> tuple[dict[int, int], dict[int, bytes]]:
        ends, directories = {}, {}
        for _ in range(answer.compact_count()):
            number, directory, end, at, _caught_up = answer.i32(), answer.take(16), answer.i64(), answer.i64(), answer.i64()
            ends[number], directories[number], fetched[number] = end, directory, at
            answer.tags()
        return ends, directories

    (voters, directories), (observers, _) = replicas(), replicas()
    return Quorum(leader, epoch, high, voters, observers, fetched, directories)


def newest_quorum(cluster: Cluster, but: tuple[int, ...] = ()) -> Quorum | None:
    """The quorum as any broker's answer has it, of the highest epoch with a leader."""
    seen = [q for q in (quorum(node) for node in askable(cluster, but)) if q is not None and q.leader >= 0]
    return max(seen, key=lambda q: q.epoch) if seen else None


def active_controller(cluster: Cluster, but: tuple[int, ...] = ()) -> int | None:
    """The node that leads the quorum."""
    seen = newest_quorum(cluster, but)
    return seen.leader if seen else None


def coordinator(cluster: Cluster, group: str) -> int | None:
    """The broker that coordinates a group."""
    for node in askable(cluster):
        try:
            with Connection(node, 5) as connection:
                answer = connection.call(FIND_COORDINATOR, 1, Writer().string(group).i8(0).data)
        except (OSError, AssertionError):
            continue
        answer.i32()
        if answer.i16() == 0:
            answer.string()
            return answer.i32()
    return None


def metadata_outage(cluster: Cluster, lost: int | None, began: float, name: str, patience: float = 60) -> float:
    """Seconds from `began` until a topic of this name can be created, asked of all brokers but one that is lost."""
    body = Writer().i32(1).string(name).i32(1).i16(1).i32(0).i32(0).i32(1000).i8(0).data
    while time.monotonic() - began < patience:
        for node in askable(cluster, but=(lost,)):
            try:
                with Connection(node, 2) as connection:
                    answer = connection.call(CREATE_TOPICS, 2, body)
            except (OSError, AssertionError):
                continue
            answer.i32(), answer.i32(), answer.string()
            if answer.i16() in (0, TOPIC_ALREADY_EXISTS):
                return time.monotonic() - began
        time.sleep(0.01)
    return float("inf")
