"""The tables of listeners in a configuration file."""

from __future__ import annotations

import ipaddress
from dataclasses import fields
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from curier.config import Config, load
from curier.errors import ConfigError
from curier.listeners import Listener, levels_of
from curier.server import Broker
from curier.settings.listener import LISTENER


def load_text(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "broker.toml"
    path.write_text(text)
    return load(path)


def test_every_setting_of_a_listener_can_stand_in_a_file() -> None:
    assert {one.name for one in fields(Listener)} == set(LISTENER)


def test_listeners_have_settings_of_their_own(tmp_path: Path) -> None:
    config = load_text(
        tmp_path,
        """
        listen = ["tcp://127.0.0.1:1884"]
        [[listener]]
        url = "tls://0.0.0.0"
        name = "devices"
        certificate = "server.pem"
        key = "/etc/keys/server.key"
        certificates = [["other.pem", "other.key"]]
        client_ca = "ca.pem"
        identity = "common-name"
        lowest_tls = "1.3"
        max_connections = 100
        max_packet_size = "64 KiB"
        [[listener]]
        url = "unix:///run/c.sock"
        mode = "0600"
        proxy_protocol = ["10.0.0.0/8", "::1"]
        [[listener]]
        url = "tls://0.0.0.0:8884"
        psk_file = "keys"
        psk_hint = "which?"
        """,
    )
    config.check()
    tcp, tls, unix, keys = config.doors()
    assert tcp == Listener("tcp://127.0.0.1:1884")
    assert tls == Listener(
        "tls://0.0.0.0",
        "devices",
        certificate=str(tmp_path / "server.pem"),
        key="/etc/keys/server.key",
        certificates=((str(tmp_path / "other.pem"), str(tmp_path / "other.key")),),
        client_ca=str(tmp_path / "ca.pem"),
        identity="common-name",
        lowest_tls="1.3",
        max_connections=100,
        max_packet_size=65_536,
    )
    assert keys == Listener("tls://0.0.0.0:8884", psk_file=str(tmp_path / "keys"), psk_hint="which?")
    assert unix == Listener(
        "unix:///run/c.sock",
        mode=0o600,
        proxy_protocol=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")),
    )


def test_tables_alone_are_all_listeners(tmp_path: Path) -> None:
    config = load_text(tmp_path, '[[listener]]\nurl = "tcp://127.0.0.1:1884"')
    assert [door.url for door in config.doors()] == ["tcp://127.0.0.1:1884"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name = 'x'", "line 2: listener: expected a url"),
        ("url = 'x'", "line 3: listener.url: 'x': expected a URL such as"),
        (
            "url = 'tcp://[::1]'\ncertifcate = 'x'",
            "line 4: listener.certifcate: there is no such key; did you mean",
        ),
        (
            "url = 'tcp://[::1]'\ncertificate = 'x'",
            "listener: tcp://[::1]:1883: certificate is for tls:// and wss://",
        ),
        ("url = 'tls://[::1]'\npaths = ['/a']", "tls://[::1]:8883: paths is for ws:// and wss://"),
        ("url = 'tcp://[::1]'\nmode = '0600'", "tcp://[::1]:1883: mode is for unix://"),
        ("url = 'unix:///a'\nmode = '0999'", "line 4: listener.mode: expected the mode of a file"),
        ("url = 'unix:///a'\nmode = 0o1777", "line 4: listener.mode: expected the mode of a file"),
        (
            "url = 'tcp://[::1]'\nproxy_protocol = ['10.0.0.1/8']",
            "line 4: listener.proxy_protocol: expected an addr",
        ),
        (
            "url = 'tcp://[::1]'\nproxy_protocol = '::1'",
            "line 4: listener.proxy_protocol: expected a list of netw",
        ),
        ("url = 'tcp://[::1]'\nproxy_certificates = true", "proxy_certificates needs proxy_protocol"),
        (
            "url = 'tls://[::1]'\ncertificates = ['a', 'b']",
            "line 4: listener.certificates: expected a certificate and",
        ),
        (
            "url = 'tls://[::1]'\nclient_certificates = 'maybe'",
            "line 4: listener.client_certificates: expected one",
        ),
    ],
)
def test_what_is_wrong_with_a_listener_is_told_where_it_stands(
    tmp_path: Path, table: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, f"memory = true\n[[listener]]\n{table}\n")
    assert expected in str(caught.value)


def test_the_line_is_that_of_the_table_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 4: listener\.name: expected text"):
        load_text(tmp_path, "[[listener]]\nurl = 'tcp://[::1]'\n[[listener]]\nname = 5\n")


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"listener: expected tables, each below a line \[\[listener\]\]"):
        load_text(tmp_path, "listener = ['tcp://127.0.0.1']")


