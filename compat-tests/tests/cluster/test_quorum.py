"""What DescribeQuorum tells of the replicas of the metadata (KIP-595, KIP-836)."""

import re

from harness import replicas, view
from harness.chaos import make_topic
from harness.cluster import Node
from harness.waiting import until
from tests.cluster.test_cluster_tools import QUORUM

CONTROLLERS, BROKERS = {1, 2, 3}, {4, 5}


def test_a_voter_that_stands_still_falls_behind_and_comes_back(new_cluster):
    cluster = new_cluster("3+2").start()

    def told() -> view.Quorum:
        return until("an answer", lambda: view.quorum(cluster.nodes[4]) or view.quorum(cluster.nodes[5]))

    def once(what: str, holds) -> view.Quorum:
        """The first answer of which this holds."""
        return until(what, lambda: (seen := told()) and holds(seen) and seen)

    def level(seen: view.Quorum) -> bool:
        return {*seen.voters.values(), *seen.observers.values()} == {seen.voters[seen.leader]}

    seen = once("everybody to have everything", lambda q: q.leader in CONTROLLERS and len(q.observers) == 2 and level(q))
    assert (set(seen.voters), set(seen.observers)) == (CONTROLLERS, BROKERS)
    paused, going = (cluster.nodes[number] for number in sorted(CONTROLLERS - {seen.leader}))
    paused.pause()

    def with_topic(name: str) -> tuple[int, view.Quorum]:
        """Where the log ends with one more topic, and the first answer by which all that go on have it."""
        before = told().voters[seen.leader]
        make_topic(cluster, name, 1, 2)
        end = once(f"{name} to be in the log", lambda q: q.voters[seen.leader] > before).voters[seen.leader]
        return end, once(f"the others to have {name}", lambda q: all(at >= end for at in (q.voters[going.number], *q.observers.values())))

    # What it sent before it stood still is heard by the time a topic has gone round.
    _, standing = with_topic("first")
    end, after = with_topic("second")
    assert after.high_watermark >= end, "two of three voters are enough"
    assert after.voters[paused.number] == standing.voters[paused.number] < end, "one that stands still has no more than before"
    assert after.fetched[paused.number] == standing.fetched[paused.number], "nor is it heard of"
    assert after.fetched[going.number] > standing.fetched[going.number]
    assert (set(after.voters), set(after.observers)) == (CONTROLLERS, BROKERS), "it is a voter all the same"
    paused.resume()
    once("it to have what it missed", lambda q: q.voters[paused.number] >= end)
    once("everybody to have everything again", lambda q: q.leader in CONTROLLERS and level(q))


def last_epoch(node: Node) -> int:
    """The epoch of the leader that appended the last batch of a node's metadata log, as it is on its disk."""
    batches = replicas.stored(replicas.partition_bytes(node.data, "__cluster_metadata", 0))
    return [batch for batch in batches if batch.sound][-1].origin.leader_epoch


def test_kafka_metadata_quorum_tells_the_truth(new_cluster, tools):
    """What the tool prints is held against the logs on the disks, against itself, and against what was done to a voter."""
    cluster = new_cluster("3+2").start()

    def described(what: str) -> str:
        return tools.run(QUORUM, "--bootstrap-server", cluster.bootstrap, "describe", what).ok().out

    def status() -> dict[str, int]:
        return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(-?\d+)$", described("--status"), re.MULTILINE)}

    def rows() -> dict[int, tuple[int, int, str]]:
        """By node: its log end offset, how far it is behind, what it is."""
        found = {}
        for row in described("--replication").splitlines()[1:]:
            number, _, end, lag, _, _, role = row.split()
            found[int(number)] = int(end), int(lag), role
        return found

    def behind(seen: dict[int, tuple[int, int, str]]) -> set[int]:
        return {number for number, (_, lag, _) in seen.items() if lag > 0}

    def consistent() -> int:
        """Checks what always holds, and returns who leads."""
        # In this order: what is committed was in the leader's log before it was asked where that ends.
        said, seen = status(), rows()
        leader = said["LeaderId"]
        assert {number: role for number, (_, _, role) in seen.items()} == {
            **{n: "Leader" if n == leader else "Follower" for n in CONTROLLERS}, **dict.fromkeys(BROKERS, "Observer"),
        }
        assert 0 < said["HighWatermark"] <= seen[leader][0]
        assert all(lag == seen[leader][0] - end for end, lag, _ in seen.values())
        return leader

    until("everybody to be there and level", lambda: (seen := rows()).keys() == CONTROLLERS | BROKERS and not behind(seen))
    leader = consistent()
    assert all(last_epoch(node) == status()["LeaderEpoch"] for node in cluster.nodes.values())

    paused = cluster.nodes[min(CONTROLLERS - {leader})]
    paused.pause()
    for name in ("first", "second"):
        make_topic(cluster, name, 1, 2)
    until("it alone to be behind", lambda: behind(rows()) == {paused.number})
    assert consistent() == leader
    end, lag, _ = rows()[paused.number]
    assert status()["MaxFollowerLag"] >= lag > 0
    make_topic(cluster, "third", 1, 2)
    later = rows()[paused.number]
    assert later[0] == end and later[1] > lag, "it stands still, the others go on"
    paused.resume()
    until("nobody to be behind", lambda: not behind(rows()))

    before = status()["LeaderEpoch"]
    cluster.nodes[leader].terminate()
    until("another leader", lambda: view.active_controller(cluster) not in (None, leader))
    make_topic(cluster, "fourth", 1, 2)
    cluster.nodes[leader].begin()
    cluster.nodes[leader].wait_started()
    until("everybody to be there and level again", lambda: (seen := rows()).keys() == CONTROLLERS | BROKERS and not behind(seen))
    consistent()
    epoch = status()["LeaderEpoch"]
    assert epoch > before
    until("the new epoch on every disk", lambda: all(last_epoch(node) == epoch for node in cluster.nodes.values()))
