"""Other people's brokers, in processes of their own, each on a free port of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import require_peer
from tests.interop.mosquitto_process import MosquittoProcess
from tests.ports import free_port

START_SECONDS = 300.0  # RabbitMQ takes ten on an idle machine, and minutes on a busy one

AEDES = """
const { Aedes } = await import(process.argv[2]);
const { createServer } = await import("node:net");
const aedes = await Aedes.createBroker();
createServer(aedes.handle).listen(Number(process.argv[3]), "127.0.0.1");
"""


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Mosquitto 2 of Debian: 3.1.1 with the bridge bit, 5.0."""
    process = MosquittoProcess(folder)
    try:
        yield process.port
    finally:
        process.close()


@contextmanager
def rabbitmq(folder: Path) -> Iterator[int]:
    """RabbitMQ with its plugin for MQTT: 3.1.1, and QoS 1 at most."""
    require_peer("rabbitmq-server")
    port, epmd = free_port(), str(free_port())
    (folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\nmqtt.allow_anonymous = true\n"
    )
    environment = {
        "RABBITMQ_NODENAME": f"curier{port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "ERL_EPMD_PORT": epmd,
        "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # so that it may be told to end
        "RABBITMQ_DIST_PORT": str(free_port()),
        "HOME": str(folder),
    }
    try:
        with served(["/usr/lib/rabbitmq/bin/rabbitmq-server"], port, folder, environment):
            yield port
    finally:  # Erlang's port mapper, which it has started, is a daemon
        subprocess.run(["epmd", "-port", epmd, "-kill"], capture_output=True, timeout=60, check=False)


@contextmanager
def nats(folder: Path) -> Iterator[int]:
    """The MQTT of NATS, which keeps sessions in JetStream: 3.1.1."""
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(
        f'server_name: n\nlisten: "127.0.0.1:{free_port()}"\njetstream {{ store_dir: "{folder}/js" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}" }}\n'
    )
    with served([require_peer("nats-server"), "-c", str(config)], port, folder):
        yield port


@contextmanager
def aedes(folder: Path) -> Iterator[int]:
    """Aedes, in node: 3.1.1 with the bridge bit."""
    port = free_port()
    program = folder / "aedes.mjs"
    program.write_text(AEDES)
    library = Path(require_peer("aedes")) / "aedes.js"
    with served([require_peer("node"), str(program), str(library), str(port)], port, folder):
        yield port


@contextmanager
def served(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A process and all that it starts, from when it listens to its end."""
    log = folder / "log.txt"
    with log.open("w") as out:
        popen = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # RabbitMQ has children, which are to end with it
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert popen.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(100)
