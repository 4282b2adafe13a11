"""java/client/Steady.java as a process of its own: the Java client under a steady load, which goes on until `finish`."""

import os
import subprocess
from pathlib import Path

from . import settings
from .waiting import until

#: The program's two groups: one commits by itself, as consumers do by default, one by hand after every poll.
GROUPS = ("auto", "hand")


class Steady:
    """The running load. Use: `with Steady(...) as load: ...; load.finish()`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, directory: Path):
        self.errors = directory / "steady.stderr"
        self.longest: dict[str, list[int]] = {}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")} | {"CLASSPATH": str(settings.CACHE / "java-classes")}
        self.process = subprocess.Popen(
            [str(settings.ROOT / "kafka/run-class"), settings.KAFKA_BROKER_VERSION, "Steady", bootstrap, topic, str(partitions)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors.open("w"), text=True, env=environment,
        )

    def __enter__(self) -> "Steady":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def look(self) -> dict[str, list[int]]:
        """What the program says of the load so far. The longest waits since `waits` are kept."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, list[int]]:
        line = self.process.stdout.readline()
        assert line, f"the load ended:\n{self.errors.read_text()[-3000:]}"
        said = {name: [int(n) for n in numbers.split(",")] for name, numbers in (field.split("=") for field in line.split())}
        for name in ("gaps", *(f"{group}.pauses" for group in GROUPS)):
            self.longest[name] = [max(pair) for pair in zip(said[name], self.longest.get(name, said[name]))]
        return said

    def until_flowing(self, auto: bool = False) -> None:
        """Waits until records of every partition are written, read and committed after now; `auto`: by both groups, one of
        which commits every five seconds."""
        names = ["acknowledged", *(f"{group}.read" for group in GROUPS), *(f"{group}.committed" for group in GROUPS if auto or group != "auto")]
        before = self.look()

        def flows() -> bool:
            now = self.look()
            return all(more > less for name in names for more, less in zip(now[name], before[name]))

        try:
            until("every partition to be written, read and committed", flows)
        except AssertionError as stuck:
            raise AssertionError(f"{stuck}\n{self.errors.read_text()[-3000:]}") from None

    def waits(self) -> str:
        """The longest waits since the last call, in ms; a wait that lasts is in both."""
        self.look()
        gaps, pauses = self.longest.pop("gaps"), [max(waits) for waits in self.longest.values()]
        self.longest = {}
        return f"longest gap between acknowledgements {max(gaps)} ms (by partition {' '.join(map(str, gaps))}), in reading {max(pauses)} ms"

    def finish(self) -> dict[str, list[int]]:
        """Ends the load: all is flushed, read and committed, and the program has found no fault. What went on."""
        self.process.stdin.close()
        line = self._answer()
        status = self.process.wait(timeout=settings.PATIENCE)
        assert status == 0, f"{line}\n{self.errors.read_text()[-6000:]}"
        return line
