"""An acks=all idempotent load with readers and a group, as a process of its own that writes down all it is told.

Every record's value is `producer number`; a producer numbers the records of each partition 0, 1, 2, ... Clients have
librdkafka's default settings, but for idempotence. What the lines of the log mean stands at `_LINES`; times are of the
clock that all processes of a machine share (CLOCK_MONOTONIC).
"""

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from . import settings
from .history import Acked, Gap, History


@dataclass
class Plan:
    """What the load does. `rate` is records per second of one producer to one partition."""

    bootstrap: str
    topic: str
    partitions: int
    log: str
    producers: int = 3
    rate: float = 20.0
    readers: int = 1
    group: str | None = None
    members: int = 2
    codec: str = "none"

#: Seconds in which a client's call that takes half a second has to return.
LOCKED_UP = 20


class Load:
    """The running process and what it has told so far."""

    def __init__(self, plan: Plan):
        self.plan, self.log = plan, Path(plan.log)
        self.log.touch()
        self.errors = self.log.with_suffix(".stderr")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.load", json.dumps(asdict(plan))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors.open("w"), text=True, cwd=settings.ROOT,
        )

    def acknowledged(self) -> dict[int, tuple[int, float]]:
        """Of each partition: how many records were acknowledged so far, and when the last one was."""
        assert self.process.poll() in (None, 0), f"the load failed:\n{self.errors.read_text()[-2000:]}"
        seen: dict[int, tuple[int, float]] = {}
        with self.log.open() as lines:
            for line in lines:
                if line.startswith("A ") and line.endswith("\n"):
                    _, _, partition, _, _, _, at = line.split(" ")
                    seen[int(partition)] = (seen.get(int(partition), (0, 0))[0] + 1, float(at))
        return seen

    def begun(self) -> bool:
        """Whether every partition acknowledged something to every producer. Until a partition knows a producer, a broker of
        Kafka's takes the producer's batches in any order, and can lose one (docs/adr/0012)."""
        with self.log.open() as lines:
            known = {tuple(line.split(" ")[1:3]) for line in lines if line.startswith("A ") and line.endswith("\n")}
        return len(known) == self.plan.producers * self.plan.partitions

    def flowing(self, since: float) -> bool:
        """Whether every partition acknowledged something after that time (of time.monotonic)."""
        seen = self._last()
        return len(seen) == self.plan.partitions and all(at > since for at in seen.values())

    def _last(self) -> dict[int, float]:
        """When each partition last acknowledged, from the log's last part."""
        seen: dict[int, float] = {}
        with self.log.open("rb") as lines:
            lines.seek(0, 2)
            lines.seek(max(lines.tell() - 200_000, 0))
            for line in lines.read().split(b"\n")[1:-1]:
                if line.startswith(b"A "):
                    fields = line.split(b" ")
                    seen[int(fields[2])] = float(fields[6])
        return seen

    def words(self, most: int = 150) -> str:
        """The last of what the clients said of their producer epochs, of partitions they drain, and of their connections."""
        said = self.errors.read_text(errors="replace").splitlines()
        return "\n".join([f"the last of {len(said)} lines in {self.errors}:", *(line[:400] for line in said[-most:])])

    def finish(self, patience: float = 330) -> History:
        """Ends the producers, lets readers come to the end, and returns what was seen (replicas are not in it yet)."""
        self.process.stdin.close()
        try:
            status = self.process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            # It says where each of its threads is.
            self.process.send_signal(signal.SIGABRT)
            time.sleep(5)
            self.process.kill()
            self.process.wait()
            status = None
        history = read_log(self.log)
        history.gaps = read_gaps(self.errors.read_text(errors="replace"))
        if status is None:
            said = self.errors.read_text(errors="replace")
            where = said[max(said.rfind("Fatal Python error"), 0) :]
            history.stuck.append((None, f"the load did not end within {patience:.0f} s of being told to: {where[:3000]}"))
        elif status != 0:
            history.stuck.append((None, f"the load ended with {status}: {self.errors.read_text()[-1000:]}"))
        return history


#: What a line is: its letter, then fields. A: producer partition number offset sent at; F: producer partition number why;
#: R: reader partition offset producer number; C, S: group partition offset (committed, resumed); E: partition end;
#: L: reader (its client locked itself up); X: what went wrong otherwise (told, not judged); T: what was awaited in vain at the end.
_LINES = "AFRCSELXT"


