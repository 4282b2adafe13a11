"""A broker that lives and is unregistered: both it and the controller say that they no longer know each other."""

import re

from harness import settings
from harness.chaos import make_topic
from harness.view import METADATA, partitions_by
from harness.waiting import until
from harness.wire import Connection, Writer

UNREGISTER_BROKER, BROKER_ID_NOT_REGISTERED = 64, 102
TOPIC = "left"


def unregister(via, number: int) -> int:
    """What kafka-cluster.sh unregister asks; the error code."""
    with Connection(via) as connection:
        answer = connection.call(UNREGISTER_BROKER, 0, Writer().i32(number).tags().data, header=2, response_header=1)
    answer.i32()
    return answer.i16()


def listed_by(node) -> set[int]:
    """The brokers in its metadata."""
    with Connection(node) as connection:
        answer = connection.call(METADATA, 1, Writer().i32(0).data)
    return {(answer.i32(), answer.string(), answer.i32(), answer.string())[0] for _ in range(answer.i32())}


def test_a_stale_broker_epoch_is_refused_in_words(new_cluster):
    cluster = new_cluster("1+2").start()
    controller, staying, leaving = (cluster.nodes[number] for number in (1, 2, 3))
    make_topic(cluster, TOPIC, 2, 2)
    assert unregister(staying, leaving.number) == 0
    if settings.TARGET == "ottla":
        hers = r"WARN A heartbeat of broker 3 with epoch \d+ from 127\.0\.0\.1 was refused: STALE_BROKER_EPOCH"
        its = "WARN [BrokerLifecycleManager id=3] The controller no longer knows this process as broker 3: another one was " \
              "started with this node.id, or the broker was unregistered (STALE_BROKER_EPOCH)"
    else:
        hers = r"StaleBrokerEpochException .* Exception message: Receive a heartbeat from broker 3 before registration"
        its = "WARN [BrokerLifecycleManager id=3] Broker 3 sent a heartbeat request but received error STALE_BROKER_EPOCH."
    until("the broker's word", lambda: its in leaving.log)
    until("the controller's word", lambda: re.search(hers, controller.log))
    until("the other to lead alone", lambda: {(p.leader, p.isr) for p in partitions_by(staying, TOPIC).values()} == {(2, (2,))})
    until("it to be gone", lambda: listed_by(staying) == {2})
    assert unregister(staying, leaving.number) == BROKER_ID_NOT_REGISTERED
    assert leaving.alive(), "what is to become of it is up to whoever unregistered it"
    # It comes back as a broker of a new epoch.
    leaving.kill()
    leaving.begin()
    leaving.wait_started()
    until("it to be back", lambda: {p.isr for p in partitions_by(staying, TOPIC).values()} == {(2, 3)})
    assert listed_by(staying) == {2, 3}
