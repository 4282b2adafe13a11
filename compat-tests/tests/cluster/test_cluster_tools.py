"""Kafka 4.3.1's cluster tools: what they print against us is what they print against Kafka.

`tools/*.txt` are the transcripts, recorded from Kafka: `RECORD=1 TARGET=kafka compat-tests/run tests/cluster/test_cluster_tools.py`
writes them anew. Ids, addresses, times and sizes that differ from run to run are replaced by names.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from harness import settings, view
from harness.chaos import make_topic
from harness.rdkafka import produce
from harness.view import configure
from harness.waiting import until
from harness.wire import Connection, Writer

TOOLS = "org.apache.kafka.tools."
TOPICS = TOOLS + "TopicCommand"
REASSIGN = TOOLS + "reassign.ReassignPartitionsCommand"
ELECT = TOOLS + "LeaderElectionCommand"
LOG_DIRS = TOOLS + "LogDirsCommand"
QUORUM = TOOLS + "MetadataQuorumCommand"
CLUSTER = TOOLS + "ClusterTool"
FEATURES = TOOLS + "FeatureCommand"
DUMP = TOOLS + "DumpLogSegments"

RECORDED = Path(__file__).parent / "tools"


def directory_id(node) -> str:
    """The id of a formatted node's directory, as the storage tool chose it or was told."""
    return re.search(r"^directory\.id=(\S+)", (node.data / "meta.properties").read_text(), re.MULTILINE)[1]


class Transcript:
    """Runs tools and writes down what they print, with names in place of what differs from run to run."""

    def __init__(self, cluster, tools):
        self.cluster, self.tools, self.lines = cluster, tools, []
        self.names: dict[str, str] = {cluster.cluster_id: "CLUSTER-ID"}
        for node in cluster.nodes.values():
            self.names[f"{node.host}:{node.port}"] = f"BROKER-{node.number}"
            self.names[f"{node.host}:{node.controller_port}"] = f"CONTROLLER-{node.number}"
            self.names[f"{node.host} {node.port}"] = f"BROKER {node.number}"
            self.names[f"{node.host} {node.controller_port}"] = f"CONTROLLER {node.number}"
            self.names[f":{node.controller_port}"] = f":CONTROLLER-PORT-{node.number}"
            self.names[f":{node.port}"] = f":PORT-{node.number}"
            self.names[str(node.data)] = f"DATA-{node.number}"
            self.names[directory_id(node)] = f"DIRECTORY-{node.number}"
        self.ids = 0

    def step(self, main: str, *arguments: str, controllers: bool = False, hide=lambda text: text) -> str:
        """One tool, run to its end. `hide` replaces what else may differ. Returns what it printed, nothing replaced."""
        how = ["--bootstrap-controller", self.cluster.bootstrap_controllers] if controllers else ["--bootstrap-server", self.cluster.bootstrap]
        # ClusterTool ends its JVM whatever stands in the way.
        run = self.tools.alone if main == CLUSTER else self.tools.run
        # Its commands come before the cluster's address.
        done = run(main, arguments[0], *how, *arguments[1:]) if main == CLUSTER else run(main, *how, *arguments)
        printed = "".join(line + "\n" for line in (done.out + done.err).splitlines() if self._worth(line))
        shown = " ".join([main.rsplit(".", 1)[-1], *arguments])
        printed = re.sub(r"^ \(org\.apache\.\S+\)\n", "", printed, flags=re.MULTILINE)
        self.lines += [f"$ {self._named(shown)}", *self._named(hide(printed)).splitlines(), f"[{done.status}]", ""]
        return printed

    def update_features(self, version: int, how: int, dry_run: bool, **levels: int) -> None:
        """The request by hand, `kraft_version=1` for the feature kraft.version: what is answered, field by field."""
        with Connection(self.cluster.brokers[0]) as connection:
            body = Writer().i32(60_000).uvarint(len(levels) + 1)
            for name, level in levels.items():
                body.compact_string(name.replace("_", ".")).i16(level).i8(how).tags()
            if version > 0:
                body.i8(dry_run)
            answer = connection.call(57, version, body.tags().data, header=2, response_header=1)
            answer.i32()
            told = [f"error {answer.i16()}", f"message {answer.compact_string()}"]
            for _ in range(answer.compact_count() if version < 2 else 0):
                told.append(f"{answer.compact_string()}: {answer.i16()} {answer.compact_string()}")
                answer.tags()
            answer.tags()
            assert answer.done
        self.lines += [f"UpdateFeatures v{version} type {how}{' dry-run' if dry_run else ''} {levels}", *map(self._named, told), ""]

    @staticmethod
    def _worth(line: str) -> bool:
        """Stack traces and log lines are the tool's own affair."""
        noise = r"\s+at |\[\d{4}-|Caused by|\s+\.\.\. |\s+Suppressed: |java\.util\.concurrent|null$|ToolHost\$Ended"
        return bool(line.strip()) and not re.match(noise, line)

    def _named(self, text: str) -> str:
        for what, name in self.names.items():
            text = text.replace(what, name)
        # Which one answers, and in which order replicas came in sync, is chance.
        text = re.sub(r"Local controller \d", "Local controller N", text)
        text = re.sub(r"the set of voters \[.*\]", "the set of voters [...]", text)
        text = re.sub(r"Isr: ([\d,]+)", lambda found: "Isr: " + ",".join(sorted(found[1].split(","))), text)
        text = re.sub(r"/\S*/t-?\S*\.json", "FILE.json", text)

        def topic_id(found: re.Match) -> str:
            return found[1] + self.names.setdefault(found[2], f"TOPIC-ID-{len([n for n in self.names.values() if n.startswith('TOPIC-ID')]) + 1}")

        return re.sub(r"(TopicId: )([\w-]{22})", topic_id, text)

    def check(self, name: str) -> None:
        """Compares with the recorded transcript, or records it."""
        file, text = RECORDED / f"{name}.txt", "\n".join(self.lines)
        if os.environ.get("RECORD"):
            assert settings.TARGET == "kafka", "transcripts are recorded from Kafka: TARGET=kafka"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        assert text.splitlines() == file.read_text().splitlines()


