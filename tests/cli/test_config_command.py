"""``curier config`` and ``curier limits``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from curier.auth.bans import BanSettings
from curier.broker.options import Options
from curier.cli import main
from curier.config import _KEYS, Config, load
from curier.settings.ban import BAN
from curier.settings.listener import LISTENER
from curier.settings.table import LIMIT
from curier.strict_toml import parse_seconds, parse_size


def run(*arguments: str | Path, **variables: str) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], env=variables)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.toml"


# -- check --


def test_all_that_is_wrong_is_told(path: Path) -> None:
    path.write_text(
        'pasword_file = "users"\nlog_level = "loud"\n'
        '[limits]\nmax_packet_size = "64 KiBit"\nmax_sesions = 1\n'
        '[[listener]]\nurl = "tcp://127.0.0.1"\nmax_connections = -1'
    )
    result = run("config", "check", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.removeprefix(f"Error: {path}, ") for line in result.stderr.splitlines()] == [
        "line 1: pasword_file: there is no such key; did you mean password_file?",
        "line 2: log_level: expected one of debug, info, warning, error, got 'loud'",
        "line 8: listener.max_connections: expected a whole number, 0 or more, got -1",
        "line 4: limits.max_packet_size: expected a whole number of bytes, or a size such as "
        "\"16 MiB\", got '64 KiBit'",
        "line 5: limits.max_sesions: there is no such key; did you mean max_sessions?",
    ]


def test_all_that_is_wrong_in_tables_is_told(path: Path) -> None:
    path.write_text(
        '[[listener]]\nurl = "tcp://127.0.0.1"\nmax_connection = 1\nmode = "rw"\n'
        '[[listener]]\nname = "a"\n'
        '[[listener]]\nurl = "tcp://127.0.0.1:1"\nidentity = "common-name"\n'
        '[[authenticator]]\nkind = "jwt"\nleeway = "soon"\njwks = "https://a.example"\n'
        '[[authenticator]]\nkind = "sql"\nurl = 5\n'
        '[[authenticator]]\nkind = "ldap"\nurl = "env:NOT_THERE"\nbase = "dc=example"\n'
        '[ban]\nfailure = 1\nwindow = "long"\n'
        "[limits]\nmaximum_qos = 3\nmax_lag = -1\nreceive_maximum = 0\n"
    )
    result = run("config", "check", path)
    assert result.exit_code == 2
    told = [line.removeprefix(f"Error: {path}, ") for line in result.stderr.splitlines()]
    assert [" ".join(line.split()[:3]) for line in told] == [
        "line 3: listener.max_connection:",
        "line 4: listener.mode:",
        "line 5: listener:",
        "line 7: listener:",
        "line 12: authenticator.leeway:",
        "line 13: authenticator.jwks:",
        "line 16: authenticator.url:",
        "line 14: authenticator:",
        "line 19: authenticator.url:",
        "line 22: ban.failure:",
        "line 23: ban.window:",
        "line 26: limits.max_lag:",
        "line 27: limits.receive_maximum:",
        "line 25: limits.maximum_qos:",
    ]


def test_all_that_does_not_go_together_is_told(path: Path) -> None:
    path.write_text('listen = ["tcp://10.0.0.1:0", "tcp://10.0.0.2:0"]\nkey = "k"\nmemory = true\ndata = "d"')
    told = run("config", "check", path).stderr
    assert told.count("Error: ") == 4
    for part in ("10.0.0.1", "10.0.0.2", "--key", "data and memory"):
        assert part in told


def test_all_files_that_cannot_be_read_are_told(path: Path) -> None:
    path.write_text('password_file = "users"\nacl_file = "acl"\nhooks = ["a.py", "b.py"]')
    assert run("config", "check", path).stderr.count("Error: ") == 4


def test_all_variables_that_are_wrong_are_told(path: Path) -> None:
    path.write_text("[limits]\nmaximum_qos = 5")
    told = run("config", "check", path, CURIER_MAX_LAG="late", CURIER_LOG_LEVL="info").stderr
    assert told.count("Error: ") == 3


def test_all_included_files_that_are_wrong_are_told(path: Path) -> None:
    path.write_text('include = ["a.toml", "b.toml", "c.toml"]\nlog_level = "info"\nmemory = true')
    (path.parent / "a.toml").write_text("log_level = ")
    (path.parent / "c.toml").write_text('log_level = "debug"\nmemory = false')
    told = run("config", "check", path).stderr
    assert told.count("Error: ") == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen = ", "line 1, column 10: "),
        ('listen = ["tcp://0.0.0.0"]', "tcp://0.0.0.0 can be reached from other machines"),
        ('password_file = "users"', "users: there is no such file"),
        ('acl_file = "acl"', "acl: there is no such file"),
        (
            '[[listener]]\nurl = "tls://127.0.0.1"\ncertificate = "c.pem"\nkey = "k.pem"',
            "c.pem",
        ),
        ('hooks = ["none.py"]', "none.py: No such file or directory"),
        ('hooks = ["broker.toml"]\nlimits = { max_sessions = 5 }', "broker.toml, line 2: invalid syntax"),
        ('hooks = [\n"broker.toml",]\nlog_file = "logs/c.log"', "log_file: there is no directory"),
        ("[limits]\nmaximum_qos = 3", "line 2: limits.maximum_qos: must be from 0 to 2, not 3"),
    ],
)
def test_what_a_broker_would_refuse_is_wrong(path: Path, text: str, expected: str) -> None:
    path.write_text(text)
    result = run("config", "check", path)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert expected in result.stderr


def test_a_file_that_is_right(path: Path) -> None:
    path.write_text('listen = ["tcp://127.0.0.1:0"]')
    result = run("config", "check", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{path}: nothing is wrong; listeners: tcp://127.0.0.1:0\n"
    assert run("config", "check", path, CURIER_MAXIMUM_QOS="3").stderr.startswith(
        "Error: maximum_qos must be"
    )


# -- includes --


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Where included files go."""
    (tmp_path / "broker.toml").write_text(
        'include = "conf.d/*.toml"\nlog_level = "debug"\n[limits]\nmax_sessions = 3\n'
        '[[listener]]\nurl = "tcp://127.0.0.1:1"'
    )
    parts = tmp_path / "conf.d"
    parts.mkdir()
    return parts


