"""A group whose coordinator moves from one kind of broker to the other and back: each loads what the other wrote."""

import pytest
from confluent_kafka import KafkaException, TopicPartition

from harness import settings, view
from harness.chaos import make_topic
from harness.mixed import PAIRS, RELEASE, TOPIC, named, rearrange, there, version
from harness.rdkafka import commit, consumer, produce
from harness.waiting import until
from harness.wire import Connection, Writer

OFFSETS, OFFSET_FETCH, DESCRIBE_GROUPS, DELETE_GROUPS = "__consumer_offsets", 9, 15, 42


def move(cluster, leader: int, other: int) -> None:
    """Lets a broker lead the one partition of the groups.

    Kafka's coordinator (4.3.1, 4.4.0) notes the high watermark at the last batch it loads, and hears of later ones from when
    it has registered for them. What the follower confirms in between, it hears of with the next write. Until then it tells
    older offsets, and heartbeats, which wait for what was loaded, end after five seconds with COORDINATOR_NOT_AVAILABLE,
    again and again: to a member its session is over. So Kafka is given a write, by a group that nobody looks at."""
    rearrange(cluster, OFFSETS, {0: [leader, other]})
    until("the new coordinator", lambda: view.coordinator(cluster, "any") == leader)
    if cluster.nodes[leader].target == "kafka":
        commit(cluster.bootstrap, "bystanders", TopicPartition(TOPIC, 3, 1))


def committed(cluster, group: str) -> dict[int, tuple[int, str]] | None:
    """What the coordinator knows of the group's offsets in the one topic, with their metadata; None if it cannot tell yet."""
    with Connection(cluster.nodes[view.coordinator(cluster, group)]) as connection:
        answer = connection.call(OFFSET_FETCH, 2, Writer().string(group).i32(-1).data)
    found = {}
    for _ in range(answer.i32()):
        answer.string()
        for _ in range(answer.i32()):
            partition, offset, metadata, error = answer.i32(), answer.i64(), answer.string(), answer.i16()
            # The Python client ends what it sends as metadata with a zero byte.
            found[partition] = (offset, (metadata or "").rstrip("\0")) if error == 0 else error
    return found if answer.i16() == 0 else None


def described(cluster, group: str) -> tuple[str, list[str]]:
    """The group's state and members, as its coordinator describes them."""
    with Connection(cluster.nodes[view.coordinator(cluster, group)]) as connection:
        answer = connection.call(DESCRIBE_GROUPS, 0, Writer().i32(1).string(group).data)
    assert (answer.i32(), answer.i16(), answer.string()) == (1, 0, group)
    state, _, _ = answer.string(), answer.string(), answer.string()
    members = []
    for _ in range(answer.i32()):
        members.append(answer.string())
        answer.string(), answer.string(), answer.bytes(), answer.bytes()
    return state, members


@pytest.mark.timeout(600)
@pytest.mark.parametrize("quorum, joiner", PAIRS, ids=named)
def test_a_groups_coordinator_moves_between_the_kinds(new_cluster, quorum, joiner):
    """Members stay members of the same generation; offsets of members, of outsiders and their removal are kept."""
    overrides = {"offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "0"}
    cluster = new_cluster("1", kind=quorum[0], version=version(quorum), release=RELEASE, overrides=overrides)
    cluster.add(2, "broker", joiner[0], version(joiner))
    for node in cluster.nodes.values():
        node.configure()
    cluster.start()
    until("the broker to be there", lambda: there(cluster, {1, 2}))
    make_topic(cluster, TOPIC, 4, copies=2)
    produce(cluster.bootstrap, TOPIC, [{"value": f"{n}", "partition": n % 4} for n in range(40)])

    # An outsider's commits, which also make the groups' topic.
    commit(cluster.bootstrap, "outsiders", TopicPartition(TOPIC, 0, 3, metadata="three"), TopicPartition(TOPIC, 1, 4))
    revoked = []
    member = consumer(cluster.bootstrap, "members", session_timeout_ms=30_000)
    member.subscribe([TOPIC], on_revoke=lambda _, places: revoked.append(places))
    until("an assignment", lambda: (member.poll(0.1), member.assignment())[1])
    who = member.memberid()
    try:
        for turn, leader in enumerate((2, 1, 2, 1)):
            move(cluster, leader, 3 - leader)
            offset = 5 + turn
            places = [TopicPartition(TOPIC, 2, offset, metadata=f"turn {turn}")]
            until("the member's commit", lambda: try_commit(member, places))
            commit(cluster.bootstrap, "outsiders", TopicPartition(TOPIC, 1, 10 + turn))
            move(cluster, 3 - leader, leader)
            until("the member's offset", lambda: (committed(cluster, "members") or {}).get(2) == (offset, f"turn {turn}"))
            outside = {0: (3, "three"), 1: (10 + turn, "")}
            until("the outsider's offsets", lambda: committed(cluster, "outsiders") == outside)
            member.poll(1.5)
            assert (member.memberid(), revoked) == (who, []), f"turn {turn}: the member had to join anew"
            assert described(cluster, "members") == ("Stable", [who])
    finally:
        member.close()
    # What Kafka removed Ottla does not find.
    kafkas = [node.number for node in cluster.brokers if node.target == "kafka"]
    move(cluster, kafkas[0], 3 - kafkas[0])
    until("the removal", lambda: removed(cluster, "outsiders"))
    move(cluster, 3 - kafkas[0], kafkas[0])
    until("no offsets", lambda: committed(cluster, "outsiders") == {})
    until("the others' offset", lambda: (committed(cluster, "members") or {}).get(2) == (8, "turn 3"))


def removed(cluster, group: str) -> bool:
    with Connection(cluster.nodes[view.coordinator(cluster, group)]) as connection:
        answer = connection.call(DELETE_GROUPS, 0, Writer().i32(1).string(group).data)
    return (answer.i32(), answer.i32(), answer.string(), answer.i16()) == (0, 1, group, 0)


def try_commit(member, places) -> bool:
    try:
        member.poll(0)
        return bool(member.commit(offsets=places, asynchronous=False))
    except KafkaException:
        return False
