"""SIGHUP: what a running broker takes over of its settings, and what it says of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from curier.cli.reload import Reload
from curier.cli.serve import authenticator_of
from curier.config import Config, load
from curier.hook_files.files import HookFiles
from curier.server import Broker
from tests.waiting import until


class Running:
    """A broker with a file, and what the log says of it."""

    def __init__(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.path = path
        self.caplog = caplog
        config = load(path)
        self.broker = Broker(config.doors(), options=config.options, authenticator=authenticator_of(config))
        self.reload = Reload(
            self.broker, config, self.broker.authenticator, HookFiles(()), None, self._reread
        )

    def _reread(self) -> Config:
        return load(self.path)

    async def say(self, text: str) -> str:
        """Have the file say this, and it be read; what the log says then."""
        self.path.write_text(HEAD + text)
        self.caplog.clear()
        await self.reload.now()
        (record,) = [one for one in self.caplog.records if one.name == "curier.cli"]
        return f"{record.levelname}: {record.getMessage()}"


HASH = "$argon2id$v=19$m=8,t=1,p=1$0Q97/+ct2GhwHccCPrvOcw$jh4VCheOgUbuazFF5bQleHF7u5oZvOoL27F/GoeGEL4"
"""Of "right", made as cheaply as can be."""

HEAD = 'listen = ["tcp://127.0.0.1:0"]\n'


@pytest.fixture
def levels() -> Iterator[None]:
    """Puts back what the log takes."""
    loggers = [logging.getLogger(), logging.getLogger("curier")]
    before = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@pytest.fixture
async def running(tmp_path: Path, caplog: pytest.LogCaptureFixture, levels: None) -> AsyncIterator[Running]:
    caplog.set_level("INFO", "curier.cli")
    path = tmp_path / "broker.toml"
    (tmp_path / "users").write_text(f"ana:{HASH}\n")
    (tmp_path / "users").chmod(0o600)
    path.write_text(HEAD + 'password_file = "users"')
    made = Running(path, caplog)
    async with made.broker:
        yield made


USERS = 'password_file = "users"\n'
READ = "INFO: SIGHUP: the users were read again"


async def test_nothing_has_changed(running: Running) -> None:
    assert await running.say(USERS) == READ


async def test_limits_and_the_log_level_change_at_once(running: Running) -> None:
    said = await running.say(
        f'{USERS}log_level = "warning"\n[limits]\nmax_sessions = 5\nmax_queued_bytes = "1 MiB"'
    )
    assert said.startswith(f"{READ}; max_sessions is 5, was 1_000_000 ({running.path}, line 5); ")
    assert f'max_queued_bytes is "1 MiB", was "64 MiB" ({running.path}, line 6)' in said
    assert f'; log_level is "warning", was "info" ({running.path}, line 3)' in said
    assert running.broker.core.options.max_sessions == 5
    assert logging.getLogger("curier").level == logging.WARNING
    said = await running.say(USERS)
    assert "max_sessions is 1_000_000, was 5 (default)" in said
    assert 'log_level is "info", was "warning" (default)' in said
    assert await running.say(USERS) == READ


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[limits]\nmax_sessions = 5\nmaximum_qos = 3",
            "line 5: limits.maximum_qos: must be from 0 to 2, not 3",
        ),
        ("[limits]\nmax_sessions = 5\nmax_sesions = 1", "line 5: limits.max_sesions: there is no such key"),
        ("[limits]\nmax_sessions = 5\nx = ", "line 5, column 5: "),
        ('certificate = "c.pem"\n[limits]\nmax_sessions = 5', "--certificate (certificate = ...) is for"),
        ('acl_dialect = "mosquitto-2.0"\n[limits]\nmax_sessions = 5\n', ""),
    ],
)
async def test_all_or_nothing(running: Running, text: str, expected: str) -> None:
    said = await running.say(USERS + text)
    if not expected:
        assert running.broker.core.options.max_sessions == 5
        return
    assert said.startswith("ERROR: SIGHUP: ")
    assert expected in said
    assert said.endswith("; nothing has changed")
    assert running.broker.core.options.max_sessions == 1_000_000


async def test_users_that_cannot_be_read_change_nothing(running: Running) -> None:
    (running.path.parent / "users").write_text("nonsense")
    said = await running.say(f"{USERS}[limits]\nmax_sessions = 5")
    assert said.startswith("ERROR: SIGHUP: ")
    assert said.endswith("; nothing has changed")
    assert running.broker.core.options.max_sessions == 1_000_000


async def test_what_needs_a_restart_is_told_each_time(running: Running) -> None:
    text = f'{USERS}data = "state"\n[limits]\nroute_cache_size = 5'
    for _ in range(2):
        said = await running.say(text)
        assert "; route_cache_size changed, which needs a restart of the broker" in said
        assert said.endswith("; data changed, which needs a restart of the broker")
    assert running.broker.core.options.route_cache_size == 65_536


async def test_listeners_come_and_go(running: Running, tmp_path: Path) -> None:
    socket = f"unix://{tmp_path}/c.sock"
    said = await running.say(f'{USERS}[[listener]]\nurl = "{socket}"\n')
    assert said == f"{READ}; {socket} is open"
    assert len(running.broker.urls) == 2
    said = await running.say(f'{USERS}[[listener]]\nurl = "{socket}"\nmax_connections = 5')
    assert said == f"{READ}; {socket} is for new clients as it says now"
    said = await running.say(f'{USERS}[[listener]]\nurl = "{socket}"\nmode = "0600"')
    assert (
        "owner, group, mode, tcp_keepalive of a listener changed, which needs a restart of the broker" in said
    )
    assert await running.say(USERS) == f"{READ}; {socket} is closed"
    assert len(running.broker.urls) == 1


async def test_a_listener_that_cannot_be_had_changes_nothing(running: Running, tmp_path: Path) -> None:
    said = await running.say(
        f'{USERS}[limits]\nmax_sessions = 5\n[[listener]]\nurl = "unix:///nowhere/at/all"'
    )
    assert said.startswith("ERROR: SIGHUP: cannot listen on unix:///nowhere/at/all: ")
    assert said.endswith("; nothing has changed")
    assert running.broker.core.options.max_sessions == 1_000_000


async def test_many_signals_are_one(running: Running) -> None:
    """One that is at work, and one more, which sees what has been written meanwhile."""
    reads = 0

    def reread() -> Config:
        nonlocal reads
        reads += 1
        return load(running.path)

    reload = Reload(running.broker, load(running.path), None, HookFiles(()), None, reread)
    for _ in range(100):
        reload.soon()
    await until(lambda: reads > 0)
    for _ in range(100):
        reload.soon()
    await until(lambda: not reload._tasks)
    assert reads == 2
