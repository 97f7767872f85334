"""What a person means by traffic: one publication, one connection's life, one subscription.

Plain data that ``joining.Joiner`` fills while events come. A flow that is not finished says what it waits for
and since when. Times are seconds since the epoch, sizes are in bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from curier.frozen import dataclass
from curier.trace.events import Event
from curier.trace.wording import size_words

# How far a leg is (``Leg.state``)
QUEUED: Final = "queued"  # in the broker, not sent yet
SENT: Final = "sent"  # PUBLISH has gone by, PUBACK or PUBREC has not
RECEIVED: Final = "received"  # QoS 2: PUBREC has gone by
RELEASED: Final = "released"  # QoS 2: PUBREL has gone by
DONE: Final = "done"
REFUSED: Final = "refused"  # by a Reason Code from 0x80
LOST: Final = "lost"  # dropped, expired, denied, or its session has ended: it will not come any more
PASSED_OVER: Final = "passed over"  # No Local, the Share of another: nobody meant it to come
UNSEEN: Final = "unseen"  # what followed stands in a gap of the past: nobody knows what became of it

OVER: Final = frozenset({DONE, REFUSED, LOST, PASSED_OVER, UNSEEN})

NOT_KEPT: Final = "more went by than is kept"

MOST_STEPS: Final = 2000  # of one flow: what is between the first and the last of them is counted only
MOST_LEGS: Final = 2000  # of one publication
STEP_BYTES: Final = 600  # about what a step takes in memory besides the bytes of its packet
LEG_BYTES: Final = 500


@dataclass(frozen=True, slots=True)
class Wait:
    """What an unfinished flow waits for."""

    whom: str  # a Client Identifier
    what: str  # "PUBACK #4", "room in its queue"
    since: float


class Leg:
    """One message on its way between the broker and one client, in one direction."""

    __slots__ = (
        *("client_id", "to_server", "qos", "packet_id", "retain", "state", "why", "began", "changed"),
        *("sends", "got_at", "away_since", "version", "wire", "publication"),
    )

    def __init__(self, client_id: str, to_server: bool, time: float) -> None:
        self.client_id = client_id
        self.to_server = to_server
        self.qos = 0
        self.packet_id = 0
        self.retain = False
        self.state = QUEUED
        self.why = ""  # the reason of a state that is not DONE
        self.began = time
        self.changed = time  # when it came into this state
        self.sends = 0  # how often PUBLISH has gone by
        self.got_at = 0.0  # when the receiver had it, as far as can be seen: acknowledged, or QoS 0 written
        self.away_since = 0.0  # the connection has ended, the session has not
        self.version = 0
        self.wire = 0  # the number of its last connection
        self.publication = 0  # the broker's number, which is another one where it was published twice

    @property
    def is_over(self) -> bool:
        """Is nothing more to come?"""
        return self.state in OVER

    @property
    def wait(self) -> Wait | None:
        """What it waits for."""
        if self.state in OVER:
            return None
        whom, number = self.client_id, f" #{self.packet_id}" if self.packet_id else ""
        if self.state == QUEUED:
            return Wait(whom, self.why or "its turn", self.changed)
        if self.state == RECEIVED:
            what, whom = "PUBREL", self.client_id if self.to_server else "broker"
        else:
            what = "PUBCOMP" if self.state == RELEASED else "PUBACK" if self.qos == 1 else "PUBREC"
            whom = "broker" if self.to_server else self.client_id
        if self.away_since:
            return Wait(self.client_id, f"its return, then {what}{number}", self.away_since)
        return Wait(whom, f"{what}{number}", self.changed)

    def become(self, state: str, time: float, why: str = "") -> None:
        """Come into a state."""
        self.state = state
        self.changed = time
        self.why = why


class Step:
    """One thing that happened in a flow: a packet, or what no packet says."""

    __slots__ = ("event", "label", "leg", "lost", "name", "note", "time", "to_server", "trouble")

    def __init__(self, event: Event, name: str, label: str, leg: Leg | None = None) -> None:
        self.event = event
        self.time = event.time
        self.name = name  # "PUBLISH", or the kind of a Happening
        self.label = label  # "PUBLISH q2 #12 DUP"
        self.note = ""  # what else there is to say
        self.leg = leg
        self.to_server: bool | None = None  # None where it is no packet
        self.lost = False  # a packet that never arrived
        self.trouble = False  # it is lost, refused, or sent again


class Flow:
    """What all flows have. ``number`` counts the flows of one joiner, from 1."""

    kind: str = ""
    most_steps: int = MOST_STEPS

    def __init__(self, number: int, time: float) -> None:
        self.number = number
        self.began = time
        self.last = time
        self.cost = STEP_BYTES
        self.left_out = 0  # steps that are not kept
        self.settled = False  # was told as finished
        self.told_open = False  # was told as one that waits
        self._first: list[Step] = []
        self._last: deque[Step] = deque()

    @property
    def steps(self) -> Sequence[Step]:
        """What happened, in order; ``left_out`` steps are missing behind the first half of ``most_steps``."""
        return [*self._first, *self._last]

    @property
    def first_steps(self) -> Sequence[Step]:
        """Those before a gap, if there is one."""
        return self._first

    def add(self, step: Step, size: int) -> None:
        """One more step, whose packet has ``size`` bytes in memory."""
        self.last = max(self.last, step.time)
        self.cost += STEP_BYTES + size
        if len(self._first) < self.most_steps // 2:
            self._first.append(step)
            return
        self._last.append(step)
        if len(self._last) > self.most_steps // 2:
            gone = self._last.popleft()
            self.left_out += 1
            self.cost -= STEP_BYTES + len(getattr(gone.event, "data", b""))

    @property
    def is_finished(self) -> bool:
        """Does it wait for nothing?"""
        return not any(True for _ in self.waits())

    def waits(self) -> Iterator[Wait]:
        """What it waits for."""
        return iter(())

    @property
    def title(self) -> str:
        """What it is, in a line."""
        return self.kind


class Publication(Flow):
    """One message, from who published it to every receiver.

    ``payload`` is its beginning (``HEAD_BYTES`` at most), ``payload_size`` all of it. ``publication`` is the
    broker's number of it, 0 where only the wire was seen. ``again``: further numbers, since its PUBLISH was
    sent again and the broker could not know that it had it already (QoS 1, 4.3.2).
    """

    kind = "publication"

    def __init__(self, number: int, time: float) -> None:
        super().__init__(number, time)
        self.publication = 0
        self.again: list[int] = []
        self.topic = ""
        self.payload = b""
        self.payload_size = 0
        self.is_seen = False  # a PUBLISH of it, so that its payload is known
        self.checksum = 0  # of the payload where all of it was seen
        self.qos = 0
        self.retain = False
        self.publisher = ""  # a Client Identifier; "" where that is unknown, or it is the broker itself
        self.origin = ""  # "will", "retained", "" for a PUBLISH
        self.incoming: Leg | None = None
        self.deliveries: list[Leg] = []
        self.more_legs = 0  # receivers beyond ``MOST_LEGS``, which are not followed
        self.nobody = ""  # why there is no receiver at all
        self.stored_at = 0.0

    def legs(self) -> Iterator[Leg]:
        """That from the publisher, and those to receivers."""
        if self.incoming is not None:
            yield self.incoming
        yield from self.deliveries

    def waits(self) -> Iterator[Wait]:
        """What it waits for."""
        for leg in self.legs():
            wait = leg.wait
            if wait is not None:
                yield wait

    @property
    def is_finished(self) -> bool:
        """Is every leg over?"""
        if self.incoming is not None and self.incoming.state not in OVER:
            return False
        return all(leg.state in OVER for leg in self.deliveries)

    @property
    def title(self) -> str:
        """Topic, QoS, size."""
        about = [f"QoS {self.qos}", "retain" if self.retain else "", size_words(self.payload_size)]
        words = ", ".join(filter(None, about)) if self.is_seen else "payload not seen"
        return f"{self.topic or '(topic not seen)'}  {words}"


class ConnectionLife(Flow):
    """One Network Connection, from CONNECT to its end.

    ``packets``, ``bytes`` and ``publishes`` are pairs: what went to the server, what came from it.
    """

    kind = "connection"
    most_steps = 200

    def __init__(self, number: int, time: float) -> None:
        super().__init__(number, time)
        self.wire = 0
        self.client_id = ""
        self.version = 0
        self.user = ""
        self.client_address = ""
        self.server_address = ""
        self.listener = ""
        self.keep_alive = 0  # seconds, as agreed
        self.will_topic = ""
        self.session_expiry = 0  # seconds; 0xFFFFFFFF: never
        self.ends_session: bool | None = None  # with the connection; None where nobody saw CONNECT
        self.reason_code = -1  # of CONNACK; -1 before
        self.is_open = True
        self.ended_by = ""
        self.why = ""
        self.packets = [0, 0]
        self.bytes = [0, 0]
        self.publishes = [0, 0]  # PUBLISH packets, likewise
        self.pings = 0
        self.pinged_at = 0.0  # PINGREQ without PINGRESP
        self.taken_over_by = 0  # the number of the connection with the same Client Identifier
        self.left_by_disconnect = False

    def waits(self) -> Iterator[Wait]:
        """An open connection is not finished; it waits where an answer is due."""
        if self.is_open:
            if self.reason_code < 0 and self.ends_session is not None:  # its CONNECT was seen
                yield Wait("broker", "CONNACK", self.began)
            elif self.pinged_at:
                yield Wait("broker", "PINGRESP", self.pinged_at)
            else:
                yield Wait(self.client_id, "whatever comes next", self.last)

    @property
    def title(self) -> str:
        """Whose connection it is."""
        return f"connection of {self.client_id or '(unknown)'}"


class SubscriptionFlow(Flow):
    """One SUBSCRIBE or UNSUBSCRIBE, its answer, and the retained messages that it brought."""

    kind = "subscription"
    most_steps = 200

    def __init__(self, number: int, time: float) -> None:
        super().__init__(number, time)
        self.client_id = ""
        self.packet_id = 0
        self.is_subscribe = True
        self.filters: list[str] = []
        self.options: list[int] = []  # Subscription Options (3.8.3.1)
        self.reason_codes: list[int] | None = None  # one a filter; None before the answer
        self.retained = 0  # retained messages that came because of it
        self.why = ""  # it will not be answered any more

    def waits(self) -> Iterator[Wait]:
        """Its answer."""
        if self.reason_codes is None and not self.why:
            answer = "SUBACK" if self.is_subscribe else "UNSUBACK"
            yield Wait("broker", f"{answer} #{self.packet_id}", self.began)

    @property
    def title(self) -> str:
        """Who, and to what."""
        does = "subscribes to" if self.is_subscribe else "unsubscribes from"
        more = f" and {len(self.filters) - 3} more" if len(self.filters) > 3 else ""
        return f"{self.client_id} {does} {', '.join(self.filters[:3])}{more}"
