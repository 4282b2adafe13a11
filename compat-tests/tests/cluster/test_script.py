"""scripts/cluster: what it starts, how it is told things, how it ends; and that its properties start Kafka as well."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import settings
from harness.cluster import Cluster
from harness.ports import free_base
from harness.rdkafka import produce, read_all
from harness.chaos import make_topic
from harness.waiting import until

SCRIPT = settings.CHECKOUT / "scripts/cluster"


@pytest.fixture
def script(tmp_path):
    """Runs scripts/cluster in the background with a directory of its own; ended when the test ends."""
    running = []
    # Brokers from the base port on, controllers a hundred above.
    base = free_base([*range(6), *range(100, 106)])

    def run(*arguments: str):
        out = (tmp_path / "out").open("wb")
        kafka = ["--kafka"] if settings.TARGET == "kafka" else []
        environment = {**os.environ, "OTTLA_BIN": str(settings.OTTLA_BIN)}
        command = [str(SCRIPT), *arguments, *kafka, "--dir", str(tmp_path / "nodes"), "--base-port", str(base)]
        running.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, process_group=0))

        def started():
            printed = (tmp_path / "out").read_text(errors="replace")
            assert running[-1].poll() is None, printed[-3000:]
            return re.search(r"^bootstrap\.servers=(\S+)", printed, re.MULTILINE)

        return running[-1], until("the cluster", started, 2 * settings.PATIENCE)[1], tmp_path / "nodes"

    yield run
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=settings.PATIENCE)


def tell(directory: Path, *words: str) -> str:
    done = subprocess.run([str(SCRIPT), *words, "--dir", str(directory)], capture_output=True, text=True, timeout=2 * settings.PATIENCE)
    return done.stdout + done.stderr


@pytest.mark.parametrize("layout, brokers, nodes", [("3", 3, 3), ("3+2", 2, 5)])
def test_it_starts_serves_and_ends(script, layout, brokers, nodes):
    process, bootstrap, directory = script(layout)
    assert len(bootstrap.split(",")) == brokers and len(list(directory.glob("node*/server.properties"))) == nodes
    if layout == "3":
        assert tell(directory, "kill", "2").startswith("node 2: ended with -9")
        assert "does not run" in tell(directory, "pause", "2")
        assert tell(directory, "start", "2").startswith("node 2: running")
        assert tell(directory, "pause", "3").startswith("node 3: paused")
        assert tell(directory, "resume", "3").startswith("node 3: running")
        assert tell(directory, "restart", "1").startswith("node 1: running")
        assert "no node is called 9" in tell(directory, "kill", "9")
        assert tell(directory, "status").count("running") == 3
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=2 * settings.PATIENCE) == 0
    assert not directory.exists(), "without --keep nothing is left"


@pytest.mark.only("ottla", reason="messages of the script do not depend on what it starts")
@pytest.mark.parametrize(
    "arguments, said",
    [
        (["three"], "is no layout"), (["3+0"], "is no layout"), (["3", "--override", "a"], "expected KEY=VALUE"),
        (["kill", "1"], "no cluster runs in"), (["kill"], "usage: scripts/cluster kill N"), (["3", "--base-port", "1"], "expected 1024"),
    ],
)
def test_mistakes_are_explained(tmp_path, arguments, said):
    assert said in tell(tmp_path / "none", *arguments)


@pytest.mark.only("ottla", reason="it is about handing directories from one to the other")
def test_the_same_properties_start_kafka_and_us(tmp_path):
    """Kafka is started from the files that were written for us, word for word."""
    ours = Cluster(tmp_path / "ours", "3", "ottla")
    texts = {n: node.config.read_text() for n, node in ours.nodes.items()}
    try:
        ours.start()
        make_topic(ours, "kept", 3)
        produce(ours.bootstrap, "kept", [{"value": str(i), "partition": i % 3} for i in range(30)])
        ours.stop()
        for node in ours.nodes.values():
            node.data.rename(node.directory / "data-of-ottla")
            node.become("kafka")
        ours.start()
        assert {n: node.config.read_text() for n, node in ours.nodes.items()} == texts
        make_topic(ours, "fresh", 3)
        produce(ours.bootstrap, "fresh", [{"value": "x"}])
        assert [m.value() for m in read_all(ours.bootstrap, "fresh")] == [b"x"]
    finally:
        ours.close()
