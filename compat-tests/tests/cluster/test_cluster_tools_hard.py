"""Kafka's cluster tools where not all is well: brokers are dead, elections lose records, reassignments do not end.

Transcripts as in test_cluster_tools.py. Node 1 is the only controller and stays; nodes 2 and 3 are brokers.
"""

import json
import re

import pytest

from harness import settings, view
from harness.cluster import BROKER, Cluster
from harness.rdkafka import produce, read_all
from harness.waiting import until
from tests.cluster.test_cluster_tools import CLUSTER, ELECT, REASSIGN, TOPICS, Transcript, make_topic_at, replicas_are

CONFIGS = "kafka.admin.ConfigCommand"


@pytest.fixture
def frail(new_cluster):
    """One controller that is a broker as well, two brokers that may die; nothing but deaths moves a leader."""
    cluster = new_cluster("1", overrides={"auto.leader.rebalance.enable": "false", "broker.session.timeout.ms": "4000"})
    for number in (2, 3):
        cluster.add(number, BROKER, settings.TARGET)
    for node in cluster.nodes.values():
        node.configure()
    return cluster.start()


def until_led(cluster: Cluster, topic: str, partition: int, leader: int, isr: set[int] | None = None) -> None:
    """Waits until every broker that runs says who leads, and who is in sync; -1 is nobody."""

    def seen() -> bool:
        views = [view.partitions_by(node, topic).get(partition) for node in view.askable(cluster)]
        return all(p and p.leader == leader and (isr is None or set(p.isr) == isr) for p in views)

    until(f"{topic}-{partition} to be led by {leader}, in sync {isr}", seen, 2 * settings.PATIENCE)


def returns(node) -> None:
    """A dead node is started."""
    node.begin()
    node.wait_started(2 * settings.PATIENCE)


def own_configs(text: str) -> str:
    """Of the configs those the tests set."""
    kept = ("min.insync.replicas", "unclean.leader.election.enable")
    return by_topic(re.sub(r"Configs: (\S*)", lambda m: "Configs: " + ",".join(sorted(c for c in m[1].split(",") if c.startswith(kept))), text))


def by_topic(text: str) -> str:
    """What is told of topics in their order: they come out of a hash table."""

    def place(line: str) -> tuple:
        topic = re.search(r"Topic: (\S+)|for partition: (\S+):", line)
        return (0, (topic[1] or topic[2]), "Partition: " in line, line) if topic else (1,)

    return "\n".join(sorted(text.splitlines(), key=place))


def squeezed(text: str) -> str:
    return "\n".join(sorted(re.sub(r"\s+", " ", line).strip() for line in text.splitlines()))


def test_one_of_three_brokers_is_dead(frail, tools):
    t = Transcript(frail, tools)
    make_topic_at(frail, "guarded", {0: [1, 2, 3], 1: [3, 1, 2], 2: [2, 3, 1]}, min_insync_replicas="2")
    make_topic_at(frail, "lone", {0: [3], 1: [1]}, min_insync_replicas="1")
    make_topic_at(frail, "pair", {0: [2, 3], 1: [3, 1], 2: [1, 2]}, min_insync_replicas="2")
    frail.nodes[3].kill()
    for partition, leader in enumerate((1, 1, 2)):
        until_led(frail, "guarded", partition, leader, {1, 2})
    until_led(frail, "pair", 0, 2, {2})
    until_led(frail, "pair", 1, 1, {1})
    until_led(frail, "lone", 0, -1)
    for which in ("under-replicated", "under-min-isr", "at-min-isr", "unavailable"):
        t.step(TOPICS, "--describe", f"--{which}-partitions", hide=by_topic)
    t.step(TOPICS, "--describe", hide=own_configs)
    t.step(CLUSTER, "list-endpoints", hide=squeezed)
    t.step(CLUSTER, "list-endpoints", "--include-fenced-brokers", hide=squeezed)
    t.step(TOPICS, "--create", "--topic", "late", "--replica-assignment", "3:1:2,1:3:2", "--config", "min.insync.replicas=3")
    until_led(frail, "late", 0, 1, {1, 2})
    t.step(TOPICS, "--describe", "--topic", "late", hide=own_configs)
    t.step(TOPICS, "--create", "--topic", "dead", "--replica-assignment", "3")
    t.step(TOPICS, "--create", "--topic", "wide", "--partitions", "1", "--replication-factor", "4")
    t.step(CLUSTER, "unregister", "--id", "9")
    t.step(CLUSTER, "unregister", "--id", "3")
    endpoints = ["--bootstrap-server", frail.bootstrap, "--include-fenced-brokers"]
    until("the broker to be forgotten", lambda: "fenced" in (seen := tools.alone(CLUSTER, "list-endpoints", *endpoints).ok().out) and not re.search("^3 ", seen, re.MULTILINE))
    t.step(CLUSTER, "unregister", "--id", "3")
    t.step(CLUSTER, "list-endpoints", "--include-fenced-brokers", hide=squeezed)
    t.step(TOPICS, "--describe", hide=own_configs)
    t.step(TOPICS, "--create", "--topic", "wide", "--partitions", "1", "--replication-factor", "3")
    t.step(TOPICS, "--create", "--topic", "dead", "--replica-assignment", "3")
    returns(frail.nodes[3])
    for topic, count in (("guarded", 3), ("lone", 2), ("pair", 3), ("late", 2)):
        view.until_whole(frail, topic, count)
    t.step(TOPICS, "--describe", hide=own_configs)
    t.step(TOPICS, "--describe", "--under-replicated-partitions")
    t.step(CLUSTER, "list-endpoints", "--include-fenced-brokers", hide=squeezed)
    t.check("dead-broker")


