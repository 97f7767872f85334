"""Mosquitto's configuration file: how it is read, and what becomes of it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curier.cli import main
from curier.config import load
from curier.errors import ConfigError
from curier.mosquitto_conf import bridges
from curier.mosquitto_conf.bridges import is_of_bridge
from curier.mosquitto_conf.reading import FLAGS, NUMBERS, TEXTS, Line, read
from curier.mosquitto_conf.translating import Translation, translate, written

DEBIAN = """\
# Place your local configuration in /etc/mosquitto/conf.d/
#
# A full description of the configuration file is at
# /usr/share/doc/mosquitto/examples/mosquitto.conf.example

pid_file /run/mosquitto/mosquitto.pid

persistence true
persistence_location /var/lib/mosquitto/

log_dest file /var/log/mosquitto/mosquitto.log

include_dir {folder}
"""
"""What Debian ships, but for the directory."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mosquitto.conf"


def made_of(path: Path, text: str) -> Translation:
    path.write_text(text)
    return translate(read(path))


def toml(path: Path, text: str) -> dict[str, Any]:
    """The result, as TOML; a file that curier loads."""
    result = path.parent / "broker.toml"
    result.write_text(written(made_of(path, text), path))
    load(result)
    return tomllib.loads(result.read_text())


# -- how it is read --


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("   allow_anonymous true", "allow_anonymous", "true"),
        ("allow_anonymous true # note", "allow_anonymous", "true"),
        ("max_connections  5   # note", "max_connections", "5"),
        ("password_file p # note", "password_file", "p # note"),
        ('password_file "p"', "password_file", '"p"'),
        ("password_file p q   ", "password_file", "p q"),
        ("password_file ${HOME}/p\r", "password_file", "${HOME}/p"),
        ("listener 1883 127.0.0.1", "listener", "1883 127.0.0.1"),
        ("plugin_opt_config_file /d.json", "plugin_opt_config_file", "/d.json"),
        ("ciphers_tls1.3 A:B", "ciphers_tls1.3", "A:B"),
    ],
)
def test_a_line(path: Path, text: str, name: str, value: str) -> None:
    path.write_bytes(f"# c\n\n{text}\n  \n".encode())
    assert read(path) == [Line(path, 3, name, value)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\tallow_anonymous true", "line 1: a tab, which Mosquitto does not take either"),
        (b"allow_anonymous\ttrue", "line 1: a tab"),
        (b"allow_anonymous true\t", "line 1: allow_anonymous: expected true or false, got 'true\\t'"),
        (b"\n\t\n", "line 2: a tab"),
        (b"  # note", "line 1: a comment behind blanks"),
        (b"\xef\xbb\xbfport 1", "line 1: there is a byte order mark"),
        (b"\xff\xfep\0", "line 1: there is a byte order mark"),
        (b"allow_anonymous TRUE", "line 1: allow_anonymous: expected true or false, got 'TRUE'"),
        (b"passwordfile p", "line 1: Mosquitto has no setting 'passwordfile'; did you mean password_file?"),
        (b"password_file ", "line 1: password_file: there is no value"),
        (b"port many", "line 1: port: expected a number, got 'many'"),
        (b"\nuser \xff", "line 2: expected UTF-8 text"),
        (b"password_file a\npassword_file b", "line 2: password_file: it is set in"),
        (
            b"allow_anonymous true\nper_listener_settings true",
            "line 2: per_listener_settings: it has to stand above",
        ),
        (b"include_dir /nowhere/at/all", "line 1: include_dir: /nowhere/at/all cannot be read"),
        (b"listener many", "line 1: listener: expected a port, got 'many'"),
        (b"persistent_client_expiration 2 weeks", "line 1: persistent_client_expiration: expected a time"),
        (
            b"per_listener_settings true\npassword_file p\nlistener 1",
            "line 2: password_file: with per_listener",
        ),
        (b"listener 1\nmount_point site", "line 1: tcp://0.0.0.0:1: mount, such as"),
        (b"listener 1\ncertfile c\nrequire_certificate true", "line 1: require_certificate needs a cafile"),
        (b"listener 1\nenable_proxy_protocol 2", "line 1: enable_proxy_protocol: curier wants to know"),
    ],
)
def test_what_is_refused_names_the_line(path: Path, text: bytes, expected: str) -> None:
    path.write_bytes(text)
    with pytest.raises(ConfigError) as raised:
        translate(read(path))
    assert f"{path}, {expected}" in str(raised.value)


