"""Which nodes own sessions, by the headers of their records: a hundred thousand take seconds, so those that
have not changed are not read again.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from nats.aio.msg import Msg

from curier.cluster.floors import needs
from curier.cluster.orders import SESSIONS, Need
from curier.cluster.records import Boot, SessionRecord
from curier.jetstream.consumer import Consumer
from curier.jetstream.line import Line
from curier.jetstream.names import Names

OWNER: Final = "Curier-Owner"
SESSION: Final = "Curier-Session"  # its name, in base64
NEEDS: Final = "Curier-Needs"  # of one that was given up: what it needs of each partition of the log
NOTHING: Final = "-"

Again = Callable[[int, Callable[[int], None]], None]


def headers_of(session: str, record: SessionRecord, partitions: int) -> dict[str, str]:
    """What stands beside a record."""
    headers = {
        OWNER: f"{record.owner.name}.{record.owner.number}",
        SESSION: base64.b64encode(session.encode()).decode(),
    }
    if record.is_released:
        headers[NEEDS] = ",".join(map(str, needs(record, partitions))) or NOTHING
    return headers


class Owners:
    """``again`` calls something in a while, as ``Bus.again``."""

    def __init__(self, line: Line, names: Names, again: Again) -> None:
        self._line = line
        self._names = names
        self._again = again
        self._owner_of: dict[int, Boot] = {}  # by a number for each session
        self._counts: Counter[Boot] = Counter()
        self._having: Counter[Boot] = Counter()  # the same, of those that were not given up
        self._given_up: dict[int, Need] = {}
        self._read_to = 0
        self._boots: dict[str, Boot] = {}
        self._asking: list[Callable[[Sequence[Boot]], None]] = []
        self._is_reading = False

    def ask(self, then: Callable[[Sequence[Boot]], None]) -> None:
        """All nodes that own one."""
        self._asking.append(then)
        if not self._is_reading:
            self._is_reading = True
            told = len(self._asking)
            _Reading(self, self._read_to, self._note, lambda: self._tell(told))

    def sessions(self, owner: Boot, then: Callable[[Sequence[str]], None]) -> None:
        """The names of those of one node: all is read anew, as where a node has died."""
        found: dict[str, str] = {}

        def heard(sequence: int, message: Msg, boot: Boot) -> None:
            if boot == owner:
                name = (message.headers or {}).get(SESSION, "")
                found[message.subject] = base64.b64decode(name).decode()
            else:
                found.pop(message.subject, None)

        _Reading(self, 0, heard, lambda: then([*found.values()]))

    def needs(self, since: int, then: Callable[[Sequence[Need]], None]) -> None:
        """What sessions need that were given up; and, without name, who has any of the others. As of the
        sequence ``since`` or later.
        """

        def read() -> None:
            self._is_reading = False
            held = [Need("", boot, False, ()) for boot, of in self._having.items() if of]
            then([*held, *self._given_up.values()])
            self._tell(len(self._asking))

        if self._is_reading:  # which may end before that
            self._again(0, lambda attempt: self.needs(since, then))
        else:
            self._is_reading = True
            _Reading(self, self._read_to, self._note, read, since)

    def _note(self, sequence: int, message: Msg, boot: Boot) -> None:
        key = hash(message.subject)
        former = self._owner_of.get(key)
        if former is not None:
            self._counts[former] -= 1
            if self._given_up.pop(key, None) is None:
                self._having[former] -= 1
        self._owner_of[key] = boot
        self._counts[boot] += 1
        headers = message.headers or {}
        if NEEDS in headers:
            name = base64.b64decode(headers.get(SESSION, "")).decode()
            self._given_up[key] = Need(name, boot, True, _numbers(headers[NEEDS]))
        else:
            self._having[boot] += 1
        self._read_to = sequence

    def _tell(self, count: int) -> None:
        self._is_reading = False
        told, rest = self._asking[:count], self._asking[count:]
        self._asking = []
        owners = sorted([boot for boot, of in self._counts.items() if of], key=_key)
        for then in told:
            then(owners)
        for then in rest:
            self.ask(then)

    def boot(self, text: str) -> Boot | None:
        """As it stands in a header; one object for each."""
        if text not in self._boots:
            name, _, number = text.rpartition(".")
            if not number.isdigit():
                return None
            self._boots[text] = Boot(name, int(number))
        return self._boots[text]


class _Reading:
    """The headers of all records behind ``after``, once, up to ``since`` at least. A consumer that breaks
    goes on where it was.
    """

    def __init__(
        self,
        owners: Owners,
        after: int,
        heard: Callable[[int, Msg, Boot], None],
        finished: Callable[[], None],
        since: int = 0,
    ) -> None:
        self._owners = owners
        self._last = after
        self._since = since
        self._is_over = False
        self._heard_one = heard
        self._finished = finished
        self._consumer: Consumer | None = None
        self._begin()

    def _begin(self, attempt: int = 0) -> None:
        line, names = self._owners._line, self._owners._names
        if not line.is_up:
            self._owners._again(attempt, self._begin)
            return
        where = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._last + 1,
            "headers_only": True,
            "filter_subject": names.all_of(SESSIONS),
        }
        broken = partial(self._broken, attempt)
        stream = names.stream(SESSIONS)
        self._consumer = Consumer(line, stream, where, self._heard, broken, self._is_empty)

    def _broken(self, attempt: int, why: str) -> None:
        self._owners._again(attempt, self._begin)

    def _heard(self, sequence: int, pending: int, message: Msg) -> None:
        self._last = sequence
        boot = self._owners.boot((message.headers or {}).get(OWNER, ""))
        if boot is not None:
            self._heard_one(sequence, message, boot)
        if not pending:
            self._is_empty()

    def _is_empty(self) -> None:
        """There is nothing more; or this server is behind, and there will be."""
        if self._last >= self._since and not self._is_over:
            self._is_over = True
            if self._consumer is not None:
                self._consumer.end()
            self._finished()


def _numbers(text: str) -> tuple[int, ...]:
    words = text.split(",")
    return tuple(map(int, words)) if all(word.isdigit() for word in words) else ()


def _key(boot: Boot) -> tuple[str, int]:
    return boot.name, boot.number
