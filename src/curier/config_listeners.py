"""The tables ``[[listener]]`` of a configuration file: the settings of ``Listener``, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from curier.errors import ConfigError
from curier.listeners import Listener, levels_of
from curier.settings.listener import LISTENER
from curier.strict_toml import TomlFile, shown

FILES: Final = ("certificate", "key", "key_password_file", "client_ca", "crl", "psk_file", "acme_files")
"""Paths, which are relative to the configuration file."""


def read_listeners(file: TomlFile) -> tuple[Listener, ...]:
    """All of them. Raises ``ConfigError``."""
    tables = file.value(("listener",), _tables)
    assert isinstance(tables, list)
    found: list[Listener] = []
    for number, table in enumerate(tables):
        settings: dict[str, Any] = {}
        for name in table:
            keys = ("listener", number, name)
            if name not in LISTENER:
                raise file.unknown(keys, [*LISTENER])
            settings[name] = file.value(keys, LISTENER[name].kind.take)
        if "url" not in settings:
            raise file.wrong(("listener", number), 'expected a url, such as url = "tls://0.0.0.0:8883"')
        folder = file.folder(("listener", number))
        for name in FILES:
            if name in settings:
                settings[name] = str(folder / settings[name])
        pairs = settings.get("certificates", ())
        listener = Listener(**settings)
        if pairs:
            listener = replace(
                listener, certificates=tuple((str(folder / one), str(folder / key)) for one, key in pairs)
            )
        try:
            listener.check()
        except ConfigError as error:
            raise file.wrong(("listener", number), str(error)) from None
        found.append(listener)
        try:
            levels_of(found)
        except ConfigError as error:
            raise file.wrong(("listener", number, "name"), str(error)) from None
    return tuple(found)


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[listener]], got {shown(value)}")
    return value