def test_of_flags_the_last_counts(path: Path) -> None:
    assert toml(path, "listener 1\nallow_anonymous true\nallow_anonymous false")["allow_anonymous"] is False


def test_included_files_come_in_the_order_of_mosquitto(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    for name in ("b.conf", "A.conf", "a.conf", "c.conf~", "d"):
        (folder / name).write_text(f"log_type {name[0]}")
    path.write_text(f"include_dir {folder}\nlog_type z")
    assert [line.value for line in read(path)] == ["A", "a", "b", "z"]
    (folder / "b.conf").write_text("include_dir x")
    with pytest.raises(ConfigError, match=r"b\.conf, line 1: include_dir: a file that is included"):
        read(path)


# -- what becomes of it --


def test_the_file_that_debian_ships(path: Path, tmp_path: Path) -> None:
    """For this machine only, as with Mosquitto; with what somebody has put into its directory."""
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "README").write_text(
        "Any files placed in this directory that have a .conf ending will be loaded"
    )
    text = DEBIAN.format(folder=folder)
    kept = {"data": "/var/lib/mosquitto/curier", "log_file": "/var/log/mosquitto/mosquitto.log"}
    assert toml(path, text) == kept
    load(tmp_path / "broker.toml").check()
    (folder / "own.conf").write_text("listener 1883\npassword_file /etc/mosquitto/pwfile\n")
    assert toml(path, text) == {
        **kept,
        "password_file": "/etc/mosquitto/pwfile",
        "listener": [{"url": "tcp://0.0.0.0:1883"}, {"url": "tcp://[::]:1883"}],
    }
    load(tmp_path / "broker.toml").check()


MEMORY = {"memory": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", MEMORY),
        ("persistence true", {}),
        ("persistence_location /v/", MEMORY),
        ("password_file /p", {**MEMORY, "password_file": "/p"}),
        (
            "allow_anonymous false\npassword_file /p",
            {**MEMORY, "password_file": "/p", "allow_anonymous": False},
        ),
        ("acl_file /a", {**MEMORY, "acl_file": "/a"}),
        ("log_type all", {**MEMORY, "log_level": "debug"}),
        ("log_type notice\nlog_type error", {**MEMORY, "log_level": "info"}),
        ("log_type error\nlog_type warning", {**MEMORY, "log_level": "warning"}),
        ("log_type none", {**MEMORY, "log_level": "error"}),
        ("log_dest file /l o", {**MEMORY, "log_file": "/l o"}),
        ("log_dest syslog", MEMORY),
        ("connection_messages false", {**MEMORY, "log_levels": {"connect": "warning"}}),
        ('password_file /a"b\\c', {**MEMORY, "password_file": '/a"b\\c'}),
    ],
)
def test_the_broker_as_a_whole(path: Path, text: str, expected: dict[str, Any]) -> None:
    assert toml(path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_inflight_messages 20", {"max_inflight": 20}),
        ("max_inflight_messages 0", {}),
        ("max_inflight_bytes 1000", {"max_inflight_bytes": 1000}),
        ("max_queued_messages 1000", {"max_queued_messages": 1000}),
        ("max_queued_bytes 0", {}),
        ("max_keepalive 60", {"keep_alive_maximum": 60}),
        ("max_packet_size 1048576", {"max_packet_size": "1 MiB"}),
        ("message_size_limit 100", {"max_packet_size": 65_636}),
        ("memory_limit 5000", {"memory_limit": 5000}),
        ("queue_qos0_messages true", {"queue_qos0": True}),
        ("retain_available false", {"retain_available": False}),
        ("sys_interval 0", {"sys_interval": 0}),
        ("persistent_client_expiration 2w", {"session_expiry_maximum": 1_209_600}),
        ("persistent_client_expiration 12h", {"session_expiry_maximum": 43_200}),
        ("listener 1\nmax_qos 0\nmax_topic_alias 0", {"maximum_qos": 0, "topic_alias_maximum": 0}),
        ("global_max_connections 7", {"max_connections": 7}),
    ],
)
def test_limits(path: Path, text: str, expected: dict[str, Any]) -> None:
    assert toml(path, text).get("limits", {}) == expected


