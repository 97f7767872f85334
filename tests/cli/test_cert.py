"""``curier cert``: what it makes is good for OpenSSL, strict clients and us; nothing is overwritten."""

from __future__ import annotations

import shlex
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from curier.auth.identity import identity
from curier.cli import main
from curier.listeners import Listener
from curier.net.contexts import build
from tests.net.pki import Ends


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["cert", *map(str, arguments)])


def made(path: Path, *arguments: str) -> list[str]:
    """What was said, in lines."""
    done = run(path, *arguments)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return done.stdout.splitlines()


def files(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


def verify(lab: Path, name: str, *how: str) -> str:
    """What OpenSSL says of a certificate."""
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(lab / "ca.pem"), *how, str(lab / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr or done.stdout.strip().rpartition(": ")[2]


def client_context(lab: Path, client: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=lab / "ca.pem")
    # What Python 3.13 demands of certificates by itself.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if client:
        context.load_cert_chain(lab / f"{client}.pem", lab / f"{client}.key")
    return context


def test_for_this_machine(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    said = made(lab)
    assert files(lab) == ["ca.key", "ca.pem", "server.key", "server.pem"]
    for name in files(lab):
        assert stat.S_IMODE((lab / name).stat().st_mode) == (0o600 if name.endswith(".key") else 0o644)
    built = build(Listener("tls://127.0.0.1", certificate=lab / "server.pem", key=lab / "server.key"))
    assert built.warnings == ()  # nothing is missing, a root has signed it
    for host in ("localhost", "127.0.0.1", "::1"):
        Ends(built.context, client_context(lab), host).shake()
    broker, sub = said[-2:]
    assert shlex.split(broker) == shlex.split(
        f"curier broker --listen tls://127.0.0.1:8883 --certificate {lab}/server.pem --key {lab}/server.key"
    )
    assert shlex.split(sub) == shlex.split(f"curier sub -h localhost -p 8883 --cafile {lab}/ca.pem -t '#' -v")


def test_hosts_and_clients(tmp_path: Path) -> None:
    hosts = ("broker.example", "*.lab.example", "192.0.2.7", "müll.example")
    options = [option for host in hosts for option in ("--host", host)]
    said = made(tmp_path, *options, "--client", "dev1", "--client", "ana@example.org", "--days", "3")
    names = ("broker.example", "x.lab.example", "xn--mll-hoa.example")
    for option, value in (*(("hostname", name) for name in names), ("ip", "192.0.2.7")):
        assert verify(tmp_path, "server.pem", "-purpose", "sslserver", f"-verify_{option}", value) == "OK"
    assert "hostname mismatch" in verify(tmp_path, "server.pem", "-verify_hostname", "other.test")
    for client in ("dev1", "ana@example.org"):
        assert verify(tmp_path, f"{client}.pem", "-purpose", "sslclient") == "OK"
        found = x509.load_pem_x509_certificate((tmp_path / f"{client}.pem").read_bytes())
        days = found.not_valid_after_utc - found.not_valid_before_utc
        assert days.days == 3
        der = ssl.PEM_cert_to_DER_cert((tmp_path / f"{client}.pem").read_text())
        assert identity(der, "common-name") == (client, "")
    assert "purpose" in verify(tmp_path, "dev1.pem", "-purpose", "sslserver")
    assert "purpose" in verify(tmp_path, "server.pem", "-purpose", "sslclient")
    listener = Listener(
        "tls://0.0.0.0",
        certificate=tmp_path / "server.pem",
        key=tmp_path / "server.key",
        client_ca=tmp_path / "ca.pem",
    )
    Ends(build(listener).context, client_context(tmp_path, "dev1"), "broker.example").shake()
    broker, sub = said[-2:]
    assert broker.endswith(f"--client-ca {tmp_path}/ca.pem --allow-anonymous")
    assert f"-h broker.example -p 8883 --cafile {tmp_path}/ca.pem --cert {tmp_path}/dev1.pem" in sub


def test_for_others_a_password_is_advised(tmp_path: Path) -> None:
    passwd, broker, sub = made(tmp_path, "--host", "broker.example")[-3:]
    assert passwd == "  curier passwd users ana"
    assert "tls://0.0.0.0:8883" in broker
    assert broker.endswith("--password-file users")
    assert " -u ana -P PASSWORD " in sub


def test_the_authority_stays(tmp_path: Path) -> None:
    assert "an authority" in made(tmp_path, "--host", "broker.example")[0]
    before = (tmp_path / "ca.pem").read_bytes()
    assert made(tmp_path, "--client", "dev1")[0] == f"{tmp_path}/dev1.pem, dev1.key: the client dev1"
    assert (tmp_path / "ca.pem").read_bytes() == before
    assert verify(tmp_path, "dev1.pem", "-purpose", "sslclient") == "OK"


def test_a_client_alone(tmp_path: Path) -> None:
    assert not any("next" in line for line in made(tmp_path, "--client", "dev1"))
    assert files(tmp_path) == ["ca.key", "ca.pem", "dev1.key", "dev1.pem"]


@pytest.mark.parametrize("there", ["server.pem", "server.key", "dev1.key"])
def test_nothing_is_overwritten_and_nothing_begun(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    done = run(tmp_path, "--host", "h", "--client", "dev0", "--client", "dev1")
    assert done.exit_code == 2
    why = "is there already, and is not overwritten: remove it to have a new one"
    assert done.stderr == f"Error: {tmp_path / there} {why}\n"
    assert files(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "server.key").symlink_to(tmp_path / "elsewhere")
    assert run(tmp_path / "lab").exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--client", "a/b"), "it becomes the name of a file"),
        (("--client", ".."), "it becomes the name of a file"),
        (("--client", ""), "it becomes the name of a file"),
        (("--client", "a\nb"), "it becomes the name of a file"),
        (("--client", "x" * 65), "it becomes the name of a file"),
        (("--client", "ca"), "choose another name"),
        (("--client", "server"), "choose another name"),
        (("--client", "a", "--client", "a"), "is given twice"),
        (("--host", "https://h"), "expected a name or an address alone"),
        (("--host", "h:8883"), "expected a name or an address alone"),
        (("--host", ""), "expected a name or an address alone"),
        (("--host", "a..b"), "expected a name or an address alone"),
        (("--host", "ü" * 80), "expected a name or an address alone"),
        (("--days", "0"), "--days"),
    ],
)
def test_what_cannot_be(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert files(tmp_path) == []


def test_half_an_authority(tmp_path: Path) -> None:
    made(tmp_path)
    other = tmp_path / "other"
    made(other)
    (tmp_path / "ca.key").write_bytes((other / "ca.key").read_bytes())
    done = run(tmp_path, "--client", "dev1")
    assert (done.exit_code, "ca.key is not the key of ca.pem" in done.stderr) == (2, True)
    (tmp_path / "ca.key").write_text("no key")
    assert "cannot be read" in run(tmp_path, "--client", "dev1").stderr
    (tmp_path / "ca.key").unlink()
    done = run(tmp_path, "--client", "dev1")
    assert (done.exit_code, f"{tmp_path}/ca.key: there is no such file" in done.stderr) == (2, True)
    assert "dev1.pem" not in files(tmp_path)


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file").exit_code == 2
    done = run(tmp_path / "file" / "below")
    assert (done.exit_code, "cannot be written" in done.stderr) == (2, True)
