"""Free ports out of the range the suite may use."""

import os
import random
import socket

from . import settings

_taken: set[int] = set()
_dice = random.Random(os.getpid())


def own_share(first: int, last: int, worker: int, workers: int) -> tuple[int, int]:
    """This worker's part of a range: the ports of a broker that is down for a moment must stay its own."""
    size = (last - first + 1) // workers
    return first + worker * size, first + (worker + 1) * size - 1


def free_port() -> int:
    """A port nobody listens on, handed out once per process, of this worker's share."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, last = own_share(*settings.PORTS, worker, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    for _ in range(2000):
        port = _dice.randint(first, last)
        if port in _taken:
            continue
        if not _is_free(port):
            continue
        _taken.add(port)
        return port
    raise RuntimeError(f"no free port in {first}-{last}")


def free_base(offsets: list[int]) -> int:
    """A port such that nobody listens on it plus any of the offsets. Below the range of free_port, and so below the ports
    that the kernel gives to clients' connections."""
    first, _ = settings.PORTS
    for _ in range(2000):
        base = _dice.randint(10_000, first - 1 - max(offsets))
        if all(_is_free(base + offset) for offset in offsets):
            return base
    raise RuntimeError(f"no free ports between 10000 and {first}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
