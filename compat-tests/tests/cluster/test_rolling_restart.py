"""The Java client as it is by default, under load, while brokers are restarted in good order or killed: no send fails, every
acknowledged record is in the log once and in its place, readers get all of them in order, and what their groups have
committed never goes back. How long a partition takes no writes is printed, not judged."""

import pytest

from harness import view
from harness.chaos import collect, make_topic, settled
from harness.steady import GROUPS, Steady
from harness.waiting import until

TOPIC, PARTITIONS = "steady", 6
OFFSETS, OFFSETS_PARTITIONS = "__consumer_offsets", 50
TOPIC_TOOL = "org.apache.kafka.tools.TopicCommand"
GROUP_TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


@pytest.fixture
def cluster(new_cluster):
    started = new_cluster("3").start()
    make_topic(started, TOPIC, PARTITIONS, config={"min.insync.replicas": "2"})
    return started


@pytest.fixture
def load(cluster, tmp_path):
    with Steady(cluster.bootstrap, TOPIC, PARTITIONS, tmp_path) as running:
        running.until_flowing()
        running.waits()
        yield running


def back(cluster, load, node):
    """Starts a node that is down; returns when all replicas are in sync and the load flows."""
    node.begin()
    node.wait_started()
    view.until_whole(cluster, TOPIC, PARTITIONS)
    view.until_whole(cluster, OFFSETS, OFFSETS_PARTITIONS)
    load.until_flowing()


def judge(cluster, load, tools):
    """Ends the load, which judges what the clients saw, and looks at what is left."""
    said = load.finish()
    total = sum(said["acknowledged"])
    again, looks = ({group: said[f"{group}.{name}"][0] for group in GROUPS} for name in ("again", "looks"))
    print(f"{total} records acknowledged, {said['failed'][0]} sends failed, {said['late'][0]} acknowledged after a later one, "
          f"read again {again}, committed offsets asked for {looks}")
    assert said["failed"] == said["nowhere"] == [0]
    assert all(said[f"{group}.{what}"] == said["acknowledged"] for group in GROUPS for what in ("read", "committed"))

    until("equal replicas", lambda: settled(cluster, TOPIC, PARTITIONS))
    replicas = collect(cluster, TOPIC, PARTITIONS)
    for partition, nodes in replicas.items():
        assert len(nodes) == 3
        for batches in nodes.values():
            offsets = [offset for batch in batches for offset in range(batch.base, batch.last + 1)]
            assert offsets == list(range(said["acknowledged"][partition])) and all(batch.sound for batch in batches)
            assert [b.digest for b in batches] == [b.digest for b in nodes[1]], f"partition {partition} differs"

    at = ("--bootstrap-server", cluster.bootstrap, "--describe")
    assert tools.run(TOPIC_TOOL, *at, "--under-replicated-partitions").ok().out.strip() == ""
    for group in GROUPS:
        lines = [line.split() for line in tools.run(GROUP_TOOL, *at, "--group", group).ok().out.splitlines() if f" {TOPIC} " in line]
        seen = {int(partition): (int(committed), int(end), int(lag)) for _, _, partition, committed, end, lag, *_ in lines}
        assert seen == {p: (count, count, 0) for p, count in enumerate(said["acknowledged"])}


def parts_of(cluster, number):
    """What a node does for the load: the partitions it leads, and whether it is the active controller and a coordinator."""
    led = [p.index for p in view.partitions(cluster, TOPIC).values() if p.leader == number]
    coordinated = [group for group in GROUPS if view.coordinator(cluster, group) == number]
    return f"leads {led}, coordinates {coordinated}{', active controller' if view.active_controller(cluster) == number else ''}"


def all_led(cluster, but):
    """Whether every partition is led by a node other than this one."""
    seen = view.partitions(cluster, TOPIC)
    return len(seen) == PARTITIONS and all(p.leader not in (-1, but) for p in seen.values())


def test_rolling_restart(cluster, load, tools):
    """All three nodes one after the other, twice around."""
    for node in cluster.brokers * 2:
        before = parts_of(cluster, node.number)
        node.terminate()
        back(cluster, load, node)
        print(f"restart of node {node.number} ({before}): {load.waits()}")
        if node is cluster.brokers[-1]:
            load.until_flowing(auto=True)
    judge(cluster, load, tools)


def test_kills(cluster, load, tools):
    """kill -9 of a broker that leads partitions, of a group's coordinator, and of the active controller."""
    choices = {
        "leader": lambda: next(p.leader for p in view.partitions(cluster, TOPIC).values() if p.leader != view.active_controller(cluster)),
        "coordinator": lambda: view.coordinator(cluster, "auto"),
        "active controller": lambda: view.active_controller(cluster),
    }
    for what, choose in choices.items():
        victim = cluster.nodes[until(what, choose)]
        before = parts_of(cluster, victim.number)
        victim.kill()
        until("others to lead", lambda: all_led(cluster, victim.number))
        load.until_flowing(auto=True)
        back(cluster, load, victim)
        print(f"kill of the {what}, node {victim.number} ({before}): {load.waits()}")
    judge(cluster, load, tools)
