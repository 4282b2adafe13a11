"""How long something cannot be done because of a fault: it is tried again and again, from the fault on, over fresh connections."""

import threading
import time
from typing import Callable

from . import raw, view
from .cluster import Cluster
from .wire import Connection

#: Seconds between a try and the next; when nothing has worked for long, that share of the time.
PACE, SHARE = 0.01, 0.01


class Watch:
    """Tries in the background, in a thread for each of `tries`; one returns whether it worked. The fault is `over` when a try
    that begins can no longer be served by what the fault takes away: the first of these that works ends the watch."""

    def __init__(self, tries: list[Callable[[], bool]], began: float, over: Callable[[], bool] = lambda: True, patience: float = 60):
        self.began, self.over, self.limit = began, over, began + patience
        self.worked: list[float] = []
        self.last: list[float] = []
        self.ended = threading.Event()
        # A daemon: a harness that fails does not wait for what does not come.
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
            self.ended.wait(max(PACE, SHARE * (time.monotonic() - (self.worked[-1] if self.worked else self.began))))

    def seconds(self) -> float:
        """Waits for the end. The longest time in which nothing worked, infinite if nothing did to the end."""
        for thread in self.threads:
            thread.join()
        return longest(self.began, self.worked, min(self.last)) if self.last else float("inf")


def longest(began: float, worked: list[float], end: float) -> float:
    """The longest time between one success and the next from `began` to the success at `end`."""
    moments = [began, *sorted(at for at in worked if began < at <= end)]
    return max((b - a for a, b in zip(moments, moments[1:])), default=0.0)


def writing(cluster: Cluster, topic: str, partition: int, victim: int) -> Callable[[], bool]:
    """A try to have one record acknowledged with acks=all by the leader that a broker names, another broker each time, never
    the victim. Nothing is known from the last try: what a client's own waiting adds is not in it."""
    turn = 0

    def once() -> bool:
        nonlocal turn
        turn += 1
        others = view.askable(cluster, but=(victim,))
        seen = view.partitions_by(others[turn % len(others)], topic, 1).get(partition) if others else None
        if seen is None or seen.leader not in cluster.nodes:
            return False
        try:
            with Connection(cluster.nodes[seen.leader], 2) as connection:
                batch = raw.build_batch([b"probe"])
                return raw.produce_v8(connection, topic, batch, partition=partition, timeout_ms=2000)[0] == 0
        except (OSError, AssertionError):
            return False

    return once
