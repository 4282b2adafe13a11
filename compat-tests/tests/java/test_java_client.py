"""The Java client 4.4.0: the scenarios under java/client, each a test, all in one JVM."""

import pytest

pytestmark = pytest.mark.xdist_group("java")


@pytest.mark.parametrize("scenario", ["codecs", "contents", "large", "times"])
def test_producer(broker, java, topic, scenario):
    name = topic(partitions=4 if scenario == "codecs" else 1)
    java.run("Producers", scenario, broker.bootstrap, name).ok()


@pytest.mark.parametrize(
    "scenario", ["RangeAssignor", "RoundRobinAssignor", "CooperativeStickyAssignor", "commits", "static"]
)
def test_classic_group(broker, java, topic, unique, scenario):
    java.run("Groups", scenario, broker.bootstrap, topic(partitions=6), unique("group")).ok()


@pytest.mark.parametrize("scenario", ["topics", "refusals", "configs", "offsets", "cluster"])
def test_admin(broker, java, unique, scenario):
    java.run("Administration", scenario, broker.bootstrap, unique("admin"), broker.cluster_id).ok()
