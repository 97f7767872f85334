"""A large PUBLISH on its way in: its payload is gathered in place while it comes, and exists once.

A packet that is joined when it is whole, and then cut, is copied twice in one go. Where that is 16 MiB, the
memory for it is new to the process each time, and that costs more than the bytes: 8 ms for each copy.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final, final

from curier.codec.primitives import encode_varint

LARGE: Final = 128 * 1024  # bytes of a packet from which on this is worth it


@final
class Arriving:
    """``head`` is all of the packet that comes before its payload, which lacks ``missing`` bytes yet."""

    def __init__(self, head: bytes, missing: int) -> None:
        self.head = head
        self.missing = missing
        self.size: int = len(head)  # bytes that have come
        # CPython hands out the buffer of a BytesIO without copying it, where nobody else has it.
        self._buffer: BytesIO | None = BytesIO()
        self._payload = b""

    def take(self, chunk: bytes) -> int:
        """Take what belongs to the payload; how many bytes that is."""
        buffer = self._buffer
        assert buffer is not None
        size = len(chunk)
        if size <= self.missing:
            buffer.write(chunk)
        else:
            size = self.missing
            buffer.write(chunk[:size])
        self.missing -= size
        self.size += size
        return size

    def payload(self) -> bytes:
        """The payload, once nothing is missing."""
        if self._buffer is not None:
            self._payload = self._buffer.getvalue()
            self._buffer = None
        return self._payload

    def bare(self) -> bytes:
        """The same packet as it would be without its payload."""
        at = 1
        while self.head[at] > 127:
            at += 1
        rest = self.head[at + 1 :]
        return self.head[:1] + encode_varint(len(rest)) + rest

    def packet(self) -> bytes:
        """The whole packet as one piece, for those who have to have it."""
        return b"".join([self.head, self.payload()])
