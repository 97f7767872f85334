"""The table ``[ban]`` of a configuration file: who is banned for a while, and for how long."""

from __future__ import annotations

from typing import Any

from curier.auth.bans import BanSettings
from curier.errors import ConfigError
from curier.settings.ban import BAN
from curier.strict_toml import TomlFile, shown


def read_bans(file: TomlFile, origins: dict[str, str]) -> BanSettings:
    """Its keys, and in ``origins`` where each stands, by its place (``ban.window``); what is wrong with one
    of them is noted. Raises ``ConfigError`` for the rest.
    """
    table = file.value(("ban",), _table)
    assert isinstance(table, dict)
    values: dict[str, Any] = {}
    for name in table:
        with file.noted():
            if name not in BAN:
                raise file.unknown(("ban", name), [*BAN])
            values[name] = file.value(("ban", name), BAN[name].kind.take)
            origins[BAN[name].key] = file.place(("ban", name))
    try:
        return BanSettings(**values)
    except ConfigError as error:
        raise file.wrong(("ban",), str(error)) from None


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, as below the line [ban], got {shown(value)}")
    return value
