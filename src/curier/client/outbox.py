"""What is published and not complete."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from curier.errors import PublishRefused


@dataclass(frozen=True, slots=True)
class PublishResult:
    """How the server acknowledged a message: a Reason Code below 0x80, such as 0x10, No matching subscribers."""

    reason_code: int = 0
    reason_string: str = ""


class Receipt:
    """For a message that was accepted: await it for its ``PublishResult``, as often as you like, or do not.

    Cancelling who awaits it does not touch the delivery.
    """

    __slots__ = ("_result",)

    def done(self) -> bool:
        """Is the delivery over?"""
        raise NotImplementedError

    def result(self) -> PublishResult:
        """The result; raises what ended the delivery, ``asyncio.InvalidStateError`` while it is not over."""
        raise PublishRefused(0x80)

    def __await__(self) -> Generator[Any, None, PublishResult]:
        raise NotImplementedError
