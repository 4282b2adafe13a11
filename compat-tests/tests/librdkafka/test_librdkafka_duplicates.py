"""What librdkafka writes twice by its own rules, whatever the broker: why the checker of histories can forgive it."""

import pytest

from harness import rdkafka
from harness.relay import HIDE, OUT_OF_ORDER_SEQUENCE_NUMBER, PASS, REFUSE, Relay
from harness.replicas import partition_bytes, stored


@pytest.fixture
def relayed(new_broker):
    """A broker that clients reach over a relay alone."""
    relay = Relay()
    listeners = f"PLAINTEXT://127.0.0.1:{relay.port}"
    broker = new_broker({"advertised.listeners": listeners}).start()
    yield broker, relay.to(broker)
    relay.close()


def test_a_gap_makes_librdkafka_send_again_what_is_written(relayed):
    """A leader resigns when a batch is written and not yet acknowledged: NOT_LEADER_OR_FOLLOWER. The next leader does not
    know yet that it leads, refuses that batch and the one behind it, then knows, and refuses the third one, which does
    not follow what it has. Both leaders are right, and sent again under the same epoch the first batch would be known
    as a duplicate. But librdkafka takes the third answer for a lost sequence: it goes on in a new epoch, with the first
    batch at its start."""
    broker, relay = relayed
    bootstrap = f"127.0.0.1:{relay.port}"
    topic = rdkafka.create_topic(bootstrap, "gap")
    client, reports = rdkafka.producer(bootstrap, linger_ms=0, topic_metadata_refresh_interval_ms=-1), rdkafka.Deliveries()

    def produce(value: str) -> None:
        client.produce(topic, value, partition=0, on_delivery=reports)
        client.poll(0)

    produce("0 0")
    client.flush()
    relay.hold((HIDE,), (REFUSE, REFUSE, PASS))
    produce("0 1")
    relay.until_held(2)
    produce("0 2")
    relay.until_held(3)
    produce("0 3")
    assert len(reports.wait(client)) == 4
    assert (PASS, OUT_OF_ORDER_SEQUENCE_NUMBER) in relay.answers, relay.answers
    batches = stored(partition_bytes(broker.data, topic, 0))
    epoch = batches[0].origin.producer_epoch
    seen = [(number, batch.origin.producer_epoch - epoch) for batch in batches for _, _, number in batch.records]
    assert seen == [(0, 0), (1, 0), (1, 1), (2, 1), (3, 1)], [str(batch.origin) for batch in batches]
    assert batches[2].origin.sequence == 0 and batches[1].origin.timestamp == batches[2].origin.timestamp
