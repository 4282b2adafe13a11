"""librdkafka of today (confluent-kafka): what goes in comes out, byte for byte, in order."""

import time

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, TopicPartition,
)

from harness import settings
from harness.raw import stored_batches
from harness.rdkafka import Deliveries, consumer, produce, producer, read, read_all
from harness.waiting import until

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def contents(messages):
    return [(m.key(), m.value(), m.headers()) for m in messages]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "plain"])
def test_every_codec(broker, topic, codec, idempotent):
    name = topic(partitions=3)
    records = [{"key": f"k{i % 17}", "value": f"{codec} {i} " + "abc" * 50} for i in range(2000)]
    acknowledged = produce(broker.bootstrap, name, records, compression_type=codec, enable_idempotence=idempotent)
    got = read_all(broker.bootstrap, name)
    place = {(m.partition(), m.offset()): (m.key(), m.value()) for m in got}
    assert len(got) == len(place) == 2000
    assert place == {(m.partition(), m.offset()): (m.key(), m.value()) for m in acknowledged}
    for key in {r["key"].encode() for r in records}:
        sent = [r["value"].encode() for r in records if r["key"].encode() == key]
        assert [m.value() for m in got if m.key() == key] == sent, f"order of {key}"
    stored = [batch for p in range(3) for batch in stored_batches(broker, name, p)]
    assert {batch.codec for batch in stored} == {CODECS[codec]}
    assert all(batch.crc_holds for batch in stored)
    assert all((batch.producer_id >= 0) == idempotent for batch in stored)


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_each_acks(broker, topic, acks):
    name = topic()
    produce(broker.bootstrap, name, [{"value": str(i)} for i in range(100)], enable_idempotence=False, acks=acks)
    got = until("100 records", lambda: len(seen := read_all(broker.bootstrap, name)) == 100 and seen)
    assert [m.value() for m in got] == [str(i).encode() for i in range(100)]


def test_headers_keep_order_duplicates_and_nulls(broker, topic):
    name = topic()
    headers = [("a", b"1"), ("b", b""), ("a", b"2"), ("a", b"1"), ("null", None), ("", b"empty key"), ("ü", b"\x00\xff")]
    produce(broker.bootstrap, name, [{"value": "v", "headers": headers}, {"value": "w"}], linger_ms=200)
    first, second = read_all(broker.bootstrap, name)
    assert first.headers() == headers
    assert second.headers() is None


def test_null_and_empty_keys_and_values(broker, topic):
    name = topic()
    pairs = [(None, b"v"), (b"k", None), (None, None), (b"", b""), (b"k", b"v"), (b"", None), (None, b"")]
    produce(broker.bootstrap, name, [{"key": k, "value": v} for k, v in pairs])
    assert [(m.key(), m.value()) for m in read_all(broker.bootstrap, name)] == pairs


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_megabyte_records(broker, topic, codec):
    name = topic()
    values = [bytes([i]) * 1_000_000 for i in range(5)]
    produce(broker.bootstrap, name, [{"value": v} for v in values], compression_type=codec, message_max_bytes=1_100_000)
    assert [m.value() for m in read_all(broker.bootstrap, name)] == values


def test_megabyte_records_pass_a_small_fetch(broker, topic):
    """A first batch larger than every limit of the fetch must still be served, or the consumer stands still."""
    name = topic()
    values = [bytes([i]) * 900_000 for i in range(3)]
    produce(broker.bootstrap, name, [{"value": v} for v in values])
    small = {"fetch.message.max.bytes": 1000, "fetch.max.bytes": 1000, "message.max.bytes": 1000, "receive.message.max.bytes": 2_000_000}
    assert [m.value() for m in read_all(broker.bootstrap, name, **small)] == values


def test_a_record_over_max_message_bytes_is_refused(broker, topic):
    name = topic(config={"max.message.bytes": "2000"})
    client, reports = producer(broker.bootstrap, enable_idempotence=False), Deliveries()
    client.produce(name, value=b"x" * 3000, on_delivery=reports)
    assert client.flush(settings.PATIENCE) == 0
    assert [e.code() for e in reports.errors] == [KafkaError.MSG_SIZE_TOO_LARGE]
    produce(broker.bootstrap, name, [{"value": b"x" * 1000}])
    assert len(read_all(broker.bootstrap, name)) == 1