@pytest.fixture
def transcript(three, tools):
    return Transcript(three, tools)


def numbers(text: str) -> str:
    """Every number becomes N."""
    return re.sub(r"(?<![\w-])\d+(?![\w-])", "N", text)


def lines_sorted(text: str) -> str:
    return "\n".join(sorted(text.splitlines()))


def replicas_are(cluster, topic: str, partition: int, replicas: list[int]):
    """Whether every broker sees these replicas, all in sync."""
    def seen() -> bool:
        views = [view.partitions_by(node, topic).get(partition) for node in cluster.brokers]
        return all(p and list(p.replicas) == replicas and set(p.isr) == set(replicas) for p in views)

    return seen


def test_topics(transcript, three):
    t = transcript
    t.step(TOPICS, "--create", "--topic", "spread", "--replica-assignment", "1:2:3,2:3:1,3:1:2", "--config", "retention.ms=9000")
    view.until_whole(three, "spread", 3)
    t.step(TOPICS, "--describe", "--topic", "spread", hide=configs_hidden)
    t.step(TOPICS, "--create", "--topic", "wide", "--partitions", "1", "--replication-factor", "4")
    t.step(TOPICS, "--create", "--topic", "none", "--partitions", "1", "--replication-factor", "0")
    t.step(TOPICS, "--create", "--topic", "uneven", "--replica-assignment", "1:2,3")
    t.step(TOPICS, "--create", "--topic", "twice", "--replica-assignment", "1:1")
    t.step(TOPICS, "--create", "--topic", "elsewhere", "--replica-assignment", "1:9")
    t.step(TOPICS, "--alter", "--topic", "spread", "--partitions", "5", "--replica-assignment", "1:2:3,2:3:1,3:1:2,3:2:1,2:1:3")
    view.until_whole(three, "spread", 5)
    t.step(TOPICS, "--describe", "--topic", "spread", hide=configs_hidden)
    t.step(TOPICS, "--alter", "--topic", "spread", "--partitions", "5")
    t.step(TOPICS, "--describe", "--under-replicated-partitions")
    t.step(TOPICS, "--describe", "--unavailable-partitions")
    t.step(TOPICS, "--describe", "--at-min-isr-partitions")
    t.step(TOPICS, "--delete", "--topic", "spread")
    t.check("topics")


