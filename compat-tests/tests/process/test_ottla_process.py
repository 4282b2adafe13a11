"""The process around the broker: how it starts, refuses to start, and stops. Ottla's own command line and messages."""

import os
import shutil
import signal
import socket
import subprocess

import pytest

from harness import settings
from harness.broker import STARTED, Broker
from harness.ports import free_port
from harness.rdkafka import create_topic, produce, read_all
from harness.waiting import until
from harness.wire import Connection, Writer, request

pytestmark = pytest.mark.only("ottla", reason="Kafka's scripts, exit codes and messages differ, or it has no such thing")


def ottla(*arguments: str, cwd=None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Runs the binary to its end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}
    return subprocess.run(
        [str(settings.OTTLA_BIN), *arguments], capture_output=True, text=True, cwd=cwd, timeout=settings.PATIENCE, env=clean | (env or {})
    )


def refused(broker: Broker) -> str:
    """Starts a broker that must refuse to; returns what it said. It must not have panicked."""
    process = broker.spawn()
    assert process.wait(timeout=settings.PATIENCE) == 1, broker.tail()
    assert STARTED not in broker.log and "panicked" not in broker.log
    return broker.log


# ---- stopping

def test_sigterm_ends_it_in_good_order(new_broker):
    broker = new_broker().start()
    create_topic(broker.bootstrap, "kept")
    produce(broker.bootstrap, "kept", [{"value": str(i)} for i in range(10)])
    assert broker.terminate() == 0
    assert "Terminating process due to signal SIGTERM" in broker.log
    assert (broker.data / ".kafka_cleanshutdown").exists()
    broker.start()
    assert not (broker.data / ".kafka_cleanshutdown").exists()
    assert [m.value() for m in read_all(broker.bootstrap, "kept")] == [str(i).encode() for i in range(10)]


def test_sigint_does_too(new_broker):
    broker = new_broker().start()
    os.kill(broker.pid, signal.SIGINT)
    assert broker.process.wait(timeout=settings.PATIENCE) == 0
    assert (broker.data / ".kafka_cleanshutdown").exists()


def test_sigterm_does_not_wait_for_idle_or_polling_clients(new_broker):
    broker = new_broker().start()
    create_topic(broker.bootstrap, "polled")
    idle = [Connection(broker) for _ in range(10)]
    poll = Writer().i32(-1).i32(600_000).i32(1).i32(1 << 20).i8(0).i32(1).string("polled").i32(1).i32(0).i64(0).i32(1 << 20)
    idle[0].send(request(1, 4, 1, poll.data))
    assert broker.terminate() == 0
    for connection in idle:
        connection.close()


def test_a_kill_leaves_no_clean_marker_and_no_stale_lock(new_broker):
    broker = new_broker().start()
    broker.kill()
    assert not (broker.data / ".kafka_cleanshutdown").exists()
    broker.start()


# ---- refusals

def test_a_used_port(new_broker):
    broker = new_broker()
    broker.format()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", broker.port))
        holder.listen()
        said = refused(broker)
    assert str(broker.port) in said and "PLAINTEXT" in said and "in use" in said.lower()


def test_an_unformatted_directory(new_broker):
    broker = new_broker()
    said = refused(broker)
    assert str(broker.data) in said and "storage format" in said
    assert not (broker.data / "meta.properties").exists()


def test_auto_format(new_broker):
    broker = new_broker()
    command = [*broker.command(), "--auto-format"]
    broker.command = lambda: command
    broker.spawn()
    until(STARTED, lambda: STARTED in broker.log)
    assert "node.id=1" in (broker.data / "meta.properties").read_text()


def test_auto_format_of_a_controller_that_names_only_itself(new_broker):
    """As in the server.properties that comes with it: nobody else is there to take it into a quorum."""
    broker = new_broker()
    del broker.properties["controller.quorum.voters"]
    broker.properties["controller.quorum.bootstrap.servers"] = f"localhost:{broker.controller_port}"
    broker.write_config()
    assert "ottla storage format --standalone" in refused(broker)
    command = [*broker.command(), "--auto-format"]
    broker.command, broker.format = lambda: command, lambda: None
    for _ in "ab":
        broker.begin()
        broker.wait_started()
        assert broker.terminate() == 0


