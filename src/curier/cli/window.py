"""The window of ``curier broker``: by default where its packages are, and no reason not to serve."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from curier.cli.log_setup import goes_to_journal, set_levels
from curier.cli.reload import Reload
from curier.config import Config
from curier.errors import ConfigError
from curier.server import Broker
from curier.settings.ban import BAN
from curier.settings.log_levels import TOPICS
from curier.settings.setting import Setting, plain
from curier.settings.table import ALL
from curier.settings.web import DEFAULT_URL, OFF, PEOPLE

if TYPE_CHECKING:
    from curier.web.forms import SettingRow
    from curier.web.server import Web

_log = logging.getLogger("curier.cli")

TOKENS: Final = "web-tokens"
"""The file of tokens in a data directory."""


class CannotListen(click.ClickException):
    """An address cannot be listened on: one line for the user, and exit code 2."""

    exit_code = 2


_FOLLOWED: Final[dict[str, Callable[[Broker], int]]] = {
    "memory_limit": lambda broker: broker.core.memory_limit >> 20 << 20,
}
"""Settings that follow from the machine where they are 0, and what they are then."""


class SettingsKeeper:
    """Lets the window see the settings, and have them read again."""

    def __init__(self, broker: Broker, reload: Reload) -> None:
        self._broker = broker
        self._reload = reload
        self.url: Callable[[], str] = lambda: DEFAULT_URL  # where the window is

    def settings(self) -> list[SettingRow]:
        """All settings, as they hold now."""
        from curier.web.forms import SettingRow

        config, options = self._reload.config, self._broker.options
        rows: list[SettingRow] = []
        for setting in ALL.values():
            value = getattr(options if setting.table == "limits" else config, setting.name)
            written = setting.kind.written(value) if value is not None else self._unset(setting)
            if setting.name in _FOLLOWED and not value:
                written += f" ({setting.kind.written(_FOLLOWED[setting.name](self._broker))} here)"
            origin = config.origins.get(setting.name, "default")
            rows.append(SettingRow(setting.key, written, origin, setting.help))
        for setting in BAN.values():
            written = setting.kind.written(getattr(config.bans, setting.name))
            rows.append(
                SettingRow(setting.key, written, config.origins.get(setting.key, "default"), setting.help)
            )
        return rows

    def _unset(self, setting: Setting) -> str:
        """What holds where nobody has said anything."""
        config = self._reload.config
        if setting.name == "allow_anonymous":
            doors = config.doors()
            open_ones = [door.url for door in doors if config.anonymous_may_connect(door)]
            if len(open_ones) in (0, len(doors)):
                return str(bool(open_ones)).lower()
            return f"true at {', '.join(open_ones)}, else false"
        if setting.name == "web":
            return setting.kind.written(self.url())
        place = {"data": config.directory, "web_tokens": tokens_of(config)}.get(setting.name)
        return plain(setting.default) if place is None else setting.kind.written(str(place))

    def check(self) -> list[str]:
        """What would be wrong if they were read again now."""
        return self._reload.wrong()

    async def reload(self) -> str:
        """Read them again."""
        try:
            return await self._reload.attempt("reload")
        except OSError as error:
            raise ConfigError(error.strerror or str(error)) from error

    def log_levels(self) -> dict[str, str]:
        """How much is logged of each topic."""
        return {
            topic: logging.getLevelName(logging.getLogger(name).getEffectiveLevel()).lower()
            for topic, name in TOPICS.items()
        }

    def set_log_level(self, topic: str, level: str) -> None:
        """Log so much of a topic, or of all."""
        if topic:
            logging.getLogger(TOPICS[topic]).setLevel(level.upper())
        else:
            set_levels(replace(self._reload.config, log_level=level, log_levels=()))


def window_of(config: Config, broker: Broker, reload: Reload) -> Web | None:
    """As the settings say; None: there is none. Raises ``ConfigError``.

    Where nobody has asked for it, a package that is not there is no error, but a line of the log.
    """
    if config.web == OFF:
        return None
    from curier.web import local
    from curier.web.people import People
    from curier.web.server import Web, lacking

    missing = lacking()
    if missing is not None:
        if config.web is not None:
            raise missing
        _log.info("%s", missing)
        return None
    keeper = SettingsKeeper(broker, reload)
    web = Web(
        broker,
        config.web or DEFAULT_URL,
        may_be_next=config.web is None,
        hosts=config.web_hosts,
        prefix=config.web_prefix,
        proxies=config.web_trusted_proxies,
        certificate=config.web_certificate,
        key=config.web_key,
        open_metrics=config.web_open_metrics,
        tokens=tokens_of(config),
        beside=local.directory(),
        keeper=keeper,
        people=lambda: People(*(getattr(reload.config, name) for name in PEOPLE)),
    )
    keeper.url = lambda: web.urls[0]
    return web


async def open_window(window: Web, config: Config) -> bool:
    """Open it; returns whether it is open. Raises ``CannotListen`` where it was asked for and cannot be."""
    try:
        await window.start()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        where = config.web or f"{DEFAULT_URL} and the ports behind it"
        text = f"the window cannot be at {where}: {why}; choose another address (--web), or none (--no-web)"
        if config.web is not None:
            raise CannotListen(text) from error
        _log.warning("%s", text)
        return False
    return True


def way_to(window: Web) -> str:
    """What the terminal says of it. A journal is kept, and read by others: a link has to be asked for."""
    if goes_to_journal(sys.stdout):
        return f"window:    {window.urls[0]}\n           (a link that logs in: curier admin login)\n"
    return f"window:    {window.login_link()}\n           (logs in once; later: curier admin login)\n"


def tokens_of(config: Config) -> Path | None:
    """The file of tokens for the window, whether it is there or not; None: there cannot be one."""
    if config.web_tokens is not None:
        return Path(config.web_tokens)
    return Path(config.directory) / TOKENS if config.directory is not None else None
