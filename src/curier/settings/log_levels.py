"""How much is logged, of what: levels, and topics that may have one of their own."""

from __future__ import annotations

from typing import Final

from curier.settings.kinds import Kind
from curier.strict_toml import shown

LOG_LEVELS: Final = ("debug", "info", "warning", "error")

TOPICS: Final = {
    "connect": "curier.broker.connect",
    "subscribe": "curier.broker.subscribe",
    "publish": "curier.broker.publish",
    "auth": "curier.auth",
    "acl": "curier.permissions",
    "store": "curier.store",
    "tls": "curier.tls",
    "acme": "curier.acme",
    "net": "curier.net",
    "hooks": "curier.hook_files",
    "server": "curier.server",
    "bridge": "curier.bridge",
    "command": "curier.cli",
}
"""The logger of each topic."""


def topic_of(logger: str) -> str:
    """What a logger's lines are about; its name where it is of somebody else."""
    return next((topic for topic, name in TOPICS.items() if f"{logger}.".startswith(f"{name}.")), logger)


def _take(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError(f'expected levels by topic, such as {{ connect = "debug" }}, got {shown(value)}')
    for topic, level in value.items():
        if topic not in TOPICS:
            from difflib import get_close_matches  # only for what is wrong

            near = get_close_matches(topic, TOPICS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(TOPICS)}"
            raise ValueError(f"there is no topic {shown(topic)}; {hint}")
        if level not in LOG_LEVELS:
            raise ValueError(f"{topic}: expected one of {', '.join(LOG_LEVELS)}, got {shown(level)}")
    return tuple(value.items())


def _read(text: str) -> object:
    pairs = [word.partition("=") for word in text.split()]
    return {topic: level for topic, _, level in pairs} if all(sign for _, sign, _ in pairs) else text


def _written(value: object) -> str:
    assert isinstance(value, tuple)
    pairs = ", ".join(f'{topic} = "{level}"' for topic, level in value)
    return f"{{ {pairs} }}" if pairs else "{}"


LEVELS: Final = Kind(
    "a table of levels by topic",
    _take,
    "LEVELS",
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {topic: {"enum": [*LOG_LEVELS]} for topic in TOPICS},
    },
    _read,
    write=_written,
)