def test_names_are_checked_where_they_stand(tmp_path: Path) -> None:
    text = """[[listener]]
url = "tcp://127.0.0.1:1"
name = "{}"
[[listener]]
url = "tcp://127.0.0.1:2"
name = "front"
"""
    load_text(tmp_path, text.format("back"))
    with pytest.raises(ConfigError, match=r"line 6: listener\.name: two listeners have the name 'front'"):
        load_text(tmp_path, text.format("front"))
    with pytest.raises(
        ConfigError, match=r"line 1: listener: tcp://127\.0\.0\.1:1: name is one level of a topic"
    ):
        load_text(tmp_path, text.format("a/b"))


def test_what_listeners_are_called_in_topics() -> None:
    urls = ["tcp://127.0.0.1:0", "tls://[::1]", "tcp://127.0.0.1:0", "unix:///run/c.sock"]
    assert levels_of([*map(Listener, urls), Listener("fd://3", "tls-[::1]:8883")]) == [
        "tcp-127.0.0.1:0",
        "tls-[::1]:8883-2",
        "tcp-127.0.0.1:0-2",
        "unix--run-c.sock",
        "tls-[::1]:8883",
    ]


# -- who may come in --


def test_a_listener_for_others_may_decide_by_itself() -> None:
    for door in (
        Listener("tcp://0.0.0.0", allow_anonymous=True),
        Listener("tls://0.0.0.0", client_ca="ca.pem", identity="dns"),
        Listener("tls://0.0.0.0", client_ca="ca.pem", client_certificates="optional", identity="dns",
                 allow_anonymous=False),
    ):  # fmt: skip
        Config(listeners=(door,)).check()


@pytest.mark.parametrize(
    "door",
    [
        Listener("tcp://0.0.0.0"),
        Listener("tls://0.0.0.0", client_ca="ca.pem"),
        Listener("tls://0.0.0.0", client_ca="ca.pem", client_certificates="optional", identity="dns"),
    ],
)
def test_or_somebody_has_to(door: Listener) -> None:
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        Config(listeners=(door,)).check()
    Config(listeners=(door,), password_file="users").check()


PROXY = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize("url", ["tcp://0.0.0.0:0", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"allow_anonymous": True},
        {"allow_anonymous": False},
        {"proxy_protocol": PROXY},
        {"proxy_protocol": PROXY, "proxy_certificates": True},
        {"proxy_protocol": PROXY, "proxy_certificates": True, "allow_anonymous": False},
        {"proxy_protocol": PROXY, "proxy_certificates": True, "allow_anonymous": True},
    ],
)
def test_file_and_broker_have_one_rule_for_who_may_come_in(url: str, settings: dict[str, Any]) -> None:
    door = Listener(url, **settings)
    said = []
    for check in (Config(listeners=(door,)).check, partial(Broker, door)):
        try:
            check()
        except ConfigError as error:
            said.append("other machines" if "other machines" in str(error) else "nobody")
        else:
            said.append("")
    assert said[0] == said[1]


def test_a_proxy_may_be_who_knows_all() -> None:
    door = Listener("tcp://0.0.0.0:0", proxy_protocol=PROXY, proxy_certificates=True, allow_anonymous=False)
    Config(listeners=(door,)).check()
    Broker(door)


def test_nobody_at_all_is_a_mistake_at_any_of_them() -> None:
    doors = (Listener("tcp://127.0.0.1"), Listener("tcp://127.0.0.1:0", allow_anonymous=False))
    with pytest.raises(ConfigError, match="nobody can connect"):
        Config(listeners=doors).check()


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
def test_what_is_for_tls_is_not_taken_in_silence_where_there_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"\({name} = \.\.\.\) is for listeners that speak TLS"):
        Config(**{name: "file.pem"}).check()  # type: ignore[arg-type]


def test_the_password_of_a_key_may_stand_somewhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD_OF_KEY", "open sesame")
    path = tmp_path / "broker.toml"
    text = '[[listener]]\nurl = "tls://127.0.0.1"\ncertificate = "c"\nkey_password = "{}"\n'
    path.write_text(text.format("env:PASSWORD_OF_KEY"))
    (listener,) = load(path).listeners
    assert listener.key_password == "open sesame"
    path.write_text(text.format("file:nowhere"))
    with pytest.raises(ConfigError, match=r"line 4: listener\.key_password: .*nowhere cannot be read"):
        load(path)
    path.write_text(text.format("x") + 'key_password_file = "y"')
    with pytest.raises(ConfigError, match="key_password and key_password_file cannot both be"):
        load(path)
