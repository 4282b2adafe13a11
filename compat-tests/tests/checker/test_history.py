"""The checker itself: a sound history passes, and each planted anomaly is found and named. Needs no broker."""

from dataclasses import replace

import pytest

from harness.history import Acked, Gap, History, Origin, Stored, anomalies, outages, quantile
from harness.load import read_gaps

pytestmark = pytest.mark.only("ottla", reason="it needs no broker: once is enough")


def batch(base: int, *records: tuple[int, int], digest: str | None = None, sound: bool = True) -> Stored:
    """A batch at `base` that holds records given as (producer, number)."""
    placed = tuple((base + i, producer, number) for i, (producer, number) in enumerate(records))
    return Stored(base, base + len(records) - 1, digest or f"{base}:{records}", placed, sound)


def sound() -> History:
    """Two producers, two partitions, three replicas, two readers and a group; nothing is wrong with it."""
    log = {
        0: [batch(0, (1, 0), (1, 1)), batch(2, (2, 0)), batch(3, (1, 2), (1, 3))],
        1: [batch(0, (2, 0), (2, 1)), batch(2, (1, 0))],
    }
    history = History()
    for partition, batches in log.items():
        history.replicas[partition] = {node: list(batches) for node in (1, 2, 3)}
        for one in batches:
            for offset, producer, number in one.records:
                history.acked.append(Acked(producer, partition, number, offset))
                for reader in ("first", "second"):
                    history.read.setdefault(reader, []).append((partition, offset, producer, number))
    history.commits = [("g", 0, 2, "committed"), ("g", 0, 2, "resumed"), ("g", 0, 5, "committed"), ("h", 0, 1, "committed")]
    history.ends = [(0, 0), (0, 3), (1, 3), (0, 3), (0, 5)]
    return history


def kinds(history: History) -> set[tuple[str, int | None]]:
    return {(anomaly.kind, anomaly.partition) for anomaly in anomalies(history)}


def on_all_nodes(history: History, partition: int, batches: list[Stored]) -> None:
    history.replicas[partition] = {node: list(batches) for node in (1, 2, 3)}
    for reader in history.read:
        kept = [record for record in history.read[reader] if record[0] != partition]
        history.read[reader] = kept + [(partition, *record) for one in batches for record in one.records]


def test_a_sound_history_has_no_anomaly():
    assert anomalies(sound()) == []


def test_unacknowledged_records_may_be_there_or_not():
    history = sound()
    on_all_nodes(history, 1, history.replicas[1][1] + [batch(3, (1, 1))])
    assert anomalies(history) == []


def test_an_acknowledgement_without_an_offset_is_no_misplacement():
    history = sound()
    history.acked[0] = Acked(1, 0, 0, -1)
    assert anomalies(history) == []


def test_lost_everywhere():
    history = sound()
    history.acked.append(Acked(2, 1, 9, 3))
    assert kinds(history) == {("lost", 1)}
    assert "node 1: record 9 of producer 2, acknowledged at offset 3" in str(anomalies(history)[0])


def test_lost_on_one_replica():
    history = sound()
    history.replicas[0][3].pop()
    assert kinds(history) == {("lost", 0), ("diverging", 0)}
    assert all("node 3" in str(a) for a in anomalies(history))


def test_no_replica_left():
    history = sound()
    del history.replicas[1]
    assert ("lost", 1) in kinds(history)


def test_misplaced():
    history = sound()
    history.acked[0] = Acked(1, 0, 0, 1)
    assert kinds(history) == {("misplaced", 0)}


def test_duplicated():
    history = sound()
    on_all_nodes(history, 0, history.replicas[0][1] + [batch(5, (2, 0))])
    assert kinds(history) == {("duplicated", 0)}


#: The epoch that a refused gap ended, and the batch that the new one begins with, in the log twice.
GAP = Gap(1000, 0, sequence=9, before="NOT_LEADER_FOR_PARTITION", before_last=8, node=3, at=10.0)
FIRST, AGAIN = Origin(1000, 0, 7, leader_epoch=3, timestamp=500), Origin(1000, 1, 0, leader_epoch=4, timestamp=500)


