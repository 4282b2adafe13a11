"""librdkafka in consumer groups of the classic protocol: joining, leaving, crashing, static members, commits."""

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions

from harness import settings
from harness.member import Member, until_balanced
from harness.rdkafka import admin, commit, consumer, create_topic, once_coordinated, produce, read
from harness.waiting import until

PARTITIONS = 6
STRATEGIES = ["range", "roundrobin", "cooperative-sticky"]


@pytest.fixture
def join(broker):
    """Starts members; the ones still running at the end are killed."""
    members: list[Member] = []

    def start(group: str, topic: str, **config) -> Member:
        members.append(Member(broker.bootstrap, group, topic, **config))
        return members[-1]

    yield start
    for member in members:
        member.kill()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_three_members_join_leave_and_crash(broker, topic, unique, join, strategy):
    name, group = topic(partitions=PARTITIONS), unique("group")
    config = {"partition_assignment_strategy": strategy}
    cooperative = strategy.startswith("cooperative")

    first = join(group, name, **config)
    until_balanced([first], PARTITIONS)
    second, third = join(group, name, **config), join(group, name, **config)
    until_balanced([first, second, third], PARTITIONS)

    sent = [f"{strategy}-{i}" for i in range(60)]
    produce(broker.bootstrap, name, [{"value": v, "partition": i % PARTITIONS} for i, v in enumerate(sent)])
    until("all records", lambda: sum(len(m.seen()) for m in (first, second, third)) >= len(sent))
    assert sorted(first.seen() + second.seen() + third.seen()) == sorted(sent)
    assert all(len(m.seen()) == 20 for m in (first, second, third))

    kept = {m: (set(m.assigned), len(m.revoked)) for m in (first, second)}
    third.leave()
    until_balanced([first, second], PARTITIONS)
    if cooperative:
        for member, (before, revocations) in kept.items():
            assert before <= member.assigned and not any(member.revoked[revocations:]), "lost what it could keep"

    fourth = join(group, name, **config)
    until_balanced([first, second, fourth], PARTITIONS)
    second.kill()
    until_balanced([first, fourth], PARTITIONS)

    more = [f"{strategy}-more-{i}" for i in range(12)]
    produce(broker.bootstrap, name, [{"value": v, "partition": i % PARTITIONS} for i, v in enumerate(more)])
    until("all records", lambda: set(first.seen()) | set(fourth.seen()) >= set(more))
    assert not any(m.errors for m in (first, third, fourth))


def test_static_members_come_back_without_a_rebalance(topic, unique, join):
    name, group = topic(partitions=4), unique("group")
    static = {"session_timeout_ms": 45000, "partition_assignment_strategy": "range"}
    first = join(group, name, group_instance_id="one", **static)
    second = join(group, name, group_instance_id="two", **static)
    until_balanced([first, second], 4)
    share, quiet = set(second.assigned), (first.assignments, len(first.revoked))
    second.leave()
    again = join(group, name, group_instance_id="two", **static)
    until("the static member's old share", lambda: again.assigned == share)
    assert (first.assignments, len(first.revoked)) == quiet, "the other member saw a rebalance"


def test_a_second_static_member_of_the_same_name_fences_the_first(topic, unique, join):
    name, group = topic(partitions=2), unique("group")
    first = join(group, name, group_instance_id="one")
    until_balanced([first], 2)
    second = join(group, name, group_instance_id="one")
    until("the first to be fenced", lambda: "_FATAL" in first.errors or "FENCED_INSTANCE_ID" in first.errors)
    until_balanced([second], 2)


def test_a_topic_that_grows_is_rebalanced(broker, unique, topic, join):
    name, group = topic(partitions=2), unique("group")
    member = join(group, name, topic_metadata_refresh_interval_ms=200, metadata_max_age_ms=1000)
    until_balanced([member], 2)
    client = admin(broker.bootstrap)
    client.create_partitions([NewPartitions(name, 5)])[name].result(settings.PATIENCE)
    until_balanced([member], 5)


def test_members_of_two_topics_in_one_group(broker, topic, unique, join):
    group, left, right = unique("group"), topic(partitions=2), topic(partitions=2)
    one, two = join(group, left), join(group, right)
    until("each to have its topic", lambda: len(one.assigned) == len(two.assigned) == 2)
    for name in (left, right):
        produce(broker.bootstrap, name, [{"value": name, "partition": p} for p in range(2)])
    until("all records", lambda: one.seen() == [left] * 2 and two.seen() == [right] * 2)


