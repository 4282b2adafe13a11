"""Kafka 4.3.1's command line tools, run by their main classes as the shell scripts run them."""

import json
import re

import pytest

from harness import rdkafka
from harness.member import Member, until_balanced
from harness.waiting import until
from harness.wire import Connection

pytestmark = pytest.mark.xdist_group("tools")

TOOLS = "org.apache.kafka.tools."
TOPICS = TOOLS + "TopicCommand"
GROUPS = TOOLS + "consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
OFFSETS = TOOLS + "GetOffsetShell"
CONSOLE_PRODUCER = TOOLS + "ConsoleProducer"
CONSOLE_CONSUMER = TOOLS + "consumer.ConsoleConsumer"
DUMP_LOG = TOOLS + "DumpLogSegments"


@pytest.fixture
def tool(broker, tools):
    """Runs a tool against the broker; it must succeed. Returns what it printed."""
    return lambda main, *arguments, stdin="": tools.run(
        main, "--bootstrap-server", broker.bootstrap, *arguments, stdin=stdin
    ).ok().out


# ---- kafka-topics.sh

def test_topics(broker, tools, tool, unique):
    name = unique("tooled")
    made = tool(TOPICS, "--create", "--topic", name, "--partitions", "2", "--config", "retention.ms=9000")
    assert made.strip().splitlines()[-1] == f"Created topic {name}."
    assert name in tool(TOPICS, "--list").split()

    lines = tool(TOPICS, "--describe", "--topic", name).splitlines()
    assert re.match(
        rf"Topic: {name}\tTopicId: \S{{22}}\tPartitionCount: 2\tReplicationFactor: 1\tConfigs: .*retention\.ms=9000", lines[0]
    )
    for p in range(2):
        fields = [field.strip() for field in lines[1 + p].strip().split("\t")]
        assert fields == [f"Topic: {name}", f"Partition: {p}", "Leader: 1", "Replicas: 1", "Isr: 1", "Elr:", "LastKnownElr:"]

    tool(TOPICS, "--alter", "--topic", name, "--partitions", "4")
    until("4 partitions", lambda: "PartitionCount: 4" in tool(TOPICS, "--describe", "--topic", name))
    refused = tools.run(TOPICS, "--bootstrap-server", broker.bootstrap, "--create", "--topic", name)
    assert refused.status == 1 and "already exists" in refused.out + refused.err
    tool(TOPICS, "--delete", "--topic", name)
    until("the topic to be gone", lambda: name not in tool(TOPICS, "--list").split())


def test_topics_that_are_not_there(broker, tools, unique):
    missing = tools.run(TOPICS, "--bootstrap-server", broker.bootstrap, "--describe", "--topic", unique("nobody"))
    assert missing.status == 1 and "does not exist" in missing.out + missing.err


# ---- the console clients

@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_console_producer_and_consumer(tool, topic, codec):
    name = topic()
    lines = "".join(f"key{i}:{codec} {i}\n" for i in range(20))
    tool(CONSOLE_PRODUCER, "--topic", name, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:",
         "--compression-codec", codec, stdin=lines)
    read = tool(CONSOLE_CONSUMER, "--topic", name, "--from-beginning", "--max-messages", "20",
                "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:")
    assert read == lines


def test_console_consumer_reads_one_partition_from_an_offset(broker, tool, topic):
    name = topic(partitions=2)
    rdkafka.produce(broker.bootstrap, name, [{"value": str(i), "partition": 1} for i in range(10)])
    read = tool(CONSOLE_CONSUMER, "--topic", name, "--partition", "1", "--offset", "7", "--max-messages", "3")
    assert read.split() == ["7", "8", "9"]


def test_console_consumer_reads_the_offsets_topic(broker, tool, topic, unique):
    """`__consumer_offsets` holds Kafka's own records: its formatter must be able to read ours."""
    name, group = topic(), unique("group")
    rdkafka.commit(broker.bootstrap, group, rdkafka.TopicPartition(name, 0, 42, "noted"))

    def mine() -> list[dict]:
        # Other groups' records may be written meanwhile, and the tool ends after a number of records: read again.
        end = sum(rdkafka.end_offsets(rdkafka.consumer(broker.bootstrap), "__consumer_offsets").values())
        read = tool(CONSOLE_CONSUMER, "--topic", "__consumer_offsets", "--from-beginning", "--max-messages", str(end),
                    "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter")
        return [r for r in json_texts(read) if r["key"]["data"].get("group") == group]

    [record] = until("the commit", mine)
    assert record["key"] == {"type": 1, "data": {"group": group, "topic": name, "partition": 0}}
    # confluent-kafka sends the zero byte that ends its C string along with the metadata.
    assert record["value"]["data"]["offset"] == 42 and record["value"]["data"]["metadata"].rstrip("\0") == "noted"


def json_texts(text: str) -> list[dict]:
    """The JSON values that stand in the text one after the other."""
    found, at = [], 0
    while at < len(text.rstrip()):
        value, at = json.JSONDecoder().raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


# ---- kafka-consumer-groups.sh

