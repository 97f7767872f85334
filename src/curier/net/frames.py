"""Frames of WebSocket (RFC 6455 section 5): a chunk of the network in, the MQTT bytes of all its frames out.

Hot file. A chunk of a flood has thousands of small frames, and the broker's fast lane wants their contents as
one piece; so no frame becomes an object, and masks are undone eight bytes at a time into one writer. What has
come of a frame is given up at once, so that no frame, however large, is kept. Numbers are native (``i64``).
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i16_be, read_i32_le, read_i64_be, read_i64_le, write_i64_le
from mypy_extensions import i64

try:
    from websockets.speedups import apply_mask
except ImportError:  # an installation of it without C
    from websockets.utils import apply_mask

BINARY: Final = 2
TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

# Close codes (section 7.4.1).
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS: Final = 1005  # never sent: the peer's close frame had none
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_LARGE: Final = 1009

MOST_FRAME_BYTES: Final = 2**30
"""No frame of a client is larger; of this size are four of the largest Control Packets."""

SEND_BYTES: Final = 65_536
"""A larger frame is sent only where one Control Packet is larger: peers keep a frame until it is whole, and
many take none of a megabyte."""

WORDS_BYTES: Final = 16 if __file__.endswith(".py") else 1024
"""Longer payloads are unmasked by one call; where this file is interpreted, all but the shortest."""

_HEADS: Final = [bytes((0x80 | BINARY, length)) for length in range(126)]
_NO_MASK: Final = b"\0\0\0\0"


@final
class FrameReader:
    """One direction of one connection. ``is_masked``: frames come from a client, and so are masked."""

    def __init__(self, is_masked: bool, max_frame_bytes: int = MOST_FRAME_BYTES) -> None:
        self.is_masked: bool = is_masked
        self.max_frame_bytes: i64 = max_frame_bytes
        self.tail: bytes = b""  # a head that is not whole, or a control frame that is not
        self.left: i64 = 0  # bytes to come of the payload under way
        self.mask: bytes = _NO_MASK  # of the first of them
        self.is_in_message: bool = False  # between the fragments of one
        self.ping: bytes | None = None
        """What the latest ping said that was not answered yet; whoever answers it sets None."""
        self.close_code: int = 0
        """Of the peer's close frame, behind which nothing is read; ``NO_STATUS`` where it has none."""
        self.close_reason: str = ""
        self.error_code: int = 0
        """The close code for what the peer did wrong, behind which nothing is read; ``error`` says what."""
        self.error: str = ""

    def read(self, data: bytes) -> bytes:
        """The payload of data frames in ``data``, which may be cut anywhere, as one piece; may be empty."""
        if self.close_code or self.error_code:
            return b""
        if self.tail:
            data = self.tail + data
            self.tail = b""
        end: i64 = len(data)
        left = self.left
        if left >= end:  # in the midst of a large one
            return self._part(data, end)
        writer = BytesWriter()
        at: i64 = 0
        if left:
            writer.write(self._part(data[:left], left))
            at = left
        is_masked = self.is_masked
        is_in_message = self.is_in_message
        while at + 2 <= end:
            first: i64 = data[at]
            length: i64 = data[at + 1]
            # Masked as it should be, no reserved bit, no control frame, no fragment out of place?
            if (length > 127) != is_masked or first & 0x78 or (first & 7) != (0 if is_in_message else BINARY):
                self.is_in_message = is_in_message
                after: i64 = self._unusual(data, at, end)
                if after == at:
                    break
                at = after
                continue
            length &= 127
            body: i64 = at + 2
            if length > 125:
                body += 2 if length == 126 else 8
                if body > end:
                    break
                if length == 126:
                    length = i64(read_i16_be(data, body - 2)) & 0xFFFF
                else:
                    length = read_i64_be(data, body - 8)
            if length < 0 or length > self.max_frame_bytes:
                at = self._refuse_length(length, end)
                break
            if is_masked:
                body += 4
                if body > end:
                    break
            is_in_message = first < 128
            stop: i64 = body + length
            at = stop
            if stop > end:
                stop = end
                self._begin(data, body, length)
            if not is_masked:
                writer.write(data[body:stop])
            else:
                write_unmasked(writer, data, body, stop)
        self.is_in_message = is_in_message
        if at < end:
            self.tail = data[at:]
        return writer.getvalue()

    def _begin(self, data: bytes, body: i64, length: i64) -> None:
        """Of a payload only a part has come."""
        come: i64 = len(data) - body
        self.left = length - come
        if self.is_masked:
            phase: i64 = come & 3
            self.mask = data[body - 4 + phase : body] + data[body - 4 : body - 4 + phase]

    def _part(self, data: bytes, size: i64) -> bytes:
        """``data``, all of which belongs to the payload under way, and is as long as ``size``."""
        self.left -= size
        if not self.is_masked or not size:
            return data
        mask = self.mask
        phase = size & 3
        if phase and self.left:
            self.mask = mask[phase:] + mask[:phase]
        return apply_mask(data, mask)

    def _unusual(self, data: bytes, at: i64, end: i64) -> i64:
        """Work on a control frame, or note an error; returns where it ends, ``at`` where more is to come,
        and ``end`` where nothing is read any more.
        """
        first: i64 = data[at]
        length: i64 = data[at + 1]
        opcode = first & 15
        if first & 0x70:
            return self._fail(PROTOCOL_ERROR, "reserved bits are set, and no extension was agreed on", end)
        if opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            return self._fail(PROTOCOL_ERROR, f"there is no opcode {opcode}", end)
        if (length > 127) != self.is_masked:
            how = "is not masked" if self.is_masked else "is masked"
            return self._fail(PROTOCOL_ERROR, f"a frame {how}", end)
        if opcode == TEXT:
            # [MQTT-6.0.0-1] "If any other type of data frame is received the recipient MUST close"
            return self._fail(UNSUPPORTED_DATA, "a text frame; MQTT takes binary ones only", end)
        if opcode == 0:
            return self._fail(PROTOCOL_ERROR, "a continuation of no message", end)
        if opcode == BINARY:
            return self._fail(PROTOCOL_ERROR, "a message began before the one under way had ended", end)
        length &= 127
        if first < 128:
            return self._fail(PROTOCOL_ERROR, "a control frame in fragments", end)
        if length > 125:
            return self._fail(PROTOCOL_ERROR, "a control frame of more than 125 bytes", end)
        body = at + (6 if self.is_masked else 2)
        stop = body + length
        if stop > end:
            return at
        said = data[body:stop]
        if self.is_masked:
            said = apply_mask(said, data[body - 4 : body])
        if opcode == PING:
            self.ping = said
        elif opcode == CLOSE:
            self._closed(said)
            return end
        return stop

    def _closed(self, said: bytes) -> None:
        """The peer's close frame (section 5.5.1)."""
        code = NO_STATUS if not said else int.from_bytes(said[:2], "big")
        if len(said) == 1 or (said and not may_be_sent(code)):
            self._fail(PROTOCOL_ERROR, "a close frame without a close code that may be sent", 0)
            return
        try:
            self.close_reason = said[2:].decode()
        except UnicodeDecodeError:
            self._fail(INVALID_DATA, "the reason in a close frame is not UTF-8", 0)
            return
        self.close_code = code

    def _refuse_length(self, length: i64, end: i64) -> i64:
        if length < 0:  # "the most significant bit MUST be 0"
            return self._fail(PROTOCOL_ERROR, "the length of a frame is 2 ** 63 bytes or more", end)
        most = self.max_frame_bytes
        return self._fail(TOO_LARGE, f"a frame of {length} bytes; at most {most} are taken", end)

    def _fail(self, code: int, why: str, end: i64) -> i64:
        self.error_code = code
        self.error = why
        return end


