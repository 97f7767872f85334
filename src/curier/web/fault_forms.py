"""What is asked about rules that break connections on purpose, and answered: see ``forms``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curier.web.forms import Form


class FaultRule(Struct):
    """A rule, as it was written. It is there since ``added_at``, and has acted ``fired`` times."""

    number: int
    rule: str
    added_at: float
    fired: int


class FaultTold(Struct):
    """Something that a rule has done to the connection of a client."""

    time: float
    client_id: str
    what: str


class FaultRules(Struct):
    """All rules, in the order in which they are tried; and the last things they did, the newest first."""

    rules: list[FaultRule]
    told: list[FaultTold]


class NewFault(Form):
    """A rule in words, such as ``lose 2nd PUBACK to dash-1``."""

    rule: Annotated[str, Meta(min_length=1, max_length=1000)]


class NoFault(Form):
    """The number of a rule; 0: all of them."""

    number: Annotated[int, Meta(ge=0)] = 0