def test_sigterm_while_no_controller_is_active(new_broker):
    broker = new_broker()
    broker.properties["controller.quorum.voters"] += ",2@127.0.0.1:1"
    broker.write_config()
    broker.format()
    broker.spawn()
    until("it to wait for a controller", lambda: "could not be registered" in broker.log)
    assert broker.terminate() == 0
    assert STARTED not in broker.log and "Terminating process due to signal SIGTERM" in broker.log


def test_a_directory_of_another_node(new_broker):
    broker = new_broker()
    broker.format()
    broker.properties["node.id"] = "2"
    broker.properties["controller.quorum.voters"] = f"2@127.0.0.1:{broker.controller_port}"
    broker.write_config()
    said = refused(broker)
    assert str(broker.data) in said and "node.id" in said and "Expected 2, but read 1" in said


def test_a_directory_that_is_not_ours(new_broker):
    """Files of somebody else in the way: nothing of theirs may be touched."""
    broker = new_broker()
    broker.data.mkdir(parents=True)
    (broker.data / "meta.properties").write_text("this is not a properties file of a broker\n\x00\x01")
    (broker.data / "precious.txt").write_text("mine")
    said = refused(broker)
    assert "meta.properties" in said
    assert (broker.data / "precious.txt").read_text() == "mine"


def test_a_log_dir_that_is_a_file(new_broker):
    broker = new_broker()
    broker.data.write_text("not a directory")
    assert str(broker.data) in refused(broker)


def test_two_processes_on_one_directory(new_broker):
    first = new_broker().start()
    second = new_broker({"log.dirs": str(first.data)})
    said = refused(second)
    assert str(first.data) in said and "lock" in said.lower()
    with Connection(first) as connection:
        assert connection.call(18, 0).i16() == 0


# ---- properties

@pytest.mark.parametrize("key, value, remedy", [
    ("num.partitions", "many", "many"),
    ("num.partitions", "0", "0"),
    ("log.retention.hours", "7d", "7d"),
    ("listeners", "PLAINTEXT://127.0.0.1:notaport", "notaport"),
    ("auto.create.topics.enable", "perhaps", "perhaps"),
    ("log.cleanup.policy", "keep", "keep"),
    ("ottla.acks.all.fsync", "sometimes", "sometimes"),
])
def test_a_bad_value_is_named_with_its_key_and_place(new_broker, key, value, remedy):
    broker = new_broker()
    broker.format()
    broker.properties[key] = value
    broker.write_config()
    line = list(broker.properties).index(key) + 1
    said = refused(broker)
    assert key in said and remedy in said and f"server.properties:{line}" in said


def test_an_unknown_key_is_warned_of_with_the_nearest(new_broker):
    broker = new_broker({"log.retention.hour": "1"}).start()
    [warning] = [line for line in broker.log.splitlines() if "log.retention.hour" in line and "WARN" in line]
    assert "log.retention.hours" in warning


def test_check_config(new_broker):
    broker = new_broker()
    good = ottla(str(broker.config), "--check-config")
    assert good.returncode == 0, good.stdout + good.stderr
    broker.properties["num.partitions"] = "none"
    broker.write_config()
    bad = ottla(str(broker.config), "--check-config")
    assert bad.returncode == 1 and "num.partitions" in bad.stdout + bad.stderr
    ssl = ottla(str(broker.config), "--check-config", "--override", "num.partitions=1", "--override", "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SSL")
    assert ssl.returncode == 1 and "SSL is not supported yet" in ssl.stderr, "what the start refuses is no good configuration"
    assert not broker.data.exists()


def test_a_file_that_is_not_there(tmp_path):
    done = ottla(str(tmp_path / "nowhere.properties"))
    assert done.returncode == 1 and "nowhere.properties" in done.stdout + done.stderr


def test_override_beats_the_file(new_broker):
    broker = new_broker()
    broker.format()
    command = [*broker.command(), "--override", "num.partitions=3"]
    broker.command = lambda: command
    broker.start()
    with Connection(broker) as connection:
        # DescribeConfigs version 2: one resource, a broker (4), by the name of "1", one key, no synonyms.
        body = Writer().i32(1).i8(4).string("1").i32(1).string("num.partitions").i8(0)
        answer = connection.call(32, 2, body.data)
        assert Writer().string("num.partitions").string("3").data in answer.data


