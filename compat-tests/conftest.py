"""Fixtures (the broker under test, topics, Java hosts) and the accounting: what ran, what does not apply, and why."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from harness import settings
from harness.broker import Broker
from harness.jvm import Jvm

_brokers: list[Broker] = []
_names = itertools.count(1)


# ---- the broker under test

@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The broker most tests share. It must live through all of them, and must never have panicked."""
    shared = Broker(tmp_path_factory.mktemp("broker"))
    _brokers.append(shared)
    shared.start()
    yield shared
    alive, log = shared.alive(), shared.log
    shared.kill()
    shutil.rmtree(shared.data, ignore_errors=True)
    assert alive, f"the broker died during the session:\n{shared.tail()}"
    assert "panicked at" not in log, f"the broker panicked, see {shared.log_file}"


@pytest.fixture
def new_broker(tmp_path):
    """Makes brokers of the test's own, not started: `new_broker({"key": "value"}).start()`."""
    mine: list[Broker] = []

    def make(overrides: dict[str, str] | None = None, directory: Path | None = None, target: str = settings.TARGET):
        made = Broker(directory or tmp_path / f"broker{len(mine) + 1}", overrides, target)
        mine.append(made)
        _brokers.append(made)
        return made

    yield make
    panicked = [b for b in mine if "panicked at" in b.log]
    for made in mine:
        if made.alive():
            made.kill()
        shutil.rmtree(made.data, ignore_errors=True)
        _brokers.remove(made)
    assert not panicked, f"the broker panicked:\n{panicked[0].tail()}"


# ---- names and topics

@pytest.fixture
def unique(request):
    """Makes names no other test has: `unique("group")`."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return lambda prefix: f"{prefix}-{worker}-{next(_names)}"


@pytest.fixture
def topic(broker, unique):
    """Creates a topic on the shared broker and returns its name: `topic(partitions=3, **configs)`."""
    from harness.rdkafka import create_topic

    def make(partitions: int = 1, config: dict[str, str] | None = None, name: str | None = None) -> str:
        return create_topic(broker.bootstrap, name or unique("topic"), partitions, config)

    return make


# ---- Java

@pytest.fixture(scope="session")
def tools(tmp_path_factory):
    """One JVM that runs the main classes of Kafka 4.3.1's tools, as its shell scripts would."""
    with Jvm(settings.KAFKA_TOOLS_VERSION, tmp_path_factory.mktemp("tools")) as jvm:
        yield jvm


@pytest.fixture(scope="session")
def java(tmp_path_factory):
    """One JVM with the Java client 4.4.0 and the scenarios under java/."""
    with Jvm(settings.KAFKA_BROKER_VERSION, tmp_path_factory.mktemp("java")) as jvm:
        yield jvm


# ---- accounting

NOT_APPLICABLE = "not applicable: "


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("only"):
            target, reason = mark.args[0], mark.kwargs["reason"]
            if target != settings.TARGET:
                item.add_marker(pytest.mark.skip(reason=f"{NOT_APPLICABLE}{target} only: {reason}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for broker in _brokers:
            report.sections.append((f"broker {broker.directory}", broker.complaints()))
    return report


def pytest_sessionfinish(session, exitstatus):
    """A skip that nobody explained with `only` is a failure: nothing goes untested silently."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    silent = [r for r in reporter.stats.get("skipped", []) if NOT_APPLICABLE not in str(r.longrepr)]
    if silent and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    skipped = stats.get("skipped", [])
    other = [r for r in skipped if NOT_APPLICABLE in str(r.longrepr)]
    count = {word: len(stats.get(word, [])) for word in ("passed", "failed", "error")}
    terminalreporter.section("compat-tests")
    for report in skipped:
        if report not in other:
            terminalreporter.line(f"SKIPPED WITHOUT A TARGET'S REASON: {report.nodeid}")
    terminalreporter.line(
        f"compat-tests TARGET={settings.TARGET}: {count['passed']} passed, {count['failed'] + count['error']} failed, "
        f"{len(other)} not applicable to this target, {len(skipped) - len(other)} skipped"
    )
