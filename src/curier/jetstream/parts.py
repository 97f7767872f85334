"""Records that are larger than a message of NATS may be: parts first, then the record, which names them.

A record that was stored has all its parts. Those of one that was refused are removed at once, and those of
one that had no answer with the next. Who reads an old record may find its parts gone, and looks again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from nats.aio.msg import Msg

from curier.jetstream.line import Line
from curier.jetstream.wire import Parted


def store(
    line: Line,
    subjects: Callable[[str, int], str],
    data: bytes,
    most: int,
    seconds: float,
    then: Callable[[Parted | None, int], None],
) -> None:
    """``then`` gets what names the parts and the sequence of the first, or None: they may be there or not."""
    pieces = [data[at : at + most] for at in range(0, len(data), most)]
    parted = Parted(secrets.token_hex(8), len(pieces))
    sequences: list[int] = []
    is_told = False

    def heard(message: Msg | None) -> bool:
        nonlocal is_told
        answer: dict[str, Any] = json.loads(message.data) if message is not None and message.data else {}
        sequence = answer.get("seq", 0)
        if not sequence and not is_told:
            is_told = True
            then(None, 0)
        sequences.append(sequence)
        if len(sequences) == len(pieces) and not is_told:
            then(parted, min(sequences))
        return True

    for at, piece in enumerate(pieces):
        line.ask(subjects(parted.nonce, at), piece, heard, seconds)


def gather(
    line: Line,
    stream: str,
    subjects: Sequence[str],
    seconds: float,
    then: Callable[[bytes | None], None],
) -> None:
    """``then`` gets all parts as one, or None: one of them is not to be had, now or any more."""
    found: dict[int, bytes] = {}
    is_told = False

    def ask(at: int) -> None:
        def heard(message: Msg | None) -> bool:
            nonlocal is_told
            if is_told:
                return True
            if message is None or (message.headers or {}).get("Status"):
                is_told = True
                then(None)
                return True
            found[at] = message.data
            if len(found) == len(subjects):
                then(b"".join([found[one] for one in range(len(subjects))]))
            return True

        line.ask(f"$JS.API.DIRECT.GET.{stream}.{subjects[at]}", b"", heard, seconds)

    for at in range(len(subjects)):
        ask(at)


def forget(line: Line, stream: str, which: str, before: int) -> None:
    """Remove parts, those before the sequence ``before`` or all, if that can be now."""
    request = {"filter": which, "seq": before} if before else {"filter": which}
    line.send(f"$JS.API.STREAM.PURGE.{stream}", json.dumps(request).encode())