def written_twice(first: Origin | None, again: Origin | None, *more: tuple[int, int]) -> History:
    """A history whose partition 0 ends with a batch twice, of these origins; the second time with `more` records in it."""
    history = sound()
    before = history.replicas[0][1]
    twice = [replace(batch(5, (2, 1), (2, 2)), origin=first), replace(batch(7, (2, 1), (2, 2), *more), origin=again)]
    on_all_nodes(history, 0, before + twice)
    return history


def test_what_a_client_sent_again_in_a_new_epoch_is_forgiven_where_its_gap_is():
    history = written_twice(FIRST, AGAIN)
    assert kinds(history) == {("duplicated", 0)}
    told = "batch 7 to 8 (producer id 1000 epoch 1 sequence 0, leader epoch 4, from 0.500)"
    assert told in str(anomalies(history)[0])
    history.forgiven = [GAP]
    assert anomalies(history) == []


@pytest.mark.parametrize("first, again, gap, more", [
    (FIRST, AGAIN, replace(GAP, producer_id=1001), ()),
    (FIRST, AGAIN, replace(GAP, producer_epoch=1), ()),
    (FIRST, replace(AGAIN, producer_id=1001), GAP, ()),
    # The broker did not know its own batch again.
    (FIRST, replace(AGAIN, producer_epoch=0), GAP, ()),
    (FIRST, replace(AGAIN, leader_epoch=3), GAP, ()),
    (FIRST, replace(AGAIN, timestamp=501), GAP, ()),
    (FIRST, AGAIN, GAP, ((2, 3),)),
    (None, AGAIN, GAP, ()),
    (replace(FIRST, producer_id=-1), replace(AGAIN, producer_id=-1), replace(GAP, producer_id=-1), ()),
])
def test_no_other_duplicate_is_forgiven(first, again, gap, more):
    history = written_twice(first, again, *more)
    history.forgiven = [gap]
    assert ("duplicated", 0) in kinds(history)


def test_gaps_are_read_from_what_librdkafka_says():
    said = (
        "%7|1795918469.805|ERRSEQ|rdkafka#producer-1| [thrd:127.0.0.1:29599/3]: 127.0.0.1:29599/3: ProduceRequest for numbers [1] "
        "with 37 message(s) failed due to skipped sequence numbers (PID{{Id:1000,Epoch:0}}, base seq {} > next seq 10028) caused by "
        "previous failed request ({}, actions Refresh,MsgNotPersisted, base seq 10030..10031, base msgid 10032, 502ms ago): "
        "recovering and retrying\n"
    )
    told = [
        (10032, "NOT_LEADER_FOR_PARTITION", True), (10031, "NOT_LEADER_FOR_PARTITION", False), (10029, "_RETRY", True),
        (10032, "_RETRY", False), (10032, "OUT_OF_ORDER_SEQUENCE_NUMBER", False), (10032, "_TRANSPORT", False),
    ]
    gaps = read_gaps("%7|1|DRAIN|rdkafka#producer-1| numbers [1]\n".join(said.format(at, before) for at, before, _ in told))
    assert gaps[0] == Gap(1000, 0, 10032, "NOT_LEADER_FOR_PARTITION", 10031, 3, 1795918469.805)
    assert [gap.explained for gap in gaps] == [explained for _, _, explained in told]


def test_reordered():
    history = sound()
    history.acked = [a for a in history.acked if a.partition == 1]
    on_all_nodes(history, 0, [batch(0, (1, 0)), batch(1, (1, 2)), batch(2, (1, 1)), batch(3, (1, 3))])
    assert kinds(history) == {("reordered", 0)}


def test_diverging_bytes():
    history = sound()
    history.replicas[0][2][1] = batch(2, (2, 0), digest="other")
    assert [str(a) for a in anomalies(history)] == ["diverging in partition 0: nodes 1 and 2 differ at 2"]


