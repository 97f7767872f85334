"""How many subscriptions of one session may match one Topic Name.

Where its wildcards are is the *shape* of a Topic Filter. Of all filters with one shape at most one matches a
name, so a session whose filters have few shapes is found few times for each message, however many filters it
has. Each ShareName counts as a shape of its own, since each gives the session a copy of the message.
"""

from __future__ import annotations

from curier.broker.model import ServerSession
from curier.topics.filters import has_wildcard, is_shared, split_shared
from curier.topics.table import shape_of


def why_not(session: ServerSession, topic_filter: bytes, most: int) -> str:
    """Plain words where one more filter would give the session more than ``most`` shapes, or ""."""
    shapes = session.shapes
    if shapes is None or len(shapes) < most or topic_filter in session.subscriptions:
        return ""
    shape = _shape(topic_filter)
    if not shape or shape in shapes:
        return ""
    return f"a session may have Topic Filters with their wildcards in {most} different places"


def added(session: ServerSession, topic_filter: bytes, most: int) -> None:
    """The session has a new filter."""
    shapes = session.shapes
    if shapes is not None:
        _count(shapes, topic_filter, 1)
    elif len(session.subscriptions) >= most:  # before, they cannot have more shapes
        session.shapes = {}
        for each in session.subscriptions:
            _count(session.shapes, each, 1)


def removed(session: ServerSession, topic_filter: bytes) -> None:
    """The session has no longer the filter that it had."""
    if session.shapes is not None:
        _count(session.shapes, topic_filter, -1)


def _count(shapes: dict[bytes, int], topic_filter: bytes, change: int) -> None:
    shape = _shape(topic_filter)
    if not shape:
        return
    count = shapes.get(shape, 0) + change
    if count > 0:
        shapes[shape] = count
    else:
        shapes.pop(shape, None)


def _shape(topic_filter: bytes) -> bytes:
    """The name of the filter's shape; b"" where it is the only one that could match its one name."""
    if is_shared(topic_filter):
        share_name, inner = split_shared(topic_filter)
        return b"$share/" + share_name + b"/" + shape_of(inner.split(b"/"))
    return shape_of(topic_filter.split(b"/")) if has_wildcard(topic_filter) else b""
