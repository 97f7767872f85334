"""``curier admin`` and ``curier ban``, which ask a real ``curier broker``."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.cli.admin import is_moment
from curier.cli.window import tokens_of
from curier.config import Config
from curier.web.table import OPERATIONS
from tests.cli.test_broker_process import Process

Admin = Callable[..., Result]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def broker(home: Path) -> Iterator[Process]:
    (home / "broker.toml").write_text(
        f'listen = ["tcp://127.0.0.1:0"]\ndata = "{home}/data"\n[web]\nurl = "http://127.0.0.1:0"\n'
        "[limits]\nmax_connections = 77\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(home))
        patch.delenv("CURIER_WEB", raising=False)
        process = Process("--config", home / "broker.toml", "--data", home / "data")
    yield process
    process.close()


@pytest.fixture
def run(broker: Process, home: Path, monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))

    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, result.output
        return result

    return run


def test_the_broker_is_found_and_well(run: Admin) -> None:
    assert run("admin", "health").output == "nothing is wrong; 0 clients are connected\n"
    assert "uptime: " in run("admin", "overview").output
    assert json.loads(run("admin", "--json", "self").output) == {"name": "owner", "role": "admin"}


def test_messages_and_topics(run: Admin) -> None:
    run("admin", "publish", "home/hall", "--text", "on", "--retain")
    assert re.search(r"\nhome/hall +on +0 +\d{4}-", run("admin", "topics", "--search", "hall").output)
    assert re.search(r"\npayload.text: +on\n", run("admin", "retained", "home/hall").output)
    assert json.loads(run("admin", "--json", "retained", "home/hall").output)["payload"]["text"] == "on"
    assert re.search(r"\nmessages: +1\n", run("admin", "prune", "0").output)
    run("admin", "unretain", "home/hall")
    refused = run("admin", "retained", "home/hall", code=1)
    assert refused.output == "Error: nothing is retained on 'home/hall'\n"


def test_clients_and_bans(run: Admin, broker: Process) -> None:
    broker.ask(bytes.fromhex("10 0e 0004 4d515454 04 00 003c 0002 6331"))  # "c1", whose session stays
    lines = run("admin", "clients").output.splitlines()
    assert any(re.match(r"c1 +no +3\.1\.1", line) for line in lines), lines
    assert "{" not in run("admin", "client", "c1").output  # a table is for people, JSON behind --json
    assert "{" not in run("admin", "history").output
    run("admin", "forget", "c1")
    assert "c1" not in run("admin", "clients").output
    assert "nobody can be kept out" in run("ban", "add", "--client-id", "c1", code=1).output
    assert "enforced: " in run("ban", "list").output
    refused = run("ban", "lift", "--who", "client c1", code=1).output
    assert "there is no such ban: give --place and --who as they stand in curier ban list" in refused


def test_what_is_for_all_commands_may_stand_behind_them(run: Admin) -> None:
    assert json.loads(run("ban", "list", "--json").output)["bans"] == []
    assert json.loads(run("admin", "self", "--json").output) == {"name": "owner", "role": "admin"}
    assert (
        "there is no window at http://127.0.0.1:1"
        in run("admin", "self", "--url", "http://127.0.0.1:1", code=2).output
    )


def test_settings_are_told_checked_and_read_again(run: Admin, home: Path) -> None:
    rows = json.loads(run("admin", "--json", "config").output)["settings"]
    by_key = {row["key"]: row for row in rows}
    assert by_key["limits.max_connections"]["value"] == "77"
    assert by_key["limits.max_connections"]["origin"].endswith("broker.toml, line 6")
    assert by_key["web.url"]["value"] == '"http://127.0.0.1:0"'
    assert by_key["limits.max_sessions"]["origin"] == "default"
    assert [key for key, row in by_key.items() if "see" in row["value"]] == []  # but what holds
    assert by_key["allow_anonymous"]["value"] == "true"
    assert by_key["web.tokens"]["value"].endswith('web-tokens"')
    assert re.fullmatch(r'0 \("\d+ [MG]iB" here\)', by_key["limits.memory_limit"]["value"])
    file = home / "broker.toml"
    before = file.read_text()
    file.write_text(before.replace("= 77", '= "many"'))
    assert "max_connections" in run("admin", "check").output
    assert "nothing has changed" in run("admin", "reload", code=1).output
    file.write_text(before.replace("= 77", "= 78"))
    assert "max_connections is 78, was 77" in run("admin", "reload").output
    rows = json.loads(run("admin", "--json", "config").output)["settings"]
    assert {row["key"]: row["value"] for row in rows}["limits.max_connections"] == "78"


def test_the_log_says_more_for_now(run: Admin) -> None:
    assert json.loads(run("admin", "--json", "log-levels").output)["levels"]["connect"] == "info"
    levels = json.loads(run("admin", "--json", "set-log-level", "debug", "--topic", "connect").output)
    assert (levels["levels"]["connect"], levels["levels"]["store"]) == ("debug", "info")
    assert "level: expected one of" in run("admin", "set-log-level", "loud", code=1).output


def test_a_link_logs_a_browser_in(run: Admin) -> None:
    link = run("admin", "login").output.strip()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with contextlib.suppress(urllib.error.HTTPError):  # where it leads to, there may be no pages yet
        opener.open(link, timeout=100).close()
    with opener.open(re.sub("login.*", "api/v1/self", link), timeout=100) as answer:
        assert json.load(answer) == {"name": "owner", "role": "admin"}


def test_tokens_are_for_those_who_ask_from_elsewhere(run: Admin, home: Path, tmp_path: Path) -> None:
    config = str(home / "broker.toml")
    token = run("admin", "token", "add", "--config", config, "--role", "viewer", "ana").output
    assert run("admin", "token", "list", "--config", config).output == "ana  viewer\n"
    (tmp_path / "token").write_text(token)
    url = re.sub("/login.*", "", run("admin", "login").output.strip())
    elsewhere = ("admin", "--url", url, "--token-file", str(tmp_path / "token"))
    assert "ana" in run(*elsewhere, "self").output
    assert "this is for the role admin" in run(*elsewhere, "reload", code=1).output
    run("admin", "token", "remove", "--config", config, "ana")
    assert "not known, or was taken back" in run(*elsewhere, "self", code=1).output
    run("admin", "token", "remove", "--config", config, "ana", code=1)


def test_tokens_go_to_the_broker_that_runs_here_wherever_its_data_is(run: Admin, home: Path) -> None:
    run("admin", "token", "add", "bob")
    assert "bob:viewer:" in (home / "data" / "web-tokens").read_text()
    assert "bob  viewer" in run("admin", "token", "list").output
    run("admin", "token", "remove", "bob")
    assert "bob" not in (home / "data" / "web-tokens").read_text()


def test_where_there_is_no_broker_it_says_what_to_do(run: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    assert "start curier broker" in run("admin", "overview", code=2).output


def test_wrong_words_are_told(run: Admin) -> None:
    assert "Expected `int` <= 500" in run("admin", "clients", "--limit", "501", code=2).output
    run("admin", "disconnect", code=2)


def test_where_tokens_are() -> None:
    assert tokens_of(Config(web_tokens="t")) == Path("t")
    assert tokens_of(Config(data="/d")) == Path("/d/web-tokens")
    assert tokens_of(Config(memory=True)) is None


LENGTHS = {
    *("heard", "keep_alive", "lasted", "loop_lag", "seconds", "told_before", "trusted_for", "uptime"),
}
"""Numbers of answers that are not whole, and no points in time."""


def numbers_of(forms: Iterable[Any]) -> set[str]:
    """The names of all that are not whole in these answers, and in the forms of which they are made."""
    found: set[str] = set()
    met: set[Any] = set()
    left = [*forms]
    while left:
        form = left.pop()
        if form in met:
            continue
        met.add(form)
        for field in msgspec.structs.fields(form):
            for kind in (field.type, *get_args(field.type)):
                if kind is float:
                    found.add(field.encode_name)
                elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                    left.append(kind)
    return found


def test_points_in_time_are_told_as_such() -> None:
    names = numbers_of(one.answered for one in OPERATIONS)
    assert {name for name in names if not is_moment(name)} == LENGTHS
