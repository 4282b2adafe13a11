"""Nothing acknowledged is lost, doubled, moved or out of order, whatever happens to one node of three."""

import pytest

from harness import view
from harness.chaos import Chaos
from harness.waiting import until

ROUNDS = {
    "kills": {"kill leader": 2, "kill coordinator": 1, "kill controller": 1, "kill and start at once": 2},
    "pauses": {"pause": 3},
    "cuts": {"isolate leader": 2, "minority": 1, "ring": 1, "one-way": 2},
    "restarts": {"restart": 3},
    "voters": {"remove controller": 3, "remove voter": 2, "lose metadata": 4, "kill controller": 2},
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("faults", ROUNDS)
def test_no_anomaly(new_cluster, faults):
    """The short form of scripts/chaos: a few rounds of each fault, and the checker finds nothing."""
    cluster = new_cluster("3", namespaces=True, quorum="dynamic" if faults == "voters" else "static").start()
    with Chaos(cluster, seed=1, pauses=(5, 12), cuts=(10, 14), say=print) as chaos:
        chaos.run(ROUNDS[faults])
        outcome = chaos.finish()
    for fault, line in outcome.rows().items():
        print(f"{fault:24} {line}")
    assert not outcome.found, "\n".join([*map(str, outcome.found), chaos.load.words()])
    assert len(outcome.history.acked) > 1000 and not outcome.history.failed
    assert len(outcome.history.replicas) == 6 and all(len(nodes) == 3 for nodes in outcome.history.replicas.values())


@pytest.mark.timeout(600)
def test_controllers_and_brokers_apart(new_cluster):
    """Three controllers and two brokers: the active controller and a broker are killed, nothing is lost."""
    cluster = new_cluster("3+2").start()
    with Chaos(cluster, seed=2, copies=2, say=print) as chaos:
        chaos.run({"kill leader": 1, "kill controller": 1})
        outcome = chaos.finish()
    assert not outcome.found, "\n".join([*map(str, outcome.found), chaos.load.words()])


@pytest.mark.timeout(400)
def test_a_group_survives_its_coordinator(new_cluster):
    """The coordinator is killed: the group's offsets are there on the next one, and whoever comes next goes on from them."""
    from harness import rdkafka
    from harness.chaos import make_topic

    cluster = new_cluster("3").start()
    make_topic(cluster, "kept", 1)
    rdkafka.produce(cluster.bootstrap, "kept", [{"value": str(i)} for i in range(20)])
    rdkafka.commit(cluster.bootstrap, "survivors", rdkafka.TopicPartition("kept", 0, 7))
    before = view.coordinator(cluster, "survivors")
    cluster.nodes[before].kill()
    until("another coordinator", lambda: view.coordinator(cluster, "survivors") not in (None, before))

    def committed():
        client = rdkafka.consumer(cluster.bootstrap, "survivors")
        try:
            return [place.offset for place in client.committed([rdkafka.TopicPartition("kept", 0)], timeout=5)]
        except rdkafka.KafkaException:
            return None
        finally:
            client.close()

    assert until("the offsets", committed) == [7]
