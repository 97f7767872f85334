"""How servers of before 5.0 answer CONNECT: their Return Codes, and what they say to a CONNECT of 5.0."""

from __future__ import annotations

from typing import Final

from curier.codec.constants import UNSUPPORTED_PROTOCOL_VERSION

# 5.0 Reason Codes for the return codes of 3.1 and 3.1.1 (3.1.1: table 3.1)
REASON_CODES: Final = (0x00, 0x84, 0x85, 0x88, 0x86, 0x87)

CONNACK_BYTES: Final = 4  # before 5.0; in 5.0 it has at least 5


def knows_no_50(data: bytes, pos: int, stop: int) -> bool:
    """Is this answer to a CONNECT of 5.0 the CONNACK of 3.1.1, or Return Code 0x01 in that of 5.0?"""
    size = stop - pos
    return size == CONNACK_BYTES or (size > CONNACK_BYTES and data[pos + 1] < 0x80 and data[pos + 3] == 1)


def why_no_50(return_code: int) -> str | None:
    """What to tell people of it; None where the code says it all."""
    if return_code in (1, UNSUPPORTED_PROTOCOL_VERSION):
        return None
    return f"it answers in the form of 3.1.1, with Return Code {return_code}"
