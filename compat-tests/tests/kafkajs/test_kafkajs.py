"""kafkajs, the client most node programs use: the scenarios of node/kafkajs.js."""

import os
import subprocess

import pytest

from harness import settings

SCRIPT = settings.ROOT / "node" / "kafkajs.js"


def run(scenario: str, broker, topic: str, group: str) -> None:
    environment = os.environ | {
        "NODE_PATH": str(settings.CACHE / "node" / "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING": "1", "NODE_NO_WARNINGS": "1",
    }
    done = subprocess.run(
        ["node", str(SCRIPT), scenario, broker.bootstrap, topic, group],
        capture_output=True, text=True, env=environment, timeout=150,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("scenario, partitions", [("data", 1), ("idempotent", 1), ("group", 4)])
def test_clients(broker, topic, unique, scenario, partitions):
    run(scenario, broker, topic(partitions=partitions), unique("group"))


def test_admin(broker, unique):
    run("admin", broker, unique("topic"), unique("group"))