def test_commit_and_resume(broker, topic, unique):
    name, group = topic(), unique("group")
    produce(broker.bootstrap, name, [{"value": str(i)} for i in range(100)])
    client = consumer(broker.bootstrap, group)
    client.subscribe([name])
    read_some = []
    while len(read_some) < 40:
        read_some += client.consume(min(10, 40 - len(read_some)), timeout=1)
    [committed] = client.commit(read_some[-1], asynchronous=False)
    assert committed.offset == 40
    client.close()

    client = consumer(broker.bootstrap, group)
    client.subscribe([name])
    assert [m.value() for m in read(client, lambda last: last.get(0) == 99)] == [str(i).encode() for i in range(40, 100)]
    client.close()


def test_commits_keep_offset_metadata_and_epoch(broker, topic, unique):
    name, group = topic(partitions=3), unique("group")
    commit(broker.bootstrap, group, TopicPartition(name, 0, 5, "résumé", 0), TopicPartition(name, 1, 7))
    client = consumer(broker.bootstrap, group)
    places = [TopicPartition(name, p) for p in range(3)]
    seen = client.committed(places, timeout=settings.PATIENCE)
    assert [(p.offset, p.metadata) for p in seen[:2]] == [(5, "résumé"), (7, "")] or [
        (p.offset, p.metadata) for p in seen[:2]
    ] == [(5, "résumé"), (7, None)]
    assert seen[2].offset < 0
    assert (seen[0].leader_epoch, seen[1].leader_epoch) == (0, None) or (seen[0].leader_epoch, seen[1].leader_epoch) == (0, -1)
    client.close()


def test_an_unknown_group_has_no_offsets(broker, topic, unique):
    client, name = consumer(broker.bootstrap, unique("group")), topic()
    [seen] = once_coordinated(lambda: client.committed([TopicPartition(name, 0)], timeout=settings.PATIENCE))
    assert seen.offset < 0 and seen.error is None
    client.close()


def test_too_much_metadata_is_refused(broker, topic, unique):
    name = topic()
    with pytest.raises(KafkaException) as caught:
        commit(broker.bootstrap, unique("group"), TopicPartition(name, 0, 1, "x" * 5000))
    assert caught.value.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE


def test_a_group_outlives_a_kill_of_the_broker(new_broker, unique):
    own, name, group = new_broker().start(), unique("topic"), unique("group")
    create_topic(own.bootstrap, name)
    produce(own.bootstrap, name, [{"value": str(i)} for i in range(10)])
    commit(own.bootstrap, group, TopicPartition(name, 0, 6, "kept"))
    own.kill()
    own.start()
    client = consumer(own.bootstrap, group)
    [seen] = once_coordinated(lambda: client.committed([TopicPartition(name, 0)], timeout=settings.PATIENCE))
    assert (seen.offset, seen.metadata) == (6, "kept")
    client.subscribe([name])
    assert [m.value() for m in read(client, lambda last: last.get(0) == 9)] == [b"6", b"7", b"8", b"9"]
    client.close()


def test_describe_and_list(broker, topic, unique, join):
    name, group = topic(partitions=2), unique("group")
    config = {"partition_assignment_strategy": "roundrobin"}
    members = [join(group, name, client_id=f"c{i}", **config) for i in range(2)]
    until_balanced(members, 2)
    client = admin(broker.bootstrap)

    def described():
        [seen] = [f.result(settings.PATIENCE) for f in client.describe_consumer_groups([group]).values()]
        return seen

    seen = until("a stable group", lambda: (d := described()).state == ConsumerGroupState.STABLE and d)
    assert seen.group_id == group and seen.partition_assignor == "roundrobin"
    assert seen.coordinator.id == 1 and seen.coordinator.port == broker.port
    assert {m.client_id for m in seen.members} == {"c0", "c1"}
    assert all(m.host == "/127.0.0.1" and m.member_id.startswith(m.client_id) for m in seen.members)
    assert sorted(p.partition for m in seen.members for p in m.assignment.topic_partitions) == [0, 1]
    listed = client.list_consumer_groups().result(settings.PATIENCE).valid
    assert (group, ConsumerGroupState.STABLE) in {(g.group_id, g.state) for g in listed}
    stable = client.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(settings.PATIENCE).valid
    assert group not in {g.group_id for g in stable}
    for member in members:
        member.leave()
    until("an empty group", lambda: described().state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD))
