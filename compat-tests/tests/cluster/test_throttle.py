"""Replication is throttled where it is told to be (KIP-73): a replica that is on its way stays behind, one in sync does not."""

import pytest

from harness.chaos import collect, reassign, settled
from harness.rdkafka import produce
from harness.view import BROKER_CONFIGS, TOPIC_CONFIGS, config_by, configure, partitions_by, until_whole
from harness.waiting import until
from tests.cluster.test_cluster_tools import make_topic_at

RECORDS, SIZE = 500, 8_000
#: What one fetch may bring is let through whatever its size: a small part of it all. The average is over so long that
#: there is not much more of it in the test's life.
OVERRIDES = {"replica.fetch.max.bytes": "65536", "replication.quota.window.size.seconds": "10"}
RATE = "1000"
FREE, ONE, OTHER = "free", "one", "other"


class Copied:
    """Topics of one replica on the first broker, of which the second gets copies; two of them are throttled on one side."""

    def __init__(self, cluster, side: str):
        self.cluster = cluster.start()
        self.source, self.target = cluster.brokers
        self.throttled = self.source if side == "leader" else self.target
        self.rate, self.replicas = f"{side}.replication.throttled.rate", f"{side}.replication.throttled.replicas"
        for topic in (FREE, ONE, OTHER):
            make_topic_at(cluster, topic, {0: [self.source.number]})
            self.write(topic)

    def write(self, topic: str) -> None:
        produce(self.cluster.bootstrap, topic, [{"value": f"{n:0{SIZE}}"} for n in range(RECORDS)], batch_size=2 * SIZE)

    def set_rate(self, value: str | None) -> None:
        configure(self.throttled, BROKER_CONFIGS, str(self.throttled.number), {self.rate: value})
        self._known(BROKER_CONFIGS, str(self.throttled.number), self.rate, value)

    def set_replicas(self, topic: str, value: str | None) -> None:
        configure(self.throttled, TOPIC_CONFIGS, topic, {self.replicas: value})
        self._known(TOPIC_CONFIGS, topic, self.replicas, value)

    def _known(self, kind: int, name: str, key: str, value: str | None) -> None:
        """Waits until the broker that is to act on it has it: nothing that is done later comes before it."""
        if value is not None:
            until(f"{self.throttled} to know {key}", lambda: config_by(self.throttled, kind, name, key) == value)

    def copy(self, topic: str) -> None:
        reassign(self.cluster, topic, {0: [self.source.number, self.target.number]})

    def bytes_on(self, node, topic: str) -> int:
        return sum(file.stat().st_size for file in (node.data / f"{topic}-0").glob("*.log"))

    def is_behind(self, topic: str) -> bool:
        """Whether it is on its way, and has the smaller part of the way behind it."""
        seen = [partitions_by(node, topic)[0] for node in self.cluster.brokers]
        on_its_way = all(p.isr == (self.source.number,) and p.replicas == (self.source.number, self.target.number) for p in seen)
        return on_its_way and self.bytes_on(self.target, topic) < self.bytes_on(self.source, topic) / 2

    def arrives(self, topic: str) -> None:
        until(f"{topic} to be copied", lambda: len(partitions_by(self.source, topic)[0].isr) == 2)
        until_whole(self.cluster, topic, 1)


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_a_throttled_copy_stays_behind_until_it_is_let_go(new_cluster, side):
    t = Copied(new_cluster("1+2", overrides=OVERRIDES), side)
    t.set_rate(RATE)
    for topic in (ONE, OTHER):
        t.set_replicas(topic, "*")
    # What the first has got uses up what there is for both.
    t.copy(ONE)
    until("it to be begun", lambda: t.bytes_on(t.target, ONE) > 0)
    t.copy(OTHER)
    t.copy(FREE)
    t.arrives(FREE)
    assert t.is_behind(ONE) and t.is_behind(OTHER)

    # One is no longer among the throttled; then nothing is.
    t.set_replicas(ONE, None)
    t.arrives(ONE)
    assert t.is_behind(OTHER)
    t.set_rate(None)
    t.arrives(OTHER)

    # In sync it is not held back, however slow the copies may be.
    t.set_rate(RATE)
    configure(t.source, TOPIC_CONFIGS, OTHER, {"min.insync.replicas": "2"})
    t.write(OTHER)
    assert len(partitions_by(t.source, OTHER)[0].isr) == 2
    for topic in (FREE, ONE, OTHER):
        until(f"equal replicas of {topic}", lambda: settled(t.cluster, topic, 1))
        source, target = collect(t.cluster, topic, 1)[0].values()
        assert source == target
