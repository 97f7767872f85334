"""What is asked of the tour, and what it answers."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from curier.web.forms import Form


class TourQuery(Form):
    """In which language."""

    language: Literal["en", "ro"] = "en"


class TourScene(Struct):
    """A message of this QoS, on a line with this rule ("" for none). ``flows`` are drawings of what went by,
    ``steps`` explain them; ``received`` is how often the subscriber's program got the message.
    """

    name: str
    title: str
    qos: int
    rule: str
    flows: list[dict[str, Any]]
    steps: list[str]
    outcome: str
    received: int


class Tour(Struct):
    """All scenes. ``often`` says in words how often 0, 1 and 2 are, ``summary`` and ``lesson`` come last."""

    intro: str
    scenes: list[TourScene]
    often: list[str]
    summary: str
    lesson: str
