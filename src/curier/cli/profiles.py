"""Profiles: what a client needs to know of a server, by name, in a file.

    [profile.home]
    url = "mqtts://broker.example"
    username = "ana"
    password_file = "home.secret"     # beside this file

Keys are the long names of options, with ``_`` for ``-``; options on the command line beat them. The file is
``~/.config/curier/client.toml`` (below ``$XDG_CONFIG_HOME``, if that is set) unless ``--config`` names
another. ``[profile.default]``, if there is one, is used where no ``--profile`` is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from curier.cli.options import expiry, protocol_version
from curier.cli.tls_options import TLS_VERSIONS
from curier.errors import ConfigError
from curier.strict_toml import (
    TomlFile,
    shown,
    take_count,
    take_flag,
    take_one_of,
    take_path,
    take_string,
)

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT: Final = "default"


def default_file() -> str:
    """Where profiles are when nobody says where."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "curier", "client.toml")


def load_profile(file: str | Path | None, name: str | None) -> dict[str, object]:
    """The keys of a profile and their values. Raises ``ConfigError``.

    ``file`` None: the default one. ``name`` None: the profile ``default``, or nothing if there is none.
    """
    path = file if file is not None else default_file()
    if name is None and file is None and not os.path.exists(path):
        return {}
    if file is None and not os.path.exists(path):
        raise ConfigError(f"there is no profile {name}: {path} does not exist; make it, or name a --config")
    from pathlib import Path

    toml = TomlFile(Path(path))
    for key in toml.table:
        if key != "profile":
            raise toml.unknown((key,), ["profile"])
    profiles = toml.value(("profile",), _table) if toml.table else {}
    assert isinstance(profiles, dict)
    for one in profiles:  # all of them, so that a slip is found before its profile is needed
        _check_profile(toml, one)
    wanted = name if name is not None else DEFAULT
    if wanted not in profiles:
        if name is None:
            return {}
        known = ", ".join(profiles) or "none"
        raise ConfigError(f"{path}: there is no [profile.{name}]; there are: {known}")
    return _read_profile(toml, wanted)


def _check_profile(toml: TomlFile, name: str) -> None:
    table = toml.value(("profile", name), _table)
    assert isinstance(table, dict)
    for key in table:
        if key not in KEYS:
            raise toml.unknown(("profile", name, key), [*KEYS])
        toml.value(("profile", name, key), KEYS[key])
    secrets = [key for key in ("password", "psk") if key in table]
    if secrets and os.name == "posix" and toml.path.stat().st_mode & 0o077:
        way_out = f"chmod 600 {toml.path}"
        if secrets[0] == "password":
            way_out += ", or keep the password in a password_file"
        raise toml.wrong(("profile", name, secrets[0]), f"other users may read this file: {way_out}")


def _read_profile(toml: TomlFile, name: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in toml.table["profile"][name]:
        value = toml.value(("profile", name, key), KEYS[key])
        if key in _PATHS:
            value = str(toml.path.parent / os.path.expanduser(str(value)))
        found[key] = value
    return found


# -- kinds of values --


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, as below the line [profile.home], got {shown(value)}")
    return value


def _urls(value: object) -> tuple[str, ...]:
    urls = [value] if isinstance(value, str) else value
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise ValueError(f'expected a URL, such as "mqtts://broker.example", or a list, got {shown(value)}')
    return tuple(urls)


def _words(value: object) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"expected text in quotes, or a list of them, got {shown(value)}")
    return tuple(words)


def _between(least: int, most: int) -> Callable[[object], object]:
    def take(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"expected a whole number, {least} to {most}, got {shown(value)}")
        return value

    return take


def _as_option(parse: Callable[[str], int]) -> Callable[[object], object]:
    """What an option takes: a text, or a number."""

    def take(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"expected a number, or text in quotes, got {shown(value)}")
        try:
            return parse(str(value))
        except click.BadParameter as error:
            raise ValueError(error.message) from None

    return take


KEYS: Final[dict[str, Callable[[object], object]]] = {
    "url": _urls,
    "host": take_string,
    "port": _between(1, 65535),
    "unix": take_path,
    "proxy": take_string,
    "username": take_string,
    "password": take_string,
    "password_file": take_path,
    "id": take_string,
    "id_prefix": take_string,
    "protocol_version": _as_option(protocol_version),
    "keepalive": _between(0, 65535),
    "disable_clean_session": take_flag,
    "session_expiry_interval": _as_option(expiry),
    "reconnect": take_count,
    "max_inflight": _between(1, 65000),
    "qos": _between(0, 2),
    "cafile": take_path,
    "capath": take_path,
    "cert": take_path,
    "key": take_path,
    "psk": take_string,
    "psk_identity": take_string,
    "ciphers": take_string,
    "tls_version": take_one_of(TLS_VERSIONS),
    "tls_alpn": _words,
    "tls_use_os_certs": take_flag,
    "insecure": take_flag,
    "will_topic": take_string,
    "will_payload": take_string,
    "will_qos": _between(0, 2),
    "will_retain": take_flag,
}
"""What a profile may say: for each key the function that takes its value."""

_PATHS: Final = frozenset(("unix", "password_file", "cafile", "capath", "cert", "key"))
"""Keys whose values are relative to the file."""