def configs_hidden(text: str) -> str:
    """Which configs are listed depends on the broker's defaults; the topic's own stays."""
    return re.sub(r"Configs: (\S*)", lambda m: "Configs: " + ",".join(c for c in m[1].split(",") if c.startswith("retention.ms")), text)


def test_reassignment(transcript, three, plan_file, unique):
    t = transcript
    make_topic_at(three, "moved", {0: [1, 2], 1: [2, 3]})
    produce(three.bootstrap, "moved", [{"value": "x" * 1000, "partition": p} for p in (0, 1) for _ in range(50)])
    plan = plan_file({("moved", 0): [3, 1], ("moved", 1): [1, 2, 3]})
    t.step(REASSIGN, "--reassignment-json-file", plan, "--verify")
    t.step(REASSIGN, "--reassignment-json-file", plan, "--execute", "--throttle", "100000000")
    until("the reassignment", replicas_are(three, "moved", 0, [3, 1]))
    until("the reassignment", replicas_are(three, "moved", 1, [1, 2, 3]))
    t.step(REASSIGN, "--reassignment-json-file", plan, "--verify")
    t.step(REASSIGN, "--list")
    t.step(TOPICS, "--describe", "--topic", "moved", hide=lambda text: re.sub(r"Configs: \S*", "Configs: ", re.sub(r"Leader: \d", "Leader: N", text)))
    t.step(REASSIGN, "--reassignment-json-file", plan, "--cancel")
    t.step(REASSIGN, "--reassignment-json-file", plan_file({("moved", 0): [7, 8]}), "--execute")
    t.step(REASSIGN, "--reassignment-json-file", plan_file({("moved", 9): [1, 2]}), "--execute")
    t.step(REASSIGN, "--reassignment-json-file", plan_file({("moved", 0): [1, 1]}), "--execute")
    t.check("reassignment")


def make_topic_at(cluster, name: str, assignment: dict[int, list[int]], **config: str) -> None:
    """Creates a topic with its replicas where they are said to be, all in sync; `_` in a config's name is a dot."""
    from confluent_kafka.admin import NewTopic

    from harness.rdkafka import admin

    new = NewTopic(name, num_partitions=len(assignment), replica_assignment=[assignment[p] for p in sorted(assignment)], config={key.replace("_", "."): value for key, value in config.items()})
    client = admin(cluster.bootstrap)
    client.create_topics([new])[name].result(settings.PATIENCE)
    view.until_whole(cluster, name, len(assignment))


def test_leader_election(transcript, three, plan_file, tools, tmp_path):
    t = transcript
    make_topic_at(three, "elected", {0: [1, 2, 3], 1: [2, 3, 1]})
    plan = plan_file({("elected", 0): [2, 3, 1]})
    tools.run(REASSIGN, "--bootstrap-server", three.bootstrap, "--reassignment-json-file", plan, "--execute").ok()
    until("the new order", replicas_are(three, "elected", 0, [2, 3, 1]))
    one = ["--topic", "elected", "--partition", "0"]
    t.step(ELECT, "--election-type", "preferred", *one)
    until("the leader", lambda: view.partitions(three, "elected")[0].leader == 2)
    t.step(ELECT, "--election-type", "preferred", *one)
    t.step(ELECT, "--election-type", "unclean", *one)
    t.step(ELECT, "--election-type", "preferred", "--topic", "elected", "--partition", "7")
    t.step(ELECT, "--election-type", "preferred", "--topic", "nobody", "--partition", "0")
    t.step(TOPICS, "--describe", "--topic", "elected", hide=lambda text: re.sub(r"Configs: \S*", "Configs: ", text))
    t.check("leader-election")


