"""Topics and filters of options, checked before anything is connected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from curier.topics.filters import check_topic_filter, check_topic_name

LEVELS: Final = 1 << 16
"""More than fit; how many a server takes is for the server to say."""


def check_name(option: str, topic: str | None) -> None:
    """Raise ``click.UsageError`` that names the option for what is no Topic Name."""
    if topic is not None:
        _complain(option, topic, check_topic_name(_encoded(option, topic), LEVELS))


def check_filters(option: str, filters: Iterable[str]) -> None:
    """Raise ``click.UsageError`` that names the option for the first that is no Topic Filter."""
    for one in filters:
        _complain(option, one, check_topic_filter(_encoded(option, one), LEVELS))


def _encoded(option: str, topic: str) -> bytes:
    try:
        return topic.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{option}: a topic is written in UTF-8, which {topic!r} is not") from None


def _complain(option: str, topic: str, why: str) -> None:
    if why:
        raise click.UsageError(f"{option} {topic!r}: {why}")
