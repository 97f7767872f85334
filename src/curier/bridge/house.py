"""The bridges of one broker, or of a program of their own: started, changed by a reload, stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from curier.bridge.ends import client_id_of, own_name
from curier.bridge.engine import Bridge
from curier.bridge.settings import DIRECTORY, BridgeSettings
from curier.client.client import Client
from curier.client.settings import ClientSettings
from curier.errors import MqttError, StoreError
from curier.inside import HOP, BridgeNumbers, Insiders
from curier.loglines import logger
from curier.server import Broker

log = logger("curier.bridge")

ID: Final = "id"
STOP_SECONDS: Final = 3.0


def of_broker(broker: Broker, wanted: Sequence[BridgeSettings]) -> Bridges:
    """Those of ``broker``, which keeps what they have to in its data directory."""
    directory = broker.directory / DIRECTORY if broker.directory is not None else None
    return Bridges(wanted, directory, broker)


class Bridges:
    """Those of ``broker``, which runs from before ``start`` to after ``stop``; without one, each has two
    others. What has to survive the program is below ``directory``, where there is one.
    """

    def __init__(
        self, wanted: Sequence[BridgeSettings], directory: Path | None, broker: Broker | None = None
    ) -> None:
        self.running: dict[str, Bridge] = {}
        self._wanted = wanted
        self._directory = directory
        self._broker = broker
        self._insiders: Insiders | None = None
        self.id = ""
        """The name of the broker, or of this program, in the trace of hops, once there is a bridge."""

    async def start(self) -> None:
        """Start all that are wanted. Raises ``StoreError`` for a directory that cannot be used."""
        if self._directory is not None and self._broker is not None:
            await self._end_others(self._broker, self._directory, {one.name for one in self._wanted})
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

    def numbers(self) -> list[BridgeNumbers]:
        """What each has counted."""
        return [self._numbers_of(one) for one in self.running.values()]

    def _numbers_of(self, bridge: Bridge) -> BridgeNumbers:
        out, into = bridge.out, bridge.into
        name = bridge.settings.name
        session = self._broker.core.sessions.get(client_id_of(name)) if self._broker is not None else None
        outgoing = session.outgoing if session is not None else None
        return BridgeNumbers(
            name,
            bridge.url,
            bridge.state,
            bridge.since,
            "" if bridge.is_connected else bridge.error,
            bridge.connects,
            out.carried,
            into.carried,
            {
                "not_connected": out.dropped + into.dropped,
                "refused": out.refused + into.refused,
                "circle": out.stopped + into.stopped,
            },
            len(outgoing.queue) + outgoing.inflight_count() + len(outgoing.releasing)
            if outgoing is not None
            else 0,
        )

    def _begin(self, settings: BridgeSettings) -> None:
        broker = self._broker
        if not self.id:
            self.id = self._own_id()
            if broker is not None:
                self._insiders = Insiders(broker.turn)
                broker.core.hop = (HOP, self.id)
                broker.bridges = self.numbers
        insiders = self._insiders
        bridge = self.running[settings.name] = Bridge(
            settings,
            local_id=self.id,
            link=partial(insiders.enter, own_name(settings)) if insiders is not None else None,
            directory=self._directory / settings.name if self._directory is not None else None,
            tell=broker.publish if broker is not None else None,
            clock=broker.turn.clock.now if broker is not None else time.time,
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
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise StoreError(f"{path}: {error}") from error
        return made

    def _remove(self, name: str) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory / name, ignore_errors=True)

    async def _end_others(self, broker: Broker, directory: Path, names: set[str]) -> None:
        """End the sessions of bridges that are not in the settings any more: nobody will come for them."""
        for path in _directories(directory):
            if path.name not in names:
                await self._end_session(broker, path)

    async def _end_session(self, broker: Broker, path: Path) -> None:
        insiders = Insiders(broker.turn)
        name = f"bridge {path.name}"
        settings = ClientSettings(
            "unix:///inside",
            client_id=client_id_of(path.name),
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


def _directories(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if path.is_dir()] if directory.is_dir() else []