def test_consumer_groups(broker, tools, tool, topic, unique):
    name, group = topic(partitions=2), unique("group")
    rdkafka.produce(broker.bootstrap, name, [{"value": str(i), "partition": i % 2} for i in range(10)])
    member = Member(broker.bootstrap, group, name, client_id="the-client")
    try:
        until_balanced([member], 2)
        until("all records", lambda: len(member.seen()) == 10)
        assert group in tool(GROUPS, "--list").split()
        assert re.search(rf"^{group}\s+.*Stable\s*$", tool(GROUPS, "--list", "--state"), re.MULTILINE)

        def described():
            rows = [line.split() for line in tool(GROUPS, "--describe", "--group", group).splitlines() if line.strip()]
            done = [row for row in rows[1:] if row[3:6] == ["5", "5", "0"]]
            return len(done) == 2 and rows

        rows = until("both commits", described)
        assert rows[0] == "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID".split()
        assert sorted(row[:3] for row in rows[1:]) == [[group, name, "0"], [group, name, "1"]]
        assert all(row[6].startswith("the-client-") and row[7:] == ["/127.0.0.1", "the-client"] for row in rows[1:])

        [state] = tool(GROUPS, "--describe", "--group", group, "--state").strip().splitlines()[1:]
        # GROUP, COORDINATOR (ID), ASSIGNMENT-STRATEGY, STATE, #MEMBERS
        assert state.split() == [group, broker.bootstrap, "(1)", "range", "Stable", "1"]
        [members] = tool(GROUPS, "--describe", "--group", group, "--members").strip().splitlines()[1:]
        assert members.split()[0] == group and members.split()[-1] == "2"
    finally:
        member.kill()
    unknown = tools.run(GROUPS, "--bootstrap-server", broker.bootstrap, "--describe", "--group", unique("nobody"))
    assert unknown.status == 1 or "not found" in unknown.out + unknown.err or "does not exist" in unknown.out + unknown.err


def test_resetting_offsets(broker, tool, topic, unique):
    name, group = topic(), unique("group")
    rdkafka.produce(broker.bootstrap, name, [{"value": str(i)} for i in range(10)])
    target = ["--group", group, "--topic", name, "--reset-offsets"]
    tool(GROUPS, *target, "--to-offset", "4", "--execute")
    rows = tool(GROUPS, "--describe", "--group", group)
    assert re.search(rf"{group}\s+{name}\s+0\s+4\s+10\s+6\s", rows)
    tool(GROUPS, *target, "--to-latest", "--execute")
    assert re.search(rf"{group}\s+{name}\s+0\s+10\s+10\s+0\s", tool(GROUPS, "--describe", "--group", group))


# ---- kafka-configs.sh, kafka-get-offsets.sh

def test_configs(tool, topic):
    name = topic()
    entity = ["--entity-type", "topics", "--entity-name", name]
    tool(CONFIGS, "--alter", *entity, "--add-config", "retention.ms=777,cleanup.policy=[compact,delete]")
    seen = until("the change", lambda: "retention.ms=777" in (out := tool(CONFIGS, "--describe", *entity)) and out)
    assert "cleanup.policy=compact,delete" in seen
    assert re.search(r"retention\.ms=777 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention\.ms=777", seen)
    tool(CONFIGS, "--alter", *entity, "--delete-config", "retention.ms")
    until("the change", lambda: "retention.ms" not in tool(CONFIGS, "--describe", *entity))
    everything = tool(CONFIGS, "--describe", "--all", *entity)
    assert "segment.bytes=1073741824 sensitive=false synonyms={DEFAULT_CONFIG:log.segment.bytes=1073741824}" in everything


def test_broker_configs(broker, tool):
    seen = tool(CONFIGS, "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1")
    assert re.search(r"^\s*node\.id=1 sensitive=false synonyms=\{STATIC_BROKER_CONFIG:node\.id=1", seen, re.MULTILINE)
    assert re.search(r"^\s*num\.partitions=1 sensitive=false synonyms=\{DEFAULT_CONFIG:num\.partitions=1\}", seen, re.MULTILINE)


def test_get_offsets(broker, tool, topic):
    name = topic(partitions=2)
    rdkafka.produce(broker.bootstrap, name, [{"value": "x", "partition": 1, "timestamp": 1_650_000_000_000 + i} for i in range(4)])
    assert tool(OFFSETS, "--topic", name).split() == [f"{name}:0:0", f"{name}:1:4"]
    assert tool(OFFSETS, "--topic", name, "--time", "earliest").split() == [f"{name}:0:0", f"{name}:1:0"]
    assert tool(OFFSETS, "--topic-partitions", f"{name}:1", "--time", "1650000000002").split() == [f"{name}:1:2"]
    assert tool(OFFSETS, "--topic-partitions", f"{name}:1", "--time", "max-timestamp").split() == [f"{name}:1:3"]


# ---- the programs Kafka's own system tests are made of

def events(out: str, name: str) -> list[dict]:
    return [event for line in out.splitlines() if line.startswith("{") and (event := json.loads(line))["name"] == name]


