"""What DescribeQuorum tells of the replicas of the metadata (KIP-595, KIP-836)."""

from harness import view
from harness.chaos import make_topic
from harness.waiting import until

CONTROLLERS, BROKERS = {1, 2, 3}, {4, 5}


def test_a_voter_that_stands_still_falls_behind_and_comes_back(new_cluster):
    cluster = new_cluster("3+2").start()

    def told() -> view.Quorum:
        return until("an answer", lambda: view.quorum(cluster.nodes[4]) or view.quorum(cluster.nodes[5]))

    def once(what: str, holds) -> view.Quorum:
        """The first answer of which this holds."""
        return until(what, lambda: (seen := told()) and holds(seen) and seen)

    def level(seen: view.Quorum) -> bool:
        return {*seen.voters.values(), *seen.observers.values()} == {seen.voters[seen.leader]}

    seen = once("everybody to have everything", lambda q: q.leader in CONTROLLERS and len(q.observers) == 2 and level(q))
    assert (set(seen.voters), set(seen.observers)) == (CONTROLLERS, BROKERS)
    paused, going = (cluster.nodes[number] for number in sorted(CONTROLLERS - {seen.leader}))
    paused.pause()

    def with_topic(name: str) -> tuple[int, view.Quorum]:
        """Where the log ends with one more topic, and the first answer by which all that go on have it."""
        before = told().voters[seen.leader]
        make_topic(cluster, name, 1, 2)
        end = once(f"{name} to be in the log", lambda q: q.voters[seen.leader] > before).voters[seen.leader]
        return end, once(f"the others to have {name}", lambda q: all(at >= end for at in (q.voters[going.number], *q.observers.values())))

    # What it sent before it stood still is heard by the time a topic has gone round.
    _, standing = with_topic("first")
    end, after = with_topic("second")
    assert after.high_watermark >= end, "two of three voters are enough"
    assert after.voters[paused.number] == standing.voters[paused.number] < end, "one that stands still has no more than before"
    assert after.fetched[paused.number] == standing.fetched[paused.number], "nor is it heard of"
    assert after.fetched[going.number] > standing.fetched[going.number]
    assert (set(after.voters), set(after.observers)) == (CONTROLLERS, BROKERS), "it is a voter all the same"
    paused.resume()
    once("it to have what it missed", lambda q: q.voters[paused.number] >= end)
    once("everybody to have everything again", lambda q: q.leader in CONTROLLERS and level(q))
