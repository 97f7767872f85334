"""What of the log is still needed, and by whom: all in front of it may be cut.

An heir needs of a session what stands behind the places of its record, where the record does not say all that
the session has; messages that the record leaves in the log; and where to look for a message that its former
owner was about to write. A session whose record says all needs nothing, however old its places are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from curier.cluster.records import SessionRecord

ALL: Final = 1 << 62
"""More than any sequence: nothing is needed."""


def needs(record: SessionRecord, partitions: int, with_places: bool = True) -> tuple[int, ...]:
    """Of each partition, what stands behind there; () where nothing is. ``with_places``: the record may not
    say all that the session has.
    """
    has_places = with_places and (record.state or record.groups) and not record.is_brief
    if not has_places and not record.in_log and not record.intents:
        return ()
    low = [*record.places] if has_places else [ALL] * partitions
    for one in record.in_log:
        low[one.partition] = min(low[one.partition], one.sequence - 1)
    for intent in record.intents:
        low[intent.partition] = min(low[intent.partition], intent.after)
    return tuple(low)


def lowest(many: Iterable[Sequence[int]], partitions: int) -> tuple[int, ...]:
    """Of each partition the lowest; () among them counts for nothing."""
    low = (ALL,) * partitions
    for one in many:
        if one:
            low = tuple(map(min, low, one))
    return low