def test_log_dirs(transcript, three):
    make_topic_at(three, "sized", {0: [1, 2], 1: [3, 2]})
    produce(three.bootstrap, "sized", [{"value": "x" * 100, "partition": p} for p in (0, 1) for _ in range(10)])

    def only(text: str) -> str:
        """The JSON in order, sizes hidden, since batches may be cut elsewhere."""
        *head, last = text.strip().splitlines()
        seen = json.loads(last)
        for broker in seen["brokers"]:
            for directory in broker["logDirs"]:
                directory["partitions"].sort(key=lambda p: p["partition"])
                for partition in directory["partitions"]:
                    partition["size"] = "some" if partition["size"] > 0 else 0
        seen["brokers"].sort(key=lambda b: b["broker"])
        return "\n".join(head) + "\n" + json.dumps(seen, indent=1, sort_keys=True)

    transcript.step(LOG_DIRS, "--describe", "--topic-list", "sized", hide=only)
    transcript.step(LOG_DIRS, "--describe", "--broker-list", "2", "--topic-list", "sized", hide=only)
    transcript.step(LOG_DIRS, "--describe", "--broker-list", "1,9", "--topic-list", "sized")
    transcript.check("log-dirs")


def quorum_hidden(text: str) -> str:
    """Who leads, offsets and times become names."""
    text = re.sub(r"(LeaderId|LeaderEpoch|HighWatermark|MaxFollowerLag|MaxFollowerLagTimeMs):(\s+)-?\d+", r"\1:\2N", text)
    return text


def replication_hidden(text: str) -> str:
    """Rows by node; the leader's status is anyone's."""
    head, *rows = text.strip().splitlines()
    shown = []
    for row in rows:
        fields = row.split("\t")
        shown.append(" ".join([fields[0].strip(), fields[1].strip(), "END LAG FETCHED CAUGHT", "Observer" if "Observer" in row else "Leader or Follower"]))
    return re.sub(r"\s+", " ", head) + "\n" + "\n".join(sorted(shown))


def test_metadata_quorum(transcript, three):
    status = transcript.step(QUORUM, "describe", "--status", hide=quorum_hidden)
    transcript.step(QUORUM, "describe", "--status", controllers=True, hide=quorum_hidden)
    replication = transcript.step(QUORUM, "describe", "--replication", hide=replication_hidden)
    transcript.step(QUORUM, "describe", "--replication", controllers=True, hide=replication_hidden)
    leader = re.search(r"LeaderId:\s+(\d+)", status)[1]
    [row] = [r for r in replication.splitlines() if re.search(r"Leader\s*$", r)]
    assert row.split()[0] == leader, "both say who leads"
    transcript.step(QUORUM, "remove-controller", "--controller-id", "9", "--controller-directory-id", "AAAAAAAAAAAAAAAAAAAACQ")
    transcript.check("metadata-quorum")


def test_cluster(transcript):
    transcript.step(CLUSTER, "cluster-id")
    transcript.step(CLUSTER, "cluster-id", controllers=True)
    squeezed = lambda text: "\n".join(sorted(re.sub(r"\s+", " ", line).strip() for line in text.splitlines()))  # noqa: E731
    transcript.step(CLUSTER, "list-endpoints", hide=squeezed)
    transcript.step(CLUSTER, "list-endpoints", controllers=True, hide=squeezed)
    transcript.step(CLUSTER, "unregister", "--id", "9")
    transcript.check("cluster")


SERVED = ("metadata.version", "kraft.version", "transaction.version", "group.version", "eligible.leader.replicas.version")


def test_features(transcript):
    def served(text: str) -> str:
        """The features both have, without the epoch."""
        lines = [re.sub(r"Epoch: \d+", "Epoch: N", line) for line in text.splitlines()]
        return "\n".join(line for line in lines if not line.startswith("Feature:") or line.split()[1] in SERVED)

    transcript.step(FEATURES, "describe", hide=served)
    transcript.step(FEATURES, "upgrade", "--feature", "group.version=9")
    transcript.step(FEATURES, "upgrade", "--feature", "nothing.version=1")
    transcript.step(FEATURES, "downgrade", "--feature", "metadata.version=1")
    transcript.step(FEATURES, "upgrade", "--feature", "transaction.version=2", "--dry-run")
    transcript.check("features")


def test_features_go_up_and_down(transcript):
    for command, feature in [
        ("upgrade", "group.version=0"), ("downgrade", "group.version=0"), ("downgrade", "group.version=1"), ("upgrade", "group.version=1"),
        ("downgrade", "transaction.version=1"), ("upgrade", "transaction.version=2"), ("downgrade", "metadata.version=24"),
        ("upgrade", "kraft.version=1"), ("downgrade", "kraft.version=0"), ("upgrade", "kraft.version=2"),
    ]:
        transcript.step(FEATURES, command, "--feature", feature)
    transcript.check("features-changed")


