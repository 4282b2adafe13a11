"""A network of one's own: every node in a network namespace behind a bridge, and cuts between them in either direction.

Needs root, `ip` and `iptables`. What is missing is installed where apt can; what then still fails is an error that says
so: nothing is skipped silently.
"""

import os
import shutil
import subprocess
from pathlib import Path

from .waiting import until


class NoNetwork(Exception):
    """Network namespaces cannot be made here; the text says why and what helps."""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoNetwork(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _need_tools() -> None:
    if os.geteuid() != 0:
        raise NoNetwork("network namespaces need root: run as root, or in a container with --privileged")
    missing = [package for tool, package in (("ip", "iproute2"), ("iptables", "iptables")) if not shutil.which(tool)]
    if missing:
        if not shutil.which("apt-get"):
            raise NoNetwork(f"{' and '.join(missing)} must be installed to cut nodes off from each other")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]):
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode != 0:
                raise NoNetwork(f"installing {' '.join(missing)} failed: {done.stderr.strip()[-500:]}")


class Network:
    """Namespaces for nodes 1, 2, ...: `address(n)` each, and `host`, where clients outside of them are."""

    def __init__(self, nodes: list[int]):
        _need_tools()
        self.nodes = list(nodes)
        number = self._claim()
        self.name = f"ot{number}"
        self.subnet = f"10.{177 + number // 250}.{number % 250}"
        self.host = f"{self.subnet}.254"
        try:
            self._build()
        except NoNetwork:
            self.close()
            raise

    @staticmethod
    def _claim() -> int:
        """A number that no other process uses: the bridge of that name does not exist yet."""
        start = os.getpid() % 1000
        for step in range(1000):
            number = (start + step) % 1000
            if not Path(f"/sys/class/net/ot{number}").exists():
                return number
        raise NoNetwork("a thousand bridges called ot0 to ot999 exist: `ip link del` those that are left over")

    def _build(self) -> None:
        _run("ip", "link", "add", self.name, "type", "bridge")
        _run("ip", "addr", "add", f"{self.host}/24", "dev", self.name)
        _run("ip", "link", "set", self.name, "up")
        for node in self.nodes:
            space, outside = self.namespace(node), f"{self.name}v{node}"
            _run("ip", "netns", "add", space)
            _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "link", "set", outside, "master", self.name, "up")
            _run("ip", "-n", space, "addr", "add", f"{self.address(node)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run("ip", "-n", space, "link", "set", device, "up")
        # The bridge forwards when its ports have come up; until then the first packets get lost.
        until("the bridge", lambda: all(self._carries(node) for node in self.nodes), 20)

    def _carries(self, node: int) -> bool:
        return "state UP" in _run("ip", "link", "show", f"{self.name}v{node}")

    def namespace(self, node: int) -> str:
        """The name of a node's namespace."""
        return f"{self.name}n{node}"

    def address(self, node: int) -> str:
        """The address of a node."""
        return f"{self.subnet}.{node}"

    def prefix(self, node: int) -> tuple[str, ...]:
        """What goes before a command that is to run as this node."""
        return ("ip", "netns", "exec", self.namespace(node))

    def drop(self, source: int | str, target: int) -> None:
        """Packets from a node (or "clients") to another are lost from now on, without a word to either."""
        where = self.host if source == "clients" else self.address(source)
        _run(*self.prefix(target), "iptables", "-w", "-A", "INPUT", "-s", where, "-j", "DROP")

    def cut(self, a: int, b: int) -> None:
        """Nothing passes between two nodes."""
        self.drop(a, b)
        self.drop(b, a)

    def isolate(self, node: int, clients: bool = False) -> None:
        """Nothing passes between a node and all others; clients still reach it unless they are cut off too."""
        for other in self.nodes:
            if other != node:
                self.cut(node, other)
        if clients:
            self.drop("clients", node)

    def deafen(self, node: int) -> None:
        """One-way: the others hear the node, it hears none of them."""
        for other in self.nodes:
            if other != node:
                self.drop(other, node)

    def silence(self, node: int) -> None:
        """One-way: the node hears the others, none of them hears it."""
        for other in self.nodes:
            if other != node:
                self.drop(node, other)

    def unplug(self, node: int, plugged: bool = False) -> None:
        """The node's link goes down (or up again)."""
        _run("ip", "link", "set", f"{self.name}v{node}", "up" if plugged else "down")

    def heal(self) -> None:
        """Everything passes again."""
        for node in self.nodes:
            _run(*self.prefix(node), "iptables", "-w", "-F", "INPUT")
            self.unplug(node, plugged=True)

    def close(self) -> None:
        """Takes everything away; processes in the namespaces must have ended."""
        for node in self.nodes:
            subprocess.run(["ip", "netns", "del", self.namespace(node)], capture_output=True)
            subprocess.run(["ip", "link", "del", f"{self.name}v{node}"], capture_output=True)
        subprocess.run(["ip", "link", "del", self.name], capture_output=True)
