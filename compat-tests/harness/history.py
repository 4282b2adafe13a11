"""What happened to a cluster under load, and what of it must not have happened. Pure: no files, no sockets, no clock.

A history holds what producers were told, what readers and groups saw, and what each replica has in the end. `anomalies`
names everything that breaks the promises of acks=all with idempotence:

* lost: acknowledged, and not in a replica that counts as in sync
* misplaced: acknowledged at an offset that holds another record
* duplicated: one record at two offsets
* reordered: a producer's records of a partition not in the order it sent them
* diverging: two replicas with different bytes at one offset, or of different length
* damaged: a batch whose checksum fails, or offsets that leave their order
* unread: a reader did not get to the end; skipped: it went past a record; phantom: it was given one that is not there
* back: a reader, a group's committed offset, or a log's end that went back
* failed: a producer was told that a record was not written, though it may try for minutes
* stuck: a partition that takes no writes, a replica that stays out of sync, a record never answered

One kind of duplicate is the client's own, and is forgiven where `History.forgiven` names what made the client do it:
librdkafka that is told OUT_OF_ORDER_SEQUENCE_NUMBER while batches before it are being sent again takes a new producer
epoch and begins it with these, though they may be written: those that a leader answered with NOT_LEADER_OR_FOLLOWER
because it resigned before all replicas had them. No broker can know them again. The OUT_OF_ORDER comes about when the
next leader is asked before it knows that it leads, and hears of that between two batches of one connection
(tests/librdkafka/test_librdkafka_duplicates.py shows it step by step). Kafka does so now and then; Ottla answers a batch
behind one that it refused like that one. So mixed clusters forgive what follows a `Gap` that a broker of Kafka's told and
that is `explained`, and nothing else; `_sent_again` says what the log must show besides.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Anomaly:
    """One broken promise."""

    kind: str
    partition: int | None
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}{'' if self.partition is None else f' in partition {self.partition}'}: {self.detail}"


@dataclass(frozen=True)
class Acked:
    """A record the producer was told is written. Offset -1: written, where it was not said. Times in seconds."""

    producer: int
    partition: int
    number: int
    offset: int
    sent: float = 0.0
    at: float = 0.0


@dataclass(frozen=True)
class Origin:
    """Whose batch it is and where it came in, as its header says. Its first record's timestamp is when the client was
    given that record, in milliseconds: the same each time the record is sent."""

    producer_id: int
    producer_epoch: int
    sequence: int
    leader_epoch: int
    timestamp: int

    def __str__(self) -> str:
        return (
            f"producer id {self.producer_id} epoch {self.producer_epoch} sequence {self.sequence}, "
            f"leader epoch {self.leader_epoch}, from {self.timestamp / 1000:.3f}"
        )


@dataclass(frozen=True)
class Gap:
    """A broker told a client that a batch does not follow what the log has, and the client ends the producer epoch."""

    producer_id: int
    producer_epoch: int
    #: Of the batch's first record.
    sequence: int
    #: What last failed in that partition before, as librdkafka calls it, and the last sequence of that batch.
    before: str
    before_last: int
    #: Who said it, and when (seconds since 1970).
    node: int
    at: float

    @property
    def explained(self) -> bool:
        """Whether the client says how it came: a batch before was refused by a broker that did not lead, or, for such a
        refusal or a new leader, a batch behind it was taken back before it was sent. Had the batch before been taken, its
        answer would be there: a broker that lost a producer's state tells a gap where there is none before it, and for
        that librdkafka fails for good, which is an anomaly of its own."""
        refused = self.before == "NOT_LEADER_FOR_PARTITION" and self.before_last < self.sequence
        return refused or (self.before == "_RETRY" and self.before_last > self.sequence)


@dataclass(frozen=True)
class Stored:
    """A batch in a replica's segments: offsets, the numbers of its records by producer, and a digest of its bytes."""

    base: int
    last: int
    digest: str
    #: (offset, producer, number); what no producer of ours wrote is not listed.
    records: tuple[tuple[int, int, int], ...] = ()
    sound: bool = True
    origin: Origin | None = None


