"""What producers with acks=all hear when too few replicas are in sync after their batch was appended.

Since KIP-966 the high watermark stands still while fewer than min.insync.replicas are in sync. Nobody is told
NOT_ENOUGH_REPLICAS_AFTER_APPEND (20) for it: the batch stays, who gives up is told REQUEST_TIMED_OUT, and who waits long
enough hears that it is committed.

Error 20 is only a race in Kafka, and not provoked here. It is told where the high watermark has passed a batch and too few
are in sync by the time the request is looked at. That happens at once, but for a request with several partitions not before
the last of them is appended: if that takes seconds (several MB that are compressed anew), min.insync.replicas can be raised
meanwhile, and what was appended first is answered with 20. Ottla answers 0: it was committed by as many as were wanted.
"""

from concurrent.futures import ThreadPoolExecutor

from harness import settings
from harness.chaos import make_topic
from harness.raw import build_batch, fetch_v4, produce_v8, stored_batches
from harness.view import TOPIC_CONFIGS, config_by, configure, partitions_by, until_whole
from harness.waiting import until
from harness.wire import Connection
from tests.cluster.test_unregistered import unregister

REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS = 7, 19
TOPIC, PRODUCER_ID = "waited", 4711
NEVER = "600000"


class Pair:
    """A leader with one batch that its follower has, and two producers whose batches wait for the follower."""

    def __init__(self, cluster, least: int):
        self.cluster = cluster.start()
        make_topic(cluster, TOPIC, 1, 2, {"min.insync.replicas": str(least)})
        leader = partitions_by(cluster.brokers[0], TOPIC)[0].leader
        self.leader = cluster.nodes[leader]
        self.follower = next(node for node in cluster.brokers if node is not self.leader)
        self.threads = ThreadPoolExecutor()
        assert self.send(b"before") == (0, 0)
        until("the follower to have it", lambda: self.high_watermark() == 1)

    def send(self, value: bytes, sequence: int = -1, **how) -> tuple[int, int]:
        """One record on a connection of its own; with a sequence it is the idempotent producer's."""
        producer = {"producer_id": PRODUCER_ID, "epoch": 0, "sequence": sequence} if sequence >= 0 else {}
        with Connection(self.leader, 10 * settings.PATIENCE) as connection:
            return produce_v8(connection, TOPIC, build_batch([value], **producer), **how)

    def high_watermark(self) -> int:
        with Connection(self.leader) as connection:
            return fetch_v4(connection, TOPIC, 0, 0)[0]

    def log_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.leader.data / f"{TOPIC}-0").glob("*.log"))

    def isr(self) -> tuple[int, ...]:
        return partitions_by(self.leader, TOPIC)[0].isr

    def begin(self, value: bytes, sequence: int = -1, **how):
        """Sends it; when this returns it has been appended, and its answer is yet to come."""
        before = self.log_bytes()
        answer = self.threads.submit(self.send, value, sequence, **how)
        until(f"{value} to be appended", lambda: self.log_bytes() > before or answer.done())
        return answer

    def stop_the_follower(self) -> None:
        self.follower.pause()
        # The second gives up long after the in-sync set has shrunk; the first never does.
        self.patient = self.begin(b"patient", timeout_ms=10 * 60_000)
        self.impatient = self.begin(b"impatient", 0, timeout_ms=12_000)

    def shrinks(self) -> None:
        """Waits until the leader is alone in sync and acts by it: it can be in its metadata a moment before. What it is
        asked with is there already, so nothing is appended."""
        until("the leader to be alone", lambda: self.isr() == (self.leader.number,))
        until("it to refuse", lambda: self.send(b"impatient", 0, timeout_ms=100)[0] == NOT_ENOUGH_REPLICAS)

    def is_below_its_least(self) -> None:
        """What holds with the leader alone in sync until there is somebody else, whatever is asked."""
        self.shrinks()
        assert self.impatient.result() == (REQUEST_TIMED_OUT, 2)
        # Nothing more is taken; not even what is there already is told to be.
        assert self.send(b"more")[0] == NOT_ENOUGH_REPLICAS
        assert self.send(b"impatient", 0)[0] == NOT_ENOUGH_REPLICAS
        assert self.send(b"leader alone", acks=1) == (0, 3)
        assert self.high_watermark() == 1 and not self.patient.done()

    def is_whole(self) -> None:
        until_whole(self.cluster, TOPIC, 1)
        assert self.patient.result() == (0, 1)
        assert self.send(b"impatient", 0) == (0, 2), "a duplicate of what was kept"
        assert self.send(b"more") == (0, 4)
        assert self.high_watermark() == 5
        stored = b"".join(batch.data for batch in stored_batches(self.leader, TOPIC))
        places = [stored.find(v) for v in (b"before", b"patient", b"impatient", b"leader alone", b"more")]
        assert -1 not in places and places == sorted(places)


def test_the_follower_lags(new_cluster):
    """The leader takes it out of the in-sync set."""
    lag = {"replica.lag.time.max.ms": "5000", "broker.session.timeout.ms": NEVER}
    pair = Pair(new_cluster("1+2", overrides=lag), least=2)
    pair.stop_the_follower()
    pair.is_below_its_least()
    pair.follower.resume()
    pair.is_whole()


def test_more_are_wanted_while_the_batch_waits(new_cluster):
    """min.insync.replicas is raised while all are in sync; then the controller takes the follower out."""
    lag = {"replica.lag.time.max.ms": NEVER, "broker.session.timeout.ms": NEVER}
    pair = Pair(new_cluster("1+2", overrides=lag), least=1)
    pair.stop_the_follower()
    configure(pair.leader, TOPIC_CONFIGS, TOPIC, {"min.insync.replicas": "2"})
    until("the leader to know", lambda: config_by(pair.leader, TOPIC_CONFIGS, TOPIC, "min.insync.replicas") == "2")
    assert len(pair.isr()) == 2
    assert unregister(pair.leader, pair.follower.number) == 0
    pair.is_below_its_least()
    pair.follower.kill()
    pair.follower.begin()
    pair.follower.wait_started()
    pair.is_whole()


def test_fewer_are_wanted_while_the_batch_waits(new_cluster):
    """min.insync.replicas is lowered while the leader is alone. Kafka notices with the next batch, Ottla at once."""
    lag = {"replica.lag.time.max.ms": "5000", "broker.session.timeout.ms": NEVER}
    pair = Pair(new_cluster("1+2", overrides=lag), least=2)
    pair.stop_the_follower()
    pair.shrinks()
    configure(pair.leader, TOPIC_CONFIGS, TOPIC, {"min.insync.replicas": "1"})
    if settings.TARGET == "kafka":
        assert pair.impatient.result() == (REQUEST_TIMED_OUT, 2)
        assert pair.high_watermark() == 1 and not pair.patient.done()
        until("it to notice", lambda: pair.send(b"next") and pair.high_watermark() > 1)
    assert pair.patient.result() == (0, 1)
    assert pair.send(b"impatient", 0) == (0, 2)
    pair.follower.resume()
    until_whole(pair.cluster, TOPIC, 1)
