"""Faults done to a cluster under load, one round after the other, and what each cost: who was hit, when, for how long."""

import random
import signal
import time
import os
from dataclasses import dataclass, field
from pathlib import Path

from . import replicas, settings, view, voters
from .cluster import Cluster
from .history import Anomaly, History, anomalies, outages, quantile
from .load import Load, Plan
from .probe import Probe
from .rdkafka import admin
from .waiting import until
from .wire import Connection, Writer

TOPIC, GROUP = "numbers", "readers"
#: What is written to and configured to see whether that can be done. Not TOPIC: the checker must know each record of that.
PROBED = "probed"
ELECT_LEADERS, ALTER_PARTITION_REASSIGNMENTS = 43, 45

#: The rounds of each fault in the run that CI makes, and in the one that proves it.
SHORT = {
    "kill leader": 2, "kill coordinator": 1, "kill controller": 1, "kill and start at once": 1, "pause": 2, "isolate leader": 1,
    "minority": 1, "ring": 1, "one-way": 1, "restart": 3,
}
LONG = {
    "kill leader": 20, "kill coordinator": 10, "kill controller": 10, "kill and start at once": 10, "pause": 20, "isolate leader": 10,
    "minority": 7, "ring": 6, "one-way": 7, "restart": 6,
}
#: What can be done besides where voters can be removed and added: in a dynamic quorum.
SHORT_VOTERS = {"remove controller": 2, "remove voter": 1, "lose metadata": 2}
LONG_VOTERS = {"remove controller": 10, "remove voter": 5, "lose metadata": 10}


@dataclass
class Round:
    """One fault. `hit` are the partitions the victim led; times are of time.monotonic()."""

    fault: str
    victim: int
    hit: tuple[int, ...]
    began: float
    healed: float = 0.0
    ended: float = 0.0
    #: seconds in which the metadata could not be changed, where the active controller was hit
    metadata: float | None = None
    #: seconds in which a fresh connection got no record acknowledged, of each partition of PROBED that the victim led
    writable: list[float] = field(default_factory=list)
    note: str = ""

    def figures(self) -> str:
        """What was measured besides the load."""
        metadata = "" if self.metadata is None else f", metadata after {self.metadata:.2f} s"
        writable = f", writable after {' '.join(f'{seconds:.2f}' for seconds in self.writable)} s" if self.writable else ""
        return metadata + writable


@dataclass
class Outcome:
    """What a run showed."""

    rounds: list[Round]
    history: History
    found: list[Anomaly]

    def unavailable(self, fault: str) -> list[float]:
        """Seconds without an acknowledgement, one figure for each partition hit in each round of the fault."""
        figures = []
        for one in self.rounds:
            if one.fault == fault:
                longest = outages(self.history.acked, one.began, one.ended)
                figures += [longest[p] for p in one.hit if p in longest]
        return figures

    def faults(self) -> list[str]:
        return list(dict.fromkeys(one.fault for one in self.rounds))

    def rows(self) -> dict[str, str]:
        """For each fault a line of figures."""
        lines = {}
        for fault in self.faults():
            figures = self.unavailable(fault)
            rounds = [r for r in self.rounds if r.fault == fault]
            text = f"{len(rounds):3} rounds  unavailable p50 {_s(quantile(figures, 0.5))}  p99 {_s(quantile(figures, 0.99))}  max {_s(max(figures, default=float('nan')))}"
            writable = [seconds for r in rounds for seconds in r.writable]
            if writable:
                text += f"  writable p50 {_s(quantile(writable, 0.5))}  max {_s(max(writable))}"
            metadata = [r.metadata for r in rounds if r.metadata is not None]
            if metadata:
                text += f"  metadata p50 {_s(quantile(metadata, 0.5))}  max {_s(max(metadata))}"
            lines[fault] = text
        return lines


def _s(seconds: float) -> str:
    return f"{seconds:6.2f} s" if seconds == seconds else "     - s"


