"""Replicas of two kinds whose logs part, because one is elected that had not all of the other's: the one that comes back
cuts what the leader does not have (KIP-101, KIP-279, KIP-320), and has the leader's bytes in the end."""

import pytest
from confluent_kafka import TopicPartition

from harness import replicas, settings, view
from harness.mixed import KAFKA_NEW, KAFKA_OLD, OTTLA, RELEASE, TOPIC, named, there, version
from harness.raw import build_batch, produce_v8
from harness.rdkafka import consumer, read_all
from harness.waiting import until
from harness.wire import Connection
from tests.cluster.test_cluster_tools import make_topic_at
from tests.cluster.test_cluster_tools_hard import returns, until_led

NOT_LEADER = 6
OTHER = OTTLA if settings.TARGET == "ottla" else KAFKA_NEW
#: (the controller's kind, the kind that leads first, the other replica's kind)
KINDS = [
    (controller, *pair)
    for controller in dict.fromkeys([OTHER, KAFKA_NEW])
    for pair in ((KAFKA_OLD, OTHER), (OTHER, KAFKA_OLD))
]


class Pair:
    """A partition with a replica on nodes 2 and 3, which are of two kinds; node 1 is the controller, and stays."""

    def __init__(self, cluster):
        self.cluster = cluster.start()
        until("the brokers to be there", lambda: there(cluster, {2, 3}))
        make_topic_at(cluster, TOPIC, {0: [2, 3]}, min_insync_replicas="1", unclean_leader_election_enable="true")

    def write(self, leader: int, word: str, count: int, acks: int = 1) -> list[bytes]:
        """Records in several batches, by default as acknowledged by the leader alone. By hand: a client that is refused by a
        leader who does not know yet that it leads may send them in another order."""
        values = [f"{word} {n}".encode() for n in range(count)]
        with Connection(self.cluster.nodes[leader]) as connection:
            for at in range(0, count, 7):
                batch = build_batch(values[at : at + 7])
                until("the batch to be taken", lambda: self._taken(produce_v8(connection, TOPIC, batch, acks=acks)[0]))
        return values

    @staticmethod
    def _taken(error: int) -> bool:
        assert error in (0, NOT_LEADER), error
        return error == 0

    def alone(self, node: int) -> None:
        """The node is the only one that runs, and leads: elected although it may lack what the other has."""
        for other in self.cluster.brokers:
            if other.number != node and other.alive():
                other.kill()
        if not self.cluster.nodes[node].alive():
            returns(self.cluster.nodes[node])
        until_led(self.cluster, TOPIC, 0, node, {node})

    def both(self, leader: int) -> None:
        """The other comes back, and is in sync."""
        returns(self.cluster.nodes[5 - leader])
        until_led(self.cluster, TOPIC, 0, leader, {2, 3})

    def bytes_of(self, node: int) -> bytes:
        return replicas.partition_bytes(self.cluster.nodes[node].data, TOPIC, 0)

    def holds(self, values: list[bytes]) -> None:
        """Both replicas are the same byte for byte, and a consumer reads these values."""
        until("equal replicas", lambda: len(self.bytes_of(2)) == len(self.bytes_of(3)))
        assert self.bytes_of(2) == self.bytes_of(3)
        stored = replicas.stored(self.bytes_of(2))
        assert all(batch.sound for batch in stored) and stored[-1].last == len(values) - 1, stored
        assert [message.value() for message in read_all(self.cluster.bootstrap, TOPIC)] == values


@pytest.fixture
def pair(request, new_cluster):
    kinds = dict(enumerate(((kind[0], version(kind)) for kind in request.param), 1))
    overrides = {"auto.leader.rebalance.enable": "false", "broker.session.timeout.ms": "4000"}
    return Pair(new_cluster("1+2", kinds=kinds, release=RELEASE, overrides=overrides))


def kinds_named(kinds) -> str:
    return "-".join(map(named, kinds))


@pytest.mark.parametrize("pair", KINDS, ids=kinds_named, indirect=True)
def test_a_leader_that_comes_back_cuts_its_tail(pair):
    """Twice, so that each kind is the one that cuts: once less than it is given, once more."""
    values = pair.write(2, "both", 50, acks=-1)
    for turn, (old, new, tail, instead) in enumerate(((2, 3, 20, 60), (3, 2, 60, 20))):
        pair.alone(old)
        pair.write(old, f"lost {turn}", tail)
        lost = pair.bytes_of(old)
        pair.alone(new)
        values += pair.write(new, f"kept {turn}", instead)
        assert not pair.bytes_of(new).startswith(lost)
        pair.both(new)
        pair.holds(values)
        values += pair.write(new, f"then {turn}", 10, acks=-1)
        pair.holds(values)
    pair.cluster.stop()
    pair.cluster.start()
    view.until_whole(pair.cluster, TOPIC, 1)
    pair.holds(values)


@pytest.mark.parametrize("pair", KINDS, ids=kinds_named, indirect=True)
def test_leaders_that_take_turns_alone_end_the_same(pair):
    """Epochs of the one and of the other alternate: what the last leader has of an epoch the other does not know of ends
    before what it has of it (KIP-279)."""
    values = pair.write(2, "both", 30, acks=-1)
    for turn, (last, other) in enumerate(((2, 3), (3, 2))):
        pair.alone(last)
        values += pair.write(last, f"first {turn}", 20)
        pair.alone(other)
        pair.write(other, f"lost {turn}", 30)
        # A later epoch of the same leader.
        pair.cluster.nodes[other].kill()
        pair.alone(other)
        pair.write(other, f"lost again {turn}", 30)
        pair.alone(last)
        values += pair.write(last, f"second {turn}", 15)
        pair.both(last)
        pair.holds(values)
        values += pair.write(last, f"then {turn}", 10, acks=-1)
        pair.holds(values)


@pytest.mark.parametrize("pair", KINDS, ids=kinds_named, indirect=True)
def test_a_reader_of_what_was_cut_goes_on_where_the_logs_parted(pair):
    """Its place carries the epoch it was read in (KIP-320): the new leader tells it where that ended."""
    values = pair.write(2, "both", 30, acks=-1)
    pair.alone(2)
    lost = pair.write(2, "lost", 20)
    # While librdkafka asks a leader that is dead about epochs, it looks for another one only as often as this.
    client = consumer(pair.cluster.bootstrap, topic_metadata_refresh_interval_ms=1000)
    seen: list[bytes] = []

    def reads(count: int) -> bool:
        seen.extend(message.value() for message in client.consume(100, 0.2) if not message.error())
        return len(seen) >= count

    try:
        client.assign([TopicPartition(TOPIC, 0, 0)])
        until("all of the first leader's", lambda: reads(50))
        assert seen == values + lost
        pair.alone(3)
        kept = pair.write(3, "kept", 60)
        until("all of the second leader's", lambda: reads(110))
        assert seen == values + lost + kept
    finally:
        client.close()
    pair.both(3)
    pair.holds(values + kept)
