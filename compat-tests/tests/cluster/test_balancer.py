"""Leaders go back to their preferred replicas by themselves."""

import os
import signal

from harness import settings
from harness.chaos import make_topic
from harness.raw import build_batch, produce_v8
from harness.view import partitions, until_whole
from harness.waiting import until
from harness.wire import Connection

TOPIC = "balanced"


def test_the_controller_brings_preferred_leaders_back(new_cluster):
    """`leader.imbalance.check.interval.seconds`: nobody asks for an election, and the restarted broker leads again."""
    cluster = new_cluster("1+2", overrides={"leader.imbalance.check.interval.seconds": "1", "leader.imbalance.per.broker.percentage": "10"}).start()
    make_topic(cluster, TOPIC, 4, 2)
    until_whole(cluster, TOPIC, 4)

    def leaders() -> dict[int, int]:
        return {number: seen.leader for number, seen in partitions(cluster, TOPIC).items()}

    preferred = {number: seen.replicas[0] for number, seen in partitions(cluster, TOPIC).items()}
    assert leaders() == preferred and len(set(preferred.values())) == 2
    first, second = cluster.brokers
    os.kill(first.pid, signal.SIGTERM)
    first.process.wait(timeout=2 * settings.PATIENCE)
    until("the other to lead all", lambda: set(leaders().values()) == {second.number})
    first.begin()
    first.wait_started()
    until("the preferred leaders", lambda: leaders() == preferred)
    with Connection(first) as connection:
        mine = next(number for number, leader in preferred.items() if leader == first.number)
        until("it to act by it", lambda: produce_v8(connection, TOPIC, build_batch([b"v"]), partition=mine)[0] == 0)
