"""``curier broker`` with the certificates of ``curier cert``, as the command says to run them; and SIGHUP."""

from __future__ import annotations

import shlex
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from cryptography import x509

from tests.cli.test_broker_process import Start, start

__all__ = ["start"]  # a fixture

MODULE = [sys.executable, "-m", "curier"]


def cert(*arguments: str | Path) -> list[list[str]]:
    """Run ``curier cert``; returns the commands it says to run next, without ``curier``."""
    done = subprocess.run(
        [*MODULE, "cert", *map(str, arguments)], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.partition("next:\n")[2].splitlines()
    return [shlex.split(line)[1:] for line in lines]


def shown(port: int, lab: Path) -> int:
    """The serial number that a client sees which trusts the laboratory."""
    context = ssl.create_default_context(cafile=lab / "ca.pem")
    with (
        socket.create_connection(("127.0.0.1", port), 100) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_what_curier_cert_says_to_run(start: Start, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    broker, sub = cert(lab, "--host", "localhost", "--client", "dev1")
    arguments = [one.replace(":8883", ":0") for one in broker[1:]]
    process = start(*arguments)
    assert process.first_line == f"listening on tls://127.0.0.1:{process.port}\n", process.end()
    port = str(process.port)
    sub = [port if one == "8883" else one for one in sub]
    pub = ["pub", *sub[1 : sub.index("-t")], "-t", "a", "-m", "hello", "-r"]
    for command in (pub, [*sub, "-C", "1"]):
        done = subprocess.run([*MODULE, *command], capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a hello\n"
    nobody = [one for one in pub if one not in ("--cert", "--key") and "dev1" not in one]
    done = subprocess.run([*MODULE, *nobody, "--reconnect", "0"], capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    code, _, err = process.stop()
    assert code == 0
    assert "certificate" in err
    assert "Warning" not in err


def test_sighup_takes_a_new_certificate_and_keeps_the_old_where_it_does_not_fit(
    start: Start, tmp_path: Path
) -> None:
    lab = tmp_path / "lab"
    broker, _ = cert(lab)
    process = start(*(one.replace(":8883", ":0") for one in broker[1:]))
    first = serial(lab / "server.pem")
    assert shown(process.port, lab) == first

    (lab / "server.pem").unlink()
    (lab / "server.key").unlink()
    cert(lab, "--host", "localhost")
    second = serial(lab / "server.pem")
    process.popen.send_signal(signal.SIGHUP)
    process.wait_for_log("SIGHUP: the certificates were read again")
    assert shown(process.port, lab) == second != first

    key = (lab / "ca.key").read_bytes()
    (lab / "server.key").write_bytes(key)
    process.popen.send_signal(signal.SIGHUP)
    process.wait_for_log("the key is not that of the certificate; the certificate of before is kept")
    assert shown(process.port, lab) == second
    assert process.stop()[0] == 0


def test_a_pair_that_does_not_fit_does_not_start(start: Start, tmp_path: Path) -> None:
    broker, _ = cert(tmp_path)
    (tmp_path / "server.key").write_bytes((tmp_path / "ca.key").read_bytes())
    code, out, err = start(*(one.replace(":8883", ":0") for one in broker[1:])).end()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "the key is not that of the certificate" in err