TLS = "certfile /c\nkeyfile /k\n"
SECURE = {"certificate": "/c", "key": "/k"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listener 1883 127.0.0.1 # note", {"url": "tcp://127.0.0.1:1883"}),
        ("listener 1883 ::1", {"url": "tcp://[::1]:1883"}),
        ("listener 0 /run/m.sock", {"url": "unix:///run/m.sock"}),
        ("listener 9001 h\nprotocol websockets", {"url": "ws://h:9001"}),
        (f"listener 9001 h\nprotocol websockets\n{TLS}", {"url": "wss://h:9001", **SECURE}),
        ("listener 1\nsocket_domain ipv6", {"url": "tcp://[::]:1"}),
        ("port 1884\nbind_address h", {"url": "tcp://h:1884"}),
        ("bind_address h", {"url": "tcp://h:1883"}),
        (f"listener 8883 h\n{TLS}", {"url": "tls://h:8883", **SECURE}),
        (f"listener 8883 h\n{TLS}cafile /a", {"url": "tls://h:8883", **SECURE}),
        (
            f"listener 8883 h\n{TLS}cafile /a\nrequire_certificate true",
            {"url": "tls://h:8883", **SECURE, "client_ca": "/a"},
        ),
        (
            f"listener 8883 h\n{TLS}cafile /a\nrequire_certificate true\nuse_identity_as_username true\n"
            "crlfile /r",
            {"url": "tls://h:8883", **SECURE, "client_ca": "/a", "identity": "common-name", "crl": "/r"},
        ),
        (
            f"listener 8883 h\n{TLS}cafile /a\nrequire_certificate true\nuse_subject_as_username true",
            {"url": "tls://h:8883", **SECURE, "client_ca": "/a", "identity": "subject"},
        ),
        (
            f"listener 8883 h\n{TLS}tls_version tlsv1.3",
            {"url": "tls://h:8883", **SECURE, "lowest_tls": "1.3"},
        ),
        (f"listener 8883 h\n{TLS}ciphers A", {"url": "tls://h:8883", **SECURE, "ciphers": "A"}),
        (
            "psk_file /p\nlistener 8883 h\npsk_hint x",
            {"url": "tls://h:8883", "psk_file": "/p", "psk_hint": "x"},
        ),
        ("listener 1 h\nmax_connections 9", {"url": "tcp://h:1", "max_connections": 9}),
        ("listener 1 h\nmax_connections -1", {"url": "tcp://h:1"}),
        (
            "listener 1 h\nprotocol websockets\nwebsockets_origin https://a\nwebsockets_origin https://b",
            {"url": "ws://h:1", "origins": ["https://a", "https://b"]},
        ),
        ("listener 1 h\nmount_point site/", {"url": "tcp://h:1", "mount": "site/"}),
    ],
)
def test_a_listener(path: Path, text: str, expected: dict[str, Any]) -> None:
    """Where nothing says who may connect, nobody may, as with Mosquitto."""
    made = toml(path, text)
    assert made["listener"] == [expected]
    assert made["allow_anonymous"] is False


def test_settings_of_all_listeners_may_stand_anywhere(path: Path) -> None:
    made = toml(
        path, "listener 1 h\npassword_file /p\nlistener 2 h\nacl_file /a\nconnection b\naddress x\ntopic t"
    )
    assert (made["password_file"], made["acl_file"], len(made["listener"])) == ("/p", "/a", 2)
    assert "allow_anonymous" not in made
    both = toml(path, "allow_anonymous true\nlistener 1 h\npassword_file /p")
    assert (both["password_file"], both["allow_anonymous"]) == ("/p", True)


