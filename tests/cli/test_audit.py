"""``curier config audit``: what is open is told, and what is closed is not."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curier.broker.options import Options
from curier.cli import main
from curier.cli.audit import findings
from curier.config import Config
from curier.config_authenticators import Asked
from curier.listeners import Listener

EVERYTHING = ip_network("0.0.0.0/0")
TLS: dict[str, Any] = {"certificate": "c.pem", "key": "k.pem"}
CERTIFIED = Listener("tls://0.0.0.0", client_ca="ca.pem", identity="common-name", crl="crl.pem", **TLS)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules"
    path.touch(0o600)
    return str(path)


def told(config: Config) -> list[str]:
    return [one.what for one in findings(replace(config, memory=True))]


def test_nothing_is_open(rules: str) -> None:
    assert told(Config(listeners=(CERTIFIED,), acl_file=rules)) == []


@pytest.mark.parametrize(
    ("door", "expected"),
    [
        (Listener("tcp://127.0.0.1"), ["every program of this machine may connect without a name"]),
        (
            Listener("tls://0.0.0.0", allow_anonymous=True, **TLS),
            ["everybody who can reach it may connect without a name"],
        ),
        (
            Listener("tcp://0.0.0.0", allow_anonymous=False),
            ["passwords and messages can be read and changed on their way"],
        ),
        (
            Listener("tcp://0.0.0.0", allow_anonymous=False, proxy_protocol=(ip_network("10.0.0.1"),)),
            [],
        ),
        (
            Listener("tcp://0.0.0.0", allow_anonymous=False, proxy_protocol=(EVERYTHING,)),
            ["proxy_protocol believes everybody who claims to be a proxy"],
        ),
        (
            Listener("ws://127.0.0.1:1", allow_anonymous=False, trusted_proxies=(EVERYTHING,)),
            [
                "any web page can have the browsers of its visitors connect",
                "trusted_proxies believes everybody who claims to be a proxy",
            ],
        ),
        (Listener("ws://127.0.0.1:1", allow_anonymous=False, origins=("https://a",)), []),
        (replace(CERTIFIED, crl=None), ["a stolen certificate of a client is good until it ends"]),
        (
            Listener("unix:///run/c.sock", allow_anonymous=False, mode=0o666),
            ["mode 0666 lets every user of this machine in"],
        ),
    ],
)
def test_a_listener(door: Listener, expected: list[str], rules: str) -> None:
    assert told(Config(listeners=(door,), acl_file=rules)) == [f"{door.url}: {one}" for one in expected]


def test_what_clients_may_do() -> None:
    assert told(Config(listeners=(CERTIFIED,))) == ["every client may publish and subscribe to everything"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_connecting", 0), ("packet_timeout", 0), ("client_share", 1), ("source_share", 1)],
)
def test_limits_that_are_off(name: str, value: int, rules: str) -> None:
    options = Options()
    setattr(options, name, value)
    (one,) = findings(Config(listeners=(CERTIFIED,), acl_file=rules, memory=True, options=options))
    assert one.what.startswith(f"{name}: ")
    assert one.close == f"leave {name} at its default, {getattr(Options(), name):g}"


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("http://auth.example/login", True),
        ("http://127.0.0.1:8080/", False),
        ("http://localhost/", False),
        ("https://auth.example/", False),
        ("ldap://10.0.0.1", True),
        ("http://[", False),
    ],
)
def test_what_goes_over_the_network_in_the_clear(url: str, is_open: bool, rules: str) -> None:
    config = Config(listeners=(CERTIFIED,), acl_file=rules, authenticators=(Asked("http", {"url": url}),))
    expected = ["[[authenticator]] http: url goes over the network in the clear"] if is_open else []
    assert told(config) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o600, ""), (0o640, ""), (0o644, "every user of this machine can read it"), (0o666, "other users")],
)
def test_files_that_others_can_read_or_change(mode: int, expected: str, tmp_path: Path, rules: str) -> None:
    users = tmp_path / "users"
    users.touch()
    users.chmod(mode)
    found = told(Config(listeners=(CERTIFIED,), acl_file=rules, password_file=str(users)))
    assert len(found) == bool(expected)
    assert all(one.startswith(f"{users}: {expected}") for one in found)
    Path(rules).chmod(mode)
    found = told(Config(listeners=(CERTIFIED,), acl_file=rules))
    assert found == ([f"{rules}: other users of this machine can change it"] if mode == 0o666 else [])


def test_passwords_that_are_quick_to_guess(tmp_path: Path, rules: str) -> None:
    users = tmp_path / "users"
    users.write_text("ana:$7$101$c2FsdHNhbHRzYWx0$" + "A" * 86 + "==\n")
    users.chmod(0o600)
    (one,) = told(Config(listeners=(CERTIFIED,), acl_file=rules, password_file=str(users)))
    assert one == f"{users}: 1 password(s) would be quick to guess from a stolen file"


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('listen = ["tcp://0.0.0.0:1883"]\nallow_anonymous = true\nmemory = true')
    path.chmod(0o666)
    result = CliRunner().invoke(main, ["config", "audit", str(path)])
    assert result.exit_code == 1
    assert result.stdout.endswith("\n4 open\n")
    assert (
        f"open:  {path}: other users of this machine can change it\nclose: chmod go-w {path}\n"
        in result.stdout
    )
    found = json.loads(CliRunner().invoke(main, ["config", "audit", "--json", str(path)]).stdout)
    assert len(found) == 4
    assert {*found[0]} == {"open", "close"}
    path.write_text("x = 1")
    assert CliRunner().invoke(main, ["config", "audit", str(path)]).exit_code == 2
