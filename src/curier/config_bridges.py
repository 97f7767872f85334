"""The tables ``[[bridge]]`` of a configuration file: other brokers that messages are carried to and from.

[[bridge]]
name = "cloud"
url = "mqtts://broker.example"
topics = ["sensors/# out 1", "commands/# in 1"]
username = "home"
password = "env:CLOUD_PASSWORD"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from curier.bridge.settings import NOTIFICATIONS, STARTS, VERSIONS, BridgeSettings, Peer, check_all
from curier.bridge.topics import Topic, parse_topic
from curier.client.dialing.tls import TlsSettings
from curier.errors import ConfigError
from curier.strict_toml import (
    Keys,
    TomlFile,
    parse_seconds,
    parse_size,
    read_secret,
    shown,
    take_count,
    take_flag,
    take_one_of,
    take_path,
    take_string,
    take_whole_seconds,
)

Taker = Callable[[object], object]


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one for one in texts):
        raise ValueError(f"expected a text, or a list of texts, got {shown(value)}")
    return tuple(texts)


def _version(value: object) -> int:
    return VERSIONS[cast(str, take_one_of([*VERSIONS])(value))]


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError(f'expected a table of texts, such as {{ "X-Key" = "abc" }}, got {shown(value)}')
    return tuple(value.items())


def _topics(value: object) -> tuple[Topic, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f'expected a list of topics, such as ["sensors/# out 1"], got {shown(value)}')
    return tuple(map(_topic, value))


def _topic(value: object) -> Topic:
    if isinstance(value, str):
        return parse_topic(value)
    if not isinstance(value, dict) or "pattern" not in value:
        raise ValueError(
            f'expected a text or a table with a pattern, such as "sensors/# out 1", got {shown(value)}'
        )
    for key, one in value.items():
        if key not in ("pattern", "direction", "qos", "local", "remote"):
            raise ValueError(f"a topic has pattern, direction, qos, local and remote, and no {key}")
        if not isinstance(one, int if key == "qos" else str) or isinstance(one, bool):
            raise ValueError(f"{key}: {shown(one)} is of the wrong kind")
    topic = Topic(**value)
    topic.check()
    return topic


PEER: Final[dict[str, Taker]] = {
    "url": _texts,
    "client_id": take_string,
    "username": take_string,
    "password": take_string,
    "version": _version,
    "bridge_bit": take_flag,
    "clean_start": take_flag,
    "session_expiry": take_whole_seconds,
    "keep_alive": take_whole_seconds,
    "connect_timeout": parse_seconds,
    "proxy": take_string,
    "local_address": take_string,
    "websocket_headers": _headers,
    "max_packet_size": parse_size,
    "id": take_string,
}
"""What makes the value of each setting of a broker that is connected to."""

TLS: Final[dict[str, Taker]] = {
    "ca_file": take_path,
    "certificate": take_path,
    "key": take_path,
    "key_password": take_string,
    "alpn": _texts,
    "server_name": take_string,
    "insecure": take_flag,
    "lowest_tls": take_one_of(["1.2", "1.3"]),
}
"""Those of TLS."""

OWN: Final[dict[str, Taker]] = {
    "name": take_string,
    "topics": _topics,
    "user": take_string,
    "start": take_one_of(STARTS),
    "threshold": take_count,
    "idle_timeout": parse_seconds,
    "round_robin": take_flag,
    "window": take_count,
    "max_hops": take_count,
    "outgoing_retain": take_flag,
    "first_wait": parse_seconds,
    "longest_wait": parse_seconds,
    "notifications": take_one_of(NOTIFICATIONS),
    "notification_topic": take_string,
}
"""Those of the bridge itself."""

_SECRETS: Final = ("password", "key_password")
_FILES: Final = ("ca_file", "certificate", "key")


def read_bridges(file: TomlFile, has_local: bool = False) -> tuple[BridgeSettings, ...]:
    """All of them that are right; what is wrong is noted. ``has_local``: each has a table ``local``, with the
    settings of a broker, since they belong to none. Raises ``ConfigError`` for what are no tables.
    """
    tables = cast(list[dict[str, Any]], file.value(("bridge",), _tables))
    found: list[BridgeSettings] = []
    for number, table in enumerate(tables):
        here = ("bridge", number)
        with file.noted():
            found.append(_bridge(file, here, table, has_local))
            try:
                check_all(found)
            except ConfigError as error:
                found.pop()
                raise file.wrong(here, str(error)) from None
    return tuple(found)


def _bridge(file: TomlFile, here: Keys, table: dict[str, Any], has_local: bool) -> BridgeSettings:
    known = [*OWN, *PEER, *TLS, *(["local"] if has_local else [])]
    for key in table:
        if key not in known:
            raise file.unknown((*here, key), known)
    missing = [
        key for key in ("name", "url", "topics", *(["local"] if has_local else [])) if key not in table
    ]
    if missing:
        raise file.wrong(here, f"expected {' and '.join(missing)}")
    values = {key: file.value((*here, key), OWN[key]) for key in table if key in OWN}
    remote = _peer(file, here, {key: one for key, one in table.items() if key in PEER or key in TLS})
    local = None
    if has_local:
        inner = file.value((*here, "local"), _table)
        local = _peer(file, (*here, "local"), cast(dict[str, Any], inner))
    return BridgeSettings(remote=remote, local=local, **cast(Any, values))


def _peer(file: TomlFile, here: Keys, table: dict[str, Any]) -> Peer:
    values: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    for key in table:
        keys = (*here, key)
        if key not in PEER and key not in TLS:
            raise file.unknown(keys, [*PEER, *TLS])
        value = file.value(keys, PEER[key] if key in PEER else TLS[key])
        if key in _SECRETS:
            try:
                value = read_secret(cast(str, value), file.folder(keys))
            except ValueError as error:
                raise file.wrong(keys, str(error)) from None
        if key in _FILES:
            value = str(file.folder(keys) / cast(str, value))
        (values if key in PEER else tls)[key] = value
    if "url" not in values:
        raise file.wrong(here, "expected url")
    if "lowest_tls" in tls:
        tls["minimum_version"] = tls.pop("lowest_tls")
    try:
        return Peer(urls=values.pop("url"), tls=TlsSettings(**tls) if tls else None, **values)
    except ConfigError as error:
        raise file.wrong(here, str(error)) from None


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, as below the line [bridge.local], got {shown(value)}")
    return value


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[bridge]], got {shown(value)}")
    return value