def describe_eligible(t: Transcript) -> None:
    """Every topic, those below min.insync.replicas, those without a leader."""
    for which in ((), ("--under-min-isr-partitions",), ("--unavailable-partitions",)):
        t.step(TOPICS, "--describe", *which, hide=own_configs)


def until_eligible(cluster: Cluster, tools, topic: str, who: str) -> None:
    """Waits until these, and no others, are the eligible leader replicas of the topic's partition."""
    listed = lambda: tools.run(TOPICS, "--bootstrap-server", cluster.bootstrap, "--describe", "--topic", topic).ok().out  # noqa: E731
    until(f"{who} to be eligible for {topic}", lambda: f"\tElr: {who}\t" in listed())


def test_eligible_leader_replicas(frail, tools):
    """Two brokers die one after the other and come back one after the other: who may lead (KIP-966)."""
    t = Transcript(frail, tools)
    make_topic_at(frail, "guarded", {0: [1, 2, 3], 1: [2, 3, 1]}, min_insync_replicas="2")
    make_topic_at(frail, "pair", {0: [2, 3]}, min_insync_replicas="2")

    def described() -> None:
        describe_eligible(t)

    frail.nodes[3].kill()
    until_led(frail, "guarded", 1, 2, {1, 2})
    until_led(frail, "pair", 0, 2, {2})
    described()
    frail.nodes[2].kill()
    until_led(frail, "guarded", 0, 1, {1})
    until_led(frail, "guarded", 1, 1, {1})
    until_led(frail, "pair", 0, -1)
    described()
    # It did not end in good order: what it has may be less than what it had acknowledged.
    returns(frail.nodes[3])
    until_led(frail, "guarded", 0, 1, {1, 3})
    until_led(frail, "guarded", 1, 1, {1, 3})
    until_eligible(frail, tools, "pair", "2")
    described()
    returns(frail.nodes[2])
    view.until_whole(frail, "guarded", 2)
    view.until_whole(frail, "pair", 1)
    described()
    t.check("eligible-leaders")


def test_who_ended_in_good_order_stays_eligible(frail, tools):
    """An eligible replica that comes back names the broker epoch it ended with: that of its last life, if it ended in good
    order, none after kill -9 (KIP-966). The one leads, the other is eligible no more."""
    t = Transcript(frail, tools)
    make_topic_at(frail, "guarded", {0: [1, 2, 3]}, min_insync_replicas="3")
    make_topic_at(frail, "pair", {0: [2, 3]}, min_insync_replicas="2")
    ended, killed = frail.nodes[3], frail.nodes[2]

    def seen(guarded: set[int], leader: int, isr: set[int], eligible: str) -> None:
        until_led(frail, "guarded", 0, 1, guarded)
        until_led(frail, "pair", 0, leader, isr)
        until_eligible(frail, tools, "pair", eligible)
        describe_eligible(t)

    ended.terminate()
    seen({1, 2}, 2, {2}, "3")
    killed.kill()
    seen({1}, -1, set(), "2,3")
    returns(ended)
    seen({1, 3}, 3, {3}, "2")
    ended.terminate()
    seen({1}, -1, set(), "2,3")
    # It is there, but what it has may be less than what it had acknowledged.
    returns(killed)
    seen({1, 2}, -1, set(), "3")
    returns(ended)
    view.until_whole(frail, "guarded", 1)
    view.until_whole(frail, "pair", 1)
    describe_eligible(t)
    t.check("eligible-after-a-clean-end")


