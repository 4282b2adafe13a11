"""librdkafka's admin client: topics and their configs, created, described, changed, grown and deleted."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

from harness import settings
from harness.rdkafka import admin, has_leaders, produce, read_all
from harness.waiting import until


@pytest.fixture
def client(broker):
    return admin(broker.bootstrap)


def done(futures):
    """The results of a call, by whatever keys it has."""
    return {key: future.result(settings.PATIENCE) for key, future in futures.items()}


def refusal(futures) -> int:
    """The error code with which the only future of a call fails."""
    [future] = futures.values()
    with pytest.raises(KafkaException) as caught:
        future.result(settings.PATIENCE)
    return caught.value.args[0].code()


def configs(client, name: str):
    [entries] = done(client.describe_configs([ConfigResource(ResourceType.TOPIC, name)])).values()
    return entries


def alter(client, name: str, *entries: ConfigEntry):
    return client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=list(entries))])


def test_create_describe_delete(client, unique):
    name = unique("made")
    done(client.create_topics([NewTopic(name, 3, 1, config={"retention.ms": "12345"})]))
    [seen] = done(client.describe_topics(TopicCollection([name]))).values()
    assert seen.name == name and not seen.is_internal and str(seen.topic_id)
    assert [(p.id, p.leader.id, [r.id for r in p.replicas], [r.id for r in p.isr]) for p in seen.partitions] == [
        (p, 1, [1], [1]) for p in range(3)
    ]
    done(client.delete_topics([name]))
    until("the topic to be gone", lambda: name not in client.list_topics(timeout=settings.PATIENCE).topics)
    assert refusal(client.describe_topics(TopicCollection([name]))) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_deleted_name_can_be_used_again_and_is_another_topic(broker, client, topic):
    name = topic()
    produce(broker.bootstrap, name, [{"value": "old"}])
    [before] = done(client.describe_topics(TopicCollection([name]))).values()
    done(client.delete_topics([name]))
    until("the topic to be gone", lambda: name not in client.list_topics(timeout=settings.PATIENCE).topics)
    topic(name=name)
    [after] = done(client.describe_topics(TopicCollection([name]))).values()
    assert str(before.topic_id) != str(after.topic_id)
    produce(broker.bootstrap, name, [{"value": "new"}])
    assert [m.value() for m in read_all(broker.bootstrap, name)] == [b"new"]


@pytest.mark.parametrize(
    "new, code",
    [
        (lambda n: NewTopic(f"{n}/slash", 1, 1), KafkaError.TOPIC_EXCEPTION),
        (lambda n: NewTopic("x" * 250, 1, 1), KafkaError.TOPIC_EXCEPTION),
        (lambda n: NewTopic("..", 1, 1), KafkaError.TOPIC_EXCEPTION),
        (lambda n: NewTopic(n, 1, 3), KafkaError.INVALID_REPLICATION_FACTOR),
        (lambda n: NewTopic(n, 0, 1), KafkaError.INVALID_PARTITIONS),
        (lambda n: NewTopic(n, 1, 1, config={"no.such.key": "1"}), KafkaError.INVALID_CONFIG),
        (lambda n: NewTopic(n, 1, 1, config={"retention.ms": "soon"}), KafkaError.INVALID_CONFIG),
        (lambda n: NewTopic(n, 1, 1, config={"cleanup.policy": "keep"}), KafkaError.INVALID_CONFIG),
        (lambda n: NewTopic(n, 1, replica_assignment=[[9]]), KafkaError.INVALID_REPLICA_ASSIGNMENT),
    ],
    ids=["slash", "long", "dots", "replicas", "partitions", "key", "number", "policy", "assignment"],
)
def test_create_refuses(client, unique, new, code):
    assert refusal(client.create_topics([new(unique("bad"))])) == code


def test_create_refuses_what_exists(client, topic):
    name = topic()
    assert refusal(client.create_topics([NewTopic(name, 1, 1)])) == KafkaError.TOPIC_ALREADY_EXISTS
    assert refusal(client.create_topics([NewTopic(name, 1, 1)], validate_only=True)) == KafkaError.TOPIC_ALREADY_EXISTS


def test_names_that_collide_in_metrics_are_refused(client, topic, unique):
    name = topic(name=unique("with.dot"))
    assert refusal(client.create_topics([NewTopic(name.replace(".", "_"), 1, 1)])) == KafkaError.TOPIC_EXCEPTION


def test_validate_only_creates_nothing(client, unique):
    name = unique("dry")
    done(client.create_topics([NewTopic(name, 1, 1)], validate_only=True))
    assert name not in client.list_topics(timeout=settings.PATIENCE).topics


def test_one_bad_topic_does_not_spoil_the_others(client, unique):
    good, bad = unique("good"), unique("bad")
    futures = client.create_topics([NewTopic(good, 1, 1), NewTopic(bad, 1, 5)])
    futures[good].result(settings.PATIENCE)
    with pytest.raises(KafkaException):
        futures[bad].result(settings.PATIENCE)


def test_defaults_of_the_broker(client, unique):
    name = unique("defaults")
    done(client.create_topics([NewTopic(name, -1, -1)]))
    until("leaders", lambda: has_leaders(client, name, 1))


def test_grow(broker, client, topic):
    name = topic(partitions=2)
    produce(broker.bootstrap, name, [{"value": "0", "partition": 0}, {"value": "1", "partition": 1}])
    done(client.create_partitions([NewPartitions(name, 5)]))
    until("five leaders", lambda: has_leaders(client, name, 5))
    produce(broker.bootstrap, name, [{"value": "4", "partition": 4}])
    assert sorted(m.value() for m in read_all(broker.bootstrap, name)) == [b"0", b"1", b"4"]


@pytest.mark.parametrize("count", [1, 3])
def test_growing_refuses_less_and_the_same(client, topic, count):
    assert refusal(client.create_partitions([NewPartitions(topic(partitions=3), count)])) == KafkaError.INVALID_PARTITIONS


def test_growing_and_deleting_the_unknown(client, unique):
    name = unique("nobody")
    assert refusal(client.create_partitions([NewPartitions(name, 3)])) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert refusal(client.delete_topics([name])) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_configs_with_their_sources(client, topic):
    # retention.ms is given its default's value: it is still the topic's own.
    name = topic(config={"retention.ms": "604800000", "cleanup.policy": "compact,delete"})
    seen = configs(client, name)
    own = {k for k, e in seen.items() if e.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value}
    assert own == {"retention.ms", "cleanup.policy"}
    assert seen["cleanup.policy"].value == "compact,delete" and not seen["cleanup.policy"].is_default
    assert seen["segment.bytes"].value == "1073741824"
    assert seen["segment.bytes"].source == ConfigSource.DEFAULT_CONFIG.value and seen["segment.bytes"].is_default
    assert list(seen["retention.ms"].synonyms) == ["retention.ms"]
    assert not any(entry.is_sensitive or entry.is_read_only for entry in seen.values())
    assert len(seen) > 25


def test_every_config_as_kafka_describes_it(client, topic):
    table = (Path(__file__).parent / "topic-configs.tsv").read_text().splitlines()[2:]
    expected = {row.split("\t")[0]: tuple(row.split("\t")[1:]) for row in table}
    seen = {
        name: (
            entry.value, ConfigSource(entry.source).name,
            ",".join(f"{s.name}:{ConfigSource(s.source).name}" for s in entry.synonyms.values()),
        )
        for name, entry in configs(client, topic()).items()
    }
    assert seen == expected


def test_alter_configs(client, topic):
    name = topic(config={"cleanup.policy": "delete", "retention.ms": "1000"})
    done(
        alter(
            client, name,
            ConfigEntry("segment.bytes", "2097152", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
            ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        )
    )
    seen = until("the change", lambda: (c := configs(client, name))["segment.bytes"].value == "2097152" and c)
    assert seen["retention.ms"].value == "604800000"
    assert seen["retention.ms"].source == ConfigSource.DEFAULT_CONFIG.value
    assert set(seen["cleanup.policy"].value.split(",")) == {"compact", "delete"}
    done(alter(client, name, ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SUBTRACT)))
    until("the change", lambda: configs(client, name)["cleanup.policy"].value == "compact")


@pytest.mark.parametrize("key, value", [("no.such.key", "1"), ("retention.ms", "x"), ("segment.bytes", "-5")])
def test_alter_refuses(client, topic, key, value):
    name = topic()
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    assert refusal(alter(client, name, entry)) == KafkaError.INVALID_CONFIG


def test_alter_refuses_an_unknown_topic(client, unique):
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    assert refusal(alter(client, unique("nobody"), entry)) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_broker_configs(client):
    [seen] = done(client.describe_configs([ConfigResource(ResourceType.BROKER, "1")])).values()
    assert seen["node.id"].value == "1" and seen["node.id"].is_read_only
    assert seen["node.id"].source == ConfigSource.STATIC_BROKER_CONFIG.value
    assert seen["num.partitions"].value == "1"
    assert seen["num.partitions"].source == ConfigSource.DEFAULT_CONFIG.value


def test_a_config_of_the_broker_takes_effect(broker, client, topic):
    name = topic()
    smaller = ConfigResource(
        ResourceType.BROKER, "1",
        incremental_configs=[ConfigEntry("message.max.bytes", "1000", incremental_operation=AlterConfigOpType.SET)],
    )
    as_before = ConfigResource(
        ResourceType.BROKER, "1",
        incremental_configs=[ConfigEntry("message.max.bytes", None, incremental_operation=AlterConfigOpType.DELETE)],
    )

    def is_taken(size: int) -> bool:
        try:
            produce(broker.bootstrap, name, [{"value": "x" * size}])
        except AssertionError:
            return False
        return True

    assert is_taken(5000)
    try:
        done(client.incremental_alter_configs([smaller]))
        until("5000 bytes to be too many", lambda: not is_taken(5000))
        assert is_taken(500)
    finally:
        done(client.incremental_alter_configs([as_before]))
    until("5000 bytes to be taken again", lambda: is_taken(5000))


def test_an_altered_config_takes_effect(broker, client, topic):
    name = topic()
    entry = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
    done(alter(client, name, entry))
    old = 1_600_000_000_000

    def appended() -> bool:
        produce(broker.bootstrap, name, [{"value": "x", "timestamp": old}])
        return read_all(broker.bootstrap, name)[-1].timestamp()[1] > old

    until("timestamps of the broker", appended)


def test_describe_cluster(broker, client):
    seen = client.describe_cluster().result(settings.PATIENCE)
    assert seen.cluster_id == broker.cluster_id
    assert [(n.id, n.host, n.port) for n in seen.nodes] == [(1, "127.0.0.1", broker.port)]
    assert seen.controller.id == 1


def test_list_offsets(broker, client, topic):
    name = topic()
    start = 1_650_000_000_000
    times = [start, start + 50, start + 20]
    produce(broker.bootstrap, name, [{"value": "x", "timestamp": t} for t in times], linger_ms=200)
    place = TopicPartition(name, 0)

    def offset(spec):
        [seen] = done(client.list_offsets({place: spec})).values()
        return seen.offset, seen.timestamp

    assert offset(OffsetSpec.earliest())[0] == 0
    assert offset(OffsetSpec.latest())[0] == 3
    assert offset(OffsetSpec.max_timestamp()) == (1, start + 50)
    assert offset(OffsetSpec.for_timestamp(start + 10)) == (1, start + 50)
    assert offset(OffsetSpec.for_timestamp(start + 99))[0] == -1
