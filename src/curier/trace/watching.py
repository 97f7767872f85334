"""A reader that is told of whole messages as they are taken, and has no use for packets."""

from __future__ import annotations

from collections.abc import Callable

from curier.session.message import ApplicationMessage
from curier.trace.events import Event
from curier.trace.reading import Ring

OnMessage = Callable[[float, str, ApplicationMessage], None]
"""When, by which client ("": by none), and what. It is called in the turn, and must not wait."""


class Watch(Ring):
    """In the place of a ring: it keeps no events."""

    def __init__(self, on_message: OnMessage) -> None:
        super().__init__()
        self.on_message = on_message

    def add(self, event: Event) -> None:
        """Of packets there is nothing to be told."""