def test_elections_that_lose_records(frail, tools):
    """The only replica in sync is dead: another leads if a topic allows it, or if it is told to, and records are lost."""
    t = Transcript(frail, tools)
    topics = ("allowed", "refused", "waited")
    for name in topics:
        make_topic_at(frail, name, {0: [3, 2]}, min_insync_replicas="1", unclean_leader_election_enable=str(name == "allowed").lower())
    make_topic_at(frail, "gone", {0: [3]}, min_insync_replicas="1", unclean_leader_election_enable="true")
    for name in topics:
        produce(frail.bootstrap, name, [{"value": f"both {n}"} for n in range(5)])
    frail.nodes[2].kill()
    for name in topics:
        until_led(frail, name, 0, 3, {3})
        produce(frail.bootstrap, name, [{"value": f"one {n}"} for n in range(5)])
    frail.nodes[3].kill()
    for name in (*topics, "gone"):
        until_led(frail, name, 0, -1)
    returns(frail.nodes[2])
    until_led(frail, "allowed", 0, 2, {2})
    t.step(TOPICS, "--describe", hide=own_configs)
    t.step(ELECT, "--election-type", "preferred", "--topic", "refused", "--partition", "0")
    t.step(ELECT, "--election-type", "preferred", "--topic", "allowed", "--partition", "0")
    t.step(ELECT, "--election-type", "preferred", "--all-topic-partitions", hide=by_topic)
    t.step(ELECT, "--election-type", "unclean", "--topic", "gone", "--partition", "0")
    t.step(ELECT, "--election-type", "unclean", "--topic", "refused", "--partition", "0")
    until_led(frail, "refused", 0, 2, {2})
    t.step(ELECT, "--election-type", "unclean", "--topic", "refused", "--partition", "0")
    t.step(ELECT, "--election-type", "unclean", "--topic", "allowed", "--partition", "0")
    t.step(TOPICS, "--describe", hide=own_configs)
    t.step(TOPICS, "--describe", "--unavailable-partitions", hide=by_topic)
    returns(frail.nodes[3])
    for name in (*topics, "gone"):
        view.until_whole(frail, name, 1)
    t.step(TOPICS, "--describe", hide=own_configs)
    both, one = [f"both {n}".encode() for n in range(5)], [f"one {n}".encode() for n in range(5)]
    read = {name: [message.value() for message in read_all(frail.bootstrap, name)] for name in topics}
    assert read == {"allowed": both, "refused": both, "waited": both + one}
    t.step(ELECT, "--election-type", "preferred", "--all-topic-partitions", hide=elected_sorted)
    for name in topics:
        until_led(frail, name, 0, 3, {2, 3})
    t.step(ELECT, "--election-type", "preferred", "--all-topic-partitions")
    t.step(ELECT, "--election-type", "unclean", "--all-topic-partitions")
    read = {name: [message.value() for message in read_all(frail.bootstrap, name)] for name in topics}
    assert read == {"allowed": both, "refused": both, "waited": both + one}, "what the first leader had alone is gone from it too"
    t.check("unclean-elections")


def elected_sorted(text: str) -> str:
    """Partitions in order: they come out of a hash table."""
    return re.sub(r"(for partitions )(.*)", lambda m: m[1] + ", ".join(sorted(m[2].split(", "))), text)


