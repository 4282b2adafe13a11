"""An idempotent acks=all producer that writes down every acknowledgement, as a process of its own.

Each partition carries the numbers 0, 1, 2, ... in order. Every line of the log is `partition offset number`, written
when the broker has acknowledged that record. The process ends when its input ends, after flushing.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

from . import settings


class Acknowledged:
    """A running producer and what was acknowledged to it."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, log: Path):
        self.log = log
        log.touch()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.acknowledged", bootstrap, topic, str(partitions), str(log)],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=settings.ROOT,
        )
        self.complaints: list[str] = []
        threading.Thread(target=lambda: self.complaints.extend(self.process.stderr), daemon=True).start()

    def count(self) -> int:
        """How many records were acknowledged so far."""
        assert self.process.poll() in (None, 0), f"the producer failed:\n{''.join(self.complaints[-20:])}"
        with self.log.open("rb") as lines:
            return sum(1 for _ in lines)

    def finish(self) -> list[tuple[int, int, int]]:
        """Ends the producer, which flushes first; returns (partition, offset, number) in order of acknowledgement."""
        self.process.stdin.close()
        assert self.process.wait(timeout=2 * settings.PATIENCE) == 0, "".join(self.complaints[-20:])
        return [tuple(map(int, line.split())) for line in self.log.read_text().splitlines()]


def _main(bootstrap: str, topic: str, partitions: int, log: str) -> None:
    from confluent_kafka import Producer

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    client = Producer({
        "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 1,
        "message.timeout.ms": 600_000, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
        "retry.backoff.ms": 20, "retry.backoff.max.ms": 200, "compression.type": "lz4", "batch.num.messages": 100,
    })
    failed = []
    with open(log, "a", buffering=1) as out:

        def delivered(error, message) -> None:
            if error:
                failed.append(error)
            else:
                out.write(f"{message.partition()} {message.offset()} {message.value().decode()}\n")

        number = 0
        while not ended.is_set() and not failed:
            for partition in range(partitions):
                client.produce(topic, value=str(number), partition=partition, on_delivery=delivered)
            number += 1
            client.poll(0)
            # A bounded number in flight keeps requests small and many.
            while len(client) > 2000 and not failed:
                client.poll(0.01)
            time.sleep(0.0005)
        left = client.flush(600)
    if failed or left:
        sys.exit(f"{left} unanswered, first failure: {failed[:1]}")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
