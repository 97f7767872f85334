"""What is asked about the fate of messages, and answered: see ``forms``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curier.web.forms import ClientId, Form, Payload


class FateQuery(Form):
    """Which messages: all that is said has to be true of them, and something has to be said."""

    topic: Annotated[str, Meta(max_length=65_535)] = ""
    """A Topic Filter."""
    payload: Annotated[str, Meta(max_length=1024)] = ""
    """A part of the first KiB of the payload."""
    client: ClientId = ""
    """The Client Identifier of who published it."""
    identifier: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """The Packet Identifier of the PUBLISH; 0: any."""
    wait: Annotated[float, Meta(ge=0, le=25)] = 0.0
    """Look on for so many seconds, or until there has been such a message, and all of it is over."""
    last: Annotated[int, Meta(ge=1, le=100)] = 20
    """At most so many, the newest."""


class FateReceiver(Struct):
    """Somebody to whom a message went, or did not. ``fate`` is ``got it``, ``waits``, ``did not get it``,
    ``not meant`` or ``not seen``, where what followed stands in a gap; ``why``: the reason, where it is not
    the first.
    """

    client_id: str
    fate: str
    qos: int
    packet_id: int
    sends: int
    """How often it was sent."""
    got_at: float
    why: str


class Fate(Struct):
    """What became of a message. ``words`` say all of it: a line for the publisher, and for each receiver."""

    topic: str
    payload: Payload
    qos: int
    retain: bool
    publisher: str
    """A Client Identifier; "": the broker, or nobody has seen it."""
    origin: str
    """``will``, ``retained``, "" for a PUBLISH."""
    began: float
    waits: bool
    """Something is still to come."""
    words: list[str]
    receivers: list[FateReceiver]
    """Those first who did not get it, then those who wait."""
    unseen: bool
    """Others may have got it, in a gap: the last of ``words`` says who."""
    more_receivers: int


class Refusal(Struct):
    """Something that the broker has refused to ``client``."""

    time: float
    why: str


class Fates(Struct):
    """The messages that were asked for, oldest first, of ``seen`` that are known; ``refused`` is what was
    refused to ``client``. ``missed`` events were too many to be looked at.
    """

    fates: list[Fate]
    seen: int
    missed: int
    refused: list[Refusal]
    unkept_since: float
    """Of what went by before, from then on there are gaps, since more went by than is kept; 0: none."""
    unkept_until: float
    unkept_clients: list[str]
    """Whose they are, 20 at most; where they are of everybody, none."""