def test_a_reassignment_that_does_not_end(three, tools, tmp_path, plan_file):
    """So throttled that it is in flight for minutes: what the tools say of it, and how it is taken back."""
    t = Transcript(three, tools)
    make_topic_at(three, "slow", {0: [1, 2], 1: [2, 1]})
    # A fetch is let through whatever its size while the quota is not used up: many fetches' worth.
    value = "x" * 500_000
    produce(three.bootstrap, "slow", [{"value": value, "partition": p} for p in (0, 1) for _ in range(32)], batch_size=1_000_000)
    topics = tmp_path / "t-move.json"
    topics.write_text(json.dumps({"version": 1, "topics": [{"topic": "slow"}]}))
    t.step(REASSIGN, "--topics-to-move-json-file", str(topics), "--broker-list", "2,3", "--generate", hide=proposal_shaped)
    t.step(REASSIGN, "--topics-to-move-json-file", str(topics), "--broker-list", "3", "--generate")
    t.step(REASSIGN, "--topics-to-move-json-file", str(topics), "--broker-list", "2,9", "--generate", hide=proposal_shaped)
    first = ["--reassignment-json-file", plan_file({("slow", 0): [1, 3]})]
    t.step(REASSIGN, *first, "--execute", "--throttle", "1000")
    on_its_way(three, "slow", 0, [1, 3, 2])
    t.step(REASSIGN, "--list")
    t.step(REASSIGN, *first, "--verify")
    t.step(TOPICS, "--describe", "--topic", "slow", hide=no_configs)
    t.step(TOPICS, "--describe", "--topic", "slow", "--under-replicated-partitions")
    t.step(REASSIGN, *first, "--execute")
    t.step(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", "slow", hide=throttles)
    t.step(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-name", "3", hide=throttles)
    both = ["--reassignment-json-file", plan_file({("slow", 0): [1, 3], ("slow", 1): [3, 2]})]
    t.step(REASSIGN, *both, "--execute", "--additional", "--throttle", "1001")
    on_its_way(three, "slow", 1, [3, 2, 1])
    t.step(REASSIGN, "--list")
    t.step(REASSIGN, *both, "--verify")
    t.step(REASSIGN, *both, "--verify", "--preserve-throttles")
    t.step(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", "slow", hide=throttles)
    second = ["--reassignment-json-file", plan_file({("slow", 1): [3, 2]})]
    t.step(REASSIGN, *second, "--cancel", "--preserve-throttles")
    until("the second to be taken back", replicas_are(three, "slow", 1, [2, 1]))
    t.step(REASSIGN, "--list")
    t.step(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-name", "3", hide=throttles)
    first = ["--reassignment-json-file", plan_file({("slow", 0): [1, 3]})]
    t.step(REASSIGN, *first, "--cancel")
    until("the first to be taken back", replicas_are(three, "slow", 0, [1, 2]))
    t.step(REASSIGN, "--list")
    t.step(REASSIGN, *first, "--verify")
    t.step(REASSIGN, *first, "--cancel")
    t.step(TOPICS, "--describe", "--topic", "slow", hide=no_configs)
    for kind, name in (("topics", "slow"), ("brokers", "1"), ("brokers", "3")):
        t.step(CONFIGS, "--describe", "--entity-type", kind, "--entity-name", name, hide=throttles)
    until("nothing of it on the third", lambda: not list(three.nodes[3].data.glob("slow-?")))
    t.check("reassignment-in-flight")


def on_its_way(cluster: Cluster, topic: str, partition: int, replicas: list[int]) -> None:
    """Waits until every broker knows of the reassignment, and the new replica has begun."""

    def begun() -> bool:
        views = [view.partitions_by(node, topic).get(partition) for node in cluster.brokers]
        return all(p and list(p.replicas) == replicas for p in views) and (cluster.nodes[3].data / f"{topic}-{partition}").exists()

    until(f"{topic}-{partition} to move", begun)


def no_configs(text: str) -> str:
    return re.sub(r"Configs: \S*", "Configs: ", re.sub(r"Leader: \d", "Leader: N", text))


def throttles(text: str) -> str:
    """Whether and where it is throttled."""
    return "\n".join(line.split(" sensitive=")[0] for line in text.splitlines() if "throttle" in line or "onfigs" in line)


def proposal_shaped(text: str) -> str:
    """Where replicas begin is chance: how many there are, and of which brokers, is not."""
    head, _, proposed = text.strip().rpartition("\n")
    if not proposed.startswith("{"):
        return text
    partitions = json.loads(proposed)["partitions"]
    shape = [f"{p['topic']}-{p['partition']} {sorted(p['replicas'])} {p['log_dirs']}" for p in partitions]
    return "\n".join([head, *sorted(shape)])
