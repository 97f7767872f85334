"""A flow that a page has, as a file."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

from curier.server import Broker
from curier.tour.scenes import SCENES, play
from curier.trace.drawing.making import View, diagram
from curier.trace.drawing.mermaid import mermaid
from curier.trace.drawing.svg import svg
from curier.trace.events import Packet
from curier.trace.recordings import read_events
from curier.web import table
from curier.web.drawing_forms import DrawingForm
from curier.web.drawn import drawn_data
from tests.web.asking import Person, people
from tests.web.nasty import TOPICS

OUTCOME = play(next(one for one in SCENES if one.name == "qos2-pubrec"))
DRAWN = diagram(OUTCOME.flows[0], View(now=OUTCOME.now))


def flow() -> dict[str, Any]:
    """One of the tour, as a page has it."""
    return {"number": 0, "kind": "publication", **drawn_data(DRAWN)}


async def test_it_is_drawn_as_the_terminal_draws_it(tmp_path: Path) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as who:
        assert (await who["viewer"].ask(table.DRAWING, DrawingForm(flow(), "svg"))).text == svg(DRAWN)
        assert (await who["viewer"].ask(table.DRAWING, DrawingForm(flow(), "mermaid"))).text == mermaid(DRAWN)


async def test_a_capture_has_its_packets(tmp_path: Path) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as who:
        told = await who["viewer"].ask(table.DRAWING, DrawingForm(flow(), "pcapng"))
    events = read_events(io.BytesIO(base64.b64decode(told.base64)))
    found = [(one.to_server, one.data.hex()) for one in events if isinstance(one, Packet)]
    rows = [row for row in flow()["rows"] if row.get("bytes") and row["style"] != "lost"]
    assert sorted(found) == sorted((row["to_server"], row["bytes"]) for row in rows)
    assert len(found) == 9


async def refused(person: Person, change: dict[str, Any]) -> str:
    return await person.refused(table.DRAWING, DrawingForm({**flow(), **change}, "pcapng"), 400)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lanes": []}, "flow: Expected `array` of length >= 1"),
        ({"rows": [{"row": "arrow", "time": 0, "to": 19}]}, "flow: a row names a lane, and there are 3"),
        ({"rows": [{"row": "arrow", "time": 0, "bytes": "3"}]}, "flow: the bytes of a packet are none"),
        ({"rows": [{"row": "note", "time": 0}] * 301}, "flow: Expected `array` of length <= 300"),
        ({"rows": [{"row": "arrow", "time": 0, "bytes": "30", "cut": 2**40}]}, "flow: Expected `int` <="),
        ({"title": 7}, "flow: Expected `str`"),
    ],
)
async def test_what_is_no_flow_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as who:
        assert (await refused(who["viewer"], change)).startswith(why)


async def test_a_stranger_s_names_are_text_in_it(tmp_path: Path) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as who:
        for name in TOPICS[:-1]:
            said = {"rows": [{"row": "note", "time": 0, "text": name[:900]}], "title": name[:900]}
            told = await who["viewer"].ask(table.DRAWING, DrawingForm({**flow(), **said}, "svg"))
            tags = {one.tag.rpartition("}")[2] for one in xml.etree.ElementTree.fromstring(told.text).iter()}
            assert not tags & {"img", "script"}, name
