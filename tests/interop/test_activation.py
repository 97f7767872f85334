"""Sockets that systemd passes: by the program that it has for trying that."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from curier.codec.encode import encode
from curier.codec.packets import Connect
from tests.conftest import require_peer
from tests.interop.mosquitto_process import TIMEOUT
from tests.ports import free_port


def accepted(family: int, address: object) -> bytes:
    """What the broker answers the CONNECT of a client that comes there."""
    with socket.socket(family) as client:
        client.settimeout(TIMEOUT)
        client.connect(address)  # type: ignore[arg-type]
        client.sendall(encode(Connect(4, "c", True, 0), 4))
        return client.recv(4)


def test_systemd_passes_sockets_by_name(tmp_path: Path) -> None:
    """The first client starts the broker, and is served by it."""
    port, path = free_port(), tmp_path / "local"
    command = [require_peer("systemd-socket-activate"), "-l", f"127.0.0.1:{port}", "-l", str(path)]
    command += ["--fdname=mqtt:local"]
    if "PYTHONPATH" in os.environ:  # nothing else of the environment is passed on
        command += ["-E", "PYTHONPATH"]
    command += [sys.executable, "-m", "curier", "broker", "--memory", "--allow-anonymous"]
    command += ["--listen", "fd://local", "--listen", "fd://mqtt"]
    log = tmp_path / "log"
    with log.open("w") as said:
        broker = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + TIMEOUT
        while f"Listening on {path}" not in log.read_text():
            assert broker.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        assert accepted(socket.AF_INET, ("127.0.0.1", port)) == b"\x20\x02\0\0"
        assert accepted(socket.AF_UNIX, str(path)) == b"\x20\x02\0\0"
        broker.terminate()
        assert broker.wait(TIMEOUT) == 0
    finally:
        if broker.poll() is None:
            broker.kill()
            broker.wait(TIMEOUT)
    words = log.read_text()
    assert f"listening on tcp://127.0.0.1:{port}\n" in words
    assert f"listening on unix://{path}\n" in words
    assert "Traceback" not in words