def served(text: str) -> str:
    """The features both have, without the epoch."""
    lines = [re.sub(r"Epoch: \d+", "Epoch: N", line) for line in text.splitlines()]
    return "\n".join(line for line in lines if not line.startswith("Feature:") or line.split()[1] in SERVED)


def test_kraft_version_goes_up(new_cluster, tools):
    """Static voters, where kraft.version is 0, become voters of the log, and stay that (KIP-853)."""
    cluster = new_cluster("1").start()
    t = Transcript(cluster, tools)
    remove = ["remove-controller", "--controller-id", "9", "--controller-directory-id", "AAAAAAAAAAAAAAAAAAAACQ"]
    t.step(FEATURES, "describe", hide=served)
    t.step(QUORUM, "describe", "--status", hide=quorum_hidden)
    t.step(QUORUM, *remove)
    t.step(FEATURES, "downgrade", "--feature", "kraft.version=1")
    t.step(FEATURES, "downgrade", "--feature", "kraft.version=0")
    t.step(FEATURES, "upgrade", "--feature", "kraft.version=1", "--feature", "group.version=7")
    t.step(FEATURES, "upgrade", "--feature", "kraft.version=1", "--dry-run")
    t.step(FEATURES, "describe", hide=served)
    t.update_features(0, 0, False, group_version=1)
    t.update_features(0, 1, False, group_version=0)
    t.update_features(1, 1, True, kraft_version=1, group_version=1)
    t.update_features(1, 1, True, kraft_version=2)
    t.update_features(1, 0, True, kraft_version=1)
    t.update_features(2, 1, True, kraft_version=1, group_version=1)
    t.update_features(2, 2, True, kraft_version=1)
    t.step(FEATURES, "upgrade", "--feature", "kraft.version=1")
    until("the level to be told", lambda: kraft_version(cluster, tools) == 1)
    t.step(FEATURES, "describe", hide=served)
    t.step(FEATURES, "upgrade", "--feature", "kraft.version=1")
    t.step(FEATURES, "downgrade", "--feature", "kraft.version=0", "--dry-run")
    t.step(FEATURES, "downgrade", "--feature", "kraft.version=0")
    t.step(FEATURES, "downgrade", "--unsafe", "--feature", "kraft.version=0")
    t.step(QUORUM, "describe", "--status", hide=quorum_hidden)
    t.step(QUORUM, *remove)
    t.check("kraft-version")


def kraft_version(cluster, tools) -> int:
    """The finalized level, as kafka-features tells it."""
    told = tools.run(FEATURES, "--bootstrap-server", cluster.bootstrap, "describe").ok().out
    return int(re.search(r"Feature: kraft\.version.*FinalizedVersionLevel: (\d+)", told)[1])


def test_metadata_version_goes_down_where_nothing_is_lost(new_cluster, tools):
    """Safe and unsafe, tried and done: only over levels that brought nothing new into the log."""
    cluster = new_cluster("1", release="4.2").start()
    t = Transcript(cluster, tools)
    for arguments in [
        ("downgrade", "--feature", "metadata.version=28", "--dry-run"), ("downgrade", "--feature", "metadata.version=28"),
        ("upgrade", "--feature", "metadata.version=27"), ("downgrade", "--feature", "metadata.version=29"),
        ("downgrade", "--unsafe", "--feature", "metadata.version=24"), ("downgrade", "--feature", "metadata.version=22", "--dry-run"),
        ("downgrade", "--feature", "metadata.version=22"), ("downgrade", "--unsafe", "--feature", "metadata.version=22", "--dry-run"),
        ("downgrade", "--unsafe", "--feature", "metadata.version=22"), ("downgrade", "--metadata", "3.9"),
        ("downgrade", "--release-version", "3.8"), ("upgrade", "--release-version", "4.1", "--dry-run"),
        ("upgrade", "--feature", "metadata.version=24", "--feature", "metadata.version=25"), ("upgrade", "--metadata", "4.0"),
        ("downgrade", "--feature", "metadata.version=24", "--feature", "group.version=0", "--feature", "transaction.version=9"),
        ("downgrade", "--feature", "metadata.version=24", "--feature", "group.version=0"), ("describe",),
    ]:
        t.step(FEATURES, *arguments, hide=served if arguments == ("describe",) else lambda text: text)
    t.check("metadata-version")


