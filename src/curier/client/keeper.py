"""Keeps a client connected: when it connects again, and when never.

A task tries until there is a connection, and ends with that: a client that is connected has none. The end of
the connection begins the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Final, Protocol

from curier.client.connecting import Connector
from curier.client.events import Event, Reconnecting
from curier.client.link import Link, note
from curier.client.settings import ClientSettings, OnRefused, Reconnect
from curier.errors import ConfigError, ConnectionLost, ConnectRefused, MqttError
from curier.types import ReasonCode

LONG: Final = 10.0  # seconds; a connection that lived longer begins the backoff anew

# What an error means for the next attempt
ENDS: Final = 0  # there is none
SOON: Final = 1
LATER: Final = 2  # the server refuses: that may get better, but not by hurrying

PASSING: Final = frozenset(
    {
        ReasonCode.SUCCESS,  # a server that goes away without saying why
        ReasonCode.UNSPECIFIED_ERROR,
        ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.SERVER_SHUTTING_DOWN,
        ReasonCode.KEEP_ALIVE_TIMEOUT,
        ReasonCode.MESSAGE_RATE_TOO_HIGH,
        ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.ADMINISTRATIVE_ACTION,  # somebody has changed what this client may: it is to come again
        ReasonCode.USE_ANOTHER_SERVER,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
        ReasonCode.MAXIMUM_CONNECT_TIME,
    }
)
"""What a server may say and be worth another try soon. Every other Reason Code is a refusal: a wrong
password, a packet it cannot read."""

FOR_GOOD: Final = frozenset({ReasonCode.SESSION_TAKEN_OVER, ReasonCode.SERVER_MOVED})
"""Refusals that no time makes good: a client of the same name, which would be fought with for ever; a server
that will not be there any more."""


def outlook(error: MqttError, was_connected: bool, on_refused: OnRefused | Mapping[int, OnRefused]) -> int:
    """Is another attempt worth while after ``error``? ``was_connected``: did any attempt succeed before?"""
    if isinstance(error, ConfigError):  # certificates that are just being exchanged, for one
        return LATER if was_connected else ENDS
    if not isinstance(error, (ConnectionLost, ConnectRefused)):
        return ENDS
    if isinstance(error, ConnectionLost) and not error.by_server:
        return SOON
    again = SOON if error.reason_code in PASSING else LATER
    if isinstance(on_refused, Mapping) and error.reason_code in on_refused:
        return ENDS if on_refused[error.reason_code] == "stop" else again
    if again == SOON:
        return SOON
    if not was_connected or error.reason_code in FOR_GOOD or on_refused == "stop":
        return ENDS
    return LATER


def delay_before(attempt: int, reconnect: Reconnect, random: Random) -> float:
    """Seconds to wait before attempt ``attempt``, from 1: exponential backoff with full jitter."""
    return random.uniform(0.0, _backoff(attempt, reconnect.first, reconnect.longest))


def delay_after_refusal(refusal: int, reconnect: Reconnect, random: Random) -> float:
    """Seconds to wait after so many refusals in a row: exponential backoff, of which half is jitter."""
    most = _backoff(refusal, reconnect.first_refused, reconnect.longest_refused)
    return random.uniform(most / 2, most)


def _backoff(attempt: int, first: float, longest: float) -> float:
    return min(longest, first * 2.0 ** (attempt - 1)) if attempt <= 64 else longest


class Kept(Protocol):
    """What the keeper needs of its client."""

    settings: ClientSettings

    def tell(self, event: Event) -> None:
        """An event for whoever watches."""

    def on_failure(self, error: MqttError) -> None:
        """The client is over."""


class Keeper:
    """Connects one client, again and again."""

    def __init__(self, client: Kept, connector: Connector, random: Random) -> None:
        self.client = client
        self.connector = connector
        self._random = random
        self._settings = client.settings
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None  # while there is no connection
        self._first: asyncio.Future[None] | None = None  # until the first attempt is over
        self._link: Link | None = None  # the connection there is
        self._lived = False  # was there a connection in the last attempt?
        self._began = 0.0  # the last attempt, by the loop's clock
        self._attempt = 0
        self._refusals = 0

    async def connect(self) -> None:
        """Connect for the first time, and stay connected from then on. Raises what the first attempt does."""
        first = self._first = self._loop.create_future()
        first.add_done_callback(note)
        self._begin(None)
        await asyncio.shield(first)

    def closed(self, link: Link) -> None:
        """The network of ``link`` is gone. If that was the connection, there is to be another."""
        if link is self._link:
            self._link = None
            self._begin(link.error)

    async def stop(self) -> None:
        """Connect no more."""
        self._link = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def end(self, error: Exception | None = None) -> None:
        """The first attempt is over; ``error``: there is no other. Who comes second changes nothing."""
        first, self._first = self._first, None
        if first is None:
            return
        if error is None:
            first.set_result(None)
        else:
            first.set_exception(error)

    def _begin(self, error: MqttError | None) -> None:
        name = f"curier {self._settings.client_id}"
        self._task = self._loop.create_task(self._connect(error), name=name)

    async def _connect(self, error: MqttError | None) -> None:
        """Connect, and again until that has succeeded; ``error`` has ended the connection before."""
        try:
            while error is None or await self._may_retry(error):
                self._began = self._loop.time()
                self._lived = False
                try:
                    link = await self.connector.connect(lambda error: self._outlook(error) == ENDS)
                except MqttError as failure:
                    error = failure
                    continue
                self._lived = True
                self.end()
                if not link.is_closed:
                    self._link = link
                    break
                error = link.error
            self._task = None
        except Exception as fault:  # of ours, or of a callback: a client that waits for ever would be worse
            self._give_up(fault)

    async def _may_retry(self, error: MqttError) -> bool:
        """Wait as long as is right after ``error``. False: the client has ended with it."""
        if self._lived and self._loop.time() - self._began > LONG:  # ending at once is no reason to hurry
            self._attempt = self._refusals = 0
        self._attempt += 1
        reconnect = self._reconnect(error, self._attempt)
        if reconnect is None:
            self._give_up(error)
            return False
        if self._outlook(error) == LATER:
            self._refusals += 1
            delay = delay_after_refusal(self._refusals, reconnect, self._random)
        else:
            delay = delay_before(self._attempt, reconnect, self._random)
        urls = self.connector.urls
        where = str(urls[self.connector.at]) if urls else ""
        self.client.tell(Reconnecting(self._attempt, delay, where, error))
        await asyncio.sleep(delay)
        return True

    def _outlook(self, error: MqttError) -> int:
        return outlook(error, self.connector.was_accepted, self._settings.on_refused)

    def _reconnect(self, error: MqttError, attempt: int) -> Reconnect | None:
        """How to go on after ``error``; None: not at all."""
        has_others = self._lived and self.connector.is_sent(error)
        if self._outlook(error) == ENDS and not has_others:
            return None
        if self._first is not None:
            if not self._settings.retry_first_connect:
                return None
            self.end()
        reconnect = self._settings.reconnect
        if reconnect is None:
            return None
        if reconnect.attempts is not None and attempt > reconnect.attempts:
            return None
        return reconnect

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, MqttError):
            known = error
        else:
            known = MqttError(f"the client has failed: {error!r}")
            known.__cause__ = error
        self.end(error)
        self.client.on_failure(known)