def test_included_files_are_parts_of_the_file(path: Path, parts: Path) -> None:
    (parts / "b.toml").write_text('[[listener]]\nurl = "tcp://127.0.0.1:3"\n[limits]\nmaximum_qos = 1')
    (parts / "a.toml").write_text('password_file = "users"\n[[listener]]\nurl = "unix:///run/c.sock"')
    (parts / "a.toml~").write_text("of an editor")
    config = load(path)
    assert [door.url for door in config.doors()] == [
        "tcp://127.0.0.1:1",
        "unix:///run/c.sock",
        "tcp://127.0.0.1:3",
    ]
    assert config.password_file == str(parts / "users")
    assert (config.options.max_sessions, config.options.maximum_qos) == (3, 1)
    assert config.origins["maximum_qos"] == f"{parts / 'b.toml'}, line 4"
    assert config.origins["log_level"] == f"{path}, line 2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('log_level = "info"', "line 1: log_level: it is set in {path}, line 2 already; keep one of the two"),
        ("\n[limits]\nmax_sessions = 3", "line 3: limits.max_sessions: it is set in {path}, line 4 already"),
        ('include = "x"', "line 1: include: a file that is included cannot include others"),
        ("\nzzz = 1", "line 2: zzz: there is no such key"),
        ("\n[[listener]]\nurl = 1", "line 3: listener.url: expected a URL"),
        ("= 1", "line 1, column 1: "),
    ],
)
def test_errors_name_the_included_file(path: Path, parts: Path, text: str, expected: str) -> None:
    (parts / "a.toml").write_text(text)
    told = run("config", "check", path).stderr
    assert f"Error: {parts / 'a.toml'}, {expected.format(path=path)}" in told


@pytest.mark.parametrize(
    ("include", "wrong"),
    [("conf.d/*.toml", ""), ("*.toml", ""), ("other.toml", "there is no file"), ([""], "expected a pattern")],
)
def test_what_may_be_included(path: Path, include: object, wrong: str) -> None:
    """A pattern may match nothing, or the file itself."""
    path.write_text(f"include = {json.dumps(include)}")
    result = run("config", "check", path)
    assert result.exit_code == (2 if wrong else 0)
    assert wrong in result.stderr


# -- init, schema --


