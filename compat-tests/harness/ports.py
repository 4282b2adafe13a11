"""Free ports out of the range the suite may use."""

import os
import random
import socket

from . import settings

_taken: set[int] = set()
_dice = random.Random(os.getpid())


def free_port() -> int:
    """A port nobody listens on, handed out once per process. Workers start looking at different places."""
    first, last = settings.PORTS
    for _ in range(2000):
        port = _dice.randint(first, last)
        if port in _taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port
    raise RuntimeError(f"no free port in {first}-{last}")
