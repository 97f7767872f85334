"""Profiles: what a file may say, and what is said of a file that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.cli.connecting import Connection
from curier.cli.profiles import KEYS, load_profile
from curier.errors import ConfigError

EVERY_KEY = """
[profile.home]
url = ["mqtts://a.example", "mqtts://b.example"]
proxy = "socks5://localhost"
username = "ana"
password_file = "secret"
id = "a"
protocol_version = "5"
keepalive = 30
disable_clean_session = true
session_expiry_interval = "1 h"
reconnect = 3
max_inflight = 10
qos = 1
cafile = "/etc/ca.pem"
capath = "certs"
cert = "~/me.pem"
key = "me.key"
ciphers = "HIGH"
tls_version = "tlsv1.3"
tls_alpn = "mqtt"
tls_use_os_certs = true
insecure = false
will_topic = "gone"
will_payload = "bye"
will_qos = 1
will_retain = true

[profile.default]
host = "localhost"
port = 1884
id_prefix = "p"

[profile.socket]
unix = "/run/curier.sock"
password = "geheim"
psk = "00ff"
psk_identity = "dev"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/ana")
    path = tmp_path / "curier" / "client.toml"
    path.parent.mkdir()
    return path


def write(file: Path, text: str) -> Path:
    file.touch(0o600)
    file.write_text(text)
    return file


def test_every_key_may_be_said_and_is_an_option(file: Path) -> None:
    write(file, EVERY_KEY)
    said = [load_profile(None, name) for name in ("home", "default", "socket")]
    assert {key for profile in said for key in profile} == set(KEYS)
    assert set(KEYS) <= {*dir(Connection)}


def test_values_are_those_of_options(file: Path) -> None:
    profile = load_profile(write(file, EVERY_KEY), "home")
    assert profile["url"] == ("mqtts://a.example", "mqtts://b.example")
    assert profile["session_expiry_interval"] == 3600
    assert profile["protocol_version"] == 5
    assert profile["tls_alpn"] == ("mqtt",)


def test_paths_are_relative_to_the_file(file: Path) -> None:
    profile = load_profile(write(file, EVERY_KEY), "home")
    assert profile["password_file"] == str(file.parent / "secret")
    assert profile["cafile"] == "/etc/ca.pem"
    assert profile["cert"] == "/home/ana/me.pem"


def test_a_profile_by_default(file: Path) -> None:
    assert load_profile(None, None) == {}
    write(file, EVERY_KEY)
    assert load_profile(None, None) == {"host": "localhost", "port": 1884, "id_prefix": "p"}
    write(file, '[profile.other]\nhost = "x"')
    assert load_profile(None, None) == {}
    write(file, "")
    assert load_profile(None, None) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profile.home", "line 1, column 14: "),
        ("host = 'x'", "line 1: host: there is no such key; expected one of: profile"),
        ("profile = 1", "line 1: profile: expected a table, as below the line [profile.home], got 1"),
        ("[profile]\nhome = 1", "line 2: profile.home: expected a table"),
        ("[profile.home]\nhots = 'x'", "line 2: profile.home.hots: there is no such key; did you mean host?"),
        ("[profile.home]\nport = 0", "line 2: profile.home.port: expected a whole number, 1 to 65535, got 0"),
        ("[profile.home]\nqos = true", "line 2: profile.home.qos: expected a whole number, 0 to 2, got true"),
        ("[profile.home]\nurl = []", "line 2: profile.home.url: expected a URL, such as"),
        ("[profile.home]\nprotocol_version = 4", "profile.home.protocol_version: expected 5, 311 or 31"),
        ("[profile.home]\nprotocol_version = []", "protocol_version: expected a number, or text in quotes"),
        ("[profile.home]\nsession_expiry_interval = 'x'", "expected a number of seconds"),
        ("[profile.home]\ninsecure = 1", "profile.home.insecure: expected true or false, got 1"),
        ("[profile.home]\ntls_version = '1'", "expected one of tlsv1.2, tlsv1.3, got '1'"),
        ("[profile.home]\ntls_alpn = [1]", "profile.home.tls_alpn: expected text in quotes, or a list"),
        ("[profile.other]\nhost = 'x'", "there is no [profile.home]; there are: other"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(file: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_profile(write(file, text), "home")
    assert str(raised.value).startswith(str(file))
    assert said in str(raised.value)


def test_a_slip_in_another_profile_is_told_as_well(file: Path) -> None:
    write(file, "[profile.home]\nhost = 'x'\n[profile.other]\nprot = 1")
    with pytest.raises(ConfigError, match=r"line 4: profile\.other\.prot: .* did you mean port\?"):
        load_profile(file, "home")


def test_a_file_that_is_missing_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no profile home: .*client\.toml does not exist"):
        load_profile(None, "home")
    with pytest.raises(ConfigError, match="there is no such file"):
        load_profile(file, None)


def test_a_password_that_others_can_read_is_refused(file: Path) -> None:
    write(file, "[profile.home]\npassword = 'geheim'")
    assert load_profile(file, "home") == {"password": "geheim"}
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"line 2: profile\.home\.password: .*: chmod 600 ") as raised:
        load_profile(file, "home")
    assert "geheim" not in str(raised.value)
