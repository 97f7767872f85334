"""The tables ``[[bridge]]`` of a file: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.bridge.topics import Topic
from curier.config import load, read
from curier.errors import ConfigError

WHOLE = """
[[bridge]]
name = "cloud"
url = ["mqtts://one.example", "wss://two.example/mqtt"]
topics = ["a/# out 2", { pattern = "b c", direction = "in", remote = "x/" }]
user = "gate"
start = "lazy"
threshold = 5
idle_timeout = "2 min"
round_robin = true
window = 50
max_hops = 3
first_wait = "500 ms"
longest_wait = "5 min"
notifications = "both"
notification_topic = "bridges/cloud"
client_id = "home"
username = "ana"
password = "file:secret"
version = "3.1.1"
bridge_bit = false
clean_start = true
session_expiry = "7 d"
keep_alive = 30
connect_timeout = "20 s"
proxy = "socks5://proxy:1080"
websocket_headers = { X-Key = "hunter2" }
max_packet_size = "1 MiB"
id = "b"
ca_file = "ca.pem"
certificate = "me.pem"
key = "me.key"
key_password = "env:KEY_WORD"
alpn = "mqtt"
server_name = "cloud"
lowest_tls = "1.3"
"""


def test_all_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_WORD", "hunter2")
    (tmp_path / "secret").write_text("hunter2\n")
    file = tmp_path / "broker.toml"
    file.write_text(WHOLE)
    (one,) = load(file).bridges
    there, tls = one.remote, one.remote.tls
    assert tls is not None
    assert (one.name, one.user, one.start, one.threshold, one.idle_timeout) == (
        "cloud",
        "gate",
        "lazy",
        5,
        120,
    )
    assert one.topics == (Topic("a/#", "out", 2), Topic("b c", "in", 1, "", "x/"))
    assert (one.round_robin, one.window, one.max_hops, one.first_wait, one.longest_wait) == (
        True,
        50,
        3,
        0.5,
        300,
    )
    assert (one.notifications, one.state_topic) == ("both", "bridges/cloud")
    assert there.urls == ("mqtts://one.example", "wss://two.example/mqtt")
    assert (there.client_id, there.username, there.password, there.version) == ("home", "ana", "hunter2", 4)
    assert (there.bridge_bit, there.clean_start, there.session_expiry, there.keep_alive) == (
        False,
        True,
        604800,
        30,
    )
    assert (there.connect_timeout, there.proxy, there.max_packet_size) == (20, "socks5://proxy:1080", 2**20)
    assert (there.websocket_headers, there.id) == ((("X-Key", "hunter2"),), "b")
    assert (tls.ca_file, tls.certificate) == (str(tmp_path / "ca.pem"), str(tmp_path / "me.pem"))
    assert (tls.key, tls.key_password) == (str(tmp_path / "me.key"), "hunter2")
    assert (tls.alpn, tls.server_name, tls.minimum_version) == (("mqtt",), "cloud", "1.3")
    assert "hunter2" not in repr(one)


START = '[[bridge]]\nname = "b"\nurl = "mqtt://x"\ntopics = ["#"]\n'
WRONG = [
    ("[[bridge]]\nname = 'b'\n", "bridge: expected url and topics"),
    (START + "usr = 'x'\n", "line 5: bridge.usr: there is no such key; did you mean user"),
    (START + "start = 'manual'\n", "line 5: bridge.start: expected one of automatic, lazy, once"),
    (START.replace('"#"', '"# up"'), "the direction is out, in or both, not 'up'"),
    (START.replace('"b"', '"a/b"'), "name: 1 to 64 letters"),
    (START + START, "there are two bridges of the name b"),
    (START + "ca_file = 'x'\n", "mqtt://x:1883 is not encrypted, but there are settings of TLS"),
    (START + "insecure = true\n", "mqtt://x:1883 is not encrypted"),
    (START + "password = 'env:NOWHERE_AT_ALL'\n", "there is no variable NOWHERE_AT_ALL in the environment"),
    (START.replace("mqtt://x", "tcp://x"), "mqtt://"),
    (START + "threshold = 500\n", "threshold: 1 to 100, not 500"),
    (START + "version = '4'\n", "expected one of 5.0, 3.1.1, 3.1"),
    (START + "password = 'x'\nversion = '3.1.1'\n", "it needs a username beside it"),
    (START + "local = { url = 'mqtt://y' }\n", "there is no such key"),
    (START + "first_wait = 100\n", "longest_wait not below it"),
    (
        START.replace('["#"]', '[{ pattern = "a", to = "b" }]'),
        "pattern, direction, qos, local and remote, and no to",
    ),
    ("bridge = 3\n", "expected tables, each below a line [[bridge]]"),
]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    for text, why in WRONG:
        file.write_text(text)
        _, errors = read(file)
        assert len(errors) == 1, (text, errors)
        assert why in str(errors[0])
        assert str(file) in str(errors[0])


def test_a_secret_is_in_no_error(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text(START.replace("mqtt://x", "mqtt://ana:hunter2@x:no"))
    with pytest.raises(ConfigError) as met:
        load(file)
    assert "hunter2" not in str(met.value)
