"""What many clients may send together, and what one may be sent: plain data, and who of many is next.

Many are those of one user, or those who came in at one listener. Who of them has to wait is promised its
next part, as large as that of each other one that waits, and goes on when there is enough for all that were
promised one before it. So nobody waits without an end, however much the others have to send. What a message
takes more than there is, is a debt of the one that sent it, who is promised it part by part before anything
else: the others go on meanwhile.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.buckets import ALMOST, Bucket
from curier.broker.deadlines import Deadline

PART_SECONDS: Final = 0.1  # what this time brings is divided among those who wait

LEAST_WAIT: Final = 0.01  # seconds: a point in time plus less may be the same one

NEVER: Final = -1e9


@final
class Allowance(Deadline):
    """What many may send together, in messages and in bytes; ``whose`` and the settings are for people.

    As a deadline, it leaves ``table`` when nobody has had a part in it for so long that it is full again, as
    a new one would be: who comes again at once does not begin anew.
    """

    def __init__(
        self, whose: str, settings: tuple[str, str], now: float, table: dict[str, Allowance] | None = None
    ) -> None:
        super().__init__()
        self.whose: str = whose
        self.table: dict[str, Allowance] | None = table
        self.settings: tuple[str, str] = settings
        self.messages: Bucket = Bucket(0, now)
        self.bytes: Bucket = Bucket(0, now)
        self.members: int = 0
        self.waiting: int = 0  # of those

    def change(self, messages: int, size: int, now: float) -> None:
        """Have these rates, if they are others."""
        if self.messages.rate != messages:
            self.messages = Bucket(messages, now)
        if self.bytes.rate != size:
            self.bytes = Bucket(size, now)

    def full_in(self, now: float) -> float:
        """Seconds until nobody could tell it from a new one."""
        return max(self.messages.full_in(now), self.bytes.full_in(now))

    def fire(self, now: float) -> float:
        if self.members or self.table is None:
            return 0.0
        left = self.full_in(now)
        if left > 0:
            return now + max(left, LEAST_WAIT)
        self.table.pop(self.whose, None)
        return 0.0


@final
class Stake:
    """One client's part in an allowance: what it was promised, and has not used yet; less than 0: it owes."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance: Allowance = allowance
        self.messages: float = 0.0
        self.bytes: float = 0.0
        self.is_waiting: bool = False
        self.why: str = ""  # it had to wait last
        allowance.members += 1

    def missing(self, now: float) -> float:
        """Seconds for which this one has to wait; 0: it may go on. It is promised what it waits for, so ask
        once, and wait.
        """
        allowance = self.allowance
        wait = 0.0
        count = allowance.waiting + 1
        self.messages = _paid(allowance.messages, self.messages, now)
        self.bytes = _paid(allowance.bytes, self.bytes, now)
        if self.messages < ALMOST and allowance.messages.missing(now) > 0:
            rate = allowance.messages.rate
            part = max(1.0, rate * PART_SECONDS / count)
            self.messages += part
            wait = allowance.messages.promise(part)
            self.why = (
                f"{allowance.whose} sends more than {rate:.0f} messages a second ({allowance.settings[0]})"
            )
        if self.bytes < ALMOST and allowance.bytes.missing(now) > 0:
            rate = allowance.bytes.rate
            part = max(1.0, rate * PART_SECONDS / count)
            self.bytes += part
            wait = max(wait, allowance.bytes.promise(part))
            self.why = (
                f"{allowance.whose} sends more than {rate:.0f} bytes a second ({allowance.settings[1]})"
            )
        if wait > 0 and not self.is_waiting:
            self.is_waiting = True
            allowance.waiting += 1
        return wait

    def owes(self) -> bool:
        """Is there a debt?"""
        return self.messages < 0 or self.bytes < 0

    def go_on(self) -> None:
        """It waits no more."""
        if self.is_waiting:
            self.is_waiting = False
            self.allowance.waiting -= 1

    def take(self, messages: int, size: int) -> None:
        """So much has come: of what was promised first."""
        self.messages = _taken(self.allowance.messages, self.messages, float(messages))
        self.bytes = _taken(self.allowance.bytes, self.bytes, float(size))

    def message_room(self) -> float:
        """How many messages may come about now."""
        return self.messages if self.messages >= ALMOST else self.allowance.messages.tokens

    def byte_room(self) -> float:
        """How many bytes."""
        return self.bytes if self.bytes >= ALMOST else self.allowance.bytes.tokens

    def leave(self) -> None:
        """Give back what was promised; what is owed falls to the others."""
        self.go_on()
        self.allowance.messages.take(-self.messages)
        self.allowance.bytes.take(-self.bytes)
        self.messages = self.bytes = 0.0
        self.allowance.members -= 1


def _paid(bucket: Bucket, own: float, now: float) -> float:
    """What one has that had ``own``, when it has paid of a debt what there is."""
    if own >= 0 or not bucket.rate:
        return max(own, 0.0)
    bucket.missing(now)
    there = min(max(bucket.tokens, 0.0), -own)
    bucket.take(there)
    return own + there


def _taken(bucket: Bucket, own: float, count: float) -> float:
    """What is left of ``own`` when ``count`` has come, for which the bucket gives what there is besides."""
    if not bucket.rate:
        return own
    there = min(max(bucket.tokens, 0.0), max(count - max(own, 0.0), 0.0))
    bucket.take(there)
    return own - (count - there)


class Outflow(Deadline):
    """How much one client may be sent, and was lately. ``pacing`` says what becomes of it."""

    def __init__(self, messages: int, size: int, now: float) -> None:
        super().__init__()
        self.messages: Bucket = Bucket(messages, now)
        self.bytes: Bucket = Bucket(size, now)
        self.is_holding: bool = False  # is it sent nothing for now?
        self.why: str = ""
        self.told_at: float = NEVER
