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
        return await self.reread()

    async def reread(self) -> str:
        """Have it be read; what the log says then."""
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
async def running(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, levels: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    caplog.set_level("INFO", "curier.cli")
    monkeypatch.setattr("curier.cli.reload.sleep", lambda seconds: None)
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


async def test_bans_are_by_the_new_settings_at_once(running: Running) -> None:
    bans = running.broker.bans
    assert bans is not None
    [*bans.bans.failed("192.0.2.1:5", "user ana", 0.0)]
    said = await running.say(f'{USERS}[ban]\nfailures = 2\nwindow = "10 min"\nnever = ["192.0.2.9"]')
    assert said == (
        f"{READ}; ban.failures is 2, was 10 ({running.path}, line 4); "
        f"ban.window is 600, was 300 ({running.path}, line 5); "
        f'ban.never is ["192.0.2.9/32"], was ["127.0.0.0/8", "::1/128"] ({running.path}, line 6)'
    )
    (ban,) = bans.bans.failed("192.0.2.1:6", "user ana", 500.0)
    assert ban.whom == "user ana at 192.0.2.1"
    assert bans.bans.why_banned("192.0.2.1:7", ("user ana",), 600.0)
    said = await running.say(f'{USERS}[ban]\nnever = ["192.0.2.0/24"]')
    assert "; ban.failures is 10, was 2 (default); " in said
    assert not bans.bans.why_banned("192.0.2.1:7", ("user ana",), 600.0)


async def test_bans_that_cannot_be_change_nothing(running: Running) -> None:
    said = await running.say(f'{USERS}[ban]\nfailures = 2\nlongest = "1 s"')
    assert said.endswith("; nothing has changed")
    assert running.broker.bans is not None
    assert running.broker.bans.bans.settings.failures == 10


async def test_what_needs_a_restart_is_told_each_time(running: Running) -> None:
    text = f'{USERS}data = "state"\n[limits]\nroute_cache_size = 5'
    for _ in range(2):
        said = await running.say(text)
        assert "; route_cache_size changed, which needs a restart of the broker" in said
        assert said.endswith("; data changed, which needs a restart of the broker")
    assert running.broker.core.options.route_cache_size == 0


async def test_who_may_log_in_to_the_window_changes_at_once(running: Running) -> None:
    said = await running.say(f'{USERS}[web]\nviewers = ["ana", "@staff"]')
    assert said.startswith(f'{READ}; web_viewers is ["ana", "@staff"], was [] (')
    assert running.reload.config.web_viewers == ("ana", "@staff")
    assert await running.say(f"{USERS}[web]\nviewer = []") == (
        f"ERROR: SIGHUP: {running.path}, line 4: web.viewer: there is no such key; did you mean viewers?; "
        "nothing has changed"
    )
    assert running.reload.config.web_viewers == ("ana", "@staff")
    assert running.reload.config.origins["web_viewers"] == f"{running.path}, line 4"
    assert (await running.say(USERS)).startswith(f'{READ}; web_viewers is [], was ["ana", "@staff"]')
    assert "web_viewers" not in running.reload.config.origins


async def test_where_settings_come_from_is_told_as_it_is_now(running: Running) -> None:
    where = running.path
    await running.say(f'{USERS}log_level = "debug"\n[limits]\nmax_sessions = 5\n[ban]\nfailures = 2')
    held = running.reload.config.origins
    lines = {"log_level": 3, "max_sessions": 5, "ban.failures": 7}
    assert {name: held[name] for name in lines} == {name: f"{where}, line {at}" for name, at in lines.items()}
    await running.say(f"{USERS}# a line more\n\n[limits]\nroute_cache_size = 5\nmax_sessions = 5")
    held = running.reload.config.origins
    assert held["max_sessions"] == f"{where}, line 7"
    assert "log_level" not in held
    assert "ban.failures" not in held
    assert "route_cache_size" not in held  # it needs a restart, and is still what it was by default


async def test_listeners_come_and_go(running: Running, tmp_path: Path) -> None:
    socket = f"unix://{tmp_path}/c.sock"
    said = await running.say(f'{USERS}[[listener]]\nurl = "{socket}"\n')
    assert said == f"{READ}; {socket} is open"
    assert len(running.broker.urls) == 2
    said = await running.say(f'{USERS}[[listener]]\nurl = "{socket}"\nmax_connections = 5')
    assert said == f"{READ}; {socket} is for new clients as it says now"
    said = await running.say(f'{USERS}[[listener]]\nurl = "{socket}"\nmode = "0600"')
    settings = "owner, group, mode, reuse_port, tcp_keepalive"
    assert f"{settings} of a listener changed, which needs a restart of the broker" in said
    assert await running.say(USERS) == f"{READ}; {socket} is closed"
    assert len(running.broker.urls) == 1


async def test_a_listener_that_cannot_be_had_changes_nothing(running: Running, tmp_path: Path) -> None:
    said = await running.say(
        f'{USERS}[limits]\nmax_sessions = 5\n[[listener]]\nurl = "unix:///nowhere/at/all"'
    )
    assert said.startswith("ERROR: SIGHUP: cannot listen on unix:///nowhere/at/all: ")
    assert said.endswith("; nothing has changed")
    assert running.broker.core.options.max_sessions == 1_000_000


async def test_a_file_that_somebody_has_emptied_is_not_taken_for_the_truth(running: Running) -> None:
    before = running.path.read_text()
    running.path.write_text("")
    assert await running.reread() == (
        f"ERROR: SIGHUP: {running.path}: it is empty and was not before, as if somebody were still writing "
        "it; a line with a comment (#) says that all is to be as by default; nothing has changed"
    )
    running.path.write_text(before)
    assert await running.reread() == READ
    with running.path.open("w") as file:
        file.write("# nothing\n")
    said = await running.reread()  # by default it is to listen where another broker of this machine may
    assert "password_file changed, which needs a restart" in said or "cannot listen on tcp://" in said
    running.path.write_text("\n")
    assert (await running.reread()).startswith("ERROR: ")


async def test_a_part_that_somebody_has_emptied_is_not_either(running: Running) -> None:
    part = running.path.parent / "part.toml"
    part.write_text("")
    assert await running.say(f'{USERS}include = "part.toml"') == READ
    assert await running.reread() == READ  # it never had anything in it
    part.write_text("[limits]\nmax_sessions = 5")
    assert "max_sessions is 5" in await running.reread()
    part.write_text("")
    assert (await running.reread()).startswith(f"ERROR: SIGHUP: {part}: it is empty and was not before")
    assert running.broker.core.options.max_sessions == 5


@pytest.mark.parametrize("half", ["", "max_sessions", "[limits]\nmax_sessions = 1"])
async def test_a_file_that_is_being_written_is_read_when_it_is_whole(
    running: Running, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    """Each time that it is read, somebody writes a bit more of it behind that."""
    rest = [half, f"{HEAD}{USERS}[limits]\nmax_sessions = 1", f"{HEAD}{USERS}[limits]\nmax_sessions = 15"]

    def write_on(seconds: float) -> None:
        if rest:
            running.path.write_text(rest.pop(0))

    monkeypatch.setattr("curier.cli.reload.sleep", write_on)
    assert "; max_sessions is 15, was 1_000_000 (" in await running.reread()
    assert not rest


async def test_a_file_that_is_written_without_an_end_changes_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_on(seconds: float) -> None:
        with running.path.open("a") as file:
            file.write("#")

    monkeypatch.setattr("curier.cli.reload.sleep", write_on)
    said = await running.reread()
    assert said == f"ERROR: SIGHUP: {running.path}: somebody writes there all the time; nothing has changed"


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
