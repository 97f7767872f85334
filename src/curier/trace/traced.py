"""A broker that can be traced: ``curier.Broker`` is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from curier.broker.model import BrokerConnection
from curier.net.tape import Tape
from curier.trace.choice import MOST_BYTES, MOST_EVENTS, Choice, Words, choice
from curier.trace.events import KEPT, Event, Happening
from curier.trace.mishaps import Mishaps
from curier.trace.past import UP_TO_HERE, Past
from curier.trace.reading import Ring, Trace
from curier.trace.recorder import Core, Recorder
from curier.trace.rewinding import Rewinding
from curier.trace.watching import OnMessage, Watch


class Traced:
    """What there is to see of it, once it has been started."""

    keeps_past = True  # set before ``start``: is it kept what went by last, and what did not arrive?
    _recorder: Recorder | None = None
    _tape: Tape | None = None
    _mishaps: Mishaps

    def _unwritten(self) -> list[BrokerConnection]:
        """Connections with output that was not written yet."""
        return []

    def _be_traced(
        self, core: Core, clock: Callable[[], float], later: Callable[[Callable[[], None]], object]
    ) -> Recorder:
        """It is started: ``core`` is its core. Where it keeps the past, ``_mishaps`` is to be one of its
        hooks, and ``_tape`` that of its turn.
        """
        self._mishaps = Mishaps(clock)
        self._tape = Tape() if self.keeps_past else None
        self._seen_by = (core, clock)
        self._recorder = Recorder(core, clock, later)
        return self._recorder

    def watch(self, topic: Words, on_message: OnMessage) -> Trace:
        """Call ``on_message`` with each message that is taken on these topics (Topic Filters) from now on,
        from clients, wills and the broker itself, until the ``Trace`` is closed; it has no events.

        It costs what a trace of these topics does, in the turn of each message. Raises ``ValueError`` for
        what is no Topic Filter.
        """
        if self._recorder is None:
            raise RuntimeError("the broker has not been started")
        return self._recorder.read(choice(topic=topic), Watch(on_message))

    def trace(
        self,
        *,
        client_id: Words = None,
        user: Words = None,
        address: Words = None,
        listener: Words = None,
        topic: Words = None,
        payload: int | None = None,
        past: bool = False,
        most_events: int = MOST_EVENTS,
        most_bytes: int = MOST_BYTES,
    ) -> Trace:
        """Record what goes by from now on, until the ``Trace`` is closed: an async iterator of
        ``curier.trace`` events.

        Of all connections, or those that are all of what is given: each is one text or several, ``address``
        an IP address or network. With ``topic``, Topic Filters, what belongs to publications there, whoever
        sends or gets it. ``payload`` is how many bytes of each payload to keep; None: all. ``past``: begin
        with what is still known of what went by before: the last packets, and the last 4096 messages that
        were dropped and requests that were refused, between two ``Happening`` of the kind "kept", whose times
        say from when to when that is (nothing without ``keeps_past``).
        Passwords and Authentication Data are zeros. What is not taken in time waits, ``most_events`` of
        ``most_bytes``; then the oldest go, and a ``curier.trace.events.Missed`` says how many. Raises
        ``ValueError`` for what cannot be.
        """
        if self._recorder is None:
            raise RuntimeError("the broker has not been started")
        chosen = choice(client_id, user, address, listener, topic, payload)
        return self._recorder.read(
            chosen, Ring(most_events, most_bytes), self._past(self._recorder, chosen) if past else None
        )

    def _past(self, recorder: Recorder, choice: Choice) -> Iterator[list[Event]]:
        core, clock = self._seen_by
        now = clock()
        if self._tape is None:
            nothing = Happening(now, KEPT, "", "nothing of what went by before (no_past)")
            return iter([[nothing, Happening(now, KEPT, "", UP_TO_HERE)]])
        rewinding = Rewinding(self._tape, core.connections, now, self._unwritten())
        return Past(rewinding, self._mishaps.all, recorder.next_number, now).events(choice)
