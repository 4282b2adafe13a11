"""Kafka and Ottla in one cluster: brokers of one kind under controllers of the other, and replicas on both."""

import os
import signal

import pytest

from harness import settings, view
from harness.chaos import GROUP, elect_preferred
from harness.cluster import Cluster
from harness.load import Load, Plan
from harness.mixed import KAFKA_NEW, KAFKA_OLD, NEWEST, OTTLA, RELEASE, TOPIC, judge, named, rearrange, there, version
from harness.rdkafka import admin
from harness.waiting import until

#: (the quorum's kind, the joining broker's kind, the release: the newest that both have)
PAIRS = [
    (OTTLA, KAFKA_OLD, RELEASE), (OTTLA, KAFKA_NEW, NEWEST), (KAFKA_NEW, OTTLA, NEWEST), (KAFKA_OLD, OTTLA, RELEASE),
] if settings.TARGET == "ottla" else [(KAFKA_NEW, KAFKA_OLD, RELEASE)]


def create_at(cluster: Cluster, assignment: dict[int, list[int]]) -> None:
    from confluent_kafka.admin import NewTopic

    new = NewTopic(TOPIC, num_partitions=len(assignment), replica_assignment=[assignment[p] for p in sorted(assignment)])
    client = admin(cluster.bootstrap)
    client.create_topics([new])[TOPIC].result(settings.PATIENCE)
    view.until_whole(cluster, TOPIC, len(assignment))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("quorum, joiner, release", PAIRS, ids=named)
def test_a_broker_joins_the_other_kinds_quorum(new_cluster, tmp_path, quorum, joiner, release):
    cluster = new_cluster("2", kind=quorum[0], version=version(quorum), release=release)
    third = cluster.add(3, "broker", joiner[0], version(joiner))
    for node in cluster.nodes.values():
        node.configure()
    cluster.start()
    until("the broker to be there", lambda: there(cluster, {1, 2, 3}))
    create_at(cluster, {0: [1, 3, 2], 1: [3, 1, 2], 2: [2, 3, 1]})
    load = Load(Plan(cluster.bootstrap, TOPIC, 3, str(tmp_path / "load.log"), group=GROUP))
    try:
        until("the load", load.begun)
        # Leadership goes both ways, by choice first.
        rearrange(cluster, TOPIC, {0: [3, 1, 2], 1: [1, 3, 2], 2: [3, 2]})
        view.until_whole(cluster, TOPIC, 3)
        rearrange(cluster, TOPIC, {0: [2, 3, 1], 1: [3, 2, 1], 2: [2, 1, 3]})
        view.until_whole(cluster, TOPIC, 3)
        # Then because the leader ends in good order, and because it is killed.
        for end in (signal.SIGTERM, signal.SIGKILL):
            os.kill(third.pid, end)
            third.process.wait(timeout=2 * settings.PATIENCE)
            until("other leaders", lambda: all(p.leader in (1, 2) for p in view.partitions(cluster, TOPIC).values()))
            third.begin()
            third.wait_started()
            view.until_whole(cluster, TOPIC, 3)
            elect_preferred(cluster)
            until("the leader to be back", lambda: view.partitions(cluster, TOPIC)[1].leader == 3)
        judge(cluster, load, 3)
    finally:
        load.process.kill()


#: What the three brokers of a Kafka cluster are replaced by.
REPLACEMENT = OTTLA if settings.TARGET == "ottla" else KAFKA_OLD


@pytest.mark.timeout(1200)
def test_brokers_are_replaced_one_at_a_time_and_back(new_cluster, tmp_path):
    """On their own data directories, under load, with no failed send."""
    cluster = new_cluster("1+3", kind="kafka", release=RELEASE).start()
    create_at(cluster, {0: [2, 3, 4], 1: [3, 4, 2], 2: [4, 2, 3]})
    load = Load(Plan(cluster.bootstrap, TOPIC, 3, str(tmp_path / "load.log"), group=GROUP))
    try:
        until("the load", load.begun)
        for kind in (REPLACEMENT, KAFKA_NEW):
            for node in cluster.brokers:
                os.kill(node.pid, signal.SIGTERM)
                node.process.wait(timeout=2 * settings.PATIENCE)
                node.become(kind[0], version(kind))
                node.begin()
                node.wait_started()
                view.until_whole(cluster, TOPIC, 3)
                elect_preferred(cluster)
                until("its leadership", lambda: any(p.leader == node.number for p in view.partitions(cluster, TOPIC).values()))
        judge(cluster, load, 3)
    finally:
        load.process.kill()


# ---- who does not belong

def test_a_broker_of_another_cluster_is_refused(new_cluster):
    """It ends with a word about the cluster id; the cluster does not notice."""
    cluster = new_cluster("1").start()
    stranger = cluster.add(2, "broker", settings.TARGET)
    stranger.cluster_id = "Zm9yZWlnbi1jbHVzdGVyLg"
    stranger.begin()
    assert stranger.process.wait(timeout=2 * settings.PATIENCE) != 0
    assert "cluster" in stranger.complaints(40).lower() and "id" in stranger.complaints(40).lower(), stranger.tail()
    assert set(admin(cluster.bootstrap).list_topics(timeout=10).brokers) == {1}


def test_a_second_broker_of_the_same_id_is_refused(new_cluster):
    """The first stays the cluster's; the second says why it cannot be."""
    cluster = new_cluster("1+1").start()
    twin = cluster.add(3, "broker", settings.TARGET)
    twin.overrides["node.id"] = "2"
    twin.configure()
    twin.begin()
    words = ("duplicate", "already registered", "already in use", "DUPLICATE_BROKER_REGISTRATION")
    until("a word about it", lambda: any(word.lower() in twin.log.lower() for word in words))
    seen = admin(f"{cluster.nodes[2].host}:{cluster.nodes[2].port}").list_topics(timeout=10).brokers
    assert {n: b.port for n, b in seen.items()} == {2: cluster.nodes[2].port}
    twin.kill()
