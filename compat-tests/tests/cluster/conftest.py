"""Clusters for the tests of this folder."""

import json
import shutil

import pytest

from harness import settings
from harness.cluster import Cluster


def pytest_collection_modifyitems(items):
    """One process for all of them: three brokers and a JVM or two at a time are enough for a machine."""
    for item in items:
        if "/tests/cluster/" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("cluster"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))


@pytest.fixture
def new_cluster(tmp_path):
    """Makes clusters, not started: `new_cluster("3", namespaces=True).start()`."""
    mine: list[Cluster] = []

    def make(layout: str = "3", **options) -> Cluster:
        made = Cluster(tmp_path / f"cluster{len(mine) + 1}", layout, **options)
        mine.append(made)
        return made

    yield make
    logs = {}
    for made in mine:
        made.close()
        logs |= {str(node.log_file): node.log for node in made.nodes.values() if node.target == "ottla"}
        for node in made.nodes.values():
            shutil.rmtree(node.data, ignore_errors=True)
    panicked = [name for name, log in logs.items() if "panicked at" in log]
    assert not panicked, f"panics: {panicked}"


@pytest.fixture(scope="session")
def three(tmp_path_factory):
    """Three combined nodes with a quorum that can change, shared by tests that break nothing."""
    shared = Cluster(tmp_path_factory.mktemp("three"), "3", quorum="dynamic", overrides={"auto.leader.rebalance.enable": "false"})
    try:
        shared.start()
        yield shared
        ended = [node.number for node in shared.nodes.values() if not node.alive()]
        panicked = [node.number for node in shared.nodes.values() if "panicked at" in node.log]
        assert not ended and not panicked, f"ended: {ended}, panicked: {panicked}, see {shared.directory}"
    finally:
        shared.close()


@pytest.fixture
def other():
    """The kind and version of the broker that is not under test, for mixed clusters."""
    return ("kafka", settings.KAFKA_TOOLS_VERSION)


@pytest.fixture
def plan_file(tmp_path):
    """Writes a reassignment as the tool wants it, over the one before: `plan_file({("topic", 0): [1, 2]})`."""

    def write(plan: dict[tuple[str, int], list[int]]) -> str:
        partitions = [{"topic": t, "partition": p, "replicas": r} for (t, p), r in plan.items()]
        file = tmp_path / "t.json"
        file.write_text(json.dumps({"version": 1, "partitions": partitions}))
        return str(file)

    return write
