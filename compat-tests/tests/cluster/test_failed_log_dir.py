"""A log dir of one broker of three fails while it runs: what is in it goes offline, and nothing else."""

import json
from pathlib import Path

from harness import settings, view
from harness.rdkafka import produce, read_all
from harness.waiting import until
from tests.cluster.test_cluster_tools import LOG_DIRS, TOPICS, make_topic_at

TOPIC, PARTITIONS, ROUND = "spread", 8, 40


def second_dir(node) -> Path:
    return node.directory / "second"


def start_with_two_dirs(cluster) -> None:
    for node in cluster.nodes.values():
        node.overrides |= {"log.dirs": f"{node.data},{second_dir(node)}", "replica.high.watermark.checkpoint.interval.ms": "500"}
        node.configure()
    cluster.start()


def described(cluster, tools, broker: int) -> dict[str, tuple[bool, set[int]]]:
    """What kafka-log-dirs says of each dir of a broker: whether it has failed, and which partitions of the topic it has."""
    arguments = ["--bootstrap-server", cluster.bootstrap, "--describe", "--broker-list", str(broker), "--topic-list", TOPIC]
    [seen] = json.loads(tools.run(LOG_DIRS, *arguments).ok().out.strip().splitlines()[-1])["brokers"]
    parts = {d["logDir"]: {int(p["partition"].rsplit("-", 1)[1]) for p in d["partitions"]} for d in seen["logDirs"]}
    return {d["logDir"]: ("KafkaStorageException" in (d["error"] or ""), parts[d["logDir"]]) for d in seen["logDirs"]}


def write(cluster, begin: int) -> None:
    """A round of acks=all records, all of which must be acknowledged."""
    produce(cluster.bootstrap, TOPIC, [{"value": f"{n}", "partition": n % PARTITIONS} for n in range(begin, begin + ROUND)], acks="all")


def read(cluster) -> list[int]:
    return sorted(int(message.value()) for message in read_all(cluster.bootstrap, TOPIC))


def test_a_log_dir_that_fails_takes_only_its_replicas_offline(new_cluster, tools):
    cluster = new_cluster("3", overrides={"auto.leader.rebalance.enable": "false"})
    start_with_two_dirs(cluster)
    # All led by the second, each with a next in line that is not always the same.
    make_topic_at(cluster, TOPIC, {p: [2, 1, 3] if p % 2 else [2, 3, 1] for p in range(PARTITIONS)})
    node = cluster.nodes[2]
    first, second = str(node.data), str(second_dir(node))
    before = described(cluster, tools, 2)
    assert before.keys() == {first, second} and not before[first][0] and not before[second][0], before
    (_, stays), (_, goes) = before[first], before[second]
    assert stays and goes and stays | goes == set(range(PARTITIONS)), before
    write(cluster, 0)

    gone = second_dir(node).rename(node.directory / "gone")
    # Nothing can be made anew in its place.
    second_dir(node).write_text("no directory")
    write(cluster, ROUND)

    def views() -> list[dict]:
        seen = [view.partitions_by(n, TOPIC) for n in cluster.brokers]
        return seen if all(len(one) == PARTITIONS for one in seen) else []

    def others_lead() -> bool:
        seen = views()
        return seen and all(one[p].leader in (1, 3) and set(one[p].isr) == {1, 3} for one in seen for p in goes)

    until("other leaders of what was in the dir", others_lead)
    assert all(one[p].leader == 2 and set(one[p].isr) == {1, 2, 3} for one in views() for p in stays), views()
    assert {one[p].leader for one in views() for p in goes if p % 2} <= {1}, "the next in line leads"
    until("the dir to be told as failed", lambda: described(cluster, tools, 2) == {first: (False, stays), second: (True, set())})
    for other in (1, 3):
        assert not any(failed for failed, _ in described(cluster, tools, other).values())
    lines = tools.run(TOPICS, "--bootstrap-server", cluster.bootstrap, "--describe", "--topic", TOPIC, "--under-replicated-partitions").ok().out
    assert {int(line.split("Partition: ")[1].split()[0]) for line in lines.splitlines() if "Partition: " in line} == goes, lines
    write(cluster, 2 * ROUND)
    assert read(cluster) == list(range(3 * ROUND))
    assert node.alive()

    # It starts with the dir as it is, and with the dir as it was.
    assert node.terminate() in (0, 143)
    node.begin()
    node.wait_started(2 * settings.PATIENCE)
    until("its good replicas in sync", lambda: (seen := views()) and all(set(one[p].isr) == {1, 2, 3} for one in seen for p in stays))
    until("the dir to be told as failed", lambda: described(cluster, tools, 2) == {first: (False, stays), second: (True, set())})
    assert all(set(one[p].isr) == {1, 3} for one in views() for p in goes), views()
    write(cluster, 3 * ROUND)
    node.terminate()
    second_dir(node).unlink()
    gone.rename(second_dir(node))
    node.begin()
    node.wait_started(2 * settings.PATIENCE)
    view.until_whole(cluster, TOPIC, PARTITIONS)
    until("the dir to be told as sound", lambda: described(cluster, tools, 2) == {first: (False, stays), second: (False, goes)})
    assert read(cluster) == list(range(4 * ROUND))