@dataclass
class Chaos:
    """A running cluster under load. Use: `with Chaos(cluster) as chaos: chaos.run({...}); outcome = chaos.finish()`."""

    cluster: Cluster
    seed: int = 1
    partitions: int = 6
    producers: int = 3
    rate: float = 20.0
    copies: int = 3
    say: callable = lambda text: None
    #: How long pauses and cuts last, in seconds.
    pauses: tuple[float, float] = (5, 40)
    cuts: tuple[float, float] = (10, 25)
    #: How long a healed cluster may take until every replica is in sync and every partition takes writes.
    patience: float = 150
    #: Seconds between rounds: clients that lose a broker again soon wait longer before they connect to it.
    rest: float = 0
    rounds: list[Round] = field(default_factory=list)
    stuck: list[tuple[int | None, str]] = field(default_factory=list)

    def __enter__(self) -> "Chaos":
        self.dice = random.Random(self.seed)
        make_topic(self.cluster, TOPIC, self.partitions, self.copies)
        make_topic(self.cluster, PROBED, self.partitions, self.copies, {"min.insync.replicas": str(max(self.copies - 1, 1))})
        self.probe = Probe(self.cluster, PROBED)
        self.load = Load(Plan(
            self.cluster.bootstrap, TOPIC, self.partitions, str(self.cluster.directory / "load.log"), producers=self.producers,
            rate=self.rate, group=GROUP,
        ))
        kafka = any(node.target == "kafka" for node in self.cluster.nodes.values())
        until("the load", self.load.begun if kafka else lambda: self.load.flowing(0))
        return self

    def __exit__(self, *_) -> None:
        self.probe.close()
        if self.load.process.poll() is None:
            self.load.process.kill()

    # ---- rounds

    def run(self, plan: dict[str, int]) -> None:
        """Does that many rounds of each fault, mixed; ends early when the cluster does not come back."""
        todo = [fault for fault, count in plan.items() for _ in range(count)]
        self.dice.shuffle(todo)
        for number, fault in enumerate(todo, 1):
            before = len(self.stuck)
            one = getattr(self, "_" + fault.replace(" ", "_").replace("-", "_"))(fault)
            one.healed = one.healed or time.monotonic()
            self._recover(one)
            one.ended = time.monotonic()
            self.rounds.append(one)
            self.say(f"{number}/{len(todo)} {fault}: node {one.victim} {one.note}: {one.ended - one.began:.1f} s{one.figures()}")
            if len(self.stuck) > before:
                self.say(f"    stuck: {self.stuck[-1][1]}")
                return
            elect_preferred(self.cluster)
            view.until_whole(self.cluster, TOPIC, self.partitions, self.patience)
            time.sleep(self.rest)

    def _recover(self, one: Round) -> None:
        try:
            view.until_whole(self.cluster, TOPIC, self.partitions, self.patience)
        except AssertionError:
            seen = view.partitions(self.cluster, TOPIC)
            for p in range(self.partitions):
                if p not in seen or set(seen[p].isr) != set(seen[p].replicas) or seen[p].leader < 0:
                    self.stuck.append((p, f"{self.patience:.0f} s after {one.fault} of node {one.victim} was over: {seen.get(p)}"))
            if len(seen) == self.partitions and not self.stuck:
                self.stuck.append((None, f"{self.patience:.0f} s after {one.fault} of node {one.victim} brokers disagree: {seen}"))
        whole = time.monotonic()
        try:
            until("writes", lambda: self.load.flowing(whole), self.patience)
        except AssertionError:
            self.stuck.append((None, f"not every partition takes writes {self.patience:.0f} s after {one.fault} of node {one.victim}"))
        if self.cluster.quorum == "dynamic":
            try:
                until("the voters", lambda: voters.whole(self.cluster), self.patience)
            except AssertionError:
                self.stuck.append((None, f"voters are missing {self.patience:.0f} s after {one.fault} of node {one.victim}: {view.newest_quorum(self.cluster)}"))
            if view.metadata_outage(self.cluster, None, time.monotonic(), f"whole-{len(self.rounds)}") == float("inf"):
                self.stuck.append((None, f"the metadata cannot be changed after {one.fault} of node {one.victim}"))

    def _led_by(self, node: int, topic: str = TOPIC) -> tuple[int, ...]:
        return tuple(p.index for p in view.partitions(self.cluster, topic).values() if p.leader == node)

    def _a_leader(self) -> int:
        leaders = [p.leader for p in view.partitions(self.cluster, TOPIC).values() if p.leader > 0]
        return self.dice.choice(leaders)

    def _begin(self, fault: str, victim: int) -> Round:
        return Round(fault, victim, self._led_by(victim), time.monotonic())

    def _hit(self, one: Round, strike: callable, *, metadata: bool = True, writes: bool = False, over: bool = True) -> callable:
        """Does it, and measures beside it, so that the fault lasts as long as planned; what is returned waits for the figures
        and notes them. If the victim serves on for a while, it is not `over`, and the caller says when it is."""
        controller = view.active_controller(self.cluster) == one.victim
        led = self._led_by(one.victim, PROBED) if writes else ()
        one.began = time.monotonic()
        strike()
        self.probe.watch(one.began, one.victim, led, controller and metadata, over)
        if controller:
            one.note = "(active controller)"

        def note() -> None:
            one.metadata, one.writable = self.probe.figures()

        return note

    def _kill(self, fault: str, victim: int, gone: callable = lambda: None) -> Round:
        """`gone` is what befalls the node before it comes back."""
        one, node = self._begin(fault, victim), self.cluster.nodes[victim]
        note = self._hit(one, node.kill, writes=True)
        # It comes back when others have taken its place, or when nobody does.
        limit = time.monotonic() + 40
        while time.monotonic() < limit:
            seen = view.partitions(self.cluster, TOPIC, but=(victim,))
            if seen and all(p.leader not in (-1, victim) for p in seen.values()):
                break
            time.sleep(0.05)
        moved = time.monotonic()
        while time.monotonic() < limit and not self.load.flowing(moved):
            time.sleep(0.05)
        note()
        time.sleep(self.dice.uniform(0, 2))
        gone()
        self._start(node)
        return one

    def _start(self, node) -> None:
        node.begin()
        node.wait_started(2 * settings.PATIENCE)

    def _kill_leader(self, fault: str) -> Round:
        return self._kill(fault, self._a_leader())

    def _kill_coordinator(self, fault: str) -> Round:
        return self._kill(fault, view.coordinator(self.cluster, GROUP) or self._a_leader())

    def _kill_controller(self, fault: str) -> Round:
        return self._kill(fault, view.active_controller(self.cluster) or self._a_leader())

    def _kill_and_start_at_once(self, fault: str) -> Round:
        one = self._begin(fault, self._a_leader())
        node = self.cluster.nodes[one.victim]
        note = self._hit(one, node.kill, writes=True)
        self._start(node)
        note()
        return one

    def _restart(self, fault: str) -> Round:
        """A clean stop and start; rounds of it go through the nodes in turn."""
        numbers = sorted(n.number for n in self.cluster.brokers)
        one = self._begin(fault, numbers[sum(r.fault == fault for r in self.rounds) % len(numbers)])
        node = self.cluster.nodes[one.victim]
        # It serves on while it hands over.
        note = self._hit(one, lambda: os.kill(node.pid, signal.SIGTERM), writes=True, over=False)
        node.process.wait(timeout=3 * settings.PATIENCE)
        self.probe.over()
        self._start(node)
        note()
        return one

    def _pause(self, fault: str) -> Round:
        one = self._begin(fault, self._a_leader())
        node, seconds = self.cluster.nodes[one.victim], self.dice.uniform(*self.pauses)
        note = self._hit(one, node.pause)
        one.note = f"{one.note} for {seconds:.0f} s".strip()
        time.sleep(seconds)
        node.resume()
        note()
        return one

    def _cut(self, fault: str, victim: int, cut, note: str, alone: bool = True) -> Round:
        """`alone`: nobody has the victim's answers any more."""
        one, seconds = self._begin(fault, victim), self.dice.uniform(*self.cuts)
        measured = self._hit(one, cut, metadata=alone)
        one.note = " ".join(filter(None, [one.note, note, f"for {seconds:.0f} s"]))
        time.sleep(seconds)
        self.cluster.network.heal()
        measured()
        return one

    def _isolate_leader(self, fault: str) -> Round:
        victim, clients = self._a_leader(), self.dice.random() < 0.5
        note = "from all" if clients else "from its peers alone"
        return self._cut(fault, victim, lambda: self.cluster.network.isolate(victim, clients), note)

    def _minority(self, fault: str) -> Round:
        """The active controller on the wrong side."""
        victim = view.active_controller(self.cluster) or self._a_leader()
        return self._cut(fault, victim, lambda: self.cluster.network.isolate(victim), "")

    def _ring(self, fault: str) -> Round:
        """Each node but one has lost one neighbour: two do not see each other, a third sees both."""
        victim = self._a_leader()
        other = self.dice.choice([n for n in self.cluster.nodes if n != victim])
        note = f"and node {other} do not see each other"
        return self._cut(fault, victim, lambda: self.cluster.network.cut(victim, other), note, alone=False)

    def _one_way(self, fault: str) -> Round:
        victim, deaf = self._a_leader(), self.dice.random() < 0.5
        cut = self.cluster.network.deafen if deaf else self.cluster.network.silence
        return self._cut(fault, victim, lambda: cut(victim), "hears nobody" if deaf else "is heard by nobody")

    # ---- faults of a dynamic quorum

    def _change(self, change: callable, *which) -> None:
        try:
            change(self.cluster, *which)
        except AssertionError as error:
            self.stuck.append((None, str(error)))

    def _add(self, one: Round, node) -> None:
        began = time.monotonic()
        self._change(voters.add, node)
        one.note += f"added in {time.monotonic() - began:.1f} s"

    def _a_voter(self) -> int:
        return self.dice.choice([n.number for n in self.cluster.controllers])

    def _remove(self, fault: str, victim: int) -> Round:
        """A voter is removed, and added again."""
        one, node = self._begin(fault, victim), self.cluster.nodes[victim]
        controller = view.active_controller(self.cluster) == victim
        one.began = time.monotonic()
        self._change(voters.remove, victim, node.directory_id)
        if controller:
            while view.active_controller(self.cluster) in (None, victim) and time.monotonic() - one.began < 60:
                time.sleep(0.01)
            one.metadata = view.metadata_outage(self.cluster, None, one.began, f"after-{len(self.rounds)}")
            one.note = "(active controller) "
        time.sleep(self.dice.uniform(0, 2))
        self._add(one, node)
        return one

    def _remove_controller(self, fault: str) -> Round:
        return self._remove(fault, view.active_controller(self.cluster) or self._a_voter())

    def _remove_voter(self, fault: str) -> Round:
        return self._remove(fault, self._a_voter())

    def _lose_metadata(self, fault: str) -> Round:
        """A voter is killed and comes back with an empty directory, which votes when the lost one was removed."""
        victim, early, everything = self._a_voter(), self.dice.random() < 0.5, self.dice.random() < 0.5
        node = self.cluster.nodes[victim]
        before = node.directory_id

        def gone() -> None:
            node.lose_metadata(everything)
            if early:
                self._change(voters.remove, victim, before)

        one = self._kill(fault, victim, gone)
        if not early:
            self._change(voters.remove, victim, before)
        one.note += f" lost {'all it had' if everything else 'its metadata'}, removed {'before' if early else 'when'} it came back, "
        self._add(one, node)
        return one

    # ---- the end

    def finish(self) -> Outcome:
        """Ends the load, looks at every replica, and judges."""
        history = self.load.finish()
        history.stuck += self.stuck
        try:
            until("equal replicas", lambda: settled(self.cluster, TOPIC, self.partitions), self.patience if not self.stuck else 5)
        except AssertionError:
            pass  # the checker names what differs
        history.replicas = collect(self.cluster, TOPIC, self.partitions)
        return Outcome(self.rounds, history, anomalies(history))


