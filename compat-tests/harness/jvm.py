"""A JVM that stays: Java starts slowly, so main classes are run one after the other inside one process.

The other end is java/host/ToolHost.java. A command is one line, fields separated by spaces: the class, then the standard
input, then each argument, texts in base64 with a leading `=` (so that an empty text is a field too). An answer is one
line as well: the exit status, the standard output, the standard error.
"""

import base64
import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import settings


@dataclass
class Outcome:
    """What a main class left behind."""

    status: int
    out: str
    err: str

    def ok(self) -> "Outcome":
        """Itself, if the status was 0."""
        assert self.status == 0, f"exit status {self.status}\nstdout:\n{self.out}\nstderr:\n{self.err}"
        return self


def _encode(text: str) -> str:
    return "=" + base64.b64encode(text.encode()).decode()


def _decode(field: str) -> str:
    return base64.b64decode(field[1:]).decode(errors="replace")


class Jvm:
    """A running java/host/ToolHost with the jars of one Kafka version on its class path."""

    def __init__(self, version: str, directory: Path):
        self.version = version
        self.errors = directory / "stderr"
        self.process: subprocess.Popen | None = None

    def run(self, main: str, *arguments: str, stdin: str = "", patience: float = 120) -> Outcome:
        """Runs a main class to its end. One that does not end in time costs the whole JVM; the next call gets a new one."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        command = " ".join([main, _encode(stdin), *map(_encode, arguments)]) + "\n"
        self.process.stdin.write(command.encode())
        status, out, err = self._line(main, patience).split(" ")
        return Outcome(int(status), _decode(out), _decode(err))

    def alone(self, main: str, *arguments: str) -> Outcome:
        """Runs a main class in a JVM of its own: for those that do their last work in the JVM's shutdown hooks."""
        done = subprocess.run(
            [str(settings.ROOT / "kafka/run-class"), self.version, main, *arguments],
            capture_output=True, text=True, timeout=150,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}
        environment["CLASSPATH"] = str(settings.CACHE / "java-classes")
        mode = ["tools"] if self.version == settings.KAFKA_TOOLS_VERSION else []
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(settings.ROOT / "kafka/run-class"), self.version, "ToolHost", *mode],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, bufsize=0,
            )

    def _line(self, main: str, patience: float) -> str:
        deadline, line = time.monotonic() + patience, b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            piece = os.read(self.process.stdout.fileno(), 1 << 20) if readable else b""
            if not piece:
                self.close()
                what = "took its JVM with it" if readable else f"did not end within {patience:.0f} s"
                raise AssertionError(f"{main} {what}\n{self.errors.read_text(errors='replace')[-2000:]}")
            line += piece
        return line.decode().rstrip("\n")

    def close(self) -> None:
        """Ends the JVM."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Jvm":
        return self

    def __exit__(self, *_) -> None:
        self.close()