def read_log(log: Path) -> History:
    """The history in a load's log."""
    history = History()
    for line in log.read_text().splitlines():
        letter, rest = line[0], line[2:]
        if letter == "A":
            producer, partition, number, offset, sent, at = rest.split(" ")
            history.acked.append(Acked(int(producer), int(partition), int(number), int(offset), float(sent), float(at)))
        elif letter == "R":
            reader, *fields = rest.split(" ")
            history.read.setdefault(reader, []).append(tuple(map(int, fields)))
        elif letter == "F":
            producer, partition, number, why = rest.split(" ", 3)
            history.failed.append((int(producer), int(partition), int(number), why))
        elif letter in "CS":
            group, partition, offset = rest.split(" ")
            history.commits.append((group, int(partition), int(offset), "committed" if letter == "C" else "resumed"))
        elif letter == "E":
            history.ends.append(tuple(map(int, rest.split(" "))))
        elif letter == "L":
            history.locked_up.add(rest)
        elif letter == "T":
            history.stuck.append((None, rest))
    return history


#: What librdkafka logs (debug=eos) when it ends a producer epoch because of a gap.
_GAP = re.compile(
    r"^%7\|(?P<at>[\d.]+)\|ERRSEQ\|.*?/(?P<node>\d+): ProduceRequest for .*\(PID\{Id:(?P<id>\d+),Epoch:(?P<epoch>\d+)\}, "
    r"base seq (?P<sequence>\d+) > .*previous failed request \((?P<before>\w+), .*base seq \d+\.\.(?P<last>\d+),", re.MULTILINE,
)


def read_gaps(words: str) -> list[Gap]:
    """The gaps in what a load's librdkafka said."""
    return [
        Gap(*(int(one[name]) for name in ("id", "epoch", "sequence")), one["before"], int(one["last"]), int(one["node"]), float(one["at"]))
        for one in _GAP.finditer(words)
    ]