SPLIT = "per_listener_settings true\n"


def test_listeners_with_users_of_their_own(path: Path) -> None:
    made = toml(
        path, f"{SPLIT}listener 1 h\nallow_anonymous true\nlistener 2 h\npassword_file /p\nacl_file /a"
    )
    assert made["listener"] == [
        {"url": "tcp://h:1", "allow_anonymous": True},
        {"url": "tcp://h:2", "allow_anonymous": False},
    ]
    assert (made["password_file"], made["acl_file"]) == ("/p", "/a")
    assert "allow_anonymous" not in made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("listener 1 h\npassword_file /p\nlistener 2 h\npassword_file /q", "its password_file is /q"),
        (
            "listener 1 h\npassword_file /p\nacl_file /a\nlistener 2 h\npassword_file /p\nacl_file /b",
            "its acl_file",
        ),
        ("listener 1 h\npassword_file /p\nlistener 2 h", "nobody can connect there, and the users of other"),
        ("listener 1 h\npassword_file /p\nlistener 2 h\nallow_anonymous true\nplugin /x.so", "the plugin of"),
    ],
)
def test_a_listener_that_would_be_more_open_is_left_out(path: Path, text: str, why: str) -> None:
    made = made_of(path, SPLIT + text)
    assert [door.settings["url"] for door in made.doors] == ["tcp://h:1"]
    (told,) = made.left_out
    assert why in told
    result = CliRunner().invoke(main, ["config", "from-mosquitto", str(path)])
    assert (result.exit_code, result.stderr) == (1, f"left out: {told}\n")
    assert told in result.stdout


DYNAMIC = "plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\n"


@pytest.mark.parametrize("split", ["", SPLIT])
def test_dynamic_security_is_users_and_rules(path: Path, split: str) -> None:
    made = made_of(path, f"{split}listener 1 h\n{DYNAMIC}plugin_opt_config_file /d.json")
    assert (made.left_out, [door.settings["url"] for door in made.doors]) == ([], ["tcp://h:1"])
    assert (made.top["acl_file"], made.top["password_file"]) == ("/d.json", "/d.json")
    assert "allow_anonymous" not in made.top
    assert not [note for note in made.notes if "plugin" in note]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("", "has no plugin_opt_config_file"),
        ("plugin_opt_config_file /d\nacl_file /a", "decides there, and so does acl_file"),
        ("plugin_opt_config_file /d\npassword_file /p\nacl_file /a", "so does acl_file and password_file"),
        ("plugin_opt_config_file /d\nplugin /x.so", "which cannot be loaded"),
    ],
)
def test_dynamic_security_with_something_else_leaves_no_listener(path: Path, more: str, why: str) -> None:
    made = made_of(path, f"listener 1 h\n{DYNAMIC}{more}")
    assert not made.doors
    assert why in made.left_out[0]


def test_a_plugin_that_decides_for_all_leaves_no_listener(path: Path) -> None:
    made = made_of(path, "plugin /x.so\nlistener 1 h\nlistener 2 h\nallow_anonymous true")
    assert not made.doors
    assert len(made.left_out) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pid_file /run/x", "not needed"),
        ("listener 1 h\ncafile /a", "without a certfile there is no TLS"),
        ("user nobody", "not needed: start it as that user"),
        ("listener 1 h\nbind_interface eth0", "has no counterpart: name the address of the interface"),
        ("certfile /c\nlistener 1 h", "belongs to no listener where it stands"),
        ("max_queued_messages 0", "that means no limit"),
        ("log_dest topic", "has no counterpart: the log goes to"),
        ("acl_file /a", "there is no password_file, so nobody checks"),
        ("listener 1 h\nclientid_prefixes a", "has no counterpart"),
        ("listener 1\nmax_connections 5", "max_connections holds for IPv4 and IPv6, each by itself"),
        ("listener 1 h\ncertfile /c\nkeyfile /k\ntls_version tlsv1.1", "TLS 1.2 is the lowest there is"),
    ],
)
def test_what_has_no_counterpart_is_named(path: Path, text: str, expected: str) -> None:
    made = made_of(path, text)
    assert any(expected in note for note in made.notes), made.notes
    assert f"#   {made.notes[0]}\n" in written(made, path)