def write_unmasked(writer: BytesWriter, data: bytes, at: i64, stop: i64) -> None:
    """Write a payload (section 5.3): its mask stands before ``at``. ``stop`` may be ``at``."""
    most: i64 = WORDS_BYTES
    if stop - at > most:
        writer.write(apply_mask(data[at:stop], data[at - 4 : at]))
        return
    half = i64(read_i32_le(data, at - 4))
    mask: i64 = (half << 32) | (half & 0xFFFFFFFF)
    whole: i64 = stop - 8
    while at <= whole:
        write_i64_le(writer, read_i64_le(data, at) ^ mask)
        at += 8
    if at < stop:
        size: i64 = len(data)
        if at + 8 <= size:  # with the begin of the next frame, which is taken back
            write_i64_le(writer, read_i64_le(data, at) ^ mask)
            written: i64 = len(writer)
            writer.truncate(written - (at + 8 - stop))
        else:
            while at < stop:
                byte: i64 = data[at]
                writer.append((byte ^ mask) & 0xFF)
                mask >>= 8
                at += 1


def may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code (section 7.4)."""
    return 3000 <= code < 5000 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def head(opcode: int, length: int) -> bytes:
    """What stands before a whole payload that is not masked."""
    if length < 126:
        return bytes((0x80 | opcode, length))
    if length < 65_536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")


def close_payload(code: int, reason: str) -> bytes:
    """What a close frame says; the reason is cut to what there is room for."""
    if code == NO_STATUS:
        return b""
    return code.to_bytes(2, "big") + reason.encode()[:123].decode(errors="ignore").encode()


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame of a server."""
    said = close_payload(code, reason)
    return head(CLOSE, len(said)) + said


def masked_frame(opcode: int, data: bytes | bytearray | memoryview, mask: bytes) -> bytes:
    """A frame of a client; ``mask`` is four bytes that nobody can foretell."""
    start = head(opcode, len(data))
    return b"".join((start[:1], bytes((start[1] | 0x80,)), start[2:], mask, apply_mask(data, mask)))


def binary_frames(data: bytes) -> list[bytes]:
    """Whole Control Packets in frames of a server, none of them cut; a large one is not copied.

    They share a frame while it stays below ``SEND_BYTES``.
    """
    size: i64 = len(data)
    if size < 126:
        return [_HEADS[size] + data]
    if size <= SEND_BYTES:
        return [head(BINARY, len(data)) + data]
    done: list[bytes] = []
    start: i64 = 0
    while start < size:
        end = packets_end(data, start, SEND_BYTES)
        if start == 0 and end == size:
            return [head(BINARY, len(data)), data]
        part = data[start:end]
        done.append(head(BINARY, len(part)))
        done.append(part)
        start = end
    return done


def packets_end(data: bytes, start: i64, most: i64) -> i64:
    """Where the last packet ends of those that begin at ``start`` and are no longer than ``most`` together;
    the first may be longer.
    """
    size: i64 = len(data)
    end = start
    while end < size:
        at = end + 1
        length: i64 = 0
        shift: i64 = 0
        byte: i64 = 128
        while byte > 127 and at < size:
            byte = data[at]
            length |= (byte & 127) << shift
            shift += 7
            at += 1
        at += length
        if at > start + most and end > start:
            break
        end = at if at < size else size
    return end
