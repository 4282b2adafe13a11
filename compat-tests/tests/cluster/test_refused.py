"""What is answered to a batch whose predecessor was refused a moment ago."""

import os
import signal

from harness import settings
from harness.chaos import elect_preferred, make_topic
from harness.raw import build_batch
from harness.raw import produce_v8 as produce
from harness.view import TOPIC_CONFIGS, configure, partitions
from harness.waiting import until
from harness.wire import Connection

NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, OUT_OF_ORDER_SEQUENCE_NUMBER = 6, 19, 45
TOPIC, PRODUCER_ID, UNKNOWN_ID = "refused", 4711, 4712


def test_a_batch_behind_a_refused_one(new_cluster):
    """Kafka takes it for itself: a gap, for which librdkafka ends its epoch and sends again what may be written
    (tests/librdkafka/test_librdkafka_duplicates.py). Ottla refuses it like the batch before it."""
    cluster = new_cluster("1+2").start()
    make_topic(cluster, TOPIC, 1, 2, {"min.insync.replicas": "2"})
    leader = cluster.nodes[partitions(cluster, TOPIC)[0].leader]
    follower = next(node for node in cluster.brokers if node is not leader)

    def send(on: Connection, sequence: int, producer_id: int = PRODUCER_ID) -> int:
        return produce(on, TOPIC, build_batch([b"v"], producer_id=producer_id, epoch=0, sequence=sequence))[0]

    def plain(on: Connection) -> int:
        return produce(on, TOPIC, build_batch([b"v"]))[0]

    with Connection(leader) as one, Connection(leader) as other:
        assert send(one, 0) == 0
        os.kill(follower.pid, signal.SIGTERM)
        follower.process.wait(timeout=2 * settings.PATIENCE)
        until("too few replicas", lambda: plain(one) == NOT_ENOUGH_REPLICAS)
        assert send(one, 1) == NOT_ENOUGH_REPLICAS
        assert send(one, 0, UNKNOWN_ID) == NOT_ENOUGH_REPLICAS
        configure(leader, TOPIC_CONFIGS, TOPIC, {"min.insync.replicas": "1"})
        until("enough replicas", lambda: plain(one) == 0)
        # On another connection, or behind another batch, it is a gap that nothing explains.
        assert [send(other, 2), send(one, 3)] == [OUT_OF_ORDER_SEQUENCE_NUMBER] * 2
        behind = NOT_ENOUGH_REPLICAS if settings.TARGET == "ottla" else OUT_OF_ORDER_SEQUENCE_NUMBER
        assert [send(one, 2), send(one, 3)] == [behind] * 2
        assert [send(one, sequence) for sequence in (1, 2, 3, 5)] == [0, 0, 0, OUT_OF_ORDER_SEQUENCE_NUMBER]
        # A producer that the partition does not know may begin anywhere, so Kafka takes the second batch, and the first never.
        if settings.TARGET == "ottla":
            assert [send(one, sequence, UNKNOWN_ID) for sequence in (1, 0, 1)] == [NOT_ENOUGH_REPLICAS, 0, 0]
        else:
            assert [send(one, sequence, UNKNOWN_ID) for sequence in (1, 0, 1)] == [0, OUT_OF_ORDER_SEQUENCE_NUMBER, 0]


def test_a_batch_ahead_of_one_that_the_leader_before_refused(new_cluster):
    """librdkafka can send a batch to the new leader before it has put back what the old one refused. Kafka tells the gap,
    and librdkafka ends its epoch; or if the partition does not know the producer yet, it takes the batch, and librdkafka
    counts the one before as written. Ottla's new leader puts it down to the old one, once."""
    cluster = new_cluster("1+2").start()
    make_topic(cluster, TOPIC, 1, 2)
    first = cluster.nodes[partitions(cluster, TOPIC)[0].leader]
    second = next(node for node in cluster.brokers if node is not first)

    def send(on: Connection, sequence: int, producer_id: int = PRODUCER_ID) -> int:
        return produce(on, TOPIC, build_batch([b"v"], producer_id=producer_id, epoch=0, sequence=sequence))[0]

    def led_by(node) -> bool:
        seen = partitions(cluster, TOPIC).get(0)
        return seen is not None and seen.leader == node.number and len(seen.isr) == 2

    with Connection(first) as one:
        assert [send(one, 0), send(one, 2)] == [0, OUT_OF_ORDER_SEQUENCE_NUMBER], "of what it took itself a leader knows the order"
    os.kill(first.pid, signal.SIGTERM)
    first.process.wait(timeout=2 * settings.PATIENCE)
    until("the other leader", lambda: partitions(cluster, TOPIC)[0].leader == second.number)
    once = NOT_LEADER_OR_FOLLOWER if settings.TARGET == "ottla" else OUT_OF_ORDER_SEQUENCE_NUMBER
    with Connection(second) as one:
        until("the new leader", lambda: send(one, 0) == 0)
        assert [send(one, 2), send(one, 3)] == [once] * 2
        assert [send(one, 2), send(one, 3)] == [OUT_OF_ORDER_SEQUENCE_NUMBER] * 2, "what is lost is told"
        assert [send(one, sequence) for sequence in (1, 2, 3, 5)] == [0, 0, 0, OUT_OF_ORDER_SEQUENCE_NUMBER]
        if settings.TARGET == "ottla":
            assert [send(one, sequence, UNKNOWN_ID) for sequence in (3, 4)] == [NOT_LEADER_OR_FOLLOWER] * 2
            assert [send(one, sequence, UNKNOWN_ID) for sequence in (0, 2, 1, 2)] == [0, OUT_OF_ORDER_SEQUENCE_NUMBER, 0, 0]
            assert [send(one, 3, UNKNOWN_ID + 1) for _ in "ab"] == [NOT_LEADER_OR_FOLLOWER, 0], "told again, it is taken"
        else:
            assert [send(one, sequence, UNKNOWN_ID) for sequence in (3, 4, 0)] == [0, 0, OUT_OF_ORDER_SEQUENCE_NUMBER]
    first.begin()
    first.wait_started()
    until("both in sync", lambda: len(partitions(cluster, TOPIC)[0].isr) == 2)
    elect_preferred(cluster)
    until("the first leader again", lambda: led_by(first))
    with Connection(first) as one:
        until("its lead", lambda: send(one, 3) == 0)
        assert [send(one, sequence) for sequence in (5, 4, 5)] == [once, 0, 0]
