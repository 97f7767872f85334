"""The tables ``[[listener]]`` of a configuration file: the settings of ``Listener``, by name."""

from __future__ import annotations

from typing import Any, Final

from curier.errors import ConfigError
from curier.listeners import Listener, levels_of
from curier.settings.listener import LISTENER
from curier.strict_toml import Keys, TomlFile, read_secret, shown

FILES: Final = ("certificate", "key", "key_password_file", "client_ca", "crl", "psk_file", "acme_files")
"""Paths, which are relative to the configuration file."""


def read_listeners(file: TomlFile) -> tuple[Listener, ...]:
    """All of them that are right; what is wrong is noted. Raises ``ConfigError`` for what are no tables."""
    tables = file.value(("listener",), _tables)
    assert isinstance(tables, list)
    found: list[Listener] = []
    for number, table in enumerate(tables):
        before = len(file.errors)
        with file.noted():
            listener = _listener(file, ("listener", number), table, before)
            if listener is None:
                continue
            found.append(listener)
            try:
                levels_of(found)
            except ConfigError as error:
                raise file.wrong(("listener", number, "name"), str(error)) from None
    return tuple(found)


def _listener(file: TomlFile, here: Keys, table: dict[str, object], before: int) -> Listener | None:
    """One of them; None where there are more errors than ``before``. Raises ``ConfigError``."""
    settings: dict[str, Any] = {}
    for name in table:
        with file.noted():
            if name not in LISTENER:
                raise file.unknown((*here, name), [*LISTENER])
            settings[name] = file.value((*here, name), LISTENER[name].kind.take)
    if "url" not in table:
        raise file.wrong(here, 'expected a url, such as url = "tls://0.0.0.0:8883"')
    if len(file.errors) > before:
        return None  # or what they say together would be about what is not meant
    folder = file.folder(here)
    if "key_password" in settings:
        try:
            settings["key_password"] = read_secret(settings["key_password"], folder)
        except ValueError as error:
            raise file.wrong((*here, "key_password"), str(error)) from None
    for name in FILES:
        if name in settings:
            settings[name] = str(folder / settings[name])
    if "certificates" in settings:
        pairs = settings["certificates"]
        settings["certificates"] = tuple((str(folder / one), str(folder / key)) for one, key in pairs)
    listener = Listener(**settings)
    try:
        listener.check()
    except ConfigError as error:
        raise file.wrong(here, str(error)) from None
    return listener


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[listener]], got {shown(value)}")
    return value
