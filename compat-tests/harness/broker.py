"""A broker of the chosen target as one process: written properties, formatted directory, start, kill, terminate."""

import base64
import os
import signal
import subprocess
import time
from pathlib import Path

from . import settings
from .ports import free_port
from .waiting import until

STARTED = "Kafka Server started"


def cluster_id() -> str:
    """A cluster id as kafka-storage.sh makes them: 16 bytes in base64url; the first letter keeps it from looking like an option."""
    return base64.urlsafe_b64encode(b"O" + os.urandom(15)).decode()[:22]


class Broker:
    """One broker process on a directory of its own. The same properties are given to either target."""

    #: What goes before every command of it, such as entering a network namespace.
    prefix: tuple[str, ...] = ()
    host = "127.0.0.1"
    #: 0 keeps a terminal's Ctrl-C from it, so that whoever started it decides how it ends.
    process_group: int | None = None
    #: What else Kafka's process is started with: KAFKA_HEAP_OPTS, KAFKA_JVM_OPTS.
    jvm: dict[str, str] = {}

    def __init__(
        self, directory: Path, overrides: dict[str, str] | None = None, target: str = settings.TARGET,
        version: str = settings.KAFKA_BROKER_VERSION,
    ):
        self.target, self.version = target, version
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port, self.controller_port = free_port(), free_port()
        self.data = self.directory / "data"
        self.config = self.directory / "server.properties"
        self.log_file = self.directory / "server.out"
        self.cluster_id = cluster_id()
        self.process: subprocess.Popen | None = None
        self.starts = 0
        #: What it was from when on (seconds since 1970), a line for each start.
        self.kinds: list[tuple[float, str]] = []
        self.properties = self._defaults() | (overrides or {})
        self.write_config()

    def _defaults(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # Groups form as soon as the first member is there: the suite waits for states, not for delays.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
        }

    def write_config(self) -> None:
        """Writes `properties` to server.properties."""
        self.config.write_text("".join(f"{key}={value}\n" for key, value in self.properties.items()))

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """Everything the process printed, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def pid(self) -> int:
        """The running process."""
        assert self.process is not None, "the broker was not started"
        return self.process.pid

    def kind_at(self, moment: float) -> str:
        """What it was at that time."""
        return [kind for since, kind in self.kinds if since <= moment][-1]

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def command(self) -> list[str]:
        """The command line that serves."""
        if self.target == "ottla":
            return [*self.prefix, str(settings.OTTLA_BIN), str(self.config)]
        return [*self.prefix, str(settings.ROOT / "kafka/run-class"), self.version, "kafka.Kafka", str(self.config)]

    def storage(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs the storage tool (`kafka-storage.sh` or `ottla storage`) with these arguments."""
        if self.target == "ottla":
            command = [str(settings.OTTLA_BIN), "storage"]
        else:
            command = [str(settings.ROOT / "kafka/run-class"), self.version, "kafka.tools.StorageTool"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=settings.PATIENCE)

    def format(self) -> None:
        """Formats the data directory once."""
        done = self.storage("format", "--cluster-id", self.cluster_id, "--config", str(self.config), *self.format_options())
        assert done.returncode == 0, f"format failed: {done.stdout}{done.stderr}"

    def format_options(self) -> list[str]:
        """What else the storage tool is told, beside the cluster id and the properties."""
        return []

    def spawn(self) -> subprocess.Popen:
        """Starts the process and returns at once."""
        # The broker must see the properties alone: KAFKA_* of the caller's environment are properties too.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}
        if self.target == "kafka":
            environment["KAFKA_HEAP_OPTS"] = "-Xmx512m"
            environment["KAFKA_LOG4J"] = str(settings.ROOT / "kafka/server-log4j2.properties")
            environment |= self.jvm
        self.kinds.append((time.time(), self.target))
        with self.log_file.open("ab") as out:
            self.process = subprocess.Popen(
                self.command(), stdout=out, stderr=subprocess.STDOUT, cwd=self.directory, env=environment,
                process_group=self.process_group,
            )
        return self.process

    def start(self) -> "Broker":
        """Formats if needed, starts, and returns when the broker says that it has started."""
        self.begin()
        self.wait_started()
        return self

    def begin(self) -> None:
        """Formats if needed and starts, without waiting: a node of a cluster may need the others first."""
        if not (self.data / "meta.properties").exists():
            self.format()
        self._started_before = self.log.count(STARTED)
        self.spawn()
        self.starts += 1

    def wait_started(self, patience: float = settings.PATIENCE) -> None:
        """Returns when the process of the last `begin` says that it has started."""
        process = self.process

        def started() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"the broker ended with {process.returncode} while starting:\n{self.tail()}")
            return self.log.count(STARTED) > self._started_before

        until(f"{STARTED!r} in {self.log_file}", started, patience)

    def kill(self) -> None:
        """kill -9, and the process is gone when this returns."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> int:
        assert self.process is not None, "the broker was not started"
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        try:
            return self.process.wait(timeout=settings.PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the broker did not end {settings.PATIENCE:.0f} s after signal {number}:\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        """The last lines it printed."""
        return "\n".join(self.log.splitlines()[-lines:])

    def complaints(self, lines: int = 8) -> str:
        """The last warnings and errors it printed, then the very last lines."""
        printed = self.log.splitlines()
        loud = [line for line in printed if any(word in line for word in (" WARN ", " ERROR ", " FATAL ", "panicked"))]
        return "\n".join(line[:400] for line in [*loud[-lines:], "...", *printed[-3:]])

    def segments(self, topic: str, partition: int = 0) -> list[Path]:
        """The segment files of a partition, oldest first."""
        return sorted((self.data / f"{topic}-{partition}").glob("*.log"))