class _Worker:
    """The threads of the process; each writes whole lines."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.out = open(plan.log, "a", buffering=1)
        self.stopping, self.ending = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.positions: dict[str, dict[int, int]] = {}

    def tell(self, line: str) -> None:
        with self.lock:
            self.out.write(line + "\n")

    def produce(self, me: int) -> None:
        from confluent_kafka import Producer

        plan = self.plan
        config = {"bootstrap.servers": plan.bootstrap, "enable.idempotence": True, "debug": "eos"}
        if plan.codec != "none":
            config["compression.type"] = plan.codec
        client = Producer(config)

        def reporting(partition: int, number: int, sent: float):
            def delivered(error, message) -> None:
                if error:
                    self.tell(f"F {me} {partition} {number} {error.name()}: {error.str()}")
                else:
                    # Written long ago, says the broker of a batch sent again: where, it need not know any more.
                    offset = -1 if message.offset() is None else message.offset()
                    self.tell(f"A {me} {partition} {number} {offset} {sent:.4f} {time.monotonic():.4f}")

            return delivered

        number, due = 0, time.monotonic() + me / self.plan.producers / plan.rate
        while not self.stopping.is_set():
            # Not more in flight than a long outage makes; it goes on with the next number when there is room.
            if len(client) < 4000:
                for partition in range(plan.partitions):
                    client.produce(plan.topic, f"{me} {number}", partition=partition, on_delivery=reporting(partition, number, time.monotonic()))
                number += 1
            due = max(due + 1 / plan.rate, time.monotonic() - 1)
            while (left := due - time.monotonic()) > 0:
                client.poll(left)
            client.poll(0)
        left = client.flush(290)
        if left:
            self.tell(f"T {left} records of producer {me} were never answered")

    def read(self, me: str) -> None:
        from confluent_kafka import Consumer, TopicPartition

        plan = self.plan
        client = Consumer({
            "bootstrap.servers": plan.bootstrap, "group.id": "nobody", "enable.auto.commit": False, "auto.offset.reset": "error",
        })
        client.assign([TopicPartition(plan.topic, p, 0) for p in range(plan.partitions)])
        mine = self.positions[me] = {p: 0 for p in range(plan.partitions)}
        while not self.ending.is_set():
            for message in client.consume(500, 0.1):
                if message.error():
                    self.tell(f"X {me}: {message.error()}")
                    continue
                producer, number = message.value().split(b" ")
                mine[message.partition()] = message.offset() + 1
                self.tell(f"R {me} {message.partition()} {message.offset()} {int(producer)} {int(number)}")
        client.close()

    def member(self) -> None:
        from confluent_kafka import Consumer, KafkaException

        plan = self.plan
        client = Consumer({
            "bootstrap.servers": plan.bootstrap, "group.id": plan.group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        })

        def assigned(_, partitions) -> None:
            while not self.ending.is_set():
                try:
                    for place in client.committed(partitions, timeout=10):
                        self.tell(f"S {plan.group} {place.partition} {max(place.offset, -1)}")
                    return
                except KafkaException as error:
                    self.tell(f"X {plan.group}: {error}")

        client.subscribe([plan.topic], on_assign=assigned)
        due = time.monotonic() + 0.5
        while not self.ending.is_set():
            message = client.poll(0.1)
            if message is not None and message.error():
                self.tell(f"X {plan.group}: {message.error()}")
            if time.monotonic() < due:
                continue
            due = time.monotonic() + 0.5
            try:
                for place in client.commit(asynchronous=False) or []:
                    if place.error is None and place.offset >= 0:
                        self.tell(f"C {plan.group} {place.partition} {place.offset}")
            except KafkaException as error:
                if error.args[0].name() != "_NO_OFFSET":
                    self.tell(f"X {plan.group}: {error}")
        client.close()

    def watch(self) -> None:
        """Asks for the logs' ends again and again."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        client = Consumer({"bootstrap.servers": self.plan.bootstrap, "group.id": "nobody"})
        while not self.ending.wait(0.1):
            for partition in range(self.plan.partitions):
                try:
                    _, end = client.get_watermark_offsets(TopicPartition(self.plan.topic, partition), timeout=2)
                    self.tell(f"E {partition} {end}")
                except KafkaException as error:
                    self.tell(f"X watch: {error}")
        client.close()

    def drain(self) -> None:
        """Waits until every reader came to the logs' ends."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        client, ends, until = Consumer({"bootstrap.servers": self.plan.bootstrap, "group.id": "nobody"}), {}, time.monotonic() + 30
        while time.monotonic() < until:
            try:
                for partition in range(self.plan.partitions):
                    ends[partition] = client.get_watermark_offsets(TopicPartition(self.plan.topic, partition), timeout=5)[1]
                if all(at[p] >= end for at in self.positions.values() for p, end in ends.items()):
                    break
            except KafkaException as error:
                self.tell(f"X drain: {error}")
            time.sleep(0.1)
        client.close()

    def run(self) -> None:
        plan = self.plan
        producers = [threading.Thread(target=self.produce, args=(p,)) for p in range(plan.producers)]
        others = [threading.Thread(target=self.read, args=(f"reader{r}",), name=f"reader{r}") for r in range(plan.readers)]
        others += [threading.Thread(target=self.member) for _ in range(plan.members if plan.group else 0)]
        others.append(threading.Thread(target=self.watch))
        for thread in others:
            # One that never returns does not keep the process.
            thread.daemon = True
        for thread in producers + others:
            thread.start()
        sys.stdin.read()
        self.stopping.set()
        for thread in producers:
            thread.join()
        self.drain()
        self.ending.set()
        for thread in others:
            thread.join(LOCKED_UP)
        # librdkafka 2.16 locks itself up when a consumer asks where a leader's epoch ends (KIP-320) while it loses a broker: one
        # thread has the partition's lock and waits in rd_kafka_metadata_refresh_topics for the client's, another has that one
        # and waits in rd_kafka_toppar_undelegate. Its calls, which have a time-out, do not return.
        for thread in (thread for thread in others if thread.is_alive()):
            self.tell(f"X {thread.name} did not return from librdkafka for {LOCKED_UP} s: it has locked itself up")
            self.tell(f"L {thread.name}")
        self.out.flush()
        # Without a destructor that would wait for it.
        os._exit(0)


if __name__ == "__main__":
    faulthandler.enable()
    _Worker(Plan(**json.loads(sys.argv[1]))).run()
