"""Several broker processes that are one cluster: Ottla's, Kafka's, or both kinds mixed.

A layout is `3` (three nodes that are broker and controller) or `3+2` (three controllers, two brokers). Every node has a
server.properties that starts either kind, so a node's kind can be changed while its files stay.
"""

import base64
import os
import re
import shutil
import signal
from pathlib import Path

from . import settings
from .broker import Broker, cluster_id
from .network import Network
from .ports import free_port
from .waiting import until

COMBINED, CONTROLLER, BROKER = "broker,controller", "controller", "broker"


def parse_layout(text: str) -> tuple[int, int, int]:
    """`3` or `3+2` as (combined nodes, controllers, brokers). A ValueError says what is wrong."""
    parts = text.split("+")
    if not 1 <= len(parts) <= 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is no layout: write 3 for three combined nodes, 3+2 for three controllers and two brokers")
    return (int(text), 0, 0) if len(parts) == 1 else (0, int(parts[0]), int(parts[1]))


class Node(Broker):
    """One process of a cluster. Its kind is `ottla` or `kafka`, of a version."""

    process_group = 0

    def __init__(self, cluster: "Cluster", number: int, roles: str, kind: str, version: str):
        self.cluster, self.number, self.roles = cluster, number, roles
        self.paused = False
        self.overrides: dict[str, str] = {}
        # Where this replica of the metadata lives: chosen here, so that the voters can be named before they are formatted.
        self.directory_id = base64.urlsafe_b64encode(b"D" + os.urandom(15)).decode()[:22]
        super().__init__(cluster.directory / f"node{number}", {}, kind, version)
        self.cluster_id = cluster.cluster_id

    def _defaults(self) -> dict[str, str]:
        return {}

    def place(self, host: str, port: int, controller_port: int, prefix: tuple[str, ...]) -> None:
        """Says where it listens."""
        self.host, self.port, self.controller_port, self.prefix = host, port, controller_port, prefix

    @property
    def is_controller(self) -> bool:
        return "controller" in self.roles

    @property
    def is_broker(self) -> bool:
        return "broker" in self.roles

    def configure(self) -> None:
        """Writes its properties anew."""
        listeners, brokers = [], len(self.cluster.brokers)
        if self.is_broker:
            listeners.append(f"PLAINTEXT://{self.host}:{self.port}")
        advertised = ",".join(listeners)
        if self.is_controller:
            listeners.append(f"CONTROLLER://{self.host}:{self.controller_port}")
            advertised += ("," if advertised else "") + f"CONTROLLER://{self.host}:{self.controller_port}"
        copies, least = str(min(3, brokers)), str(2 if brokers >= 3 else 1)
        self.properties = {
            "process.roles": self.roles,
            "node.id": str(self.number),
            **self.cluster.quorum_properties(),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "listeners": ",".join(listeners),
            "advertised.listeners": advertised,
            **({"inter.broker.listener.name": "PLAINTEXT"} if self.is_broker else {}),
            "log.dirs": str(self.data),
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": least,
            **self.cluster.overrides,
            **self.overrides,
        }
        self.write_config()

    def format_options(self) -> list[str]:
        return self.cluster.format_options(self)

    def pause(self) -> None:
        """The process stands still, its connections stay open. On a busy machine its threads go on for a while after the
        signal: until one of them has been given a turn to take it."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True
        until(f"{self} to stand still", lambda: all(state == "T" for state in self._states()))

    def _states(self) -> list[str]:
        """A letter for each thread, as ps has them."""
        found = []
        for file in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            try:
                found.append(file.read_text().rpartition(")")[2].split()[0])
            except OSError:
                pass  # the thread has ended
        return found

    def resume(self) -> None:
        """A paused process goes on."""
        if self.paused:
            os.kill(self.pid, signal.SIGCONT)
            self.paused = False

    def kill(self) -> None:
        super().kill()
        self.paused = False

    def lose_metadata(self, everything: bool = False) -> None:
        """The stopped node's metadata is gone, or all it has: an empty directory of another id takes the place, formatted for
        a node that is no voter yet."""
        fresh = self.directory / "metadata"
        for lost in [fresh, *([self.data] if everything else self.data.glob("__cluster_metadata-*"))]:
            shutil.rmtree(lost, ignore_errors=True)
        self.overrides["metadata.log.dir"] = str(fresh)
        self.configure()
        self.cluster.initial = [n for n in self.cluster.initial if n is not self]
        self.format()
        self.directory_id = re.search(r"^directory\.id=(\S+)", (fresh / "meta.properties").read_text(), re.MULTILINE)[1]

    def become(self, kind: str, version: str = settings.KAFKA_BROKER_VERSION) -> "Node":
        """The stopped node is of another kind when it starts next; its files stay."""
        assert not self.alive(), f"node {self.number} runs"
        self.target, self.version = kind, version
        return self

    def __repr__(self) -> str:
        return f"node {self.number} ({self.target if self.target == 'ottla' else 'kafka ' + self.version}, {self.roles})"


class Cluster:
    """Nodes by number. `quorum` is `static` (controller.quorum.voters) or `dynamic` (initial controllers, KIP-853)."""

    def __init__(
        self, directory: Path, layout: str = "3", kind: str = settings.TARGET, version: str = settings.KAFKA_BROKER_VERSION,
        overrides: dict[str, str] | None = None, namespaces: bool = False, quorum: str = "static", base_port: int | None = None,
        kinds: dict[int, tuple[str, str]] | None = None, release: str | None = None,
    ):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.cluster_id, self.overrides, self.quorum = self._cluster_id(), overrides or {}, quorum
        combined, controllers, brokers = parse_layout(layout)
        roles = [COMBINED] * combined + [CONTROLLER] * controllers + [BROKER] * brokers
        self.network = Network(list(range(1, len(roles) + 1))) if namespaces else None
        self.base_port = base_port
        #: The release whose features the cluster begins with: the oldest that shall ever be its member.
        self.release = release
        self.nodes: dict[int, Node] = {}
        for number, role in enumerate(roles, 1):
            self.add(number, role, *(kinds or {}).get(number, (kind, version)), configure=False)
        self.initial = [n for n in self.nodes.values() if n.is_controller]
        for node in self.nodes.values():
            node.configure()

    def _cluster_id(self) -> str:
        """The id of the directory's cluster: kept, so that a second start finds what the first one formatted."""
        kept = self.directory / "cluster.id"
        if not kept.exists():
            kept.write_text(cluster_id())
        return kept.read_text().strip()

    def add(self, number: int, roles: str, kind: str, version: str = settings.KAFKA_BROKER_VERSION, configure: bool = True) -> Node:
        """One more node, not started."""
        node = self.nodes[number] = Node(self, number, roles, kind, version)
        if self.network:
            node.place(self.network.address(number), 9092, 9093, self.network.prefix(number))
        elif self.base_port:
            node.place("127.0.0.1", self.base_port + number - 1, self.base_port + 100 + number - 1, ())
        else:
            node.place("127.0.0.1", free_port(), free_port(), ())
        if configure:
            node.configure()
        return node

    # ---- what the nodes' properties say of the cluster

    def quorum_properties(self) -> dict[str, str]:
        voters = [n for n in self.nodes.values() if n.is_controller]
        if self.quorum == "static":
            return {"controller.quorum.voters": ",".join(f"{n.number}@{n.host}:{n.controller_port}" for n in voters)}
        return {"controller.quorum.bootstrap.servers": ",".join(f"{n.host}:{n.controller_port}" for n in voters)}

    def format_options(self, node: Node) -> list[str]:
        """What the storage tool must be told so that this node begins in this cluster."""
        release = ["--release-version", self.release] if self.release and node.is_controller else []
        if self.quorum == "static":
            return release
        if node not in self.initial:
            return ["--no-initial-controllers", "--ignore-formatted", *release]
        first = ",".join(f"{n.number}@{n.host}:{n.controller_port}:{n.directory_id}" for n in self.initial)
        return ["--initial-controllers", first, *release]

    # ---- who is who

    @property
    def brokers(self) -> list[Node]:
        return [n for n in self.nodes.values() if n.is_broker]

    @property
    def controllers(self) -> list[Node]:
        return [n for n in self.nodes.values() if n.is_controller]

    @property
    def bootstrap(self) -> str:
        """All brokers, for clients."""
        return ",".join(f"{n.host}:{n.port}" for n in self.brokers)

    @property
    def bootstrap_controllers(self) -> str:
        """All controllers, for tools that speak to them."""
        return ",".join(f"{n.host}:{n.controller_port}" for n in self.controllers)

    # ---- running

    def start(self, patience: float = 2 * settings.PATIENCE) -> "Cluster":
        """Starts every node that does not run and waits for all."""
        starting = [n for n in self.nodes.values() if not n.alive()]
        for node in starting:
            node.begin()
        for node in starting:
            node.wait_started(patience)
        return self

    def stop(self) -> None:
        """Ends every node in good order: brokers first, the controllers they need last, at once within their kind."""
        for node in self.nodes.values():
            node.resume() if node.alive() else None
        for group in ([n for n in self.nodes.values() if not n.is_controller], self.controllers):
            running = [n for n in group if n.alive()]
            for node in running:
                os.kill(node.pid, signal.SIGTERM)
            for node in running:
                node.terminate()

    def close(self) -> None:
        """Kills what runs and takes the network away."""
        for node in self.nodes.values():
            if node.alive():
                node.kill()
        if self.network:
            self.network.close()
