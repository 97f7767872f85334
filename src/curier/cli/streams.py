"""Standard streams that may be closed, full, or without a reader.

What cannot be said on standard error is not worth an error of its own; what cannot be written to standard
output, or read from standard input, is.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_PLACES: Final = ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY))


class CannotWrite(click.ClickException):
    """Standard output takes nothing: one line for the user, and exit code 1."""

    def __init__(self, why: str | None) -> None:
        super().__init__(f"standard output cannot be written to: {why}")


class NobodyTakes(BrokenPipeError):
    """Standard output takes nothing, and not only because its reader has gone."""


class CannotRead(click.ClickException):
    """Standard input gives nothing: one line for the user, and exit code 2, as for any file."""

    exit_code = 2

    def __init__(self, why: str | None) -> None:
        super().__init__(f"standard input cannot be read: {why}")


class _Stdin(io.FileIO):
    """Says that it is standard input that fails."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise CannotRead(error.strerror) from error


class _Stdout(io.FileIO):
    """Says that it is standard output that fails, once; afterwards nothing is written."""

    has_failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self.has_failed:
            return len(memoryview(data))
        try:
            return super().write(data)
        except OSError as error:
            self.has_failed = True
            if isinstance(error, BrokenPipeError):
                raise
            raise NobodyTakes(error.errno, error.strerror) from error


class _Stderr(io.FileIO):
    """Says what it can."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


def prepare() -> None:
    """Make the standard streams of this process such that they can be told apart, whatever is behind them,
    and its words such that they are text.

    Where one is closed, its number would be given to the next thing that is opened, a connection for
    instance. What is put there fails as a closed one does, but for standard error.
    """
    for descriptor, name, how in _PLACES:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, how)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))
    if sys.getfilesystemencoding() == "ascii":  # a locale of no use, such as C: MQTT is UTF-8
        sys.argv = [os.fsencode(word).decode(errors="surrogateescape") for word in sys.argv]
    sys.stdin = _over(io.BufferedReader(_Stdin(0, "r", closefd=False)), sys.stdin)
    sys.stdout = _over(io.BufferedWriter(_Stdout(1, "w", closefd=False)), sys.stdout)
    sys.stderr = _over(io.BufferedWriter(_Stderr(2, "w", closefd=False)), sys.stderr)


def _over(buffer: io.BufferedReader | io.BufferedWriter, before: object) -> io.TextIOWrapper:
    """A stream of text over ``buffer``, otherwise like the one before."""
    assert isinstance(before, io.TextIOWrapper)
    return io.TextIOWrapper(
        buffer,
        "utf-8" if before.encoding == "ascii" else before.encoding,
        before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )


def give_up(descriptor: int) -> None:
    """Let what is written there from now on vanish, also what Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
