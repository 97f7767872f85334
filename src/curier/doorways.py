"""The listeners of a broker that runs, and which of them stay when they are to be others."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from curier.auth.at_doors import has_rules
from curier.broker.entrances import Entrance
from curier.errors import ConfigError
from curier.listeners import Listener
from curier.net.listening import Opened, open_listener
from curier.net.passed import Passed

_OF_SOCKETS = ("owner", "group", "mode", "reuse_port", "tcp_keepalive")
"""Settings of a listener that its sockets are made with."""


class NeedsRestart(ConfigError):
    """A change that a running broker cannot make."""


@dataclass(eq=False)
class Doorway:
    """A listener, with its sockets, and as the core sees it."""

    listener: Listener
    entrance: Entrance
    opened: list[Opened] = field(default_factory=list)

    async def open(self, passed: Passed, *, may_lack_ipv6: bool) -> None:
        """Raises ``OSError``, whose text is for people."""
        address = self.listener.address
        try:
            self.opened = await open_listener(self.listener, passed, may_lack_ipv6=may_lack_ipv6)
        except OSError as error:
            kind = socket.gaierror if isinstance(error, socket.gaierror) else OSError
            raise kind(error.errno, f"cannot listen on {address}: {error.strerror}") from error

    def remove_files(self) -> None:
        """So that nobody knocks any more."""
        for opened in self.opened:
            if opened.file is not None:
                opened.file.remove()

    def close(self) -> None:
        """Let go of the sockets."""
        for opened in self.opened:
            opened.sock.close()


@dataclass
class Change:
    """What becomes of listeners: ``kept`` with what each is from now on, ``gone``, ``new``."""

    kept: list[tuple[Doorway, Listener]] = field(default_factory=list)
    gone: list[Doorway] = field(default_factory=list)
    new: list[Listener] = field(default_factory=list)


def change(doorways: Sequence[Doorway], wanted: Sequence[Listener], *, asks_at_doors: bool) -> Change:
    """How ``doorways`` become those that are ``wanted``: one with the same URL stays, whatever else is
    different. Raises ``NeedsRestart``.
    """
    found = Change(gone=[*doorways])
    for listener in wanted:
        doorway = next((one for one in found.gone if one.listener == listener), None)
        if doorway is None:
            doorway = next((one for one in found.gone if _may_become(one, listener, wanted)), None)
        if doorway is None:
            found.new.append(listener)
        else:
            found.gone.remove(doorway)
            found.kept.append((doorway, listener))
    for one in (*found.new, *(listener for doorway, listener in found.kept if listener != doorway.listener)):
        _check(one, asks_at_doors)
    for doorway, listener in found.kept:
        if any(getattr(listener, name) != getattr(doorway.listener, name) for name in _OF_SOCKETS):
            raise NeedsRestart(f"{listener.url}: {', '.join(_OF_SOCKETS)} of a listener")
    if any(
        one.listener.acme
        for one in (*found.gone, *(doorway for doorway, new in found.kept if new != doorway.listener))
    ):
        raise NeedsRestart("a listener with acme")
    return found


def _may_become(doorway: Doorway, listener: Listener, wanted: Sequence[Listener]) -> bool:
    return doorway.listener.address == listener.address and doorway.listener not in wanted


def _check(listener: Listener, asks_at_doors: bool) -> None:
    """Raise ``NeedsRestart`` for one that a running broker cannot come to have."""
    if listener.acme:
        raise NeedsRestart(f"{listener.url}: acme")
    if listener.address.carrier == "fd":
        raise NeedsRestart(f"{listener.url}: a socket that systemd passes")
    if has_rules(listener) and not asks_at_doors:
        raise NeedsRestart(f"{listener.url}: the first listener that decides itself who may connect")
