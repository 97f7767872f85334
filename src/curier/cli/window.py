"""The window of ``curier broker``: by default where its packages are, and no reason not to serve."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import click

from curier.config import Config
from curier.errors import missing_package
from curier.server import Broker
from curier.settings.web import DEFAULT_URL, OFF

if TYPE_CHECKING:
    from curier.web.server import Web

_log = logging.getLogger("curier.cli")


class CannotListen(click.ClickException):
    """An address cannot be listened on: one line for the user, and exit code 2."""

    exit_code = 2


def window_of(config: Config, broker: Broker) -> Web | None:
    """As the settings say; None: there is none. Raises ``ConfigError``.

    Where nobody has asked for it, a package that is not there is no error, but a line of the log.
    """
    if config.web == OFF:
        return None
    try:
        from curier.web.server import Web  # which takes a tenth of a second, and 9 MiB
    except ImportError as error:
        missing = missing_package(error, "the window (pages, API, metrics)")
        if config.web is not None:
            raise missing from error
        _log.info("%s", missing)
        return None
    return Web(
        broker,
        config.web or DEFAULT_URL,
        may_be_next=config.web is None,
        hosts=config.web_hosts,
        certificate=config.web_certificate,
        key=config.web_key,
        open_metrics=config.web_open_metrics,
    )


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
    """What the terminal says of it."""
    return f"window:    {window.urls[0]}/\n"
