"""A topic that was created can be used (docs/adr/0007): at once where it was asked for, and elsewhere as soon as the others know."""

from harness import settings, view
from harness.raw import build_batch, produce_v8
from harness.waiting import until
from harness.wire import Connection, Writer

UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER = 3, 6
ROUNDS = 10


def create(on: Connection, name: str, replicas: list[list[int]]) -> int:
    """Creates a topic whose replicas are given; the error code."""
    body = Writer().i32(1).string(name).i32(-1).i16(-1).i32(len(replicas))
    for partition, numbers in enumerate(replicas):
        body.i32(partition).i32(len(numbers))
        for number in numbers:
            body.i32(number)
    answer = on.call(view.CREATE_TOPICS, 4, body.i32(0).i32(30_000).i8(0).data)
    assert (answer.i32(), answer.i32(), answer.string()) == (0, 1, name)
    return answer.i16()


def test_a_created_topic_takes_records(new_cluster):
    """What was asked for by one broker that is not the controller, whose partitions are led by each broker."""
    cluster = new_cluster("1+2", overrides={"min.insync.replicas": "2"}).start()
    asked, other = cluster.brokers
    leaders = [other, asked]
    replicas = [[other.number, asked.number], [asked.number, other.number]]
    # Those who do not know of it yet say so in words that clients ask again about.
    retriable = {0, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER}

    with Connection(asked) as to_asked, Connection(other) as to_other:
        for topic in (f"created-{n}" for n in range(ROUNDS)):
            assert create(to_asked, topic, replicas) == 0
            answers = {n.number: produce_v8(on, topic, build_batch([b"v"]), partition=p)
                       for p, (n, on) in enumerate(zip(leaders, (to_other, to_asked)))}
            assert {code for code, _ in answers.values()} <= retriable, answers
            if settings.TARGET == "ottla":
                assert answers[asked.number] == (0, 0), "where it was created it is there"
                seen = view.partitions_by(asked, topic)
                assert [(p, seen[p].leader, list(seen[p].replicas)) for p in sorted(seen)] == [(p, r[0], r) for p, r in enumerate(replicas)]
            for p, (node, on) in enumerate(zip(leaders, (to_other, to_asked))):
                if answers[node.number][0] != 0:
                    until(f"{node} to lead", lambda: produce_v8(on, topic, build_batch([b"v"]), partition=p) == (0, 0))
            view.until_whole(cluster, topic, len(replicas))
