"""Rows of long lists, picked for whoever looks: those of some that stand between two places of an order.

Lists of a hundred thousand are gone through for a page of fifty. So this is compiled, and makes no object for
a row that is not picked: what it takes then is to have each object in the processor's cache once.
"""

from __future__ import annotations

from math import inf
from typing import Final, final

from mypy_extensions import i64

from curier.broker.model import ServerSession
from curier.session.message import ApplicationMessage

Place = tuple[float | str, str]
"""Where a row stands, the smaller ones first: its key, and where that is the same its name. Where the order
is that of names alone the key is "", so that no place of another order passes for one of these.
"""

NAME: Final = 0
QUEUED: Final = 1
QUEUED_BYTES: Final = 2
DROPPED: Final = 3
SUBSCRIPTIONS: Final = 4
UNSENT: Final = 5
CONNECTED_AT: Final = 6
ENDS_AT: Final = 7
"""By what sessions are ordered: most of it first, but for names, and for ends the next first."""

NEWEST: Final = 1
OLDEST: Final = 2
SIZE: Final = 3
"""By what messages are, if not by ``NAME``, which is their topic."""

_NEVER: Final = 1e100
BETWEEN: Final = "\0"  # which no text of MQTT has in it [MQTT-1.5.4-2]

Topics = list[ApplicationMessage] | list[bytes]
"""Retained messages, or topics that have none."""


def key_at(place: Place | None, by: int, otherwise: float) -> float:
    """The key of a place as a number, which it has to be in such an order. Raises ``TypeError``."""
    if place is None:
        return otherwise
    key = place[0]
    if isinstance(key, str) != (by == NAME):
        raise TypeError("a place of another order")
    return 0.0 if isinstance(key, str) else float(key)


@final
class SessionPicker:
    """Sessions by their Client Identifiers, or by a number and these: all, those that are ``connected`` or
    not, those that have ``search`` (lower case) in Client Identifier, user or address. ``found`` counts them.
    """

    def __init__(self, by: int, connected: bool | None, search: str) -> None:
        self.by: i64 = by
        self.state: i64 = -1 if connected is None else 1 if connected else 0
        self.search = search
        self.found: int = 0

    def pick(
        self, some: list[ServerSession], after: Place | None, before: Place | None
    ) -> list[tuple[Place, ServerSession]]:
        """Those between two places, in no order."""
        picked: list[tuple[Place, ServerSession]] = []
        by = self.by
        state = self.state
        search = self.search
        least = key_at(after, by, -inf)
        most = key_at(before, by, inf)
        first = "" if after is None else after[1]
        last = "" if before is None else before[1]
        found: i64 = 0
        if search and not self._any_has(some):
            return picked
        for one in some:
            if state >= 0 and (one.connection is not None) != (state == 1):
                continue
            if search and not self._has(one):
                continue
            found += 1
            key = _key_of_session(one, by) if by else 0.0
            if key > most or (key == most and one.client_id >= last):
                continue
            if key < least or (key == least and one.client_id <= first):
                continue
            picked.append(((key if by else "", one.client_id), one))
        self.found += found
        return picked

    def _any_has(self, some: list[ServerSession]) -> bool:
        """False only where none of them has what is looked for: all are looked at in one go."""
        said: list[str] = []
        for one in some:
            said.append(one.client_id)
            if one.user:
                said.append(one.user)
            if one.connection is not None:
                said.append(one.connection.address)
        return self.search in BETWEEN.join(said).lower()

    def _has(self, one: ServerSession) -> bool:
        search = self.search
        if search in one.client_id.lower() or (one.user and search in one.user.lower()):
            return True
        return one.connection is not None and search in one.connection.address.lower()


def _key_of_session(one: ServerSession, by: i64) -> float:
    connection = one.connection
    if by == QUEUED:
        return float(-len(one.outgoing.queue))
    if by == QUEUED_BYTES:
        return float(-one.outgoing.queued_bytes)
    if by == DROPPED:
        return float(-one.dropped_full)
    if by == SUBSCRIPTIONS:
        return float(-len(one.subscriptions))
    if by == ENDS_AT:
        return one.ends_at or _NEVER
    if connection is None:
        return 0.0
    return float(-connection.unsent) if by == UNSENT else -connection.attached_at


@final
class TopicPicker:
    """Topics by name, with their messages or without, or messages by a number and their topics: all, or those
    with ``search`` (lower case) in the topic. ``found`` counts them.
    """

    def __init__(self, by: int, search: str) -> None:
        self.by: i64 = by
        self.search = search
        self.found: int = 0

    def pick(
        self, some: Topics, after: Place | None, before: Place | None
    ) -> list[tuple[Place, ApplicationMessage | bytes]]:
        """Those between two places, in no order. Names are compared as bytes, which UTF-8 has in order."""
        picked: list[tuple[Place, ApplicationMessage | bytes]] = []
        by = self.by
        least = key_at(after, by, -inf)
        most = key_at(before, by, inf)
        first = b"" if after is None else after[1].encode()
        last = b"" if before is None else before[1].encode()
        if not some:
            return picked
        if isinstance(some[0], bytes):
            self._pick_names(self.having(some), first, None if before is None else last, picked)
            return picked
        search = self.search
        found: i64 = 0
        if search and search not in _read([one.topic for one in some]):
            return picked
        for one in some:
            if search and search not in one.topic.decode().lower():
                continue
            found += 1
            key = _key_of_message(one, by) if by else 0.0
            if key > most or (key == most and one.topic >= last):
                continue
            if key < least or (key == least and one.topic <= first):
                continue
            picked.append(((key if by else "", one.topic.decode()), one))
        self.found += found
        return picked

    def _pick_names(
        self,
        some: list[bytes],
        first: bytes,
        last: bytes | None,
        picked: list[tuple[Place, ApplicationMessage | bytes]],
    ) -> None:
        self.found += len(some)
        for one in some:
            if (last is None or one < last) and one > first:
                picked.append((("", one.decode()), one))

    def having(self, some: list[bytes]) -> list[bytes]:
        """Those topics that have what is looked for."""
        search = self.search
        if not search:
            return some
        if search not in _read(some):
            return []
        return [one for one in some if search in one.decode().lower()]


def _read(some: list[bytes]) -> str:
    """Topics as one text: what is not in it is in none of them."""
    return BETWEEN.encode().join(some).decode().lower()


def _key_of_message(one: ApplicationMessage, by: i64) -> float:
    if by == SIZE:
        return float(-len(one.payload))
    return -one.written_at if by == NEWEST else one.written_at


WENT_BY: Final = 2  # of a level: a topic that was published to lately ends there
MORE: Final = 4  # there are levels below it


def note_levels(kinds: dict[bytes, int], some: list[bytes], above: bytes) -> None:
    """Add what topics say of the levels below ``above``, which ends with a slash if it is not empty."""
    start: i64 = len(above)
    for topic in some:
        if start and not topic.startswith(above):
            continue
        slash: i64 = topic.find(b"/", start)
        if slash < 0:
            level, kind = topic[start:], WENT_BY
        else:
            level, kind = topic[start:slash], MORE
        kinds[level] = kinds.get(level, 0) | kind