def metadata_records(tools, node) -> list[tuple[int, str]]:
    """What kafka-dump-log --cluster-metadata-decoder makes of a node's metadata log: offsets and payloads, ids without quotes."""
    files = sorted((node.data / "__cluster_metadata-0").glob("*.log"))
    out = tools.run(DUMP, "--cluster-metadata-decoder", "--files", ",".join(map(str, files))).ok().out
    lines = [line for line in out.splitlines() if " payload: {" in line]
    return [(int(re.search(r"offset: (\d+)", line)[1]), line.split(" payload: ", 1)[1]) for line in lines]


def test_the_metadata_log_tells_the_same(transcript, three, plan_file, tools):
    """What a topic goes through is in the log in the records that Kafka writes for it, field by field."""
    t, name = transcript, "told"
    make_topic_at(three, name, {0: [1, 2, 3], 1: [2, 3, 1]}, retention_ms="9000", segment_bytes="1048576")
    topic_id = re.search(r"TopicId: (\S+)", tools.run(TOPICS, "--bootstrap-server", three.bootstrap, "--describe", "--topic", name).ok().out)[1]
    configure(three.brokers[0], view.TOPIC_CONFIGS, name, {"retention.ms": None})
    configure(three.brokers[0], view.TOPIC_CONFIGS, name, {"min.insync.replicas": "2"})
    tools.run(TOPICS, "--bootstrap-server", three.bootstrap, "--alter", "--topic", name, "--partitions", "3", "--replica-assignment", "1:2:3,2:3:1,3:1:2").ok()
    view.until_whole(three, name, 3)
    plan = plan_file({(name, 0): [2, 3, 1]})
    tools.run(REASSIGN, "--bootstrap-server", three.bootstrap, "--reassignment-json-file", plan, "--execute").ok()
    until("the new order", replicas_are(three, name, 0, [2, 3, 1]))
    tools.run(ELECT, "--bootstrap-server", three.bootstrap, "--election-type", "preferred", "--topic", name, "--partition", "0").ok()
    until("the leader", lambda: view.partitions(three, name)[0].leader == 2)
    tools.run(TOPICS, "--bootstrap-server", three.bootstrap, "--delete", "--topic", name).ok()

    def told() -> list[str]:
        of_it = f'"name":"{name}"', f'"resourceName":"{name}"', f'"topicName":"{name}"', topic_id
        return [text for _, text in metadata_records(tools, three.controllers[0]) if any(mark in text for mark in of_it)]

    until("the deletion in the log", lambda: any("REMOVE_TOPIC" in text for text in told()))
    t.lines += [t._named(text.replace(topic_id, "TOPIC-ID")) for text in told()]
    t.check("metadata-log")


def test_the_metadata_log_is_read_by_kafkas_tool(three, tools):
    """kafka-dump-log --cluster-metadata-decoder: the same on every controller, and what was done is in it."""
    make_topic_at(three, "logged", {0: [1, 2, 3], 1: [3, 1, 2]})

    def topic_of(node) -> list[str]:
        return [text for _, text in metadata_records(tools, node) if '"TOPIC_RECORD"' in text and '"logged"' in text]

    def same_everywhere() -> bool:
        seen = [dict(metadata_records(tools, node)) for node in three.controllers]
        common = set.intersection(*map(set, seen))
        assert all(view_[offset] == seen[0][offset] for view_ in seen for offset in common)
        return all(any('"logged"' in text for text in one.values()) for one in seen)

    until("the topic in every controller's log", same_everywhere)
    everything = [text for _, text in metadata_records(tools, three.controllers[0])]
    kinds = {re.search(r'"type":"(\w+)"', text)[1] for text in everything}
    assert {"FEATURE_LEVEL_RECORD", "REGISTER_CONTROLLER_RECORD", "REGISTER_BROKER_RECORD", "BROKER_REGISTRATION_CHANGE_RECORD", "TOPIC_RECORD", "PARTITION_RECORD"} <= kinds
    [topic] = topic_of(three.controllers[0])
    topic_id = re.search(r'"topicId":"([\w-]+)"', topic)[1]
    mine = [text for text in everything if '"PARTITION_RECORD"' in text and topic_id in text]
    assert len(mine) == 2
    assert all(re.search(r'"leader":(1|3),"leaderEpoch":0,"partitionEpoch":0', text) for text in mine), mine


