"""Controllers of one kind, brokers of the other: failovers of controllers, snapshots, releases, log directories."""

import os
import signal
import time

import pytest
from confluent_kafka.admin import NewPartitions, NewTopic

from harness import settings, view
from harness.chaos import GROUP, elect_preferred, make_topic
from harness.load import Load, Plan
from harness.mixed import KAFKA_NEW, KAFKA_OLD, OTTLA, PAIRS, RELEASE, TOPIC, judge, named, there, version
from harness.rdkafka import admin, produce, read_all
from harness.waiting import until

#: (the controllers' kind, the brokers' kind, how the quorum is known)
QUORUMS = [(OTTLA, KAFKA_OLD, "dynamic"), (KAFKA_NEW, OTTLA, "dynamic")] if settings.TARGET == "ottla" else [(KAFKA_NEW, KAFKA_OLD, "dynamic")]

@pytest.mark.timeout(900)
@pytest.mark.parametrize("quorum, joiner, known", QUORUMS, ids=named)
def test_controllers_fail_over_under_brokers_of_the_other_kind(new_cluster, tmp_path, quorum, joiner, known):
    """Three controllers: the active one is killed, then it ends in good order, then all end; the load never fails."""
    kinds = {number: quorum for number in (1, 2, 3)} | {number: joiner for number in (4, 5, 6)}
    kinds = {number: (kind[0], version(kind)) for number, kind in kinds.items()}
    cluster = new_cluster("3+3", kinds=kinds, release=RELEASE, quorum=known).start()
    until("the brokers", lambda: there(cluster, {4, 5, 6}))
    make_topic(cluster, TOPIC, 3)
    load = Load(Plan(cluster.bootstrap, TOPIC, 3, str(tmp_path / "load.log"), group=GROUP))
    try:
        until("the load", load.begun)
        for turn, end in enumerate((signal.SIGKILL, signal.SIGTERM)):
            active = until("an active controller", lambda: view.active_controller(cluster))
            began = time.monotonic()
            os.kill(cluster.nodes[active].pid, end)
            cluster.nodes[active].process.wait(timeout=settings.PATIENCE)
            print("metadata outage", view.metadata_outage(cluster, active, began, f"after-{turn}"))
            until("the load to go on", lambda: load.flowing(time.monotonic() - 2))
            cluster.nodes[active].begin()
            cluster.nodes[active].wait_started()
        for node in cluster.controllers:
            os.kill(node.pid, signal.SIGTERM)
        for node in cluster.controllers:
            node.process.wait(timeout=2 * settings.PATIENCE)
        # Without controllers what is led goes on.
        without = time.monotonic()
        time.sleep(3)
        assert load.flowing(without + 1)
        for node in cluster.controllers:
            node.begin()
        for node in cluster.controllers:
            node.wait_started(2 * settings.PATIENCE)
        until("all brokers", lambda: there(cluster, {4, 5, 6}))
        make_topic(cluster, "late", 3)
        judge(cluster, load, 3)
    finally:
        load.process.kill()


#: A snapshot after every few records, of which only the newest is kept.
OFTEN = {
    "metadata.log.max.record.bytes.between.snapshots": "2000", "metadata.max.retention.bytes": "1000",
    "metadata.max.retention.ms": "1000",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("quorum, joiner", PAIRS, ids=named)
def test_who_comes_late_begins_with_a_snapshot(new_cluster, quorum, joiner):
    """A broker that joins when the log's beginning is gone, and one that comes back then."""
    cluster = new_cluster("1", kind=quorum[0], version=version(quorum), release=RELEASE, overrides=OFTEN)
    cluster.start()

    client = admin(cluster.bootstrap)

    def make(prefix: str, count: int) -> set[str]:
        names = [f"{prefix}-{n}" for n in range(count)]
        for part in range(0, count, 5):
            made = client.create_topics([NewTopic(n, 2, replication_factor=1) for n in names[part:part + 5]])
            [future.result(settings.PATIENCE) for future in made.values()]
        return set(names)

    def snapshots() -> list[int]:
        found = (cluster.nodes[1].data / "__cluster_metadata-0").glob("*.checkpoint")
        return sorted(int(path.name.split("-")[0]) for path in found)

    first = make("early", 40)
    client.delete_topics(["early-0"])["early-0"].result(settings.PATIENCE)
    first.discard("early-0")
    until("a snapshot", lambda: snapshots()[-1:] > [0])
    third = cluster.add(3, "broker", joiner[0], version(joiner))
    third.begin()
    third.wait_started()
    until("the broker", lambda: there(cluster, {1, 3}))
    own = admin(f"{third.host}:{third.port}")
    until("its metadata", lambda: set(own.list_topics(timeout=10).topics) == first)
    assert list((third.data / "__cluster_metadata-0").glob("*.checkpoint")), "it fetched none"
    # What is there is led by the one; the other takes part in what comes.
    make_topic(cluster, TOPIC, 3, copies=2)
    produce(cluster.bootstrap, TOPIC, [{"value": f"{n}", "partition": n % 3} for n in range(30)])
    third.terminate()
    second = make("meanwhile", 40)
    third.begin()
    third.wait_started()
    until("its metadata", lambda: set(own.list_topics(timeout=10).topics) == first | second | {TOPIC})
    view.until_whole(cluster, TOPIC, 3)
    assert len(read_all(cluster.bootstrap, TOPIC)) == 30


@pytest.mark.timeout(300)
@pytest.mark.only("ottla", reason="the refusal's words are ours")
def test_a_broker_of_an_older_release_is_refused_in_words(new_cluster):
    """Kafka 4.3 does not know what a cluster of 4.4 writes; a cluster of 4.3 takes it."""
    cluster = new_cluster("1").start()
    old = cluster.add(3, "broker", *KAFKA_OLD)
    old.begin()
    words = "does not support finalized version 33 of metadata.version"
    until("a word about it", lambda: words in cluster.nodes[1].log or not old.alive())
    print(old.tail(30))
    assert words in cluster.nodes[1].log, cluster.nodes[1].tail()
    assert there(cluster, {1})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("quorum, joiner", PAIRS, ids=named)
def test_a_broker_with_two_log_directories(new_cluster, tools, quorum, joiner):
    """It says in which directory each replica is (KIP-858)."""
    cluster = new_cluster("2", kind=quorum[0], version=version(quorum), release=RELEASE)
    third = cluster.add(3, "broker", joiner[0], version(joiner))
    third.overrides["log.dirs"] = f"{third.data},{third.directory / 'second'}"
    for node in cluster.nodes.values():
        node.configure()
    cluster.start()
    until("the broker", lambda: there(cluster, {1, 2, 3}))
    make_topic(cluster, TOPIC, 8)
    client = admin(cluster.bootstrap)
    client.create_partitions([NewPartitions(TOPIC, 12)])[TOPIC].result(settings.PATIENCE)
    view.until_whole(cluster, TOPIC, 12)
    produce(cluster.bootstrap, TOPIC, [{"value": f"{n}", "partition": n % 12} for n in range(120)])
    for directory in (third.data, third.directory / "second"):
        assert len(list(directory.glob(f"{TOPIC}-*"))) >= 3
    elect_preferred(cluster)
    third.terminate()
    third.begin()
    third.wait_started()
    view.until_whole(cluster, TOPIC, 12)
    assert len(read_all(cluster.bootstrap, TOPIC)) == 120