@dataclass
class History:
    """Everything seen, each list in the order it was seen."""

    acked: list[Acked] = field(default_factory=list)
    #: (producer, partition, number, why)
    failed: list[tuple[int, int, int, str]] = field(default_factory=list)
    #: reader -> (partition, offset, producer, number)
    read: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    #: readers whose client locked itself up: what they read is judged, not what they did not
    locked_up: set[str] = field(default_factory=set)
    #: (group, partition, offset, "committed" or "resumed"): what was acknowledged, and where a member was told to go on
    commits: list[tuple[str, int, int, str]] = field(default_factory=list)
    #: (partition, end): the high watermark as clients saw it, one after the other
    ends: list[tuple[int, int]] = field(default_factory=list)
    #: partition -> node -> batches in order, for replicas in sync at the end
    replicas: dict[int, dict[int, list[Stored]]] = field(default_factory=dict)
    #: what made clients end a producer epoch
    gaps: list[Gap] = field(default_factory=list)
    #: those of `gaps` after which a client may have written twice what was in the log
    forgiven: list[Gap] = field(default_factory=list)
    #: what was awaited in vain
    stuck: list[tuple[int | None, str]] = field(default_factory=list)


def anomalies(history: History) -> list[Anomaly]:
    """Every broken promise, worst first, at most ten of a kind per partition."""
    found = [Anomaly("stuck", partition, what) for partition, what in history.stuck]
    found += [Anomaly("failed", p, f"record {n} of producer {who}: {why}") for who, p, n, why in history.failed]
    by_partition = defaultdict(list)
    for acked in history.acked:
        by_partition[acked.partition].append(acked)
    for partition, nodes in sorted(history.replicas.items()):
        for node, batches in sorted(nodes.items()):
            where = f"node {node}"
            found += _damage(partition, where, batches)
            found += _order(partition, where, batches, history.forgiven)
            found += _losses(partition, where, batches, by_partition[partition])
        found += _divergence(partition, nodes)
    for partition in sorted(set(by_partition) - set(history.replicas)):
        found.append(Anomaly("lost", partition, "no replica is left"))
    for reader, records in sorted(history.read.items()):
        found += _reading(reader, records, history.replicas, reader in history.locked_up)
    found += _going_back(history)
    return _few(found)


def _few(found: list[Anomaly]) -> list[Anomaly]:
    seen, kept = defaultdict(int), []
    for anomaly in found:
        key = (anomaly.kind, anomaly.partition)
        seen[key] += 1
        if seen[key] <= 10:
            kept.append(anomaly)
    kept += [Anomaly(kind, p, f"and {n - 10} more") for (kind, p), n in seen.items() if n > 10]
    return kept


def _damage(partition: int, where: str, batches: list[Stored]):
    after = None
    for batch in batches:
        if not batch.sound:
            yield Anomaly("damaged", partition, f"{where}: the checksum of the batch at {batch.base} fails")
        if batch.last < batch.base or (after is not None and batch.base != after):
            yield Anomaly("damaged", partition, f"{where}: a batch of offsets {batch.base} to {batch.last} where {after} should follow")
        after = batch.last + 1


def _sent_again(first: Stored, second: Stored, forgiven: list[Gap]) -> bool:
    """Whether the log shows that the client, and not a broker, wrote a batch twice: the whole batch, by the same producer,
    in a later epoch of its, under a later leader; and one of the gaps ended the epoch it was first written in."""
    one, other = first.origin, second.origin
    if one is None or other is None or one.producer_id < 0:
        return False
    same = (one.producer_id, one.timestamp, len(first.records)) == (other.producer_id, other.timestamp, len(second.records))
    later = one.producer_epoch < other.producer_epoch and one.leader_epoch < other.leader_epoch
    ended = any((gap.producer_id, gap.producer_epoch) == (one.producer_id, one.producer_epoch) for gap in forgiven)
    return same and later and ended


def _order(partition: int, where: str, batches: list[Stored], forgiven: list[Gap]):
    first: dict[tuple[int, int], tuple[int, Stored]] = {}
    highest: dict[int, tuple[int, int]] = {}
    for batch in batches:
        for offset, producer, number in batch.records:
            if (producer, number) in first:
                before, there = first[producer, number]
                if _sent_again(there, batch, forgiven):
                    continue
                what = f"record {number} of producer {producer} at {before} and {offset}"
                yield Anomaly("duplicated", partition, f"{where}: {what}: {_origin(there)}; {_origin(batch)}")
                continue
            first[producer, number] = offset, batch
            if producer in highest and number < highest[producer][0]:
                late, there = highest[producer]
                yield Anomaly("reordered", partition, f"{where}: record {number} of producer {producer} at {offset}, after {late} at {there}")
            else:
                highest[producer] = (number, offset)


def _origin(batch: Stored) -> str:
    return f"batch {batch.base} to {batch.last} ({batch.origin or 'of unknown origin'})"


