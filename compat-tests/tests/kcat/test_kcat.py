"""kcat as Debian 12 ships it (1.7.1, on librdkafka 2.0.2): a client years older than the broker."""

import json
import re
import subprocess

import pytest

from harness import settings
from harness.raw import stored_batches
from harness.rdkafka import produce
from harness.waiting import until

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def kcat(broker, *arguments: str, stdin: str = "") -> str:
    """Runs kcat to its end and returns what it printed."""
    done = subprocess.run(
        ["kcat", "-b", broker.bootstrap, *arguments], input=stdin, capture_output=True, text=True, timeout=settings.PATIENCE
    )
    assert done.returncode == 0, f"kcat {arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def lines(texts) -> str:
    return "".join(f"{text}\n" for text in texts)


def read_group(broker, group: str, name: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        ["kcat", "-b", broker.bootstrap, "-X", "auto.offset.reset=earliest", "-u", *arguments, "-G", group, name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def test_list(broker, topic):
    name = topic(partitions=3)
    seen = json.loads(kcat(broker, "-L", "-J", "-t", name))
    assert seen["brokers"] == [{"id": 1, "name": broker.bootstrap}]
    assert seen["controllerid"] == 1
    assert seen["topics"] == [
        {
            "topic": name,
            "partitions": [
                {"partition": p, "leader": 1, "replicas": [{"id": 1}], "isrs": [{"id": 1}]} for p in range(3)
            ],
        }
    ]


def test_list_names_every_topic(broker, topic):
    names = {topic(), topic()}
    listed = {t["topic"] for t in json.loads(kcat(broker, "-L", "-J"))["topics"]}
    assert names <= listed


@pytest.mark.parametrize("codec", CODECS)
def test_produce_and_consume(broker, topic, codec):
    name = topic()
    sent = [f"{codec} {i} " + "x" * 100 for i in range(500)]
    kcat(broker, "-P", "-t", name, "-z", codec, stdin=lines(sent))
    assert kcat(broker, "-C", "-t", name, "-e", "-q") == lines(sent)
    # Brokers that advertise Produce wrongly make librdkafka drop compression without a word.
    assert {batch.codec for batch in stored_batches(broker, name)} == {CODECS[codec]}


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_produce_with_each_acks(broker, topic, acks):
    name = topic()
    kcat(broker, "-P", "-t", name, "-X", f"acks={acks}", stdin=lines(range(10)))
    got = until("10 records", lambda: (out := kcat(broker, "-C", "-t", name, "-e", "-q")).count("\n") == 10 and out)
    assert got == lines(range(10))


def test_produce_idempotently(broker, topic):
    name = topic()
    kcat(broker, "-P", "-t", name, "-X", "enable.idempotence=true", stdin=lines(range(1000)))
    assert kcat(broker, "-C", "-t", name, "-e", "-q") == lines(range(1000))


def test_keys_headers_and_tombstones(broker, topic):
    name = topic()
    kcat(broker, "-P", "-t", name, "-K:", "-Z", "-H", "h=1", "-H", "h=2", "-H", "empty=", stdin="k:v\ngone:\n")
    got = [json.loads(line) for line in kcat(broker, "-C", "-t", name, "-e", "-q", "-J").splitlines()]
    assert [(m["key"], m["payload"]) for m in got] == [("k", "v"), ("gone", None)]
    assert [m["headers"] for m in got] == [["h", "1", "h", "2", "empty", ""]] * 2


def test_consume_from_an_offset_and_from_the_end(broker, topic):
    name = topic()
    kcat(broker, "-P", "-t", name, stdin=lines(range(20)))
    assert kcat(broker, "-C", "-t", name, "-o", "beginning", "-e", "-q") == lines(range(20))
    assert kcat(broker, "-C", "-t", name, "-p", "0", "-o", "15", "-e", "-q") == lines(range(15, 20))
    assert kcat(broker, "-C", "-t", name, "-p", "0", "-o", "-3", "-e", "-q") == lines(range(17, 20))
    assert kcat(broker, "-C", "-t", name, "-p", "0", "-o", "end", "-e", "-q") == ""
    assert kcat(broker, "-C", "-t", name, "-p", "0", "-o", "5", "-c", "2", "-q") == lines([5, 6])


def test_consume_from_the_end_sees_only_what_comes(broker, topic):
    name = topic()
    kcat(broker, "-P", "-t", name, stdin=lines(["before"]))
    tail = subprocess.Popen(
        ["kcat", "-b", broker.bootstrap, "-C", "-t", name, "-p", "0", "-o", "end", "-c", "1", "-d", "fetch"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    # Its debug output says when it has looked up the end and fetches from there.
    for line in tail.stderr:
        if re.search(r"Fetch topic .* at offset 1 ", line):
            break
    kcat(broker, "-P", "-t", name, stdin=lines(["after"]))
    out, _ = tail.communicate(timeout=settings.PATIENCE)
    assert out == lines(["after"])


def test_consume_between_timestamps(broker, topic):
    name = topic()
    start = 1_700_000_000_000
    produce(broker.bootstrap, name, [{"value": str(i), "timestamp": start + 1000 * i} for i in range(10)], linger_ms=200)
    assert kcat(broker, "-C", "-t", name, "-o", f"s@{start + 7000}", "-e", "-q") == lines(range(7, 10))
    assert kcat(broker, "-C", "-t", name, "-o", f"s@{start + 6001}", "-e", "-q") == lines(range(7, 10))
    middle = ["-o", f"s@{start + 2000}", "-o", f"e@{start + 5000}"]
    assert kcat(broker, "-C", "-t", name, *middle, "-e", "-q") == lines(range(2, 5))


def test_query_offsets_by_time(broker, topic):
    name = topic()
    produce(broker.bootstrap, name, [{"value": "x", "timestamp": 1_700_000_000_000 + i} for i in range(5)], linger_ms=200)
    assert kcat(broker, "-Q", "-t", f"{name}:0:-2").split() == [name, "[0]", "offset", "0"]
    assert kcat(broker, "-Q", "-t", f"{name}:0:-1").split() == [name, "[0]", "offset", "5"]
    assert kcat(broker, "-Q", "-t", f"{name}:0:1700000000003").split() == [name, "[0]", "offset", "3"]


def test_a_topic_comes_into_being_when_produced_to(broker, unique):
    name = unique("auto")
    kcat(broker, "-P", "-t", name, stdin=lines(["first"]))
    assert kcat(broker, "-C", "-t", name, "-e", "-q") == lines(["first"])


def test_balanced_group(broker, topic, unique):
    name, group = topic(partitions=4), unique("kcat-group")
    members = [read_group(broker, group, name) for _ in range(2)]
    try:
        # Each prints its assignments to stderr; wait until the two share the four partitions.
        share = re.compile(r"assigned: (.*)")
        for member in members:
            for line in member.stderr:
                found = share.search(line)
                if found and found.group(1).count(name) == 2:
                    break
        for partition in range(4):
            kcat(broker, "-P", "-t", name, "-p", str(partition), stdin=lines([f"{partition}-{i}" for i in range(5)]))
        got = [[member.stdout.readline().strip() for _ in range(10)] for member in members]
    finally:
        for member in members:
            member.terminate()
            member.wait(timeout=settings.PATIENCE)
    assert sorted(got[0] + got[1]) == sorted(f"{p}-{i}" for p in range(4) for i in range(5))
    assert {g.split("-")[0] for g in got[0]}.isdisjoint({g.split("-")[0] for g in got[1]})


def test_a_group_resumes_where_it_stopped(broker, topic, unique):
    name, group = topic(partitions=2), unique("kcat-group")
    kcat(broker, "-P", "-t", name, "-p", "0", stdin=lines(range(10)))
    kcat(broker, "-P", "-t", name, "-p", "1", stdin=lines(range(10, 20)))
    first = ["-X", "auto.offset.reset=earliest", "-e", "-q", "-u"]
    assert sorted(map(int, kcat(broker, *first, "-G", group, name).split())) == list(range(20))
    kcat(broker, "-P", "-t", name, "-p", "1", stdin=lines(["new"]))
    assert kcat(broker, *first, "-G", group, name) == lines(["new"])
