"""Formats: the numbers by which versions of curier that run side by side know what they may write.

All of a cluster write one format: the highest that every living node reads (``life``). What a later version
adds has a number: the format *since* which it is there. In an older format it is left out, and read as its
default. So a change that only adds is made in three steps:

1. Raise ``NEWEST`` by one.
2. Give the class a new last field, ``name: type = since(NUMBER, DEFAULT)``; or give a new kind of record its
   number in ``curier.jetstream.wire``.
3. Rely on it only where ``Ground.format`` has that number: before that, others would not hear of it.

Leases alone are always of ``FIRST``, since nodes of all versions have to read them: what a later version adds
behind their last field others leave out, so no number is needed there, and they must do without.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypeVar

FIRST: Final = 2  # 1 was of versions that never ran beside others
NEWEST: Final = 2

T = TypeVar("T")


def since(format: int, default: T) -> T:
    """A field that is there in this format and later ones; ``default`` is what it is in older ones."""
    made: Any = dataclasses.field(default=default, metadata={"since": format})
    return made  # type: ignore[no-any-return]


def since_of(field: dataclasses.Field[Any]) -> int:
    """The first format that has it."""
    found = field.metadata.get("since", FIRST)
    assert isinstance(found, int)
    return found
