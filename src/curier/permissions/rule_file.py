"""Rules from a file that may change while the broker runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from curier.errors import ConfigError
from curier.permissions.base import Rules, log
from curier.permissions.dialects import DIALECTS, MOSQUITTO_21
from curier.rereading import in_thread, stamp_of

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks at the file. It is read when two of them have seen the same, since the half that
somebody has written of it may be rules as well."""


class RuleFile:
    """The rules of a file, for ``Broker(permissions=...)``.

    Its content says of which kind it is: ours, or Mosquitto's ``acl_file`` or ``dynamic-security.json``,
    which mean what they mean in the Mosquitto that ``dialect`` names. A change is noticed within a second,
    and holds for connected clients, too. A file that cannot be used is logged, and the rules before stay.
    Raises ``ConfigError`` where it cannot be used to begin with.
    """

    def __init__(self, path: str | os.PathLike[str], *, dialect: str = MOSQUITTO_21) -> None:
        if dialect not in DIALECTS:
            raise ConfigError(f"acl_dialect is {' or '.join(DIALECTS)}, not {dialect!r}")
        self.path: Final = Path(path)
        self._dialect: Final = dialect
        self._told: Callable[[Rules], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._turns: Final = asyncio.Lock()  # or what was read first might come last
        self._stamp = stamp_of(self.path)
        self.rules = self._read()

    def _read(self) -> Rules:
        from curier.permissions.reading import read_rules  # which knows all kinds of files

        return read_rules(self.path, self._dialect)

    def start(self, told: Callable[[Rules], None]) -> None:
        """Begin to look at the file; ``told`` hears of other rules."""
        self._told = told
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Look no more."""
        self._told = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def reload(self) -> None:
        """Read the file now. Raises ``ConfigError`` and keeps the rules it had when it cannot be used.

        Cancelling it leaves the old rules or the new.
        """
        async with self._turns:
            stamp = stamp_of(self.path)
            try:
                rules = await in_thread("curier rules", self._read)  # it may be long
            finally:
                self._stamp = stamp  # what is wrong is said once
            self.rules = rules
            if self._told is not None:
                self._told(rules)

    async def _watch(self) -> None:
        before = self._stamp
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            seen, before = before, stamp_of(self.path)
            if before == self._stamp or before != seen:
                continue
            try:
                await self.reload()
            except ConfigError as error:
                log.error("%s; the rules before this change stay valid", error)
            except Exception:  # that one look fails is no reason never to look again
                log.exception("%s: reading it again failed; the rules before stay valid", self.path)
            else:
                log.info("read %s again", self.path)