def test_verifiable_producer_and_consumer(broker, tools, topic, unique):
    name, group = topic(partitions=3), unique("group")

    def run(main, *arguments):
        return tools.alone(TOOLS + main, "--bootstrap-server", broker.bootstrap, *arguments).ok().out

    out = run("VerifiableProducer", "--topic", name, "--max-messages", "3000", "--acks", "-1")
    acknowledged = {(e["partition"], e["offset"]): e["value"] for e in events(out, "producer_send_success")}
    assert len(acknowledged) == 3000 and sorted(map(int, acknowledged.values())) == list(range(3000))
    assert events(out, "tool_data")[0]["acked"] == 3000

    out = run("VerifiableConsumer", "--topic", name, "--group-id", group, "--max-messages", "3000",
              "--reset-policy", "earliest", "--verbose")
    consumed = {(e["partition"], e["offset"]): e["value"] for e in events(out, "record_data")}
    assert consumed == acknowledged
    committed = {(o["partition"], o["offset"]) for o in events(out, "offsets_committed")[-1]["offsets"]}
    assert all(success["success"] for success in events(out, "offsets_committed"))
    assert sum(offset for _, offset in committed) <= 3000
    assert events(out, "partitions_assigned")


def test_client_compatibility(broker, tool, unique):
    """Kafka's own list of what a client may expect of a broker. ACLs are asked for where the broker advertises them."""
    with Connection(broker) as connection:
        answer = connection.call(18, 0)
        answer.i16()
        advertised = set()
        for _ in range(answer.i32()):
            advertised.add(answer.i16())
            answer.i16(), answer.i16()
    acls = "true" if 29 in advertised else "false"
    flags = {
        "offsets-for-times-supported": "true", "cluster-id-supported": "true", "expect-record-too-large-exception": "false",
        "num-cluster-nodes": "1", "create-topics-supported": "true", "describe-acls-supported": acls,
        "describe-configs-supported": "true", "idempotent-producer-supported": "true",
    }
    arguments = [part for flag, value in flags.items() for part in (f"--{flag}", value)]
    name = unique("compatibility")
    tool(TOPICS, "--create", "--topic", name)
    out = tool(TOOLS + "ClientCompatibilityTest", "--topic", name, *arguments)
    assert "All tests passed" in out or "SUCCESS" in out, out


# ---- kafka-dump-log.sh on what the broker wrote

@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_dump_log_reads_segments(broker, tools, topic, codec):
    name = topic()
    rdkafka.produce(broker.bootstrap, name, [{"key": f"k{i}", "value": f"v{i}"} for i in range(50)], compression_type=codec)
    [segment] = broker.segments(name)
    out = tools.run(DUMP_LOG, "--files", str(segment), "--print-data-log", "--deep-iteration").ok().out
    assert out.splitlines()[1] == "Log starting offset: 0"
    payloads = re.findall(r"^\| offset: (\d+) .* key: (\S+) payload: (\S+)$", out, re.MULTILINE)
    assert payloads == [(str(i), f"k{i}", f"v{i}") for i in range(50)]
    heads = re.findall(r"^baseOffset: .*$", out, re.MULTILINE)
    assert heads and all("isvalid: true" in head and f"compresscodec: {codec}" in head for head in heads)
    assert all("partitionLeaderEpoch: 0" in head and "isTransactional: false" in head for head in heads)


def test_dump_log_decodes_committed_offsets(broker, tools, topic, unique):
    name, group = topic(), unique("group")
    rdkafka.commit(broker.bootstrap, group, rdkafka.TopicPartition(name, 0, 7, "seven"))
    files = [str(f) for p in range(50) for f in broker.segments("__consumer_offsets", p) if f.stat().st_size]
    out = tools.run(DUMP_LOG, "--files", ",".join(files), "--offsets-decoder").ok().out
    [line] = [line for line in out.splitlines() if group in line and name in line]
    assert '"offset":7' in line and '"metadata":"seven' in line


def test_dump_log_decodes_the_metadata_log(broker, tools, topic):
    name = topic(partitions=2, config={"retention.ms": "4711"})
    segment = sorted((broker.data / "__cluster_metadata-0").glob("*.log"))[-1]
    out = tools.run(DUMP_LOG, "--cluster-metadata-decoder", "--files", str(segment)).ok().out
    records = [json.loads(found) for found in re.findall(r" payload: (\{.*\})\s*$", out, re.MULTILINE)]
    kinds = {record["type"] for record in records}
    assert {"FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD"} <= kinds
    [mine] = [r["data"] for r in records if r["type"] == "TOPIC_RECORD" and r["data"]["name"] == name]
    partitions = [r["data"] for r in records if r["type"] == "PARTITION_RECORD" and r["data"]["topicId"] == mine["topicId"]]
    assert sorted(p["partitionId"] for p in partitions) == [0, 1]
    assert all(p["replicas"] == [1] and p["isr"] == [1] and p["leader"] == 1 for p in partitions)
    [config] = [r["data"] for r in records if r["type"] == "CONFIG_RECORD" and r["data"]["resourceName"] == name]
    assert (config["name"], config["value"]) == ("retention.ms", "4711")
    assert "LeaderChange" in out
    assert "isvalid: false" not in out


