"""Configuration of brokers that changes while they run (KIP-226): every answer is Kafka's, code, message and source.

`broker-configs/*.txt` are scripts with the answers recorded from Kafka:
`RECORD=1 TARGET=kafka compat-tests/run -n0 tests/wire/test_wire_broker_configs.py` writes the answers anew.
A line that begins with `>` is asked, what follows was answered:

    > alter ENTITY [validate] OPERATION KEY[=VALUE] ...   IncrementalAlterConfigs; OPERATION is set, delete, append, subtract
    > replace ENTITY [validate] KEY=VALUE ...             AlterConfigs: what is not named goes
    > describe ENTITY KEY ...                             DescribeConfigs with synonyms

ENTITY is `broker:1` or `broker:` (all brokers); `_` in a value stands for a blank. `> controller alter ...` asks the
controller instead of the broker.
"""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import settings
from harness.raw import build_batch, produce_v8
from harness.rdkafka import create_topic
from harness.waiting import until
from harness.wire import Connection, Reader, Writer, request

SCRIPTS = Path(__file__).parent / "broker-configs"
#: Set after every change, to see that the broker has heard of both.
MARK = "remote.fetch.max.wait.ms"
KINDS = {"topic": 2, "broker": 4}
OPERATIONS = {"set": 0, "delete": 1, "append": 2, "subtract": 3}
SOURCES = {1: "topic", 2: "broker", 3: "all-brokers", 4: "static", 5: "default"}
STATIC = {
    "num.io.threads": "4", "num.network.threads": "2", "num.replica.fetchers": "3", "background.threads": "5",
    "num.recovery.threads.per.data.dir": "2", "log.cleaner.threads": "2", "log.retention.hours": "24",
    "log.retention.minutes": "100", "message.max.bytes": "2000000", "max.connections.per.ip": "1000",
    "listener.name.plaintext.max.connections": "700", "ssl.truststore.password": "hidden", "some.plugins.key": "7",
    "log.cleaner.dedupe.buffer.size": "16777216",
}


class Asked:
    """Connections to a broker and its controller, and the three requests on them."""

    def __init__(self, broker):
        self.broker = Connection(broker)
        self.controller = Connection(SimpleNamespace(host=broker.host, port=broker.controller_port))
        self.marks = 0

    def run(self, command: str) -> list[str]:
        """What a line of a script is answered."""
        where, *words = command.split() if command.startswith("controller ") else ("broker", *command.split())
        connection = getattr(self, where)
        if words[0] == "describe":
            return [line for line in self._describe(connection, *words[1:]) if not line.startswith(f"{MARK}=")]
        ask = {"alter": self._alter, "replace": self._replace}[words[0]]
        validate, changes = "validate" in words, [word for word in words[2:] if word != "validate"]
        answered = ask(connection, words[1], changes, validate)
        if answered == ["ok"] and not validate:
            self._settle(connection, words[1])
        return answered

    def close(self) -> None:
        self.broker.close()
        self.controller.close()

    def _alter(self, connection: Connection, entity: str, words: list[str], validate: bool = False) -> list[str]:
        changes = [(OPERATIONS[o], *_pair(pair)) for o, pair in zip(words[::2], words[1::2])]
        body = _resource(entity).i32(len(changes))
        for operation, key, value in changes:
            body.string(key).i8(operation).string(value)
        return self._altered(connection.call(44, 0, body.i8(validate).data))

    def _replace(self, connection: Connection, entity: str, words: list[str], validate: bool) -> list[str]:
        body = _resource(entity).i32(len(words))
        for key, value in map(_pair, words):
            body.string(key).string(value)
        return self._altered(connection.call(33, 0, body.i8(validate).data))

    @staticmethod
    def _altered(answer: Reader) -> list[str]:
        assert (answer.i32(), answer.i32()) == (0, 1)
        code, message, _, _ = answer.i16(), answer.string(), answer.i8(), answer.string()
        assert answer.done
        if (code, message or "") == (0, ""):
            return ["ok"]
        # Kafka names keys in the order of its hash table.
        return [re.sub(r"\[(.*)\]$", lambda keys: f"[{', '.join(sorted(keys[1].split(', ')))}]", f"{code} {message}")]

    @staticmethod
    def _describe(connection: Connection, entity: str, *keys: str) -> list[str]:
        body = _resource(entity).i32(len(keys) if keys else -1)
        for key in keys:
            body.string(key)
        answer = connection.call(32, 1, body.i8(1).data)
        assert (answer.i32(), answer.i32()) == (0, 1)
        code, message, _, _ = answer.i16(), answer.string(), answer.i8(), answer.string()
        lines = [] if code == 0 else [f"{code} {message}"]
        for _ in range(answer.i32()):
            name, value, read_only, source, sensitive = answer.string(), answer.string(), answer.i8(), answer.i8(), answer.i8()
            synonyms = [f"{n}={v} {SOURCES[s]}" for n, v, s in
                        ((answer.string(), answer.string(), answer.i8()) for _ in range(answer.i32()))]
            marks = ("read-only " if read_only else "") + ("sensitive " if sensitive else "")
            lines.append(f"{name}={value} {SOURCES[source]} {marks}[{'; '.join(synonyms)}]")
        assert answer.done
        return sorted(lines)

    def _settle(self, connection: Connection, entity: str) -> None:
        """Kafka answers before the broker has heard of it: a script goes on when it has, and of one change more."""
        self.marks += 1
        mark = f"{MARK}={self.marks} {'broker' if entity == 'broker:1' else 'all-brokers'}"
        assert self._alter(connection, entity, ["set", f"{MARK}={self.marks}"]) == ["ok"]
        until(mark, lambda: any(mark in line for line in self._describe(self.broker, entity, MARK)))


