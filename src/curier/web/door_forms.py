"""What is answered about listeners by which clients of the pages may come in."""

from __future__ import annotations

from msgspec import Struct


class DoorRow(Struct):
    """A listener: its URL as bound, and its name, "" where it has none."""

    url: str
    name: str


class Doors(Struct):
    """All of them; the first is taken where none is chosen."""

    doors: list[DoorRow]
