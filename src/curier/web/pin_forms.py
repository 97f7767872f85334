"""What is asked about the past of topics, and answered: see ``forms``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curier.web.forms import Form, Payload, Property, Topic


class Pin(Form):
    """Keep the last ``values`` of each topic that a Topic Filter matches, from now on."""

    topic_filter: Topic
    values: Annotated[int, Meta(ge=1, le=1000)] = 100


class Unpin(Form):
    """Which pin to remove, as the list has it."""

    topic_filter: Topic


class PinRow(Struct):
    """A pin, made by ``who`` at ``since``."""

    topic_filter: str
    values: int
    since: float
    who: str


class Pins(Struct):
    """All pins; ``topics`` have ``values`` in all, which take ``bytes``. Values of ``left_out`` messages were
    not kept, because too many topics are matched.
    """

    pins: list[PinRow]
    topics: int
    values: int
    bytes: int
    left_out: int


class PastQuery(Form):
    """Values of a topic: the last ``limit`` that are newer than the one numbered ``after``."""

    topic: Topic
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    preview: Annotated[int, Meta(ge=0, le=65_536)] = 1024
    """Bytes of each payload."""


class PastValue(Struct):
    """A message that was published, by ``client`` ("": by the broker, or nobody knows)."""

    number: int
    time: float
    payload: Payload
    qos: int
    retain: bool
    client: str
    content_type: str = ""
    response_topic: str = ""
    correlation_data: str = ""
    """As base64."""
    payload_is_text: bool = False
    user_properties: list[Property] = []


class Past(Struct):
    """Values of a topic, oldest first. ``pinned`` says by which Topic Filters. Where ``missed``, others
    may have come behind ``after`` that are gone, or that did not fit.
    """

    topic: str
    pinned: list[str]
    values: list[PastValue]
    missed: bool
