"""What ``curier trace`` shows on a terminal while it goes on: the last flows, and the drawing of one of them.

Plain state: events and keys go in, lines come out. ``terminal`` has the screen and the keyboard.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from curier.cli.tracing.choosing import Chooser
from curier.cli.tracing.look import Look
from curier.trace.drawing.cells import cut
from curier.trace.drawing.making import diagram
from curier.trace.drawing.text import BOLD, RESET, text
from curier.trace.events import Event
from curier.trace.fate import DID_NOT, NOT_SEEN, WAITS, fate_of
from curier.trace.flows import Flow, Publication
from curier.trace.in_words import PacketLines
from curier.trace.joining import Joiner
from curier.trace.wording import clock_words, shown

MOST_PAUSED: Final = 10_000  # events that wait while it is paused; then the source has to wait
MOST_LISTED: Final = 200
MOST_LINES: Final = 500

KEYS: Final = "q end  space pause  s step  ↑↓ choose  f newest  PgUp/Dn  l lines  a all  e each"


class Live:
    """``name`` is that of the source. A paused one takes events further on, and shows none of them."""

    def __init__(self, name: str, look: Look, chooser: Chooser) -> None:
        self.name = name
        self.look = look
        self.chooser = chooser
        self.joiner = Joiner()
        self.packets = PacketLines(look.utc, look.ascii_only)
        self.is_paused = False
        self.has_ended = ""  # how, where the source has
        self.failure: Exception | None = None
        self.wants_to_quit = False
        self.waiting: deque[Event] = deque()
        self._listed: deque[Flow] = deque(maxlen=MOST_LISTED)
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._chosen: Flow | None = None  # None: the newest
        self._scroll = 0
        self._shows_lines = False
        self._shows_all = False  # connections and subscriptions as well
        self._everyone = False

    def fail(self, error: Exception) -> None:
        """Something went wrong. It is shown beside what there is; where that is nothing, it is the end."""
        self.failure = error
        self.has_ended = f"ended: {getattr(error, 'message', error)}"
        self.wants_to_quit = not self.chooser.seen

    # ---- events ----

    @property
    def has_room(self) -> bool:
        """May more events come?"""
        return len(self.waiting) < MOST_PAUSED

    def feed(self, event: Event) -> None:
        """An event, or one more that waits."""
        if self.is_paused:
            self.waiting.append(event)
        else:
            self._take(event)

    def _take(self, event: Event) -> None:
        flow = self.joiner.feed(event)
        if not self.chooser.fits(event, flow):
            return
        if self._shows_lines:
            self._lines.append(self.packets.line(event))
        if flow is not None and (not self._listed or self._listed[-1] is not flow):
            if flow.number > max((one.number for one in list(self._listed)[-20:]), default=0):
                self._listed.append(flow)
            elif flow not in self._listed:
                self._listed.append(flow)

    # ---- keys ----

    def key(self, key: str) -> None:
        """A key was pressed: its character, or "up", "down", "page up", "page down"."""
        if key in ("q", "\x03"):
            self.wants_to_quit = True
        elif key == " ":
            self.is_paused = not self.is_paused
            while self.waiting and not self.is_paused:
                self._take(self.waiting.popleft())
        elif key == "s":
            self.is_paused = True
            if self.waiting:
                self._take(self.waiting.popleft())
        elif key in ("up", "k", "down", "j"):
            self._choose(-1 if key in ("up", "k") else 1)
        elif key == "f":
            self._chosen, self._scroll = None, 0
        elif key in ("page up", "page down"):
            self._scroll = max(self._scroll + (10 if key == "page down" else -10), 0)
        elif key == "l":
            self._shows_lines = not self._shows_lines
            self._lines.clear()
        elif key == "a":
            self._shows_all = not self._shows_all
        elif key == "e":
            self._everyone = not self._everyone

    def _choose(self, by: int) -> None:
        flows = self._flows()
        if not flows:
            return
        chosen = self._chosen
        place = flows.index(chosen) if chosen in flows else len(flows) - 1
        self._chosen = flows[min(max(place + by, 0), len(flows) - 1)]
        self._scroll = 0

    def _flows(self) -> list[Flow]:
        return [flow for flow in self._listed if self._shows_all or isinstance(flow, Publication)]

    # ---- lines ----

    def lines(self, width: int, height: int, now: float) -> list[str]:
        """The screen: ``height`` lines of at most ``width`` cells. ``now`` is seconds since the epoch."""
        room = max(height - 3, 1)
        if self._shows_lines:
            body = [self._cut(line, width) for line in list(self._lines)[-room:]]
        else:
            listed = max(room // 3, 1)
            body = self._list(width, listed)
            body.append("")
            body += self._drawing(width, room - len(body), now)
        body = body[:room] + [""] * (room - len(body))
        keys = KEYS.replace("↑↓", "j/k") if self.look.ascii_only else KEYS
        return [self._head(width), "", *body, cut(keys, width)][:height]

    def _head(self, width: int) -> str:
        joiner = self.joiner
        words = [f"{self.chooser.fitted} of {self.chooser.seen} events"]
        if joiner.missed:
            words.append(f"{joiner.missed} missed")
        if joiner.dropped:
            words.append(f"{joiner.dropped} flows dropped from view")
        if self.is_paused:
            full = "" if self.has_room else " or more"
            events = "event waits" if len(self.waiting) == 1 else "events wait"
            words.insert(0, f"PAUSED, {len(self.waiting)}{full} {events}")
        if self.has_ended:
            words.append(self.has_ended)
        line = self._cut(f"{', '.join(words)}: {shown(self.name)}", width)
        return f"{BOLD}{line}{RESET}" if self.look.coloured else line

    def _cut(self, line: str, width: int) -> str:
        return cut(line, width, "..." if self.look.ascii_only else "…")

    def _list(self, width: int, many: int) -> list[str]:
        flows = self._flows()
        chosen = self._chosen if self._chosen in flows else None
        last = flows.index(chosen) + 1 if chosen is not None else len(flows)
        first = max(min(last - (many + 1) // 2, len(flows) - many), 0) if chosen is not None else last - many
        part = flows[max(first, 0) : max(first, 0) + many]
        marked = chosen if chosen is not None else (part[-1] if part else None)
        found = []
        for flow in part:
            mark = ">" if flow is marked else " "
            line = f"{mark} {clock_words(flow.began, self.look.utc)}  {self._summary(flow)}"
            found.append(self._cut(line, width))
        if not found:
            found.append("nothing yet" if self.look.ascii_only else "nothing yet …")
        return found

    def _summary(self, flow: Flow) -> str:
        title = shown(flow.title, 400)
        if not isinstance(flow, Publication):
            return title
        fates = [fate_of(leg) for leg in flow.deliveries]
        is_hidden = not fates and self.joiner.gaps.hides(flow)
        words = ["to whom was not seen" if is_hidden else f"to {len(fates) or 'nobody'}"]
        for fate in (WAITS, DID_NOT, NOT_SEEN):
            if fate in fates:
                words.append(f"{fates.count(fate)} {fate.replace('waits', 'wait')}")
        if not flow.is_finished:
            words.append("open")
        publisher = f"  from {shown(flow.publisher)}" if flow.publisher else ""
        return f"{title}  {', '.join(words)}{publisher}"

    def _drawing(self, width: int, height: int, now: float) -> list[str]:
        flows = self._flows()
        flow = self._chosen if self._chosen in flows else (flows[-1] if flows else None)
        if flow is None:
            return []
        now = self.joiner.now if self.is_paused or self.has_ended else now
        look = self.look.of_width(width, self._everyone or self.look.everyone)
        made = diagram(flow, look.view(now))
        lines = text(made, width, ascii_only=look.ascii_only, coloured=look.coloured)
        self._scroll = max(min(self._scroll, len(lines) - height), 0)
        return lines[self._scroll : self._scroll + max(height, 0)]