def test_create_time(broker, topic):
    name = topic()
    times = [1_600_000_000_000 + i * i for i in range(50)]
    produce(broker.bootstrap, name, [{"value": "x", "timestamp": t} for t in times], linger_ms=100)
    assert [m.timestamp() for m in read_all(broker.bootstrap, name)] == [(TIMESTAMP_CREATE_TIME, t) for t in times]


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_log_append_time(broker, topic, codec):
    name = topic(config={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    records = [{"value": "x", "timestamp": 1_600_000_000_000 + i} for i in range(5)]
    acknowledged = produce(broker.bootstrap, name, records, compression_type=codec)
    after = int(time.time() * 1000)
    got = [m.timestamp() for m in read_all(broker.bootstrap, name)]
    assert all(kind == TIMESTAMP_LOG_APPEND_TIME and before <= t <= after for kind, t in got)
    assert [m.timestamp() for m in acknowledged] == got
    assert all(batch.crc_holds for batch in stored_batches(broker, name))


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_offsets_for_times_is_exact_inside_a_batch(broker, topic, codec):
    name = topic()
    start = 1_650_000_000_000
    # All in one batch, with a hole and with time running backwards once.
    times = [start, start + 10, start + 20, start + 15, start + 40]
    produce(broker.bootstrap, name, [{"value": "x", "timestamp": t} for t in times], linger_ms=300, compression_type=codec)
    client = consumer(broker.bootstrap)
    wanted = {start - 1: 0, start: 0, start + 1: 1, start + 10: 1, start + 12: 2, start + 21: 4, start + 40: 4, start + 41: -1}
    for when, offset in wanted.items():
        [found] = client.offsets_for_times([TopicPartition(name, 0, when)], timeout=settings.PATIENCE)
        assert found.error is None and found.offset == offset, f"{when - start}"
    client.close()


def test_watermarks_and_seeking(broker, topic):
    name = topic()
    produce(broker.bootstrap, name, [{"value": str(i)} for i in range(30)])
    client = consumer(broker.bootstrap)
    place = TopicPartition(name, 0)
    assert client.get_watermark_offsets(place, timeout=settings.PATIENCE) == (0, 30)
    client.assign([TopicPartition(name, 0, 25)])
    assert [m.value() for m in read(client, lambda last: last.get(0) == 29)] == [str(i).encode() for i in range(25, 30)]
    client.seek(TopicPartition(name, 0, 3))
    assert read(client, lambda last: last.get(0) == 29)[0].value() == b"3"
    client.close()


@pytest.mark.parametrize("reset, first", [("earliest", 0), ("latest", None), ("error", None)])
def test_out_of_range_resets_as_configured(broker, topic, reset, first):
    name = topic()
    produce(broker.bootstrap, name, [{"value": str(i)} for i in range(10)])
    client = consumer(broker.bootstrap, auto_offset_reset=reset)
    client.assign([TopicPartition(name, 0, 1000)])
    if reset == "error":
        message = until("an answer", lambda: client.poll(0.2))
        assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
    elif reset == "earliest":
        assert read(client, lambda last: 0 in last)[0].offset() == first
    else:
        # What is produced once the reset is done is the first thing seen.
        until("the reset", lambda: client.poll(0.2) or client.position([TopicPartition(name, 0)])[0].offset or True)
        seen = until("a new record", lambda: _produce_and_poll(broker, name, client))
        assert seen.error() is None and seen.offset() >= 10
    client.close()


def _produce_and_poll(broker, name: str, client: Consumer):
    produce(broker.bootstrap, name, [{"value": "new"}])
    return client.poll(1)


def test_a_waiting_fetch_is_answered_by_an_append(broker, topic):
    """With a long poll far beyond the test's patience, only an append can end the wait."""
    name = topic()
    produce(broker.bootstrap, name, [{"value": "first"}])
    wait = int(settings.PATIENCE * 4 * 1000)
    client = consumer(broker.bootstrap, fetch_wait_max_ms=min(wait, 290_000), socket_timeout_ms=300_000, session_timeout_ms=45_000)
    client.assign([TopicPartition(name, 0, 0)])
    assert read(client, lambda last: 0 in last)[0].value() == b"first"
    produce(broker.bootstrap, name, [{"value": "second"}])
    assert read(client, lambda last: last.get(0) == 1)[0].value() == b"second"
    client.unassign()


def test_many_partitions_round_robin(broker, topic):
    name = topic(partitions=40)
    records = [{"value": f"{p}/{i}", "partition": p} for i in range(20) for p in range(40)]
    produce(broker.bootstrap, name, records)
    got = read_all(broker.bootstrap, name)
    for p in range(40):
        assert [m.value().decode() for m in got if m.partition() == p] == [f"{p}/{i}" for i in range(20)]


def test_keyless_records_on_a_compacted_topic_are_refused(broker, topic):
    name = topic(config={"cleanup.policy": "compact"})
    client, reports = producer(broker.bootstrap, linger_ms=100, enable_idempotence=False), Deliveries()
    client.produce(name, value=b"no key", on_delivery=reports)
    assert client.flush(settings.PATIENCE) == 0
    assert [e.code() for e in reports.errors] == [KafkaError.INVALID_RECORD]
    produce(broker.bootstrap, name, [{"key": "k", "value": "v"}])
    assert contents(read_all(broker.bootstrap, name)) == [(b"k", b"v", None)]


def test_the_topic_recompresses_as_it_says(broker, topic):
    name = topic(config={"compression.type": "lz4"})
    records = [{"key": str(i), "value": "v" * 50, "headers": [("h", b"1"), ("h", b"2")]} for i in range(100)]
    produce(broker.bootstrap, name, records, compression_type="gzip")
    stored = stored_batches(broker, name)
    assert {batch.codec for batch in stored} == {CODECS["lz4"]} and all(batch.crc_holds for batch in stored)
    assert contents(read_all(broker.bootstrap, name)) == [
        (r["key"].encode(), r["value"].encode(), r["headers"]) for r in records
    ]


def test_produce_to_an_unknown_partition(broker, topic):
    name = topic(partitions=1)
    client = producer(broker.bootstrap)
    client.produce(name, value=b"x")
    client.flush(settings.PATIENCE)
    reports = Deliveries()
    try:
        client.produce(name, value=b"x", partition=7, on_delivery=reports)
        client.flush(settings.PATIENCE)
        codes = [e.code() for e in reports.errors]
    except KafkaException as refused:
        codes = [refused.args[0].code()]
    assert codes == [KafkaError._UNKNOWN_PARTITION]