def _losses(partition: int, where: str, batches: list[Stored], acked: list[Acked]):
    at = {offset: (producer, number) for batch in batches for offset, producer, number in batch.records}
    present = set(at.values())
    for one in acked:
        what = f"{where}: record {one.number} of producer {one.producer}"
        if (one.producer, one.number) not in present:
            yield Anomaly("lost", partition, f"{what}, acknowledged at offset {one.offset}")
        elif one.offset >= 0 and at.get(one.offset) != (one.producer, one.number):
            yield Anomaly("misplaced", partition, f"{what} is not at {one.offset} as acknowledged: {at.get(one.offset)} is")


def _divergence(partition: int, nodes: dict[int, list[Stored]]):
    (model, expected), *others = sorted(nodes.items())
    for node, batches in others:
        for one, other in zip(expected, batches):
            if (one.base, one.last, one.digest) != (other.base, other.last, other.digest):
                what = f"nodes {model} and {node} differ at {one.base}" + (f" and {other.base}" if other.base != one.base else "")
                yield Anomaly("diverging", partition, what)
                break
        else:
            if len(expected) != len(batches):
                ends = [b[-1].last + 1 if b else 0 for b in (expected, batches)]
                yield Anomaly("diverging", partition, f"node {model} ends at {ends[0]}, node {node} at {ends[1]}")


def _reading(reader: str, records: list[tuple[int, int, int, int]], replicas: dict[int, dict[int, list[Stored]]], locked_up: bool):
    """A reader sees every record once, in order, and nothing else: what it saw must be what is there."""
    stored = {}
    for partition, nodes in replicas.items():
        batches = min(nodes.items())[1]
        stored[partition] = sorted(record for batch in batches for record in batch.records)
    seen = defaultdict(list)
    for partition, offset, producer, number in records:
        if seen[partition] and offset <= seen[partition][-1][0]:
            yield Anomaly("back", partition, f"{reader} was given offset {offset} after {seen[partition][-1][0]}")
            continue
        seen[partition].append((offset, producer, number))
    for partition, expected in sorted(stored.items()):
        got, there = seen[partition], set(expected)
        for record in got:
            if record not in there:
                yield Anomaly("phantom", partition, f"{reader} was given record {record[2]} of producer {record[1]} at {record[0]}: not in the log")
        given, last = set(got), got[-1][0] if got else -1
        behind = bisect_right(expected, (last, 1 << 62, 1 << 62))
        for offset, producer, number in expected[:behind]:
            if (offset, producer, number) not in given:
                yield Anomaly("skipped", partition, f"{reader} was not given record {number} of producer {producer} at {offset}")
        if behind < len(expected) and not locked_up:
            yield Anomaly("unread", partition, f"{reader} came to offset {last}, the log's last record is at {expected[-1][0]}")


def _going_back(history: History):
    highest: dict[tuple[str, int], int] = {}
    for group, partition, offset, how in history.commits:
        before = highest.get((group, partition), -1)
        if offset < before:
            yield Anomaly("back", partition, f"group {group} {how} at {offset} after it had committed {before}")
        elif how == "committed":
            highest[group, partition] = offset
    end: dict[int, int] = {}
    for partition, offset in history.ends:
        if offset < end.get(partition, -1):
            yield Anomaly("back", partition, f"the end of the log was seen at {end[partition]}, later at {offset}")
        end[partition] = max(offset, end.get(partition, -1))


# ---- availability

def outages(acked: list[Acked], start: float, end: float) -> dict[int, float]:
    """For each partition the longest time in seconds without an acknowledgement that overlaps [start, end].

    It may have begun before `start`; what of it lies after `end` is somebody else's.
    """
    times = defaultdict(list)
    for one in acked:
        times[one.partition].append(one.at)
    longest = {}
    for partition, moments in times.items():
        moments.sort()
        first, last = max(bisect_right(moments, start) - 1, 0), min(bisect_right(moments, end), len(moments) - 1)
        gaps = [min(b, end) - a for a, b in zip(moments[first : last + 1], moments[first + 1 : last + 1])]
        if moments[-1] < end:
            gaps.append(end - moments[-1])
        longest[partition] = max(gaps, default=end - start)
    return longest


def quantile(values: list[float], q: float) -> float:
    """The value below which the share `q` of the values lies; of few values one that is there."""
    return sorted(values)[min(int(q * len(values)), len(values) - 1)] if values else float("nan")
