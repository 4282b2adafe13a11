"""Listeners by name, and what closes a connection that is one too many or has nothing to say."""

import pytest

from harness import settings
from harness.ports import free_port
from harness.rdkafka import admin
from harness.wire import Connection


@pytest.fixture
def limited(new_broker):
    """A broker with a second listener, few connections per address, and little patience with idle ones."""
    broker = new_broker({"max.connections.per.ip": "8", "connections.max.idle.ms": "3000"})
    second = free_port()
    broker.properties |= {
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT",
        "listeners": broker.properties["listeners"] + f",OUTSIDE://127.0.0.1:{second}",
        "advertised.listeners": broker.properties["advertised.listeners"] + f",OUTSIDE://localhost:{second}",
    }
    broker.write_config()
    broker.start()
    broker.second = second
    return broker


def test_listeners_and_their_limits(limited):
    # One start for all of it: starting a broker is what costs time here.
    inside = admin(limited.bootstrap).list_topics(timeout=settings.PATIENCE).brokers[1]
    assert (inside.host, inside.port) == ("127.0.0.1", limited.port)
    outside = admin(f"127.0.0.1:{limited.second}").list_topics(timeout=settings.PATIENCE).brokers[1]
    assert (outside.host, outside.port) == ("localhost", limited.second)

    # Idle connections are closed by the broker.
    with Connection(limited) as idle:
        assert idle.call(18, 0).i16() == 0
        assert idle.closed()

    # Of many at once, some are served and the ones beyond the limit are closed.
    opened = [Connection(limited) for _ in range(20)]
    answered = 0
    for connection in opened:
        connection.send(b"\0\0\0\x0e\0\x12\0\0\0\0\0\1\0\4wire")
        answered += connection.receive() is not None
    assert 0 < answered <= 8
    for connection in opened:
        connection.close()