def test_diverging_batches_of_the_same_records():
    history = sound()
    history.replicas[0][2] = [batch(0, (1, 0)), batch(1, (1, 1)), *history.replicas[0][2][1:]]
    assert kinds(history) == {("diverging", 0)}


def test_damaged_checksum():
    history = sound()
    history.replicas[1][1][0] = batch(0, (2, 0), (2, 1), sound=False)
    assert ("damaged", 1) in kinds(history)


def test_damaged_order_of_offsets():
    history = sound()
    on_all_nodes(history, 1, [*history.replicas[1][1], batch(7, (1, 1))])
    assert kinds(history) == {("damaged", 1)}


def test_a_reader_goes_back():
    history = sound()
    history.read["first"].insert(3, history.read["first"][1])
    assert kinds(history) == {("back", 0)}


def test_a_reader_skips():
    history = sound()
    history.read["second"].remove((0, 2, 2, 0))
    assert [str(a) for a in anomalies(history)] == ["skipped in partition 0: second was not given record 0 of producer 2 at 2"]


def test_a_reader_stops_early():
    history = sound()
    history.read["second"] = [r for r in history.read["second"] if r[:2] != (1, 2)]
    assert kinds(history) == {("unread", 1)}


def test_a_reader_whose_client_locked_itself_up():
    history = sound()
    history.locked_up.add("second")
    history.read["second"] = [r for r in history.read["second"] if r[:2] != (1, 2)]
    assert kinds(history) == set()
    # What it did read is judged.
    history.read["second"].append((1, 3, 2, 7))
    assert kinds(history) == {("phantom", 1), ("skipped", 1)}


def test_a_reader_that_read_nothing():
    history = sound()
    history.read["second"] = []
    assert kinds(history) == {("unread", 0), ("unread", 1)}


def test_a_phantom():
    history = sound()
    history.read["first"].append((1, 3, 2, 7))
    assert kinds(history) == {("phantom", 1)}


def test_another_record_at_an_offset_that_was_read():
    history = sound()
    at = history.read["first"].index((0, 2, 2, 0))
    history.read["first"][at] = (0, 2, 1, 8)
    assert kinds(history) == {("phantom", 0), ("skipped", 0)}


@pytest.mark.parametrize("how", ["committed", "resumed"])
def test_a_group_goes_back(how):
    history = sound()
    history.commits.append(("g", 0, 3, how))
    assert kinds(history) == {("back", 0)}


def test_the_end_of_a_log_goes_back():
    history = sound()
    history.ends.append((0, 4))
    assert kinds(history) == {("back", 0)}


def test_failed_and_stuck():
    history = sound()
    history.failed.append((1, 0, 4, "message timed out"))
    history.stuck.append((1, "no leader"))
    assert kinds(history) == {("failed", 0), ("stuck", 1)}


def test_many_anomalies_of_a_kind_are_counted():
    history = sound()
    history.acked += [Acked(2, 1, 100 + i, 50 + i) for i in range(20)]
    lost = [str(a) for a in anomalies(history)]
    assert len(lost) == 11 and lost[-1] == "lost in partition 1: and 50 more"


def acked_at(*moments: float, partition: int = 0) -> list[Acked]:
    return [Acked(1, partition, i, i, at - 0.01, at) for i, at in enumerate(moments)]


def test_outages():
    acked = acked_at(0, 1, 2, 7, 8, 9, 30) + acked_at(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, partition=1)
    assert outages(acked, 2.5, 8.5) == {0: 5, 1: 1}
    assert outages(acked, 7.5, 8.5) == {0: 1, 1: 1}
    # What goes on when the window ends counts to its end.
    assert outages(acked, 8.5, 20)[1] == 11
    assert outages(acked, 10, 12)[0] == 3


def test_quantiles():
    assert quantile([3, 1, 2], 0.5) == 2 and quantile([1, 2], 0.99) == 2 and quantile([5], 0.5) == 5
