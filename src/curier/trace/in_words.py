"""Events and flows as lines of text, for people and pipes."""

from __future__ import annotations

from typing import Final

from curier.codec.packets import Publish
from curier.trace.decoding import Decoding, Seen
from curier.trace.drawing.cells import width_of
from curier.trace.events import Closed, Event, Happening, Missed, Opened, Packet
from curier.trace.fate import fate_words
from curier.trace.flows import ConnectionLife, Flow, Publication, SubscriptionFlow
from curier.trace.gaps import Gaps
from curier.trace.wording import clock_words, code_words, detail, label, payload_words, shown

NAME_CELLS: Final = 20  # for a Client Identifier, where it is not longer


class PacketLines:
    """One line for each event of a recording."""

    def __init__(self, utc: bool = False, ascii_only: bool = False) -> None:
        self._decoding = Decoding()
        self._utc = utc
        self._right, self._left, self._lost = ("->", "<-", "X") if ascii_only else ("→", "←", "✗")

    def line(self, event: Event) -> str:
        """What happened, in a line."""
        when = clock_words(event.time, self._utc)
        if isinstance(event, Packet):
            return f"{when}  {self._packet(event)}"
        if isinstance(event, Happening):
            topic = f"  {shown(event.topic)}" if event.topic else ""
            why = f": {shown(event.why, 400)}" if event.why else ""
            number = f" [{event.publication}]" if event.publication else ""
            return f"{when}  {padded(shown(event.client_id))} *  {event.kind}{why}{topic}{number}"
        if isinstance(event, Missed):
            return f"{when}  {event.count} events are missing here: they came faster than they were read"
        line = self._decoding.line(event.wire)
        name = padded(shown(event.wire.client_id or line.client_id or f"connection {event.wire.number}"))
        if isinstance(event, Opened):
            return f"{when}  {name} *  connection {event.wire.number} from {shown(event.wire.client_address)}"
        assert isinstance(event, Closed)
        self._decoding.forget(event.wire)
        by = f" by the {event.by}" if event.by else ""
        return f"{when}  {name} *  closed{by}{': ' if event.why else ''}{shown(event.why, 400)}"

    def _packet(self, event: Packet) -> str:
        seen = self._decoding.read(event)
        name = shown(event.wire.client_id or seen.line.client_id or f"connection {event.wire.number}")
        arrow = self._right if event.to_server else self._left
        lost = f"  {self._lost} lost" if event.lost else ""
        return f"{padded(name)} {arrow}  {packet_words(seen)}{lost}"


def packet_words(seen: Seen) -> str:
    """Label, topic, payload, and what else a packet says."""
    words = [label(seen.name, seen.packet)]
    if isinstance(seen.packet, Publish):
        words.append(shown(seen.topic) or "(topic not seen)")
        words.append(payload_words(seen.packet.payload, seen.payload_size))
    words.append(detail(seen.packet, seen.line.version) if seen.packet is not None else f"? {seen.why}")
    return "  ".join(filter(None, words))


def padded(name: str) -> str:
    """With spaces behind it, so that lines stand below each other."""
    return name + " " * max(NAME_CELLS - width_of(name), 0)


def flow_lines(flow: Flow, utc: bool = False, now: float = 0.0, gaps: Gaps | None = None) -> list[str]:
    """A flow, in a line for what it is, and one for each that took part."""
    when = clock_words(flow.began, utc)
    head = f"{when}  {shown(flow.title, 400)}"
    if isinstance(flow, Publication):
        return [head, *(f"              {line}" for line in fate_words(flow, utc, now, gaps))]
    if isinstance(flow, SubscriptionFlow):
        codes = flow.reason_codes
        answer = flow.why or "not answered yet"
        if codes is not None:
            answer = ", ".join(code_words(code, 5) or "granted QoS 0" for code in codes) or "answered"
        return [f"{head}: {answer}"]
    if isinstance(flow, ConnectionLife):
        end = "open" if flow.is_open else f"closed{f' by the {flow.ended_by}' if flow.ended_by else ''}"
        return [f"{head}: {end}{f', {shown(flow.why, 400)}' if flow.why else ''}"]
    return [head]