@pytest.mark.timeout(900)
def test_controllers_are_added_and_removed(new_cluster, tools):
    """KIP-853: a fourth controller joins, becomes a voter, and one of the first three leaves the quorum."""
    cluster = new_cluster("3", quorum="dynamic").start()
    fourth = cluster.add(4, "controller", settings.TARGET)
    fourth.begin()
    fourth.wait_started()
    first = cluster.nodes[1]

    def quorum() -> view.Quorum | None:
        return view.quorum(first) or view.quorum(cluster.nodes[2])

    until("the fourth to follow", lambda: (q := quorum()) and 4 in q.observers)
    added = tools.run(QUORUM, "--bootstrap-server", cluster.bootstrap, "--command-config", str(fourth.config), "add-controller").ok().out
    directory = directory_id(fourth)
    assert f"Added controller 4 with directory id {directory}" in added, added
    until("four voters", lambda: (q := quorum()) and set(q.voters) == {1, 2, 3, 4})
    leaving = next(n for n in cluster.initial if n.number != view.active_controller(cluster))
    identity = ["--controller-id", str(leaving.number), "--controller-directory-id", leaving.directory_id]
    removed = tools.run(QUORUM, "--bootstrap-server", cluster.bootstrap, "remove-controller", *identity).ok().out
    assert f"Removed  KRaft controller {leaving.number} with directory id {leaving.directory_id}" in removed, removed
    until("three voters", lambda: (q := view.quorum(next(n for n in cluster.brokers if n is not leaving))) and set(q.voters) == {1, 2, 3, 4} - {leaving.number})
    make_topic(cluster, "after", 1, 3)


def voters(cluster, tools) -> dict[int, str]:
    """Node ids of the voters with their directories, as the quorum's leader tells them."""
    told = tools.run(QUORUM, "--bootstrap-server", cluster.bootstrap, "describe", "--status").ok().out
    listed = json.loads(re.search(r"CurrentVoters:\s+(\[.*\])", told)[1])
    return {voter["id"]: voter.get("directoryId") for voter in listed}


@pytest.mark.timeout(900)
def test_a_controller_comes_back_on_another_disk_by_itself(new_cluster, tools):
    """KIP-853 and KIP-1186: static voters are upgraded; one loses its disk, and takes the place of its older incarnation."""
    cluster = new_cluster("3").start()
    upgrade = ["--bootstrap-server", cluster.bootstrap, "upgrade", "--feature", "kraft.version=1"]
    # Voters tell the leader what they support a while after it was elected.
    until("the upgrade", lambda: tools.run(FEATURES, *upgrade).status == 0)
    until("the new voters", lambda: voters(cluster, tools) == {n.number: directory_id(n) for n in cluster.controllers})
    gone = next(n for n in cluster.controllers if n.number != view.active_controller(cluster))
    gone.kill()
    shutil.rmtree(gone.data)
    if settings.TARGET == "ottla":
        # Kafka's follows as an observer; Ottla's is told how to come back.
        gone.begin()
        until("the refusal", lambda: "has another directory id (VOTER_NOT_FOUND)" in gone.log)
        others = [n for n in cluster.controllers if n is not gone]
        assert any(f"Controller {gone.number} at 127.0.0.1 was refused: the voter with this node.id has directory id" in n.log for n in others)
        gone.kill()
        shutil.rmtree(gone.data)
    cluster.quorum, cluster.initial = "dynamic", [n for n in cluster.initial if n is not gone]
    gone.overrides = {"controller.quorum.auto.join.enable": "true"}
    gone.configure()
    gone.begin()
    gone.wait_started()
    until("the new incarnation to vote", lambda: voters(cluster, tools) == {n.number: directory_id(n) for n in cluster.controllers})
    make_topic(cluster, "after", 1, 3)