def test_the_default_file_changes_nothing(path: Path) -> None:
    assert run("config", "init", path).exit_code == 0
    assert path.read_text() == run("config", "init").stdout
    config = load(path)
    assert config == Config(options=config.options)
    assert {name: getattr(config.options, name) for name in LIMIT} == {
        name: getattr(Options(), name) for name in LIMIT
    }
    again = run("config", "init", path)
    assert (again.exit_code, again.stderr) == (
        2,
        f"Error: {path}: there is such a file already; it stays as it is\n",
    )


def test_the_default_file_has_all_settings_and_they_can_be_taken_in(path: Path) -> None:
    """With the mark taken away, every line is right, and every limit is its default."""
    text = re.sub(r"^#(?=[a-z\[])", "", run("config", "init").stdout, flags=re.MULTILINE)
    path.write_text(text.replace('include = "conf.d', 'include = "none.d'))
    table = tomllib.loads(path.read_text())
    assert {*table} == {*_KEYS} - {"sys_interval"}
    assert [*table["ban"]] == [*BAN]
    assert [*table["limits"]] == [*LIMIT]
    config = load(path)
    assert config.bans == BanSettings()
    assert {name: getattr(config.options, name) for name in LIMIT} == {
        name: getattr(Options(), name) for name in LIMIT
    }


def objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema of each table."""
    properties = schema["properties"]
    yield from (schema, properties["limits"], properties["listener"]["items"])


def test_the_schema_has_all_settings() -> None:
    schema = json.loads(run("config", "schema").stdout)
    whole, limits, listener = objects(schema)
    assert {*whole["properties"]} == {*_KEYS}
    assert [*whole["properties"]["ban"]["properties"]] == [*BAN]
    assert [*limits["properties"]] == [*LIMIT]
    assert [*listener["properties"]] == [*LISTENER]
    assert not any(one["additionalProperties"] for one in (whole, limits, listener))
    for name, one in limits["properties"].items():
        assert LIMIT[name].kind.take(one["default"]) == getattr(Options(), name)
        assert one["description"]


@pytest.mark.parametrize(
    "text",
    ["1", "64 KiB", "1.5GB", " 2 mb ", "64 KiBit", "-1", "ten", "", "1e3", "5 min", "500 ms", "7 d", "1 w"],
)
def test_the_schema_takes_sizes_and_times_as_the_broker_does(text: str) -> None:
    limits = json.loads(run("config", "schema").stdout)["properties"]["limits"]["properties"]
    for name, parse in (("max_packet_size", parse_size), ("packet_timeout", parse_seconds)):
        pattern = limits[name]["anyOf"][1]["pattern"]
        try:
            parse(text)
        except ValueError:
            assert not re.search(pattern, text)
        else:
            assert re.search(pattern, text)


# -- limits --


def test_every_limit_is_told_with_its_origin(path: Path) -> None:
    path.write_text(
        'sys_interval = "1 min"\n[limits]\nmax_sessions = 3\nmax_inflight = 5\n[[listener]]\n'
        'url = "tcp://127.0.0.1:1"\nname = "devices"\nmax_connections = 7\nmax_packet_size = "1 MiB"\n'
        'max_byte_rate = "2 MiB"'
    )
    result = run("limits", "--config", path, "--max-inflight", "9", CURIER_MAX_SESSIONS="4")
    assert result.exit_code == 0
    told = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert [name for name, _ in told] == [*LIMIT, "max_connections", "max_packet_size", "max_byte_rate"]
    rows = dict(reversed([(name, rest.split("  ")) for name, rest in told]))
    assert rows["max_sessions"] == ["4", "CURIER_MAX_SESSIONS"]
    assert rows["max_inflight"] == ["9", "--max-inflight"]
    assert rows["sys_interval"] == ["60", f"{path}, line 1"]
    assert rows["max_queued_bytes"] == ['"64 MiB"', "default"]
    assert told[-3][1].split() == ["7", "listener", "devices"]
    assert told[-1][1].split() == ['"2', 'MiB"', "listener", "devices"]


def test_limits_as_json_and_wrong_ones(path: Path) -> None:
    found = json.loads(run("limits", "--json", CURIER_CONFIG="").stdout)
    assert found[0] == {"name": "connect_timeout", "value": "10", "from": "default"}
    assert run("limits", "--maximum-qos", "3").stderr == "Error: maximum_qos must be from 0 to 2, not 3\n"
