"""Replicas of partitions that others hold too move between log dirs under load: no send fails, nothing is lost or differs."""

import json
import re
from pathlib import Path

import pytest

from harness import replicas, view
from harness.chaos import GROUP, TOPIC, reassign
from harness.history import anomalies
from harness.load import Load, Plan
from harness.rdkafka import produce
from harness.waiting import until
from tests.cluster.test_cluster_tools import LOG_DIRS, REASSIGN, make_topic_at, metadata_records
from tests.cluster.test_failed_log_dir import second_dir, start_with_two_dirs

#: What is there before the load begins: several segments, so that a move is of more than the one that is written.
BEFORE, SIZE = 4000, 1000


class Placed:
    """A cluster with two log dirs per node, and a topic under load."""

    def __init__(self, cluster, tools, tmp_path):
        self.cluster, self.tools, self.tmp_path = cluster, tools, tmp_path

    def where(self) -> dict[tuple[int, int], list[tuple[Path, bool]]]:
        """By partition and broker: the log dirs that hold the replica, and whether as a copy on its way."""
        arguments = ["--bootstrap-server", self.cluster.bootstrap, "--describe", "--topic-list", TOPIC]
        seen = json.loads(self.tools.run(LOG_DIRS, *arguments).ok().out.strip().splitlines()[-1])
        found: dict[tuple[int, int], list[tuple[Path, bool]]] = {}
        for broker in seen["brokers"]:
            for log_dir in broker["logDirs"]:
                for one in log_dir["partitions"]:
                    index = int(one["partition"].rpartition("-")[2])
                    found.setdefault((index, broker["broker"]), []).append((Path(log_dir["logDir"]), one["isFuture"]))
        return found

    def other_dir(self, partition: int, broker: int) -> Path:
        """The log dir of a broker that its replica is not in."""
        node = self.cluster.nodes[broker]
        [(here, _)] = self.where()[partition, broker]
        return second_dir(node) if here == node.data else node.data

    def move(self, partition: int, places: dict[int, Path | None]) -> None:
        """Reassigns a partition to these brokers, and to a log dir where one is said; returns when all of it is done."""
        before = self.where()
        dirs = [str(place or "any") for place in places.values()]
        plan = {"topic": TOPIC, "partition": partition, "replicas": list(places), "log_dirs": dirs}
        file = self.tmp_path / "move.json"
        file.write_text(json.dumps({"version": 1, "partitions": [plan]}))
        self.tools.run(REASSIGN, "--bootstrap-server", self.cluster.bootstrap, "--reassignment-json-file", str(file), "--execute").ok()

        def moved() -> bool:
            seen = {broker: held for (index, broker), held in self.where().items() if index == partition}
            wanted = {broker: [(place, False)] if place else before[partition, broker] for broker, place in places.items()}
            return seen == wanted

        until(f"the replicas of partition {partition} in {dirs}", moved)
        until("no reassignment left", lambda: set(view.partitions(self.cluster, TOPIC)[partition].replicas) == set(places))
        until("the new directories in the metadata", lambda: self.told() == self.expected())

    def told(self) -> dict[tuple[int, int], str]:
        """By partition and broker: the id of the replica's directory, as the metadata log has it in the end."""
        topic_id, holders, found = None, {}, {}
        for _, text in metadata_records(self.tools, self.cluster.controllers[0]):
            record = json.loads(text)
            data = record["data"]
            if record["type"] == "TOPIC_RECORD" and data["name"] == TOPIC:
                topic_id = data["topicId"]
            if record["type"] in ("PARTITION_RECORD", "PARTITION_CHANGE_RECORD") and data["topicId"] == topic_id:
                index = data["partitionId"]
                holders[index] = data.get("replicas") or holders[index]
                if data.get("directories"):
                    found = {key: value for key, value in found.items() if key[0] != index}
                    found |= {(index, broker): one for broker, one in zip(holders[index], data["directories"], strict=True)}
        return found

    def expected(self) -> dict[tuple[int, int], str]:
        """The same, as the replicas lie."""
        held = {key: places[0][0] for key, places in self.where().items()}
        return {key: re.search(r"^directory\.id=(\S+)", (place / "meta.properties").read_text(), re.MULTILINE)[1] for key, place in held.items()}

    def lengths(self) -> dict[int, set[int]]:
        """By partition: how long the replicas are."""
        found: dict[int, set[int]] = {}
        for (index, _), [(place, _)] in self.where().items():
            found.setdefault(index, set()).add(len(replicas.partition_bytes(place, TOPIC, index)))
        return found

    def judge(self, load: Load) -> None:
        """Nothing failed, nothing is lost, and replicas are equal byte for byte."""
        history = load.finish()
        until("equal replicas", lambda: all(len(sizes) == 1 for sizes in self.lengths().values()))
        for (index, broker), [(place, _)] in self.where().items():
            batches = replicas.stored(replicas.partition_bytes(place, TOPIC, index))
            history.replicas.setdefault(index, {})[broker] = batches
            assert sum(len(batch.records) for batch in batches) > BEFORE
        found = anomalies(history)
        assert history.acked and not found, "\n".join([*map(str, found), load.words()])
        for index, holders in history.replicas.items():
            held = {replicas.partition_bytes(self.where()[index, broker][0][0], TOPIC, index) for broker in holders}
            assert len(held) == 1, f"the replicas of partition {index} differ"


@pytest.fixture
def placed(new_cluster, tools, tmp_path):
    cluster = new_cluster("3", overrides={"auto.leader.rebalance.enable": "false"})
    start_with_two_dirs(cluster)
    return Placed(cluster, tools, tmp_path)


def test_replicas_move_between_log_dirs_under_load(placed, tmp_path):
    """The leader's, a follower's, and one that comes to another broker into a log dir that is said."""
    t = placed
    make_topic_at(t.cluster, TOPIC, {0: [1, 2, 3], 1: [2, 1, 3]}, segment_bytes="1048576")
    # So that there is a broker without the second partition: a topic begins with equally many replicas of each.
    reassign(t.cluster, TOPIC, {1: [2, 1]})
    until("two replicas", lambda: {key for key in t.where() if key[0] == 1} == {(1, 1), (1, 2)})
    # As a producer of the load would have written them.
    produce(t.cluster.bootstrap, TOPIC, [{"value": f"9 {n:0{SIZE}}", "partition": p} for n in range(BEFORE) for p in (0, 1)], acks="all")
    load = Load(Plan(t.cluster.bootstrap, TOPIC, 2, str(tmp_path / "load.log"), group=GROUP))
    try:
        until("the load", load.begun)
        t.move(0, {1: t.other_dir(0, 1), 2: t.other_dir(0, 2), 3: None})
        # The leader's goes back, with what was written meanwhile, and the third's goes as well.
        t.move(0, {1: t.other_dir(0, 1), 2: None, 3: t.other_dir(0, 3)})
        # To another broker and back, so that both of its log dirs are named; the leader's replica moves with the second.
        for there in (second_dir(t.cluster.nodes[3]), t.cluster.nodes[3].data):
            t.move(1, {2: None, 3: there})
            t.move(1, {2: t.other_dir(1, 2), 1: t.cluster.nodes[1].data})
        view.until_whole(t.cluster, TOPIC, 2)
        t.judge(load)
    finally:
        load.process.kill()
