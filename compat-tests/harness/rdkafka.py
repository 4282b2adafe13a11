"""What several tests do with librdkafka through confluent-kafka: topics, producing, reading everything back."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from . import settings
from .waiting import until

#: Short back-offs, so that a retry is not what a test spends its time on.
QUICK = {"retry.backoff.ms": 20, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}


def admin(bootstrap: str) -> AdminClient:
    """An admin client."""
    return AdminClient({"bootstrap.servers": bootstrap, **QUICK})


def create_topic(bootstrap: str, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> str:
    """Creates a topic and returns its name when every partition has a leader."""
    client = admin(bootstrap)
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
    client.create_topics([new], request_timeout=settings.PATIENCE)[name].result(settings.PATIENCE)
    until(f"leaders of {name}", lambda: has_leaders(client, name, partitions))
    until(f"the partitions of {name}", lambda: serves(client, name, partitions))
    return name


def serves(client: AdminClient, name: str, partitions: int) -> bool:
    """Whether every partition answers: Kafka names a leader a moment before the leader knows of it."""
    asked = {TopicPartition(name, p): OffsetSpec.latest() for p in range(partitions)}
    try:
        return all(f.result(settings.PATIENCE) is not None for f in client.list_offsets(asked).values())
    except KafkaException:
        return False


def has_leaders(client: AdminClient, name: str, partitions: int) -> bool:
    """Whether the topic has that many partitions, each with a leader."""
    seen = client.list_topics(timeout=settings.PATIENCE).topics.get(name)
    return seen is not None and len(seen.partitions) == partitions and all(p.leader >= 0 for p in seen.partitions.values())


def producer(bootstrap: str, **config) -> Producer:
    """A producer, idempotent unless told otherwise. Dots in names are written as underscores."""
    base = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, **QUICK}
    return Producer(base | _dotted(config))


def consumer(bootstrap: str, group: str = "unused", **config) -> Consumer:
    """A consumer that starts at the beginning and commits only when asked."""
    base = {
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "fetch.wait.max.ms": 100, **QUICK,
    }
    return Consumer(base | _dotted(config))


def _dotted(config: dict) -> dict:
    return {key if key.endswith("_cb") else key.replace("_", "."): value for key, value in config.items()}


class Deliveries:
    """Collects delivery reports; `wait` returns the messages as acknowledged, in order of acknowledgement."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.errors: list[KafkaError] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        self.errors.append(error) if error else self.messages.append(message)

    def wait(self, client: Producer) -> list[Message]:
        """Flushes; every record must have been acknowledged."""
        left = client.flush(settings.PATIENCE)
        assert left == 0, f"{left} records were not answered"
        assert not self.errors, f"{len(self.errors)} records failed, first: {self.errors[0]}"
        return self.messages


def produce(bootstrap: str, topic: str, records: list[dict], **config) -> list[Message]:
    """Produces records given as keyword arguments of `Producer.produce`, and waits for all acknowledgements."""
    client, reports = producer(bootstrap, **config), Deliveries()
    for record in records:
        client.produce(topic, on_delivery=reports, **record)
        client.poll(0)
    return reports.wait(client)


#: What a coordinator says while it is being found, created or loaded: ask again.
NOT_YET = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE)


def once_coordinated(call):
    """Repeats the call until the coordinator is there, and returns what it returns."""

    def attempt():
        try:
            return call()
        except KafkaException as refused:
            if refused.args[0].code() in NOT_YET:
                return None
            raise

    return until("the coordinator", attempt)


def commit(bootstrap: str, group: str, *places: TopicPartition) -> None:
    """Commits offsets for a group without being its member."""
    client = consumer(bootstrap, group)
    once_coordinated(lambda: client.commit(offsets=list(places), asynchronous=False))
    client.close()


def end_offsets(client: Consumer, topic: str) -> dict[int, int]:
    """The high watermark of each partition."""
    partitions = client.list_topics(topic, timeout=settings.PATIENCE).topics[topic].partitions
    return {p: client.get_watermark_offsets(TopicPartition(topic, p), timeout=settings.PATIENCE)[1] for p in partitions}


def read_all(bootstrap: str, topic: str, **config) -> list[Message]:
    """Every record of the topic from the beginning to the high watermark there is now, without a group."""
    client = consumer(bootstrap, **config)
    try:
        ends = {p: end for p, end in end_offsets(client, topic).items() if end > 0}
        client.assign([TopicPartition(topic, p, 0) for p in ends])
        return read(client, lambda seen: all(seen.get(p, -1) >= end - 1 for p, end in ends.items()))
    finally:
        client.close()


def read(client: Consumer, enough, patience: float = settings.PATIENCE) -> list[Message]:
    """Polls until `enough`, which is given the last offset seen of each partition."""
    deadline, messages, last = time.monotonic() + patience, [], {}
    while not enough(last):
        assert time.monotonic() < deadline, f"read {len(messages)} records, then nothing more; last offsets {last}"
        for message in client.consume(1000, timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
            last[message.partition()] = message.offset()
    return messages
