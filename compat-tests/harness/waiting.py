"""Waiting for a condition, with a bound that only a broken broker reaches."""

import time
from typing import Callable, TypeVar

from . import settings

T = TypeVar("T")


def until(what: str, probe: Callable[[], T], patience: float = settings.PATIENCE) -> T:
    """Calls `probe` until it returns something true, and returns that. `what` is what the failure says was awaited."""
    deadline = time.monotonic() + patience
    while True:
        seen = probe()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s for {what}; last seen: {seen!r}")
        time.sleep(0.02)
