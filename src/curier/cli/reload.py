"""SIGHUP: the settings are read again, and the files that they name; all of it or nothing is taken over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import sleep
from typing import TYPE_CHECKING, Final

from curier.auth import Authenticator
from curier.cli.host import allow_files
from curier.cli.log_setup import set_levels
from curier.cli.log_writer import FileWriter
from curier.cli.manager import reading_again
from curier.cli.trying import problems
from curier.config import Config
from curier.doorways import NeedsRestart
from curier.errors import ConfigError
from curier.hook_files.files import HookFiles
from curier.listeners import Listen, Listener
from curier.rereading import stamp_of
from curier.server import Broker
from curier.settings.ban import BAN
from curier.settings.setting import Setting
from curier.settings.table import ALL, LIMIT, TOP
from curier.settings.web import PEOPLE, WEB

if TYPE_CHECKING:
    from curier.bridge.house import Bridges

_log = logging.getLogger("curier.cli")

_AT_ONCE: Final = ("log_level", "log_levels")
"""Settings at the top of the file that need no restart."""

MOST_LOOKS: Final = 50
SETTLED_SECONDS: Final = 0.1
"""For so long nobody may have written to the configuration file; it is looked again so often at most."""

_OF_LISTENERS: Final = ("listen", "listeners", "certificate", "key", "client_ca")
"""Those that say where to listen, and how."""


class Reload:
    """What a running broker takes over. ``reread`` gives the settings anew, or raises ``ConfigError``."""

    def __init__(
        self,
        broker: Broker,
        config: Config,
        authenticator: Authenticator | None,
        hook_files: HookFiles,
        log_file: FileWriter | None,
        reread: Callable[[], Config],
        audit_file: FileWriter | None = None,
    ) -> None:
        self._broker = broker
        self._config = config
        self._authenticator = authenticator
        self._hook_files = hook_files
        self._files = [one for one in (log_file, audit_file) if one is not None]
        self._reread = reread
        self._turns = asyncio.Lock()
        self._is_due = False
        self.bridges: Bridges | None = None  # where there are any
        self._tasks: set[asyncio.Task[None]] = set()  # or nothing would hold them

    def soon(self) -> None:
        """Do it as soon as the event loop has time for it; once, however often it is asked for until then."""
        if self._is_due:
            return
        self._is_due = True
        task = asyncio.get_running_loop().create_task(self.now())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def config(self) -> Config:
        """The settings that hold, but for limits, which the broker knows."""
        return self._config

    def wrong(self) -> list[str]:
        """What would be wrong if the settings were read again now; it reads files, so in a thread."""
        try:
            new = replace(self._read_whole(), hooks_authenticate=self._config.hooks_authenticate)
        except ConfigError as error:
            return [str(error)]
        return [str(one) for one in [*new.problems()] or problems(new)]

    async def now(self) -> None:
        """Read everything again. Where anything is wrong, the log says what, and nothing has changed."""
        try:
            await self.attempt("SIGHUP")
        except (ConfigError, OSError) as error:
            _log.error("SIGHUP: %s; nothing has changed", _why(error))

    async def attempt(self, asked_by: str) -> str:
        """Read everything again, and say in words what has changed; ``asked_by`` is for the log. Raises
        ``ConfigError`` or ``OSError`` where anything is wrong, and nothing has changed.
        """
        for file in self._files:  # which is what this signal is mostly sent for
            file.reopen()
        async with self._turns:
            self._is_due = False
            with reading_again():
                return await self._attempt(asked_by)

    async def _attempt(self, asked_by: str) -> str:
        try:
            new = await asyncio.to_thread(self._read)
            stuck, listeners, read = await self._take_listeners(new)
        except (ConfigError, OSError) as error:
            self._broker.acted(asked_by, "reload", failed=_why(error))
            raise
        said = [f"{_and(read)} were read again"] if read else []
        said += [*listeners, *self._take_limits(new), *self._take_bans(new)]
        said += [*self._take_people(new), *self._log_levels(new), *await self._take_bridges(new)]
        if stuck := [*self._stuck(new), *stuck]:
            said.append(f"{_and(stuck)} changed, which needs a restart of the broker")
        text = "; ".join(said) or "nothing has changed"
        self._broker.acted(asked_by, "reload", changed=text)
        self._say(f"{asked_by}: {text}", new)
        return text

    def _read(self) -> Config:
        """The settings, tried out as far as that can be without a second broker."""
        new = self._read_whole()
        new = replace(new, hooks_authenticate=self._config.hooks_authenticate)
        new.check()
        for wrong in problems(new):
            raise wrong
        return new

    def _read_whole(self) -> Config:
        """The settings, when nobody writes the files they stand in: who sends SIGHUP may be faster than who
        saves. Raises ``ConfigError``, also for a file that has become empty: what is not there any more would
        quietly be a default.
        """
        files = self._config.files
        for _ in range(MOST_LOOKS):
            before = [stamp_of(path) for path in files]
            new, wrong = None, None
            try:
                new = self._reread()
            except ConfigError as error:
                wrong = error
            if files:
                sleep(SETTLED_SECONDS)
            if (new is None or new.files == files) and before == [stamp_of(path) for path in files]:
                break
            files = new.files if new is not None else files
        else:
            raise ConfigError(f"{' and '.join(map(str, files))}: somebody writes there all the time")
        if new is None:
            assert wrong is not None
            raise wrong
        for path in new.blank:
            if path not in self._config.blank and path in self._config.files:
                raise ConfigError(
                    f"{path}: it is empty and was not before, as if somebody were still writing it; "
                    "a line with a comment (#) says that all is to be as by default"
                )
        return new

    async def _take_listeners(self, new: Config) -> tuple[list[str], list[str], list[str]]:
        """Listeners, and with them what is in files: all of them or none.

        What of the listeners needs a restart, what of them has changed, and which files were read.
        """
        before, after = self._config.doors(), new.doors()
        if before == after:
            return [], [], await self._take_files()
        try:
            async with self._broker.changing_listeners(after):
                read = await self._take_files()
        except NeedsRestart as error:
            return [str(error)], [], await self._take_files()
        self._config = replace(self._config, **{name: getattr(new, name) for name in _OF_LISTENERS})
        said = [f"{door.url} is closed" for door in before if door.address not in _addresses(after)]
        said += [f"{door.url} is open" for door in after if door.address not in _addresses(before)]
        said += [
            f"{door.url} is for new clients as it says now"
            for door in after
            if door.address in _addresses(before) and door not in before
        ]
        return [], said, read

    async def _take_files(self) -> list[str]:
        """Take over what is in the files that the settings name; what may still be wrong with them first."""
        read: list[str] = []
        if self._hook_files.paths:
            await self._hook_files.reload(self._broker)
            read.append("the hook files")
        if self._broker.permissions is not None:
            await self._broker.permissions.reload()
            read.append(f"the rules in {self._broker.permissions.path}")
        if self._authenticator is not None and self._authenticator.reload():
            read.append("the users")
        if self._broker.has_certificates:
            await self._broker.reload_certificates()
            read.append("the certificates")
        return read

    def _take_limits(self, new: Config) -> list[str]:
        before = {name: getattr(self._broker.options, name) for name in LIMIT}
        stuck = self._broker.change_options(new.options)
        said: list[str] = []
        for name, setting in LIMIT.items():
            value = getattr(new.options, name)
            if value == before[name]:
                continue
            if name in stuck:
                said.append(f"{name} changed, which needs a restart of the broker")
            else:
                said.append(_changed(setting, before[name], value, new))
        if new.options.max_connections != before["max_connections"]:
            allow_files(new.options.max_connections)
        return said

    def _take_bans(self, new: Config) -> list[str]:
        before = self._config.bans
        if self._broker.bans is None or new.bans == before:
            return []
        self._broker.bans.change(new.bans)
        self._config = replace(self._config, bans=new.bans)
        return [
            _changed(one, getattr(before, one.name), getattr(new.bans, one.name), new, one.key)
            for one in BAN.values()
            if getattr(before, one.name) != getattr(new.bans, one.name)
        ]

    async def _take_bridges(self, new: Config) -> list[str]:
        if new.bridges == self._config.bridges:
            return []
        if self.bridges is None:
            from curier.bridge.house import of_broker  # which most brokers have no use for

            self.bridges = of_broker(self._broker, ())
        said = await self.bridges.change(new.bridges)
        self._config = replace(self._config, bridges=new.bridges)
        return said

    def _take_people(self, new: Config) -> list[str]:
        """Who may log in to the window: it asks for that here each time."""
        before = self._config
        self._config = replace(before, **{name: getattr(new, name) for name in PEOPLE})
        return [
            _changed(WEB[name], getattr(before, name), getattr(new, name), new)
            for name in PEOPLE
            if getattr(before, name) != getattr(new, name)
        ]

    def _log_levels(self, new: Config) -> list[str]:
        before = self._config
        return [
            _changed(TOP[name], getattr(before, name), getattr(new, name), new)
            for name in _AT_ONCE
            if getattr(before, name) != getattr(new, name)
        ]

    def _say(self, text: str, new: Config) -> None:
        """Log it, and take over the levels: the line is told by those of before or by the new ones."""
        is_told = _log.isEnabledFor(logging.INFO)
        if is_told:
            _log.info("%s", text)
        self._config = replace(
            self._config,
            log_level=new.log_level,
            log_levels=new.log_levels,
            files=new.files,
            blank=new.blank,
        )
        self._config = replace(self._config, origins=self._origins(new))
        set_levels(self._config)
        if not is_told:
            _log.info("%s", text)

    def _origins(self, new: Config) -> dict[str, str]:
        """Where the settings that hold come from: as it is said now, but for those that stay as they were."""
        held, found = self._config, dict(new.origins)
        for name, setting in ALL.items():
            is_limit = setting.table == "limits"
            holds = getattr(self._broker.options if is_limit else held, name)
            if holds == getattr(new.options if is_limit else new, name):
                continue
            found.pop(name, None)
            if name in held.origins:
                found[name] = held.origins[name]
        return found

    def _stuck(self, new: Config) -> list[str]:
        """What has changed in the settings, and stays as it was."""
        names = [name for name in (*TOP, *WEB, "authenticators", "webhooks") if name not in _OF_LISTENERS]
        return [
            name
            for name in names
            if name not in _AT_ONCE and getattr(new, name) != getattr(self._config, name)
        ]


def _why(error: ConfigError | OSError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _changed(setting: Setting, before: object, value: object, new: Config, name: str = "") -> str:
    written = setting.kind.written
    name = name or setting.name
    where = new.origins.get(name, "default")
    return f"{name} is {written(value)}, was {written(before)} ({where})"


def _addresses(doors: Sequence[Listener]) -> list[Listen]:
    return [door.address for door in doors]


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