def test_relative_paths_are_told(path: Path) -> None:
    assert "Some paths are relative" in written(made_of(path, "password_file p"), path)
    assert "Some paths are relative" not in written(made_of(path, "password_file /p"), path)


def test_every_setting_of_mosquitto_is_taken_or_named(path: Path) -> None:
    """Alone, with a value: whatever becomes of it, it is not forgotten."""
    needs_more = {
        "include_dir",
        "websockets_origin",
        "psk_hint",
        "enable_proxy_protocol",
        "persistent_client_expiration",
    }
    silent = {
        *("listener", "port", "bind_address", "per_listener_settings", "persistence", "protocol"),
        *("require_certificate", "use_identity_as_username", "use_subject_as_username", "mount_point"),
        *("max_connections", "keyfile", "certfile", "ciphers", "crlfile", "websockets_origin", "psk_file"),
        *("connection_messages", "allow_anonymous", "log_type"),
    }
    values = {"listener": "1", "bind_address": "h"}
    for name in sorted((FLAGS | NUMBERS | TEXTS) - needs_more):
        value = values.get(name, "1" if name in NUMBERS else "true" if name in FLAGS else "/a/")
        above = "" if name == "per_listener_settings" else "listener 5 h\n"
        if name in silent or name == "connection" or is_of_bridge(name):
            continue
        made = made_of(path, f"{above}{name} {value}")
        assert {*made.top, *made.limits} - {"memory", "allow_anonymous"} or made.notes or made.left_out, name


# -- bridges --

BRIDGE = "connection hall\naddress cloud.example\ntopic a/# out 1\n"


def bridge(path: Path, text: str) -> dict[str, Any]:
    """The only one, as TOML; but for its name."""
    (found,) = toml(path, text)["bridge"]
    assert found.pop("name") == "hall"
    return found  # type: ignore[no-any-return]


def test_a_bridge_is_translated(path: Path) -> None:
    assert bridge(path, BRIDGE) == {
        "url": ["mqtt://cloud.example:1883"],
        "topics": ["a/# out 1"],
        "notifications": "both",
    }


WHOLE_BRIDGE = """
connection hall
addresses one.example:8883 two.example [::1]:8884
topic a/# out 2 home/ site/
topic b
topic "" in 1 lamp lights/7
bridge_alpn mqtt
bridge_bind_address 10.0.0.1
bridge_cafile /ca.pem
bridge_certfile /me.pem
bridge_keyfile /me.key
bridge_max_packet_size 65536
bridge_outgoing_retain false
bridge_protocol_version mqttv311
bridge_receive_maximum 20
bridge_session_expiry_interval 3600
bridge_tls_version tlsv1.3
cleansession true
idle_timeout 30
keepalive_interval 25
notifications_local_only true
notification_topic bridges/hall
local_username gate
remote_clientid hall-1
remote_username ana
remote_password hunter2
restart_timeout 5 40
round_robin true
start_type lazy
threshold 7
try_private false
"""


def test_every_option_of_a_bridge_is_translated(path: Path) -> None:
    assert bridge(path, WHOLE_BRIDGE) == {
        "url": ["mqtts://one.example:8883", "mqtts://two.example:1883", "mqtts://[::1]:8884"],
        "topics": ["a/# out 2 home/ site/", "b out 0", '"" in 1 lamp lights/7'],
        "alpn": "mqtt",
        "local_address": "10.0.0.1",
        "ca_file": "/ca.pem",
        "certificate": "/me.pem",
        "key": "/me.key",
        "max_packet_size": 65536,
        "outgoing_retain": False,
        "version": "3.1.1",
        "window": 20,
        "session_expiry": 3600,
        "lowest_tls": "1.3",
        "clean_start": True,
        "idle_timeout": 30,
        "keep_alive": 25,
        "notification_topic": "bridges/hall",
        "user": "gate",
        "client_id": "hall-1",
        "username": "ana",
        "password": "hunter2",
        "first_wait": 5,
        "longest_wait": 40,
        "round_robin": True,
        "start": "lazy",
        "threshold": 7,
        "bridge_bit": False,
    }


