"""Has the certificates of all listeners looked at while the broker runs, and read again when that is wanted.

Both happen in threads, since disks and passwords of keys may be slow; nobody waits for those at the end. It
needs nothing that a broker without TLS has no need of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from curier.errors import ConfigError
from curier.listeners import level_of
from curier.loglines import logger
from curier.rereading import in_thread

if TYPE_CHECKING:
    from curier.net.certificates import Certificates

log = logger("curier.tls")

FIRST_SECONDS = 5.0
"""Before the files are looked at for the first time; after that, as each listener says."""

FAILED_SECONDS = 60.0
"""After a look that failed for a reason nobody has thought of."""


class Renewal:
    """``told`` is what the broker tells below ``$SYS/broker/``, where the ends of certificates are put.
    ``on_new_lists`` is called when certificates may have been revoked of clients that are connected.
    """

    def __init__(
        self, held: Sequence[Certificates], told: dict[str, str], on_new_lists: Callable[[], Awaitable[None]]
    ) -> None:
        self._held = held
        self._on_new_lists = on_new_lists
        self._told = told
        self._names: set[str] = set()  # of what this one has told
        self._task: asyncio.Task[None] | None = None
        self._tell()

    def start(self) -> None:
        """Begin to look at the files."""
        if self._held:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Look no more, and take back what was told; a look that has begun is finished."""
        if self._task is not None:
            self._task.cancel()
        for name in self._names:
            self._told.pop(name, None)

    async def reload(self) -> None:
        """Read the files of all listeners again, whether or not they have changed.

        Raises ``ConfigError`` with what is wrong; those listeners stay as they were, the others have the
        new. Cancelling it leaves each listener with the old or the new.
        """
        wrong = []
        for certificates in self._held:
            try:
                await in_thread("curier certificates", certificates.reload)
            except ConfigError as error:
                wrong.append(str(error))
        self._tell()
        await self._tell_new_lists()
        if wrong:
            raise ConfigError("; ".join(wrong))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        due = dict.fromkeys(self._held, loop.time() + FIRST_SECONDS)
        while True:
            first = min(due, key=due.__getitem__)
            await asyncio.sleep(max(0.0, due[first] - loop.time()))
            try:
                wait = await in_thread("curier certificates", first.look)
                await self._tell_new_lists()
            except Exception:  # that one look fails is no reason never to look again
                log.exception("%s: looking at its certificates failed", first.name)
                wait = FAILED_SECONDS
            due[first] = loop.time() + wait
            self._tell()

    async def _tell_new_lists(self) -> None:
        changed = [one for one in self._held if one.has_new_lists]
        for one in changed:
            one.has_new_lists = False
        if changed:
            await self._on_new_lists()

    def _tell(self) -> None:
        for certificates in self._held:
            if not certificates.pairs:
                continue  # keys, which do not end
            level = level_of(certificates.name)
            name = f"listeners/{level}/certificate/expires"
            self._names.add(name)
            self._told[name] = str(int(certificates.expires))
