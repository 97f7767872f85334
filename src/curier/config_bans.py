"""The table ``[ban]`` of a configuration file: who is banned for a while, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from curier.auth.bans import BanSettings, Network
from curier.errors import ConfigError
from curier.settings.listener import take_network
from curier.strict_toml import TomlFile, parse_seconds, shown, take_count


def read_bans(file: TomlFile) -> BanSettings:
    """Raises ``ConfigError``."""
    table = file.value(("ban",), _table)
    assert isinstance(table, dict)
    values: dict[str, Any] = {}
    for name in table:
        if name not in TAKERS:
            raise file.unknown(("ban", name), [*TAKERS])
        values[name] = file.value(("ban", name), TAKERS[name])
    try:
        return BanSettings(**values)
    except ConfigError as error:
        raise file.wrong(("ban",), str(error)) from None


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, as below the line [ban], got {shown(value)}")
    return value


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of networks, got {shown(value)}")
    return tuple(map(take_network, value))


TAKERS: Final[dict[str, Callable[[object], object]]] = {
    "failures": take_count,
    "address_failures": take_count,
    "flaps": take_count,
    "window": parse_seconds,
    "seconds": parse_seconds,
    "longest": parse_seconds,
    "never": _networks,
}
"""What makes the value of each setting."""
