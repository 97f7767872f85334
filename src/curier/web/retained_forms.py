"""What is asked about retained messages, and answered, where that is more than to look: see ``forms``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curier.web.forms import Form, Text, Topic


class Restore(Form):
    """Which deletion to undo, as it was answered."""

    undo: Text


class Restored(Struct):
    """So many messages are ``restored``, as they were; ``left`` are not: there is a newer one on their topic,
    they have expired meanwhile, or there is no room for them.
    """

    restored: int
    left: int


class Prune(Form):
    """Retained messages that a Topic Filter matches, written before ``older_than`` seconds, with a payload of
    more than ``larger_than`` bytes. With ``dry_run``, which is the default, they are only counted.

    Of a message of which nobody knows when it was written, it is known that the broker has not started yet.
    """

    older_than: Annotated[float, Meta(ge=0)]
    topic_filter: Topic = "#"
    larger_than: Annotated[int, Meta(ge=-1)] = -1
    """-1: of any size."""
    dry_run: bool = True


class Pruned(Struct):
    """So many messages of so many bytes in all, the first of them by ``topics``.

    ``undo`` brings them back for ``seconds``; "": nothing is deleted, or they are too many to be remembered.
    """

    done: str
    messages: int
    bytes: int
    topics: list[str]
    undo: str = ""
    seconds: float = 0.0
