"""Gaps of the past: from when to when, and of whom, more went by than a broker has kept."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from curier.trace.events import KEPT_AGAIN, UNKEPT, Happening
from curier.trace.flows import NOT_KEPT, Publication
from curier.trace.wording import clock_words, shown

MOST: Final = 20_000  # of which the oldest go; a tape has room for no more
NEAR: Final = 1.0  # seconds: a message that was published so long before a gap may have been delivered in it
MOST_NAMED: Final = 3


class Gaps:
    """Feed it events of the kinds ``not kept`` and ``kept again``."""

    def __init__(self) -> None:
        self._since: list[float] = []  # ever-growing
        self._gaps: list[tuple[float, float, str]] = []  # since, until, a Client Identifier; "": everybody
        self._open: dict[str, float] = {}

    def feed(self, event: Happening) -> None:
        """One more event."""
        if event.kind == UNKEPT:
            self._open.setdefault(event.client_id, event.time)
        elif event.kind == KEPT_AGAIN and event.client_id in self._open:
            since = self._open.pop(event.client_id)
            at = len(self._since)
            while at and self._since[at - 1] > since:
                at -= 1
            self._since.insert(at, since)
            self._gaps.insert(at, (since, event.time, event.client_id))
            if len(self._gaps) > MOST:
                del self._since[: MOST // 2], self._gaps[: MOST // 2]

    def __bool__(self) -> bool:
        return bool(self._gaps or self._open)

    @property
    def span(self) -> tuple[float, float]:
        """When the first begins, and when the last ends (zeros: there is none)."""
        if not self._gaps:
            return 0.0, 0.0
        return self._since[0], max(until for _, until, _ in self._gaps[-1000:])

    @property
    def are_of_all(self) -> bool:
        """Is one of everybody among them?"""
        return any(not client for _, _, client in self._gaps)

    @property
    def clients(self) -> list[str]:
        """Who has one; not whom only those of everybody concern."""
        return [*dict.fromkeys(client for _, _, client in self._gaps if client)]

    def told(self, utc: bool = False) -> Iterator[str]:
        """In a line, where there are any."""
        if self._gaps:
            since, until = (clock_words(time, utc) for time in self.span)
            whom = "of everybody" if self.are_of_all else self._of(self.clients)
            yield f"between {since} and {until} {NOT_KEPT}, {whom}: what followed there was not seen"

    def _of(self, clients: list[str]) -> str:
        more = f" and {len(clients) - MOST_NAMED} more" if len(clients) > MOST_NAMED else ""
        return f"of {', '.join(shown(client) for client in clients[:MOST_NAMED])}{more}"

    def _near(self, flow: Publication) -> Iterator[tuple[float, float, str]]:
        """Those in which it may have been delivered to somebody."""
        at = bisect_left(self._since, flow.began - NEAR)
        while at < len(self._gaps) and self._gaps[at][0] <= flow.began + NEAR:
            if self._gaps[at][1] >= flow.began:
                yield self._gaps[at]
            at += 1

    def hides(self, flow: Publication) -> bool:
        """May it have been delivered to somebody without anybody knowing?"""
        return any(True for _ in self.words(flow))

    def words(self, flow: Publication, utc: bool = False) -> Iterator[str]:
        """Who may have got it without anybody knowing: have a gap then, and nothing is told of them."""
        told = {leg.client_id for leg in flow.deliveries}
        whom: dict[str, None] = {}
        since, until = 0.0, 0.0
        for began, ended, client in self._near(flow):
            if client not in told and not (client and client == flow.publisher):
                since, until = min(since or began, began), max(until, ended)
                whom[client] = None
        if not whom:
            return
        span = f"from {clock_words(since, utc)} to {clock_words(until, utc)} {NOT_KEPT}"
        if "" in whom:
            yield f"who else got it is not known: {span}"
        else:
            yield f"who else got it is not known: {span} {self._of([*whom])}"