def test_what_else_a_bridge_may_say(path: Path) -> None:
    for text, expected in (
        ("notifications false", {"notifications": "none"}),
        ("try_private true", {}),
        ("cleansession false", {"clean_start": False}),
        ("bridge_insecure false", {}),
        ("bridge_tls_use_os_certs false", {}),
        ("restart_timeout 20", {"first_wait": 20, "longest_wait": 20}),
        ("bridge_protocol_version mqttv50", {"version": "5.0"}),
        ("start_type once", {"start": "once"}),
        ("username ana", {"username": "ana"}),
        ("clientid c", {"client_id": "c"}),
    ):
        found = bridge(path, BRIDGE + text)
        more = {"notifications": "both", **expected}
        assert found == {"url": ["mqtt://cloud.example:1883"], "topics": ["a/# out 1"], **more}, text


def test_a_bridge_by_tls_trusts_whom_the_system_trusts(path: Path) -> None:
    assert bridge(path, f"{BRIDGE}bridge_tls_use_os_certs true") == {
        "url": ["mqtts://cloud.example:1883"],
        "topics": ["a/# out 1"],
        "notifications": "both",
    }


def test_lines_of_a_bridge_that_are_not_needed_are_named(path: Path) -> None:
    for name in sorted(bridges.NOT_NEEDED):
        made = made_of(path, f"{BRIDGE}{name} {'true' if name in FLAGS else '1'}")
        assert any(f"{name}: not needed: " in note for note in made.notes), name
    assert "a name has letters" in made_of(path, BRIDGE.replace("hall", "the hall")).notes[0]


def test_a_bridge_that_would_be_more_open_is_left_out(path: Path) -> None:
    for name, why in bridges.MORE_OPEN.items():
        made = made_of(path, f"{BRIDGE}{name} {'true' if name in FLAGS else '/x'}")
        assert not made.bridges
        (told,) = made.left_out
        assert f"the bridge 'hall': {name}: {why}" in told


def test_what_mosquitto_refuses_of_a_bridge_is_refused(path: Path) -> None:
    for text, why in (
        ("topic a", "topic: it stands below no connection"),
        ("connection", "there is no name"),
        ("connection a\ntopic b", "there is no address"),
        ("connection a\naddress b", "there is no topic"),
        (BRIDGE + BRIDGE, "there is a connection 'hall' already"),
        (BRIDGE + "topic a up", "out, in or both, not 'up'"),
        (BRIDGE + "topic a out 3", "0, 1 or 2, not '3'"),
        (BRIDGE + "start_type manual", "automatic, lazy or once, got 'manual'"),
        (BRIDGE + "restart_timeout soon", "expected one number of seconds"),
        (BRIDGE + "bridge_protocol_version 5", "expected one of mqttv31"),
    ):
        with pytest.raises(ConfigError) as met:
            made_of(path, text)
        assert why in str(met.value), text


def test_every_option_of_bridges_is_known(path: Path) -> None:
    """Translated, not needed, or a reason to leave the bridge out."""
    known = {*bridges.TEXTS, *bridges.OTHERS, *bridges.NOT_NEEDED, *bridges.MORE_OPEN}
    known |= {"address", "addresses", "topic", "notifications", "notifications_local_only", "restart_timeout"}
    known |= {"start_type", "bridge_protocol_version", "bridge_tls_version", "bridge_session_expiry_interval"}
    known |= {"bridge_receive_maximum", "bridge_max_packet_size", "bridge_tls_use_os_certs"}
    assert {name for name in FLAGS | NUMBERS | TEXTS if is_of_bridge(name)} == known
