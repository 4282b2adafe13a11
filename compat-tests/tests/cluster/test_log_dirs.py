"""Several log dirs on one broker: Kafka's tools show them and move replicas between them."""

import json
import re

import pytest

from harness.rdkafka import produce, read_all
from harness.waiting import until
from tests.cluster.test_cluster_tools import LOG_DIRS, REASSIGN, Transcript, make_topic_at

RECORDS = 200


class TwoDirs:
    """A node with two log dirs, and a topic `placed` of one partition in one of them."""

    def __init__(self, cluster, tools, tmp_path):
        self.cluster, self.tools, self.tmp_path = cluster, tools, tmp_path
        self.node = cluster.nodes[1]
        self.dirs = [str(self.node.data), f"{self.node.data}-second"]
        self.node.overrides["log.dirs"] = ",".join(self.dirs)
        self.node.configure()
        cluster.start()
        make_topic_at(cluster, "placed", {0: [1]})
        produce(cluster.bootstrap, "placed", [{"value": f"{n:01000}", "partition": 0} for n in range(RECORDS)])
        self.here = self.where()[0][0]
        self.there = next(d for d in self.dirs if d != self.here)
        self.transcript = Transcript(cluster, tools)
        # The longer path first: one begins as the other does.
        named = {self.here: "HERE", self.there: "THERE"}
        names = self.transcript.names | named
        self.transcript.names = {d: names[d] for d in sorted(names, key=len, reverse=True)}

    def where(self) -> list[tuple[str, bool]]:
        """The log dirs that hold the partition, and whether as a copy on its way."""
        seen = json.loads(self.tools.run(LOG_DIRS, "--bootstrap-server", self.cluster.bootstrap, "--describe", "--topic-list", "placed").ok().out.strip().splitlines()[-1])
        dirs = seen["brokers"][0]["logDirs"]
        return sorted((d["logDir"], p["isFuture"]) for d in dirs for p in d["partitions"])

    def plan(self, log_dir: str) -> str:
        file = self.tmp_path / "t.json"
        partition = {"topic": "placed", "partition": 0, "replicas": [1], "log_dirs": [log_dir]}
        file.write_text(json.dumps({"version": 1, "partitions": [partition]}))
        return str(file)

    def execute(self, log_dir: str, *more: str) -> None:
        self.transcript.step(REASSIGN, "--reassignment-json-file", self.plan(log_dir), "--execute", *more, hide=self.hidden)

    def verify(self, log_dir: str) -> None:
        self.transcript.step(REASSIGN, "--reassignment-json-file", self.plan(log_dir), "--verify", hide=self.hidden)

    @staticmethod
    def hidden(text: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\d \S+", "TIME", text)


@pytest.fixture
def two_dirs(new_cluster, tools, tmp_path):
    return TwoDirs(new_cluster("1"), tools, tmp_path)


def test_replicas_move_between_log_dirs(two_dirs):
    t = two_dirs
    t.verify(t.here)
    t.execute(t.there)
    until("the replica is there", lambda: t.where() == [(t.there, False)])
    t.verify(t.there)
    # So slow that it is not over before it is cancelled.
    t.execute(t.here, "--replica-alter-log-dirs-throttle", "2000")
    until("a copy is begun", lambda: t.where() == sorted([(t.there, False), (t.here, True)]))
    t.verify(t.here)
    t.execute(t.there)
    until("the copy is gone", lambda: t.where() == [(t.there, False)])
    t.execute("/nowhere")
    t.transcript.check("log-dirs-moved")
    values = [message.value() for message in read_all(t.cluster.bootstrap, "placed")]
    assert values == [f"{n:01000}".encode() for n in range(RECORDS)]


def test_a_move_goes_on_after_a_restart(two_dirs):
    t = two_dirs
    t.execute(t.there, "--replica-alter-log-dirs-throttle", "20000")
    until("a copy is begun", lambda: t.where() == sorted([(t.here, False), (t.there, True)]))
    t.node.kill()
    t.cluster.start()
    until("the replica is there", lambda: t.where() == [(t.there, False)])
    values = [message.value() for message in read_all(t.cluster.bootstrap, "placed")]
    assert values == [f"{n:01000}".encode() for n in range(RECORDS)]
