"""Sequence diagrams as the pages draw them."""

from __future__ import annotations

from typing import Any

from curier.trace.drawing.as_json import diagram_json
from curier.trace.drawing.diagram import Diagram
from curier.trace.events import Packet


def drawn_data(drawn: Diagram) -> dict[str, Any]:
    """Lanes and rows; with each packet its version and direction, so that it can be taken apart."""
    told = diagram_json(drawn)
    for row, said in zip(drawn.rows, told["rows"], strict=True):
        event = getattr(row, "event", None)
        if isinstance(event, Packet):
            said["version"] = event.wire.version
            said["to_server"] = event.to_server
    return told
