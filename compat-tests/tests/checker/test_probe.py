"""What a watch makes of the tries it saw."""

import time

from harness.probe import Watch, longest


def test_the_longest_time_without_success():
    """The gaps count from the fault to the success that ends the watch; what worked before or after is somebody else's."""
    assert longest(10, [], 10) == 0
    assert longest(10, [13], 13) == 3
    assert longest(10, [9, 11, 16, 12, 17, 40], 17) == 4


def test_ends_with_a_try_that_began_when_the_fault_was_over():
    """A try that works while the victim still serves does not end it."""
    over, seen = iter([False, False, True]), []
    watch = Watch([lambda: seen.append(1) or True], began=time.monotonic(), over=lambda: next(over))
    watch.seconds()
    assert len(seen) == 3 and watch.last == watch.worked[2:]


def test_what_never_works_is_infinite():
    assert Watch([lambda: False], began=0, over=lambda: True, patience=0).seconds() == float("inf")
