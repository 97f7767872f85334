"""The settings below ``[web]``: the window, which is pages, an API and metrics by HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from curier.settings.kinds import FILE, FLAG, Kind
from curier.settings.listener import NETWORKS
from curier.settings.setting import Setting
from curier.strict_toml import shown

OFF: Final = "off"
DEFAULT_URL: Final = "http://127.0.0.1:9883"
PORT: Final = 9883
_MQTT_PORTS: Final = (1883, 8883)


def parse_web(url: str) -> tuple[str, str, int]:
    """Scheme, host without brackets, and port of a URL to listen on. Raises ``ValueError``."""
    expected = f'expected a URL such as "{DEFAULT_URL}", or "{OFF}", got {shown(url)}'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(expected)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{expected}; a path is what a proxy in front of it may add")
    if port in _MQTT_PORTS:
        raise ValueError(f"port {port} is for MQTT; {PORT} is the usual one here")
    return parts.scheme, parts.hostname, PORT if port is None else port


def _take_url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f'expected a URL such as "{DEFAULT_URL}", or "{OFF}", got {shown(value)}')
    if value != OFF:
        parse_web(value)
    return value


_HOST: Final = re.compile(r"\*|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def _take_hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and _HOST.fullmatch(one) for one in value):
        raise ValueError(f'expected a list of host names, such as ["mqtt.example"], got {shown(value)}')
    return tuple(one.lower() for one in value)


def _take_people(value: object) -> tuple[str, ...]:
    expected = 'expected a list of users and groups of the broker, such as ["ana", "@staff"]'
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{expected}, got {shown(value)}")
    for one in value:
        if one.removeprefix("@").strip() in ("", "*"):  # nobody is to get in by a pattern
            raise ValueError(f"{expected}: each is named, and {shown(one)} is no name")
    return tuple(value)


def _words(text: str) -> object:
    return text.split()


_URL: Final = Kind(f'a URL, or `"{OFF}"`', _take_url, "URL", {"type": "string", "minLength": 1})
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")


def _take_prefix(value: object) -> str:
    if not isinstance(value, str) or (value and not _PREFIX.fullmatch(value)) or "/." in str(value):
        raise ValueError(f'expected a path such as "/curier", got {shown(value)}')
    return value.rstrip("/")


_PATH: Final = Kind("a path", _take_prefix, "PATH", {"type": "string"})


def _names(what: str, take: Callable[[object], Any]) -> Kind:
    return Kind(what, take, "NAMES", {"type": "array", "items": {"type": "string", "minLength": 1}}, _words)


_HOSTS: Final = _names("a list of host names", _take_hosts)
_PEOPLE: Final = _names("a list of users and `@groups`", _take_people)


def _of(name: str, key: str, kind: Kind, default: str, about: str) -> tuple[str, Setting]:
    return name, Setting(name, kind, about, default, "The window", table="web", key_there=key)


WEB: Final[dict[str, Setting]] = dict(
    (
        _of(
            "web",
            "url",
            _URL,
            f'`"{DEFAULT_URL}"`',
            f'Where pages, API and metrics are, by HTTP; `"{OFF}"` (or `--no-web`): nowhere. Where nothing '
            "is said, the next free port is taken if that one is in use. It needs the packages of "
            "`curier[web]`; see [api.md](api.md).",
        ),
        _of(
            "web_hosts",
            "hosts",
            _HOSTS,
            "`[]`",
            "Names that it may be called by, besides `localhost` and addresses; `*`: any. Others are "
            "refused, so that no page of a stranger can have a browser ask it.",
        ),
        _of(
            "web_prefix",
            "prefix",
            _PATH,
            '`""`',
            "The path that a proxy in front adds, such as `/curier`, where it does not take it away again.",
        ),
        _of(
            "web_trusted_proxies",
            "trusted_proxies",
            NETWORKS,
            "`[]`",
            "Networks of proxies in front, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: "
            "where somebody is, and whether they came by TLS. Their logins are then for TLS alone.",
        ),
        _of("web_certificate", "certificate", FILE, "none", "Its certificate, a PEM file, for `https://`."),
        _of("web_key", "key", FILE, "none", "The certificate's private key."),
        _of(
            "web_tokens",
            "tokens",
            FILE,
            "[see there](api.md#tokens)",
            "The file of who may ask it what; make one with `curier admin token`.",
        ),
        _of(
            "web_open_metrics",
            "open_metrics",
            FLAG,
            "`false`",
            "Let everybody read `/metrics` from other machines, too, without a token.",
        ),
        _of(
            "web_viewers",
            "viewers",
            _PEOPLE,
            "`[]`",
            "Users and `@groups` of the broker who may log in to the pages, with name and password, to "
            "[look](api.md#users-of-the-broker). Whoever is in none of the three lists may not.",
        ),
        _of(
            "web_operators",
            "operators",
            _PEOPLE,
            "`[]`",
            "Users and `@groups` of the broker who may log in to the pages, and act on clients and topics.",
        ),
        _of(
            "web_admins",
            "admins",
            _PEOPLE,
            "`[]`",
            "Users and `@groups` of the broker who may log in to the pages, and change the broker.",
        ),
    )
)
"""By the names of options and variables; what they are called below ``[web]`` is ``key_there``."""

PEOPLE: Final = ("web_viewers", "web_operators", "web_admins")
"""Those that say which users of the broker may log in."""
