"""The form as JSON lines, and what is checked of it, know the same records.

What both do is tried where the command line is: ``tests/cli/test_store.py``.
"""

from __future__ import annotations

from curier.store.checking import _RANGES
from curier.store.portable import _KINDS


def test_every_number_of_a_line_has_its_range() -> None:
    numbers = {record: [field for field, kind in fields if kind is int] for _, record, fields in _KINDS}
    assert numbers == {record: [name for name, _, _ in ranges] for record, ranges in _RANGES.items()}
