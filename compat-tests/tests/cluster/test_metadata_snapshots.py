"""A controller that missed more than the others' logs hold: it is given a snapshot, and is as good as any (KIP-630, KIP-853)."""

import threading
from pathlib import Path

import pytest

from harness import replicas, settings, view, voters
from harness.cluster import Cluster, Node
from harness.rdkafka import admin
from harness.view import INCREMENTAL_ALTER_CONFIGS, configure
from harness.waiting import until
from harness.wire import Connection, Writer, request
from tests.cluster.test_cluster_tools import DUMP

#: Raft's log forgets all but the newest 10,000 to 15,000 entries, and each change is one.
CONNECTIONS, EACH = 40, 400
TOPICS = {f"topic-{n}" for n in range(40)}


def metadata(node: Node) -> Path:
    """Where its replica of the metadata is."""
    return Path(node.overrides.get("metadata.log.dir", node.data)) / "__cluster_metadata-0"


def snapshots(node: Node) -> list[Path]:
    """Its snapshots but the empty one it was formatted with, oldest first."""
    found = (path for path in metadata(node).glob("*.checkpoint") if path.name[:20].isdigit())
    return sorted(path for path in found if int(path.name[:20]) > 0)


def log_start(node: Node) -> int:
    """The first offset that its log has a segment for."""
    return min(int(path.stem) for path in metadata(node).glob("*.log"))


def log(node: Node) -> dict[int, str]:
    """The batches of its metadata log: a digest of each by its first offset."""
    here = metadata(node)
    found = replicas.stored(replicas.partition_bytes(here.parent, "__cluster_metadata", 0))
    return {batch.base: batch.digest for batch in found if batch.sound}


def create(node: Node, names: set[str], copies: int = 3) -> None:
    """Makes topics of one partition by way of this broker."""
    body = Writer().i32(len(names))
    for name in sorted(names):
        body.string(name).i32(1).i16(copies).i32(0).i32(0)
    with Connection(node) as connection:
        answer = connection.call(view.CREATE_TOPICS, 2, body.i32(int(1000 * settings.PATIENCE)).i8(0).data)
    answer.i32()
    told = {answer.string(): (answer.i16(), answer.string()) for _ in range(answer.i32())}
    assert told == {name: (0, None) for name in names}


def change_much(node: Node, topic: str) -> None:
    """One change after the other, each a batch of the log: sent without awaiting answers, on many connections. No two
    set the same value, which would be no change (Kafka does not log one)."""
    refused: list[str] = []

    def alter(n: int, value: int) -> bytes:
        body = Writer().i32(1).i8(view.TOPIC_CONFIGS).string(topic).i32(1).string("retention.ms").i8(0).string(str(value))
        return request(INCREMENTAL_ALTER_CONFIGS, 0, n, body.i8(0).data)

    def one(which: int) -> None:
        requests = b"".join(alter(n, 1_000_000 + n * CONNECTIONS + which) for n in range(EACH))
        with Connection(node) as connection:
            sender = threading.Thread(target=connection.send, args=(requests,))
            sender.start()
            for n in range(EACH):
                answer = connection.receive()
                # The correlation id, no throttling, one resource, no error.
                if answer is None or answer[:14] != Writer().i32(n).i32(0).i32(1).i16(0).data:
                    refused.append(f"{n}: {answer}")
                    break
            sender.join()

    threads = [threading.Thread(target=one, args=(which,)) for which in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused, refused[:3]


def leads(cluster: Cluster, node: Node) -> None:
    """Whoever leads the quorum is killed, and started again, until this node leads. It does while one of the others is dead."""
    for _ in range(30):
        active = until("an active controller", lambda: view.active_controller(cluster))
        if active == node.number:
            return
        for other in cluster.nodes.values():
            if not other.alive():
                other.begin()
                other.wait_started()
        # A majority without the one that is killed next has all there is.
        until("the voters", lambda: voters.whole(cluster))
        active = until("an active controller", lambda: view.active_controller(cluster))
        if active != node.number:
            cluster.nodes[active].kill()
            until("another", lambda: view.active_controller(cluster) not in (None, active))
    raise AssertionError(f"{node} never led")


@pytest.mark.only("ottla", reason="when a voter is given a snapshot in place of the log is each implementation's own affair")
@pytest.mark.parametrize("how", ["stopped meanwhile", "lost its metadata"])
def test_a_voter_that_missed_too_much_is_given_a_snapshot_and_can_lead(new_cluster, tools, how):
    cluster = new_cluster("3", quorum="dynamic").start()
    until("the voters", lambda: voters.whole(cluster))
    leader = cluster.nodes[view.active_controller(cluster)]
    late = next(node for node in cluster.controllers if node is not leader)
    create(leader, {"changed"})
    if how == "stopped meanwhile":
        late.terminate()
    assert not snapshots(late)
    create(leader, TOPICS)
    change_much(leader, "changed")
    configure(leader, view.TOPIC_CONFIGS, "changed", {"retention.ms": "7654321"})
    if how == "lost its metadata":
        late.kill()
        lost = late.directory_id
        late.lose_metadata()
        voters.remove(cluster, late.number, lost)
    late.begin()
    late.wait_started(2 * settings.PATIENCE)
    if how == "lost its metadata":
        voters.add(cluster, late)
    until("the voters", lambda: voters.whole(cluster))

    # It did not get there change by change.
    assert snapshots(late), list(metadata(late).iterdir())
    assert log_start(late) > 0
    assert min(log(late), default=0) >= CONNECTIONS * EACH, "what was changed is in the snapshot alone"
    create(late, {"tail"})
    view.until_whole(cluster, "tail", 1)

    def same_tails() -> bool:
        """What is in several logs is the same in them, and none of them ends before the other."""
        logs = [log(node) for node in cluster.controllers]
        common = set.intersection(*map(set, logs))
        assert all(one[offset] == logs[0][offset] for one in logs for offset in common)
        return len({max(one, default=-1) for one in logs}) == 1 and all(offset in common for offset in log(late))

    until("the same end of every log", same_tails)
    # Kafka's tool reads both what it was given and what it wrote since.
    dumped = [
        tools.run(DUMP, "--cluster-metadata-decoder", "--files", str(file)).ok().out
        for file in (snapshots(late)[-1], *sorted(metadata(late).glob("*.log")))
    ]
    assert all(f'"name":"{name}"' in dumped[0] for name in TOPICS | {"changed"}) and '"7654321"' in dumped[0]
    assert '"name":"tail"' in "".join(dumped[1:])

    leads(cluster, late)
    create(late, {"led"}, copies=2)
    cluster.start()
    for node in cluster.brokers:
        known = lambda: set(admin(f"{node.host}:{node.port}").list_topics(timeout=10).topics)  # noqa: E731
        until(f"all topics at {node}", lambda: known() == TOPICS | {"changed", "tail", "led"})
        until(f"the last change at {node}", lambda: view.config_by(node, view.TOPIC_CONFIGS, "changed", "retention.ms") == "7654321")
    for name in TOPICS | {"changed", "tail"}:
        view.until_whole(cluster, name, 1)