def _resource(entity: str) -> Writer:
    kind, _, name = entity.partition(":")
    return Writer().i32(1).i8(KINDS[kind]).string(name)


def _pair(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    return key, value.replace("_", " ") if equals else None


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_kafka_answers(new_broker, script):
    lines = script.read_text().splitlines()
    seen: list[str] = []
    asked = Asked(new_broker(STATIC).start())
    for line in lines:
        if line.startswith("> "):
            seen += [line, *asked.run(line[2:])]
        elif not line or line.startswith("#"):
            seen.append(line)
    asked.close()
    if os.environ.get("RECORD"):
        assert settings.TARGET == "kafka", "answers are recorded from Kafka: TARGET=kafka"
        script.write_text("\n".join(seen) + "\n")
    assert seen == script.read_text().splitlines()


def test_limits_of_connections_act_at_once(new_broker):
    broker = new_broker().start()
    asked = Asked(broker)

    def refused() -> bool:
        with Connection(broker) as one_more:
            one_more.send(request(18, 0, 1))
            return one_more.receive() is None

    assert not refused()
    assert asked.run("alter broker: set max.connections.per.ip=1") == ["ok"]
    until("the second to be refused", refused)
    assert asked.run("alter broker: set max.connections.per.ip.overrides=127.0.0.1:2") == ["ok"]
    until("two to be let in", lambda: not refused())
    assert asked.run("alter broker: delete max.connections.per.ip.overrides") == ["ok"]
    until("the second to be refused again", refused)
    assert asked.run("alter broker: delete max.connections.per.ip") == ["ok"]
    until("all to be let in", lambda: not refused())
    asked.close()


def test_what_topics_get_acts_at_once(new_broker):
    broker = new_broker().start()
    topic = create_topic(broker.bootstrap, "sized", 1, None)
    asked, records = Asked(broker), build_batch([b"x" * 2000])
    too_large = 10
    for change, expected in [
        ("alter broker: set message.max.bytes=1000", too_large),
        ("alter broker:1 set message.max.bytes=5000", 0),
        ("alter broker:1 set message.max.bytes=1500", too_large),
        ("alter broker:1 delete message.max.bytes", too_large),
        ("alter broker: delete message.max.bytes", 0),
    ]:
        assert asked.run(change) == ["ok"]
        with Connection(broker) as producer:
            assert produce_v8(producer, topic, records)[0] == expected, change
    asked.close()