def test_no_file_at_all(tmp_path):
    """Zero configuration but for the ports: a node that formats ./data and serves."""
    port = free_port()
    log = (tmp_path / "out").open("w+")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}
    process = subprocess.Popen(
        [str(settings.OTTLA_BIN), "--override", f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{free_port()}",
         "--override", f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}"],
        cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, env=clean,
    )
    try:
        def started() -> bool:
            said = (tmp_path / "out").read_text()
            assert process.poll() is None, said
            return STARTED in said

        until(STARTED, started)
        assert (tmp_path / "data" / "meta.properties").exists()
        create_topic(f"127.0.0.1:{port}", "first")
        produce(f"127.0.0.1:{port}", "first", [{"value": "hello"}])
    finally:
        process.kill()
        process.wait()


def test_a_port_of_zero_is_chosen_and_told(new_broker):
    broker = new_broker()
    broker.properties["listeners"] = f"PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{broker.controller_port}"
    del broker.properties["advertised.listeners"]
    broker.write_config()
    broker.start()
    assert "127.0.0.1:" in broker.log


def test_kafkas_environment_is_read(new_broker):
    broker = new_broker()
    done = ottla(str(broker.config), "--check-config", env={"KAFKA_NUM_PARTITIONS": "several"})
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "num.partitions" in said and "KAFKA_NUM_PARTITIONS" in said


# ---- storage tool

def test_storage_format_info_random_uuid(new_broker):
    broker = new_broker()
    uuid = broker.storage("random-uuid").stdout.strip()
    assert len(uuid) == 22
    broker.format()
    meta = dict(
        line.split("=", 1) for line in (broker.data / "meta.properties").read_text().splitlines() if "=" in line and line[0] != "#"
    )
    assert (meta["version"], meta["cluster.id"], meta["node.id"]) == ("1", broker.cluster_id, "1") and len(meta["directory.id"]) == 22
    again = broker.storage("format", "--cluster-id", broker.cluster_id, "--config", str(broker.config))
    assert again.returncode == 1 and "already formatted" in (again.stdout + again.stderr).lower()
    ignored = broker.storage("format", "--cluster-id", broker.cluster_id, "--config", str(broker.config), "--ignore-formatted")
    assert ignored.returncode == 0
    info = broker.storage("info", "--config", str(broker.config))
    assert info.returncode == 0 and str(broker.data) in info.stdout and broker.cluster_id in info.stdout


# ---- the way back

@pytest.mark.timeout(300)
def test_kafka_takes_the_directory_over_and_gives_it_back(new_broker):
    """Stopped in good order, the directory is Kafka's again: same topics, same records, same offsets; and then Ottla's."""
    ours = new_broker().start()
    create_topic(ours.bootstrap, "moved", 2, {"retention.ms": "999999999"})
    values = [f"v{i}" for i in range(100)]
    produce(ours.bootstrap, "moved", [{"value": v, "partition": i % 2} for i, v in enumerate(values)], compression_type="lz4")
    assert ours.terminate() == 0
    theirs = new_broker(target="kafka")
    theirs.cluster_id = ours.cluster_id
    theirs.properties["log.dirs"] = str(ours.data)
    theirs.data = ours.data
    theirs.write_config()
    theirs.start()
    got = read_all(theirs.bootstrap, "moved")
    assert sorted(m.value().decode() for m in got) == sorted(values)
    produce(theirs.bootstrap, "moved", [{"value": "theirs", "partition": 0}])
    create_topic(theirs.bootstrap, "new", 1)
    produce(theirs.bootstrap, "new", [{"value": "created there"}])
    assert theirs.terminate() in (0, 143)
    ours.start()
    assert sorted(m.value().decode() for m in read_all(ours.bootstrap, "moved")) == sorted([*values, "theirs"])
    assert [m.value() for m in read_all(ours.bootstrap, "new")] == [b"created there"]
    create_topic(ours.bootstrap, "newer", 1)
    assert ours.terminate() == 0
    ours.start()
    produce(ours.bootstrap, "newer", [{"value": "v"}])
    assert [m.value() for m in read_all(ours.bootstrap, "newer")] == [b"v"]
    shutil.rmtree(theirs.data, ignore_errors=True)
