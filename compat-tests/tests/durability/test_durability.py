"""What was acknowledged is there after kill -9: not lost, not twice, not in another order."""

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from harness import settings
from harness.acknowledged import Acknowledged
from harness.rdkafka import admin, create_topic, produce, read_all
from harness.waiting import until

ROUNDS = 10
PARTITIONS = 4
#: Acknowledgements to see between two kills: enough for batches to be in flight at each of them.
PER_ROUND = 2000


@pytest.mark.timeout(900)
def test_ten_kills_under_an_idempotent_producer(new_broker, tmp_path):
    broker = new_broker().start()
    create_topic(broker.bootstrap, "numbers", PARTITIONS, {"segment.bytes": "1048576"})
    producer = Acknowledged(broker.bootstrap, "numbers", PARTITIONS, tmp_path / "acknowledged")
    for number in range(ROUNDS):
        enough = producer.count() + PER_ROUND
        until(f"acknowledgements of round {number}", lambda: producer.count() >= enough, patience=180)
        broker.kill()
        broker.start()
    enough = producer.count() + PER_ROUND
    until("acknowledgements after the last start", lambda: producer.count() >= enough, patience=180)
    acknowledged = producer.finish()
    assert len(acknowledged) >= ROUNDS * PER_ROUND

    stored = {p: [] for p in range(PARTITIONS)}
    for message in read_all(broker.bootstrap, "numbers"):
        stored[message.partition()].append((message.offset(), int(message.value())))
    for partition, records in stored.items():
        # Every number was acknowledged in the end, so each must be there once, in order, at consecutive offsets.
        count = sum(1 for p, _, _ in acknowledged if p == partition)
        assert [number for _, number in records] == list(range(count)), describe(records, count)
        assert [offset for offset, _ in records] == list(range(count))
        places = {(offset, number) for p, offset, number in acknowledged if p == partition}
        # An answer lost in a crash is repeated without its offset: librdkafka then reports -1001.
        wrong = {place for place in places if place[0] >= 0} - set(records)
        assert not wrong, f"partition {partition}: acknowledged elsewhere than stored: {sorted(wrong)[:5]}"


def describe(records: list[tuple[int, int]], count: int) -> str:
    """Where the numbers first leave their order, for the failure's message."""
    numbers = [number for _, number in records]
    missing = sorted(set(range(count)) - set(numbers))
    twice = sorted({n for n in numbers if numbers.count(n) > 1}) if len(numbers) < 50_000 else "not searched"
    turns = [i for i, (a, b) in enumerate(zip(numbers, numbers[1:])) if b != a + 1]
    return f"{len(records)} stored, {count} acknowledged; missing {missing[:5]}, twice {twice[:5]}, breaks after {turns[:5]}"


@pytest.mark.timeout(400)
def test_a_restart_in_good_order_keeps_everything(new_broker, tmp_path):
    broker = new_broker().start()
    create_topic(broker.bootstrap, "numbers", 2)
    producer = Acknowledged(broker.bootstrap, "numbers", 2, tmp_path / "acknowledged")
    for _ in range(2):
        enough = producer.count() + 500
        until("acknowledgements", lambda: producer.count() >= enough, patience=180)
        broker.terminate()
        broker.start()
    acknowledged = producer.finish()
    stored = sorted((m.partition(), int(m.value())) for m in read_all(broker.bootstrap, "numbers"))
    assert stored == sorted((p, n) for p, _, n in acknowledged)


def test_topics_and_configs_survive_a_kill(new_broker):
    broker = new_broker().start()
    names = [create_topic(broker.bootstrap, f"kept{i}", i + 1, {"retention.ms": f"100{i}"}) for i in range(5)]
    for name in names:
        produce(broker.bootstrap, name, [{"value": name}])
    client = admin(broker.bootstrap)
    client.delete_topics([names[0]])[names[0]].result(settings.PATIENCE)
    broker.kill()
    broker.start()
    seen = until("the topics", lambda: _with_leaders(client))
    assert {n: len(t.partitions) for n, t in seen.items() if n.startswith("kept")} == {f"kept{i}": i + 1 for i in range(1, 5)}
    for i, name in enumerate(names[1:], 1):
        [future] = client.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
        assert future.result(settings.PATIENCE)["retention.ms"].value == f"100{i}"
        assert [m.value().decode() for m in until("records", lambda: read_all(broker.bootstrap, name))] == [name]


def _with_leaders(client):
    topics = client.list_topics(timeout=10).topics
    return all(p.leader == 1 for t in topics.values() for p in t.partitions.values()) and topics
