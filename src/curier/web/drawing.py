"""Operation: a flow that a page has, as a file: SVG, Mermaid, or a capture of its packets."""

from __future__ import annotations

import base64
import io
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from curier.trace.captures.writing import CaptureWriter
from curier.trace.drawing.diagram import LOST, SOLID, Arrow, Diagram, Fold, Lane, Note, Row
from curier.trace.drawing.mermaid import mermaid
from curier.trace.drawing.svg import svg
from curier.trace.events import Packet, Wire
from curier.web import table
from curier.web.drawing_forms import Drawing, DrawingForm
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known

MOST_ROWS: Final = 300
MOST_LANES: Final = 20
MOST_TEXT: Final = 1000  # characters

Text = Annotated[str, Meta(max_length=MOST_TEXT)]
Place = Annotated[int, Meta(ge=0, lt=MOST_LANES)]


class _Lane(Struct):
    name: Text
    note: Text = ""
    count: int = 1
    broker: bool = False
    away: bool = False


class _Row(Struct):
    row: str
    time: float
    source: Place = msgspec.field(default=0, name="from")
    target: Place = msgspec.field(default=0, name="to")
    lane: Place = 0
    label: Text = ""
    note: Text = ""
    text: Text = ""
    style: str = SOLID
    trouble: bool = False
    count: int = 1
    bytes: str = ""
    cut: Annotated[int, Meta(ge=0, le=2**20)] = 0
    version: Annotated[int, Meta(ge=0, le=5)] = 0
    to_server: bool = False


class _Flow(Struct):
    title: Text
    began: float
    lanes: Annotated[list[_Lane], Meta(min_length=1, max_length=MOST_LANES)]
    rows: Annotated[list[_Row], Meta(max_length=MOST_ROWS)]
    below: Annotated[list[Text], Meta(max_length=100)] = []


@handles(table.DRAWING)
async def drawn(scene: Scene, asked: DrawingForm, who: Known) -> Drawing:
    """The file."""
    try:
        flow = msgspec.convert(asked.flow, _Flow)
    except msgspec.ValidationError as error:
        raise Problem(400, f"flow: {error}") from None
    last = len(flow.lanes) - 1
    if any(max(row.source, row.target, row.lane) > last for row in flow.rows):
        raise Problem(400, f"flow: a row names a lane, and there are {last + 1} of them")
    if asked.format == "pcapng":
        return Drawing(base64=base64.b64encode(_captured(flow)).decode())
    return Drawing(text=mermaid(_diagram(flow)) if asked.format == "mermaid" else svg(_diagram(flow)))


def _diagram(flow: _Flow) -> Diagram:
    lanes = tuple(
        Lane(one.name, one.note, count=one.count, is_broker=one.broker, is_away=one.away)
        for one in flow.lanes
    )
    return Diagram(flow.title, flow.began, lanes, tuple(map(_row, flow.rows)), tuple(flow.below))


def _row(row: _Row) -> Row:
    if row.row == "fold":
        return Fold(row.time, row.count)
    if row.row == "note":
        return Note(row.time, row.lane, row.text, row.trouble)
    return Arrow(
        row.time,
        row.source,
        row.target,
        row.label,
        row.note,
        row.style,
        row.trouble,
        row.to_server,
        row.count,
    )


def _captured(flow: _Flow) -> bytes:
    """The packets of a flow: each client has a connection."""
    file = io.BytesIO()
    capture = CaptureWriter(file)
    for row in flow.rows:
        if row.row != "arrow" or not row.bytes:
            continue
        lane = row.source if row.to_server else row.target
        try:
            data = bytes.fromhex(row.bytes)
        except ValueError:
            raise Problem(400, "flow: the bytes of a packet are none, in figures from 0 to f") from None
        wire = Wire(lane + 1, flow.lanes[lane].name, row.version)
        capture.write(Packet(row.time, wire, row.to_server, data, 0, row.cut, row.style == LOST))
    return file.getvalue()
