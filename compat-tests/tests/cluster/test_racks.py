"""A consumer reads from the replica in its rack (KIP-392)."""

import json

from confluent_kafka import TopicPartition

from harness.chaos import make_topic
from harness.raw import batches
from harness.rdkafka import consumer, produce, read
from harness.view import partitions
from harness.waiting import until
from harness.wire import Connection, Writer

FETCH, NOBODY = 1, -1
TOPIC = "near"


def fetch(node, rack: str, offset: int = 0) -> tuple[int, list]:
    """Fetch version 11 as a consumer of that rack: the replica it is sent to, and the batches it is given."""
    body = Writer().i32(-1).i32(0).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1)
    body.i32(1).string(TOPIC).i32(1).i32(0).i32(-1).i64(offset).i64(-1).i32(1 << 20)
    with Connection(node) as connection:
        answer = connection.call(FETCH, 11, body.i32(0).string(rack).data)
    answer.i32(), answer.i16(), answer.i32()
    assert (answer.i32(), answer.string(), answer.i32(), answer.i32(), answer.i16()) == (1, TOPIC, 1, 0, 0)
    answer.i64(), answer.i64(), answer.i64()
    for _ in range(answer.i32()):
        answer.i64(), answer.i64()
    preferred, given = answer.i32(), batches(answer.bytes() or b"")
    assert answer.done
    return preferred, given


def test_a_consumer_reads_from_the_follower_in_its_rack(new_cluster):
    selector = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
    cluster = new_cluster("1+2", overrides=selector)
    for node in cluster.brokers:
        node.overrides = {"broker.rack": f"rack{node.number}"}
        node.configure()
    cluster.start()
    make_topic(cluster, TOPIC, 1, 2)
    leader = cluster.nodes[partitions(cluster, TOPIC)[0].leader]
    follower = next(node for node in cluster.brokers if node is not leader)
    values = [b"%d" % n for n in range(1000)]
    produce(cluster.bootstrap, TOPIC, [{"value": value} for value in values])

    # By hand: who is sent where, and who gives what.
    until("the leader to send its rack away", lambda: fetch(leader, f"rack{follower.number}") == (follower.number, []))
    for rack in (f"rack{leader.number}", "rack9", ""):
        preferred, given = fetch(leader, rack)
        assert preferred == NOBODY and given, rack
    # A follower learns with its next fetch what it may give to others.
    preferred, given = until("the follower to give", lambda: (answer := fetch(follower, f"rack{follower.number}"))[1] and answer)
    assert preferred == NOBODY and all(batch.crc_holds for batch in given)

    # librdkafka: whom it fetches from, by its own count.
    told: list[dict] = []
    rack, note = f"rack{follower.number}", lambda text: told.append(json.loads(text))
    near = consumer(cluster.bootstrap, client_rack=rack, statistics_interval_ms=50, stats_cb=note)

    def counted() -> dict:
        """Its next statistics."""
        told.clear()
        until("statistics", lambda: near.poll(0.05) or told)
        return told[-1]

    def fetches(seen: dict, node) -> int:
        return sum(b["req"].get("Fetch", 0) for b in seen["brokers"].values() if b["nodeid"] == node.number)

    try:
        near.assign([TopicPartition(TOPIC, 0, 0)])
        assert [m.value() for m in read(near, lambda seen: seen.get(0) == 999)] == values
        before = counted()
        partition = before["topics"][TOPIC]["partitions"]["0"]
        assert (partition["leader"], partition["broker"]) == (leader.number, follower.number)
        produce(cluster.bootstrap, TOPIC, [{"value": value} for value in values])
        assert [m.value() for m in read(near, lambda seen: seen.get(0) == 1999)] == values
        after = counted()
        assert fetches(after, follower) > fetches(before, follower), "the follower serves"
        assert fetches(after, leader) == fetches(before, leader), "nobody asks the leader"
    finally:
        near.close()
