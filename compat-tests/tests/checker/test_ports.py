"""No two workers are given the same port."""

from harness import ports, settings


def test_shares_do_not_meet():
    first, last = settings.PORTS
    for workers in (1, 2, 3, 7):
        shares = [ports.own_share(first, last, worker, workers) for worker in range(workers)]
        assert shares[0][0] == first and shares[-1][1] <= last
        assert all(low <= high for low, high in shares)
        assert all(one[1] < next_one[0] for one, next_one in zip(shares, shares[1:]))


def test_a_port_is_of_the_own_share_and_given_once(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    monkeypatch.setattr(ports, "_taken", set())
    low, high = ports.own_share(*settings.PORTS, 1, 2)
    given = [ports.free_port() for _ in range(50)]
    assert len(set(given)) == 50 and all(low <= port <= high for port in given)
