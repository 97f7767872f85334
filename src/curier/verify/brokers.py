"""Brokers that can be killed and started: our own, any other by its command, or one elsewhere.

``start`` returns when the broker has been told to start; whether it takes clients, its clients see. What goes
wrong is ``Unjudged``, which says it in words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from curier.client.dial import DialSettings
from curier.client.urls import ServerUrl
from curier.errors import ConfigError
from curier.verify.caller import Server

FIRST_PORT: Final = 15_000
END_PORT: Final = 32_000
"""Below those that kernels give to whoever calls: such a one could be taken while the broker is dead."""

TAIL_BYTES: Final = 2000
COMMAND_SECONDS: Final = 60.0
GROUPS: Final = hasattr(os, "killpg")


class Unjudged(Exception):
    """Why it cannot be told whether promises are kept."""


class BrokerUnderTest(Server):
    """Base class: what the play does with a broker. ``name`` says in words which it is."""

    name = "a broker"

    async def start(self) -> None:
        """Have it start. Raises ``Unjudged``."""
        raise NotImplementedError

    async def kill(self) -> None:
        """Kill it; it is dead when this returns. Raises ``Unjudged``."""
        raise NotImplementedError

    async def close(self) -> None:
        """The play is over. What this object has started is gone when it returns."""

    def check(self) -> None:
        """Raise ``Unjudged`` if it has ended by itself."""


class BrokerProcess(BrokerUnderTest):
    """A broker that is a child of this process, started by ``command``; it logs to ``log``."""

    def __init__(
        self, command: list[str], url: ServerUrl, log: Path, dialing: DialSettings | None = None
    ) -> None:
        super().__init__(url, dialing)
        self.command = command
        self.log = log
        self.name = shlex.join(command)
        self.popen: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it."""
        await asyncio.to_thread(self._spawn)

    def _spawn(self) -> None:
        """In a process group of its own: Ctrl-C is for us, and a kill meets its children, too."""
        with self.log.open("ab") as log:
            try:
                self.popen = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "CURIER_WEB": "off"},
                    start_new_session=True,
                )
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise Unjudged(f"{self.command[0]}: cannot be run: {why}") from error

    async def kill(self) -> None:
        """Kill it and its children."""
        await self.kill_all()

    async def kill_all(self) -> None:
        """Kill it and its children at once, where this system has process groups."""
        if GROUPS:
            await self.end(lambda popen: os.killpg(popen.pid, signal.SIGKILL))
        else:
            await self.kill_alone()

    async def kill_alone(self) -> None:
        """Kill it; what it has started notices."""
        await self.end(lambda popen: popen.kill())

    async def end(self, how: Callable[[subprocess.Popen[bytes]], object]) -> None:
        """End it this way, and wait until it has ended."""
        popen, self.popen = self.popen, None
        if popen is not None and popen.poll() is None:
            how(popen)
            await asyncio.to_thread(popen.wait, COMMAND_SECONDS)

    async def close(self) -> None:
        """Kill it."""
        await self.kill_all()

    def check(self) -> None:
        """Raise ``Unjudged`` with the end of its log, if it has ended by itself."""
        if self.popen is not None and (code := self.popen.poll()) is not None:
            raise Unjudged(f"the broker ended by itself, with code {code}{tail(self.log)}")


class OwnBroker(BrokerProcess):
    """``curier broker`` with its data below ``directory``.

    Half of the kills are of the broker alone, which its store's process outlives for a moment; half are of
    both at once.
    """

    def __init__(self, directory: Path, durability: str, dice: Random) -> None:
        self.data = directory / "data"
        self.dice = dice
        url = ServerUrl("mqtt", "127.0.0.1", free_port())
        super().__init__([], url, directory / "broker.log")
        self.set_durability(durability)

    def set_durability(self, durability: str) -> None:
        """Have it started with this one from now on: ``fsync``, ``os`` or ``memory``."""
        self.command = [sys.executable, "-m", "curier", "broker", "--listen", f"tcp://{self.url.address}"]
        if durability == "memory":
            self.command += ["--memory"]
        else:
            self.command += ["--data", str(self.data), "--durability", durability]
        self.name = f"curier broker, durability {durability}"

    async def kill(self) -> None:
        """Kill it, with its store or without."""
        await (self.kill_alone() if self.dice.random() < 0.5 else self.kill_all())


def command_broker(
    text: str, directory: Path, url: ServerUrl | None = None, dialing: DialSettings | None = None
) -> BrokerProcess:
    """A broker started by a command, as a shell would read it, with ``{port}`` and ``{dir}`` filled in.

    ``url``: where it listens, if that is written elsewhere. Raises ``ConfigError`` for what is no command.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--command {text!r}: {error}") from None
    if not words:
        raise ConfigError("--command: there is no command")
    if url is None:
        if "{port}" not in text:
            raise ConfigError(
                f"--command {text!r}: it has no {{port}}, which is replaced by the port to listen on; where "
                "that is written elsewhere, say it with --url mqtt://127.0.0.1:PORT"
            )
        url = ServerUrl("mqtt", "127.0.0.1", free_port())
    replaced = (("{port}", str(url.port)), ("{dir}", str(directory)))
    for name, value in replaced:
        words = [word.replace(name, value) for word in words]
    return BrokerProcess(words, url, directory / "broker.log", dialing)


class BrokerElsewhere(BrokerUnderTest):
    """A broker that is killed and started by commands of the user, which a shell runs.

    ``start_command`` may stay, as a broker in the foreground does, or come back. Without one the broker is
    expected to come back by itself.
    """

    def __init__(
        self, url: ServerUrl, dialing: DialSettings, kill_command: str, start_command: str, log: Path
    ) -> None:
        super().__init__(url, dialing)
        self.kill_command = kill_command
        self.start_command = start_command
        self.log = log
        self.name = str(url)
        self._is_first = True
        self._started: list[subprocess.Popen[bytes]] = []

    def _run(self, command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self) -> None:
        """Run the command, unless the broker is there already, as at the first time."""
        if self._is_first and await self._is_there():
            self._is_first = False
            return
        self._is_first = False
        if self.start_command:
            self._started = [popen for popen in self._started if popen.poll() is None]
            self._started.append(self._run(self.start_command))

    async def _is_there(self) -> bool:
        url = self.url
        try:
            if url.scheme == "unix":
                _, writer = await asyncio.open_unix_connection(url.path)
            else:
                _, writer = await asyncio.open_connection(url.host, url.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def kill(self) -> None:
        """Run the command, to its end."""
        popen = self._run(self.kill_command)
        try:
            code = await asyncio.to_thread(popen.wait, COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
            raise Unjudged(f"--kill {self.kill_command!r} does not end in {COMMAND_SECONDS:g} s") from None
        if code:
            raise Unjudged(f"--kill {self.kill_command!r} failed with code {code}{tail(self.log)}")

    def check(self) -> None:
        """Raise ``Unjudged`` if the last ``--start`` failed, by its exit code."""
        if self._started and (code := self._started[-1].poll()):
            if code > 0:  # by a signal: --kill has met it
                raise Unjudged(f"--start {self.start_command!r} failed with code {code}{tail(self.log)}")


def tail(log: Path) -> str:
    """The end of a log, to be put behind a message."""
    with contextlib.suppress(OSError):
        text = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        if text:
            return ":\n" + text
    return ""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and which kernels give to nobody who calls."""
    numbers = Random()
    while True:
        port = numbers.randrange(FIRST_PORT, END_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
