"""A member of a consumer group as a process of its own, so that it can be killed as a machine would kill it.

Run as a program it is the member: it prints what happens to it as JSON lines and ends when its input ends. Imported it
is `Member`, the handle tests use.
"""

import json
import subprocess
import sys
import threading

from . import settings
from .waiting import until


class Member:
    """A running member and what it has told so far."""

    def __init__(self, bootstrap: str, group: str, topic: str, **config):
        self.assigned: set[int] = set()
        self.revoked: list[set[int]] = []
        self.assignments = 0
        self.values: list[str] = []
        self.errors: list[str] = []
        full = {
            "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "enable.auto.commit": False,
        }
        full |= {key.replace("_", "."): value for key, value in config.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.member", topic, json.dumps(full)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=settings.ROOT,
        )
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            event, what = json.loads(line)
            with self._lock:
                if event == "assigned":
                    self.assigned |= set(what)
                    self.assignments += 1
                elif event == "revoked":
                    self.assigned -= set(what)
                    self.revoked.append(set(what))
                elif event == "record":
                    self.values.append(what)
                else:
                    self.errors.append(what)

    def seen(self) -> list[str]:
        """The values consumed so far."""
        with self._lock:
            return list(self.values)

    def leave(self) -> None:
        """Closes the consumer in good order and waits for the process to end."""
        self.process.stdin.close()
        assert self.process.wait(timeout=settings.PATIENCE) == 0

    def kill(self) -> None:
        """The member is gone without a word."""
        self.process.kill()
        self.process.wait()


def balanced(members: list[Member], partitions: int) -> bool:
    """Whether the members share all partitions, none twice, as evenly as can be."""
    shares = [set(m.assigned) for m in members]
    sizes = sorted(map(len, shares))
    return sum(sizes) == partitions == len(set().union(*shares)) and sizes[-1] - sizes[0] <= 1


def until_balanced(members: list[Member], partitions: int) -> None:
    """Waits for `balanced`."""
    until(f"{len(members)} members to share {partitions} partitions", lambda: balanced(members, partitions))


def _main(topic: str, config: dict) -> None:
    from confluent_kafka import Consumer

    ended = threading.Event()

    def tell(event: str, what) -> None:
        print(json.dumps([event, what]), flush=True)

    def numbers(partitions) -> list[int]:
        return [p.partition for p in partitions]

    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    client = Consumer(config)
    client.subscribe(
        [topic],
        on_assign=lambda _, partitions: tell("assigned", numbers(partitions)),
        on_revoke=lambda _, partitions: tell("revoked", numbers(partitions)),
        on_lost=lambda _, partitions: tell("revoked", numbers(partitions)),
    )
    while not ended.is_set():
        message = client.poll(0.1)
        if message is None:
            continue
        if message.error():
            tell("error", message.error().name())
            if message.error().fatal():
                break
        else:
            tell("record", message.value().decode())
            client.commit(message, asynchronous=True)
    client.close()


if __name__ == "__main__":
    _main(sys.argv[1], json.loads(sys.argv[2]))
