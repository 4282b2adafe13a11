"""The voters of a dynamic quorum (KIP-853): removed and added with the requests that kafka-metadata-quorum sends."""

import base64
import time

from . import settings, view
from .cluster import Cluster, Node
from .wire import Connection, Writer

ADD_RAFT_VOTER, REMOVE_RAFT_VOTER = 80, 81
DUPLICATE_VOTER, VOTER_NOT_FOUND = 126, 127


def directory(text: str) -> bytes:
    """The bytes of a directory id."""
    return base64.urlsafe_b64decode(text + "==")


def whole(cluster: Cluster) -> bool:
    """Whether the voters are the cluster's controllers, in the directories they have now, and none is behind."""
    seen = view.newest_quorum(cluster)
    expected = {node.number: directory(node.directory_id) for node in cluster.controllers}
    return seen is not None and seen.directories == expected and all(end >= seen.high_watermark for end in seen.voters.values())


def add(cluster: Cluster, node: Node) -> None:
    """Makes a voter of a node that follows."""
    body = Writer().compact_string(cluster.cluster_id).i32(20_000).i32(node.number).raw(directory(node.directory_id))
    body.uvarint(2).compact_string("CONTROLLER").compact_string(node.host).i16(node.controller_port).tags()
    _change(cluster, f"adding voter {node.number}", ADD_RAFT_VOTER, 1, body.i8(1).tags(), DUPLICATE_VOTER)


def remove(cluster: Cluster, number: int, directory_id: str) -> None:
    """Takes the vote from a node's directory, whether the node is there or not."""
    body = Writer().compact_string(cluster.cluster_id).i32(number).raw(directory(directory_id)).tags()
    _change(cluster, f"removing voter {number}", REMOVE_RAFT_VOTER, 0, body, VOTER_NOT_FOUND)


def _change(cluster: Cluster, what: str, key: int, version: int, body: Writer, done: int, patience: float = settings.PATIENCE) -> None:
    """Asks the brokers in turn until one says that it is done, or that an earlier request did it. No harm is in asking again:
    the leader may have gone, another change may be under way, a new voter may be behind."""
    deadline, said = time.monotonic() + patience, "nobody"
    while time.monotonic() < deadline:
        for node in view.askable(cluster):
            try:
                with Connection(node, 25) as connection:
                    answer = connection.call(key, version, body.data, header=2, response_header=1)
            except (OSError, AssertionError) as error:
                said = f"node {node.number}: {error}"
                continue
            _, code, words = answer.i32(), answer.i16(), answer.compact_string()
            if code in (0, done):
                return
            said = f"node {node.number}: error {code}, {words!r}"
        time.sleep(0.05)
    raise AssertionError(f"{what} was not done in {patience:.0f} s, last answer of {said}")
