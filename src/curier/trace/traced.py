"""A broker that can be traced: ``curier.Broker`` is one."""

from __future__ import annotations

from collections.abc import Callable

from curier.trace.choice import MOST_BYTES, MOST_EVENTS, Words, choice
from curier.trace.mishaps import Mishaps
from curier.trace.reading import Ring, Trace
from curier.trace.recorder import Core, Recorder
from curier.trace.watching import OnMessage, Watch


class Traced:
    """What there is to see of it, once it has been started."""

    keeps_past = True  # set before ``start``: is it kept what was dropped and refused last?
    _recorder: Recorder | None = None
    _mishaps: Mishaps

    def _be_traced(
        self, core: Core, clock: Callable[[], float], later: Callable[[Callable[[], None]], object]
    ) -> Recorder:
        """It is started: ``core`` is its core, and ``_mishaps`` is to be one of its hooks."""
        self._mishaps = Mishaps(clock)
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
        with what is still known of the last 4096 messages that were dropped and requests that were refused
        (nothing without ``keeps_past``).
        Passwords and Authentication Data are zeros. What is not taken in time waits, ``most_events`` of
        ``most_bytes``; then the oldest go, and a ``Missed`` says how many. Raises ``ValueError`` for what
        cannot be.
        """
        if self._recorder is None:
            raise RuntimeError("the broker has not been started")
        chosen = choice(client_id, user, address, listener, topic, payload)
        return self._recorder.read(chosen, Ring(most_events, most_bytes), self._mishaps.all if past else ())
