"""The tables ``[[webhook]]`` of a configuration file: who is told by HTTP of what happens.

[[webhook]]
url = "https://example.org/mqtt"
events = ["connect", "disconnect", "message"]
topics = ["alarms/#"]
secret = "env:WEBHOOK_SECRET"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from curier.errors import ConfigError
from curier.strict_toml import (
    Keys,
    TomlFile,
    parse_seconds,
    read_secret,
    shown,
    take_flag,
    take_path,
    take_string,
)
from curier.webhooks import WebhookSettings


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"expected a list of texts, got {shown(value)}")
    return tuple(value)


TAKERS: Final[dict[str, Callable[[object], object]]] = {
    "url": take_string,
    "events": _texts,
    "topics": _texts,
    "secret": take_string,
    "timeout": parse_seconds,
    "ca_file": take_path,
    "allow_plain": take_flag,
}
"""What makes the value of each setting."""


def read_webhooks(file: TomlFile) -> tuple[WebhookSettings, ...]:
    """All of them that are right; what is wrong is noted. Raises ``ConfigError`` for what are no tables."""
    tables = file.value(("webhook",), _tables)
    assert isinstance(tables, list)
    found: list[WebhookSettings] = []
    for number, table in enumerate(tables):
        with file.noted():
            found.append(_webhook(file, ("webhook", number), table))
    return tuple(found)


def _webhook(file: TomlFile, here: Keys, table: dict[str, object]) -> WebhookSettings:
    values: dict[str, Any] = {}
    for key in table:
        if key not in TAKERS:
            raise file.unknown((*here, key), [*TAKERS])
        values[key] = file.value((*here, key), TAKERS[key])
    if "url" not in values:
        raise file.wrong(here, "expected a url")
    if "secret" in values:
        try:
            values["secret"] = read_secret(values["secret"], file.folder((*here, "secret")))
        except ValueError as error:
            raise file.wrong((*here, "secret"), str(error)) from None
    if "ca_file" in values:
        values["ca_file"] = str(file.folder((*here, "ca_file")) / values["ca_file"])
    try:
        return WebhookSettings(**values)
    except ConfigError as error:
        raise file.wrong(here, str(error)) from None


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[webhook]], got {shown(value)}")
    return value
