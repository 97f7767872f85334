"""Errors of ours, or of a hook: what becomes of them. Nobody pays for another.

Nothing that is raised leaves an entry of the core. Where it is caught, it is noted here, with what it costs,
and whoever drives the core logs it (``BrokerCore.take_faults``). If it was met with a connection, that ends
(0x83), but not there and then: what is going on is finished first, for everybody else and with state that
fits together, and the core ends it on its way out of the entry (``keeping.settle``).
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.model import BrokerConnection, ServerSession
from curier.codec.constants import IMPLEMENTATION_SPECIFIC_ERROR

WHY: Final = "the server has met an error"
MOST_OF_NAME: Final = 100  # characters of a Client Identifier
MOST_FAULTS: Final = 100  # that are kept until they are taken; more are counted


@final
class Fault:
    """An error that was caught. ``text`` says, for people, where it was met and what it costs whom."""

    __slots__ = ("error", "text")

    def __init__(self, text: str, error: Exception) -> None:
        self.text = text
        self.error = error


@final
class Faults:
    """The errors of a broker that nobody has heard of yet, and what they are about to end."""

    def __init__(self) -> None:
        self.noted: list[Fault] = []
        self.left_out: int = 0  # faults that there was no room for
        self.is_due: bool = False  # is something to be ended? It is by ``keeping.settle``.
        self.ending: list[BrokerConnection] = []
        self.unkept: list[ServerSession] = []  # could not keep a message that its publisher is told is taken

    def note(self, text: str, error: Exception) -> None:
        """Have an error logged that costs no connection; what it does cost is in ``text``."""
        if len(self.noted) < MOST_FAULTS:
            self.noted.append(Fault(text, error))
        else:
            self.left_out += 1

    def met(self, where: str, error: Exception, connection: BrokerConnection) -> None:
        """An error was met with ``connection``, which pays for it."""
        self.note(f"{where}: {name_of(connection)} is disconnected", error)
        self.end_soon(connection, IMPLEMENTATION_SPECIFIC_ERROR, WHY)

    def end_soon(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """End ``connection`` when what is going on is finished. The first reason counts."""
        if connection.is_ending or connection.is_closed():
            return
        connection.is_ending = True
        connection.ending_code = reason_code
        connection.ending_why = why
        connection.paused = True  # it is worked on no more
        # Nor sent more messages: they would overtake the one that it was met with [MQTT-4.6.0-5].
        connection.is_congested = True
        session = connection.server_session
        if session is not None and session.connection is connection:
            session.lane = session.in_trains = 0
        self.ending.append(connection)
        self.is_due = True

    def lost_a_message(self, session: ServerSession) -> None:
        """End ``session``, which could not keep a message, when what is going on is finished."""
        self.unkept.append(session)
        self.is_due = True

    def take(self) -> list[Fault]:
        """All that were noted since the last time; see ``left_out`` for those that are missing."""
        noted = self.noted
        self.noted = []
        return noted


def name_of(connection: BrokerConnection) -> str:
    """A client, for people: its Client Identifier and address."""
    if connection.client_id:
        return f"{connection.client_id[:MOST_OF_NAME]!r} ({connection.address})"
    return connection.address
