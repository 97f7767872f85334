"""What is asked to be drawn for a file, and the file: see ``forms``."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from curier.web.forms import Form


class DrawingForm(Form):
    """A flow, as a ``flow`` event of ``/flows`` or the tour has it, and what it is to become."""

    flow: dict[str, Any]
    format: Literal["svg", "mermaid", "pcapng"] = "svg"


class Drawing(Struct):
    """The file, as text; of a capture as base64."""

    text: str = ""
    base64: str = ""
