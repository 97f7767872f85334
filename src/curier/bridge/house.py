"""The bridges of one broker: started with it, changed by a reload, stopped before it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from curier.bridge.ends import own_name
from curier.bridge.engine import Bridge
from curier.bridge.settings import BridgeSettings
from curier.client.client import Client
from curier.client.settings import ClientSettings
from curier.errors import MqttError, StoreError
from curier.inside import HOP, Insiders
from curier.loglines import logger
from curier.server import Broker

log = logger("curier.bridge")

DIRECTORY: Final = "bridges"
"""Below the data directory of the broker."""

ID: Final = "id"
STOP_SECONDS: Final = 3.0


class Bridges:
    """Those of ``broker``, which runs from before ``start`` to after ``stop``."""

    def __init__(self, broker: Broker, wanted: Sequence[BridgeSettings]) -> None:
        self.running: dict[str, Bridge] = {}
        self._broker = broker
        self._wanted = wanted
        self._insiders: Insiders | None = None
        self._directory = broker.directory / DIRECTORY if broker.directory is not None else None
        self.id = ""
        """The name of the broker in the trace of hops, once there is a bridge."""

    async def start(self) -> None:
        """Start all that are wanted. Raises ``StoreError`` for a directory that cannot be used."""
        if self._directory is not None:
            await self._end_others({one.name for one in self._wanted})
        for one in self._wanted:
            self._begin(one)

    async def change(self, wanted: Sequence[BridgeSettings]) -> list[str]:
        """Have these from now on: what has changed, in words. Those that stay as they are go on."""
        said: list[str] = []
        new = {one.name: one for one in wanted}
        for name, bridge in [*self.running.items()]:
            if new.get(name) == bridge.settings:
                continue
            await bridge.stop(forget=name not in new)
            del self.running[name]
            if name not in new:
                said.append(f"the bridge {name} is gone")
                self._remove(name)
        for name, settings in new.items():
            if name not in self.running:
                is_old = any(one.name == name for one in self._wanted)
                said.append(f"the bridge {name} {'begins anew' if is_old else 'is there'}")
                self._begin(settings)
        self._wanted = tuple(wanted)
        return said

    async def stop(self) -> None:
        """Stop all; what is not acknowledged waits for the next start."""
        bridges = [*self.running.values()]
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(one.stop() for one in bridges))
        except TimeoutError:
            log.warning("bridges were cut: they did not end within %g seconds", STOP_SECONDS)
        self.running.clear()
        if self._insiders is not None:
            self._insiders.stop()

    def _begin(self, settings: BridgeSettings) -> None:
        if self._insiders is None:
            self._insiders = Insiders(self._broker.turn)
            self.id = self._own_id()
            self._broker.core.hop = (HOP, self.id)
        bridge = self.running[settings.name] = Bridge(
            settings,
            local_id=self.id,
            link=partial(self._insiders.enter, own_name(settings)),
            directory=self._directory / settings.name if self._directory is not None else None,
            tell=self._broker.publish,
        )
        bridge.start()

    def _own_id(self) -> str:
        """The name of this broker in the trace of hops: made once, and kept with its data."""
        made = os.urandom(8).hex()
        if self._directory is None:
            return made
        path = self._directory / ID
        try:
            if path.exists():
                return path.read_text().strip() or made
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(f"{made}\n")
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{path}: {error}") from error
        return made

    def _remove(self, name: str) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory / name, ignore_errors=True)

    async def _end_others(self, names: set[str]) -> None:
        """End the sessions of bridges that are not in the settings any more: nobody will come for them."""
        assert self._directory is not None
        if not self._directory.is_dir():
            return
        for path in sorted(self._directory.iterdir()):
            if path.is_dir() and path.name not in names:
                await self._end_session(path)

    async def _end_session(self, path: Path) -> None:
        insiders = Insiders(self._broker.turn)
        name = f"bridge {path.name}"
        settings = ClientSettings(
            "unix:///inside",
            client_id=f"bridge.{path.name}",
            username=name,
            clean_start=True,
            session_expiry=0,
            open_socket=partial(insiders.enter, name),
        )
        try:
            async with Client(settings):
                pass
        except MqttError as error:
            log.warning("the session of the bridge %s, which is gone, is not ended: %s", path.name, error)
            return
        finally:
            insiders.stop()
        self._remove(path.name)
        log.info("the bridge %s is gone from the settings: nothing waits for it here any more", path.name)
