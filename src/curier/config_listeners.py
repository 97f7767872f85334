"""The tables ``[[listener]]`` of a configuration file: the settings of ``Listener``, by name."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, get_args

from curier.errors import ConfigError
from curier.listeners import AsksClient, Listener, Names, Network, levels_of, parse_listen
from curier.strict_toml import (
    TomlFile,
    parse_seconds,
    parse_size,
    shown,
    take_count,
    take_flag,
    take_one_of,
    take_path,
    take_string,
    take_whole_seconds,
)

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
            if name not in TAKERS:
                raise file.unknown(keys, [*TAKERS])
            settings[name] = file.value(keys, TAKERS[name])
        if "url" not in settings:
            raise file.wrong(("listener", number), 'expected a url, such as url = "tls://0.0.0.0:8883"')
        folder = file.path.parent
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


def take_network(value: object) -> Network:
    """An address, or a network such as ``10.0.0.0/8``."""
    try:
        if isinstance(value, str):
            return ipaddress.ip_network(value)
    except ValueError:
        pass
    raise ValueError(f'expected an address or a network, such as "10.0.0.0/8" or "::1", got {shown(value)}')


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[listener]], got {shown(value)}")
    return value


def _several(take: Callable[[object], object], what: str) -> Callable[[object], object]:
    """What takes a list of such values."""

    def several(value: object) -> object:
        if not isinstance(value, list):
            raise ValueError(f"expected a list of {what}, got {shown(value)}")
        return tuple(map(take, value))

    return several


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f'expected a URL in quotes, such as "tls://0.0.0.0:8883", got {shown(value)}')
    parse_listen(value)
    return value


def _pair(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f'expected a certificate and its key, ["cert.pem", "key.pem"], got {shown(value)}')
    certificate, key = map(take_path, value)
    return certificate, key


def _mode(value: object) -> int:
    """Of a file: 0o660 as TOML writes it, or "0660" as chmod does."""
    mode = value
    if isinstance(value, str) and value.isdecimal() and set(value) <= set("01234567"):
        mode = int(value, 8)
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o777:
        raise ValueError(f'expected the mode of a file, such as "0660", got {shown(value)}')
    return mode


TAKERS: Final[dict[str, Callable[[object], object]]] = {
    "url": _url,
    "name": take_string,
    "certificate": take_path,
    "key": take_path,
    "key_password_file": take_path,
    "certificates": _several(_pair, 'pairs ["cert.pem", "key.pem"]'),
    "client_ca": take_path,
    "client_certificates": take_one_of(get_args(AsksClient)),
    "identity": take_one_of(get_args(Names)),
    "crl": take_path,
    "partial_chain": take_flag,
    "lowest_tls": take_one_of(("1.2", "1.3")),
    "ciphers": take_string,
    "alpn": _several(take_string, "names"),
    "acme": take_string,
    "acme_names": _several(take_string, "names"),
    "acme_directory": take_string,
    "acme_http": take_string,
    "acme_files": take_path,
    "psk_file": take_path,
    "psk_hint": take_string,
    "paths": _several(take_path, "paths"),
    "origins": _several(take_string, "origins"),
    "health_path": take_path,
    "ping_interval": parse_seconds,
    "trusted_proxies": _several(take_network, "networks"),
    "tcp_keepalive": take_whole_seconds,
    "owner": take_string,
    "group": take_string,
    "mode": _mode,
    "proxy_protocol": _several(take_network, "networks"),
    "proxy_certificates": take_flag,
    "allow_anonymous": take_flag,
    "max_connections": take_count,
    "max_packet_size": parse_size,
    "mount": take_string,
}
"""What makes the value of each setting."""
