"""How long something cannot be done because of a fault: it is tried again and again, from the fault on, over fresh connections.

What tries is a process of its own: the harness stands still for a tenth of a second when it starts a node. Times are of the
clock that all processes of a machine share (CLOCK_MONOTONIC).
"""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections import namedtuple
from typing import Callable

from . import raw, settings, view
from .cluster import Cluster
from .wire import Connection

#: Seconds between a try and the next; when nothing has worked for long, that share of the time.
PACE, SHARE = 0.01, 0.01
#: Seconds a change of the metadata may take: its broker may wait for a controller that does not answer any more.
LIMIT = 0.5
PATIENCE = 60

Place = namedtuple("Place", "host port")


class Probe:
    """The process. `watch`, then `over` if the fault was not yet, then `figures`."""

    def __init__(self, cluster: Cluster, topic: str):
        self.cluster = cluster
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.probe", topic],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=settings.ROOT,
        )
        assert self.process.stdout.readline() == "ready\n", "the probe failed"

    def watch(self, began: float, victim: int, partitions: tuple[int, ...], metadata: bool, over: bool) -> None:
        """Writes to these partitions from now on, and changes the metadata or not, by way of every broker but the victim. What
        is tried before the fault is `over` can still be served by the victim: the first try after it that works is the last."""
        others = [[n.host, n.port] for n in view.askable(self.cluster, but=(victim,))]
        brokers = {n.number: [n.host, n.port] for n in self.cluster.brokers}
        self._say({
            "began": began, "others": others, "brokers": brokers, "partitions": partitions, "metadata": metadata, "over": over,
        })

    def over(self) -> None:
        """What the fault takes away is gone."""
        self._say({})

    def _say(self, what: dict) -> None:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def figures(self) -> tuple[float | None, list[float]]:
        """Waits for the end of the watch: seconds in which the metadata could not be changed (None if that was not tried), and in
        which each partition could not be written to; infinite if they could not to the end."""
        line = self.process.stdout.readline()
        assert line, "the probe ended"
        return tuple(json.loads(line))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Watch:
    """Tries in the background, in a thread for each of `tries`; one returns whether it worked. The first that works of those
    that begin when it is `over` ends the watch."""

    def __init__(self, tries: list[Callable[[], bool]], began: float, over: Callable[[], bool], patience: float = PATIENCE):
        self.began, self.over, self.limit = began, over, began + patience
        self.worked: list[float] = []
        self.last: list[float] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in tries]
        for thread in self.threads:
            thread.start()

    def _run(self, one: Callable[[], bool]) -> None:
        while not self.ended.is_set() and time.monotonic() < self.limit:
            over = self.over()
            if one():
                now = time.monotonic()
                self.worked.append(now)
                if over:
                    self.last.append(now)
                    self.ended.set()
            idle = time.monotonic() - (self.worked[-1] if self.worked else self.began)
            self.ended.wait(max(PACE, SHARE * idle))

    def seconds(self) -> float:
        """Waits for the end. The longest time in which nothing worked, infinite if nothing did to the end."""
        for thread in self.threads:
            thread.join()
        return longest(self.began, self.worked, min(self.last)) if self.last else float("inf")


def longest(began: float, worked: list[float], end: float) -> float:
    """The longest time between one success and the next from `began` to the success at `end`."""
    moments = [began, *sorted(at for at in worked if began < at <= end)]
    return max((b - a for a, b in zip(moments, moments[1:])), default=0.0)


def _writing(topic: str, partition: int, others: list[Place], brokers: dict[int, Place]) -> Callable[[], bool]:
    """A try to have one record acknowledged with acks=all by the leader that a broker names, another broker each time.
    Nothing is known from the last try: what a client's own waiting adds is not in it."""
    turns = itertools.cycle(others)

    def once() -> bool:
        seen = view.partitions_by(next(turns), topic, 1).get(partition)
        if seen is None or seen.leader not in brokers:
            return False
        try:
            with Connection(brokers[seen.leader], 2) as connection:
                return raw.produce_v8(connection, topic, raw.build_batch([b"probe"]), partition=partition, timeout_ms=2000)[0] == 0
        except (OSError, AssertionError):
            return False

    return once


def _changing(topic: str, broker: Place, values, wait: float) -> Callable[[], bool]:
    """A try to change a config; the first waits."""

    def once() -> bool:
        nonlocal wait
        time.sleep(wait)
        wait = 0
        try:
            # Every value is new: a change that changes nothing need not come to the log.
            view.configure(broker, view.TOPIC_CONFIGS, topic, {"retention.ms": str(next(values))}, LIMIT)
        except (OSError, AssertionError):
            return False
        return True

    return once


def _serve(topic: str) -> None:
    """The other end of Probe."""
    values = itertools.count(7 * 24 * 3600 * 1000)
    print("ready", flush=True)
    for line in sys.stdin:
        asked, over = json.loads(line), threading.Event()
        if asked["over"]:
            over.set()
        others = [Place(*place) for place in asked["others"]]
        brokers = {int(number): Place(*place) for number, place in asked["brokers"].items()}
        # Two by each broker, half a time limit apart, so that one does not wait alone.
        changes = [_changing(topic, broker, values, wait) for broker in others for wait in (0, LIMIT / 2)]
        metadata = Watch(changes, asked["began"], over.is_set) if asked["metadata"] else None
        writes = [Watch([_writing(topic, p, others, brokers)], asked["began"], over.is_set) for p in asked["partitions"]]
        if not asked["over"]:
            sys.stdin.readline()
            over.set()
        print(json.dumps([metadata and metadata.seconds(), [watch.seconds() for watch in writes]]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