def make_topic(cluster: Cluster, name: str, partitions: int, copies: int = 3, config: dict[str, str] | None = None) -> None:
    """Creates a topic and returns when all its replicas are in sync."""
    from confluent_kafka.admin import NewTopic

    new = NewTopic(name, num_partitions=partitions, replication_factor=copies, config=config or {})
    client = admin(cluster.bootstrap)
    client.create_topics([new], request_timeout=settings.PATIENCE)[name].result(settings.PATIENCE)
    view.until_whole(cluster, name, partitions)


def reassign(cluster: Cluster, topic: str, assignment: dict[int, list[int]]) -> None:
    """Begins to give partitions other replicas or another order of them."""
    body = Writer().i32(30_000).uvarint(2).compact_string(topic).uvarint(len(assignment) + 1)
    for partition, replicas in assignment.items():
        body.i32(partition).uvarint(len(replicas) + 1)
        for replica in replicas:
            body.i32(replica)
        body.tags()
    body.tags().tags()
    with Connection(cluster.brokers[0]) as connection:
        answer = connection.call(ALTER_PARTITION_REASSIGNMENTS, 0, body.data, header=2, response_header=1)
    assert answer.i32() >= 0 and answer.i16() == 0, "refused"


def elect_preferred(cluster: Cluster) -> None:
    """Spreads the leaders over the nodes again: the next fault shall find something to hit wherever it strikes."""
    preferred, every_partition = 0, -1
    body = Writer().i8(preferred).i32(every_partition).i32(20_000).data
    for node in view.askable(cluster):
        try:
            with Connection(node, 25) as connection:
                if connection.call(ELECT_LEADERS, 1, body) is not None:
                    return
        except (OSError, AssertionError):
            continue  # it is a comfort: the rounds go on with the leaders there are


def collect(cluster: Cluster, topic: str, partitions: int) -> dict:
    """What every broker holds of a topic."""
    return replicas.collect({n.number: Path(n.data) for n in cluster.brokers}, topic, range(partitions))


def settled(cluster: Cluster, topic: str, partitions: int) -> bool:
    """Whether the replicas' segments are as long as each other: what the last write left to fetch has been fetched."""
    for p in range(partitions):
        sizes = set()
        for node in cluster.brokers:
            logs = list((Path(node.data) / f"{topic}-{p}").glob("*.log"))
            if logs:
                sizes.add(sum(path.stat().st_size for path in logs))
        if len(sizes) > 1:
            return False
    return True
