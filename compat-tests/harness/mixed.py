"""What tests of mixed clusters share: the kinds, the release all of them know, and the checker's word on a load."""

from . import settings, view
from .chaos import collect, elect_preferred, reassign, settled
from .cluster import Cluster
from .history import anomalies
from .load import Load
from .rdkafka import admin
from .waiting import until

#: (kind, version)
OTTLA, KAFKA_OLD, KAFKA_NEW = ("ottla", ""), ("kafka", settings.KAFKA_TOOLS_VERSION), ("kafka", settings.KAFKA_BROKER_VERSION)
#: The features every kind and version here has.
RELEASE = "4.3-IV0"
#: The newest that Ottla and the newer Kafka have.
NEWEST = "4.4-IV2"
TOPIC = "numbers"

#: (the quorum's kind, the joining broker's kind)
PAIRS = [(OTTLA, KAFKA_OLD), (KAFKA_NEW, OTTLA)] if settings.TARGET == "ottla" else [(KAFKA_NEW, KAFKA_OLD)]


def named(value) -> str:
    """A kind as a test's id has it."""
    return "-".join(filter(None, value)) if isinstance(value, tuple) else value


def version(kind: tuple[str, str]) -> str:
    """A version for Cluster, which wants one of every kind."""
    return kind[1] or settings.KAFKA_BROKER_VERSION


def there(cluster: Cluster, brokers: set[int]) -> bool:
    """Whether clients see exactly these brokers."""
    return set(admin(cluster.bootstrap).list_topics(timeout=10).brokers) == brokers


def judge(cluster: Cluster, load: Load, partitions: int) -> None:
    """The checker's word on all that happened; segments must be equal byte for byte. If Kafka's brokers told a client of a
    gap, that client may have written twice: see harness/history.py."""
    history = load.finish()
    history.forgiven = [gap for gap in history.gaps if gap.explained and cluster.nodes[gap.node].kind_at(gap.at) == "kafka"]
    until("equal replicas", lambda: settled(cluster, TOPIC, partitions))
    history.replicas = collect(cluster, TOPIC, partitions)
    assert all(len(nodes) >= 2 for nodes in history.replicas.values()) and len(history.replicas) == partitions
    assert len(history.acked) > 500
    found = anomalies(history)
    assert not found, "\n".join([*map(str, found), *map(str, history.gaps), load.words()])


def rearrange(cluster: Cluster, topic: str, assignment: dict[int, list[int]]) -> None:
    """Gives partitions other replicas or another order of them, and lets the first of each lead."""
    reassign(cluster, topic, assignment)

    def arranged() -> bool:
        seen = view.partitions(cluster, topic)
        return all(p in seen and list(seen[p].replicas) == r and set(seen[p].isr) == set(r) for p, r in assignment.items())

    until("the new replicas", arranged, 2 * settings.PATIENCE)
    elect_preferred(cluster)
    until("the new leaders", lambda: all(view.partitions(cluster, topic)[p].leader == r[0] for p, r in assignment.items()))
