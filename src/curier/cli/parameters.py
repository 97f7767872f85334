"""Kinds of values on the command line: sizes and times, written as in the configuration file."""

from __future__ import annotations

import click

from curier.strict_toml import parse_seconds, parse_size


def size(text: str) -> int:
    """Bytes, from ``65536`` or ``"64 KiB"``."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def seconds(text: str) -> float:
    """Seconds, from ``90`` or ``"1.5 min"``."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
