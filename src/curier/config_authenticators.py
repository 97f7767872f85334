"""The tables ``[[authenticator]]`` of a configuration file: who is asked, in their order, who may connect.

    [[authenticator]]
    kind = "password-file"
    file = "users"                    # beside the configuration file

A new kind is added to ``KINDS``, and nowhere else. What it needs is imported when it is made, so that nobody
has to install it who does not use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from curier.errors import ConfigError, missing_package
from curier.strict_toml import (
    Keys,
    TomlFile,
    parse_seconds,
    read_secret,
    shown,
    take_count,
    take_flag,
    take_path,
    take_string,
)

if TYPE_CHECKING:
    from curier.auth.base import Authenticator

HOOKS: Final = "hooks"
"""The kind that stands for the authenticator in the hook files, which are a setting of their own."""


@dataclass(frozen=True)
class Asked:
    """One of those who are asked: its kind, and the settings of that; ``place`` is where they stand."""

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    place: str = field(default="", compare=False)

    def make(self) -> Authenticator:
        """The authenticator itself. Raises ``ConfigError``, also where a package is missing."""
        make = KINDS[self.kind].make
        assert make is not None  # nobody makes that in the hook files
        try:
            return make(self.values)
        except ConfigError as error:
            if not self.place:
                raise
            raise ConfigError(f"{self.place}: authenticator, kind {self.kind}: {error}") from error


@dataclass(frozen=True)
class Kind:
    """What settings there are, with what makes the value of each; which of them are needed; which are paths,
    relative to the configuration file; what makes the authenticator of them, raising ``ConfigError``.
    ``check`` raises ``ConfigError`` for values that do not go together, without making anything.
    """

    takers: Mapping[str, Callable[[object], object]]
    make: Callable[[Mapping[str, Any]], Authenticator] | None
    needed: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], None] = lambda values: None


def read_authenticators(file: TomlFile) -> tuple[Asked, ...]:
    """All of them that are right, in order; what is wrong is noted. Raises ``ConfigError`` for what are no
    tables.
    """
    tables = file.value(("authenticator",), _tables)
    assert isinstance(tables, list)
    found: list[Asked] = []
    for number, table in enumerate(tables):
        here = ("authenticator", number)
        with file.noted():
            asked = _asked(file, here, table)
            if asked is None:
                continue
            if asked.kind == HOOKS and any(one.kind == HOOKS for one in found):
                raise file.wrong((*here, "kind"), "it is there already; nobody is asked twice")
            found.append(asked)
    return tuple(found)


def _asked(file: TomlFile, here: Keys, table: dict[str, object]) -> Asked | None:
    """One of them; None where errors were noted. Raises ``ConfigError``."""
    if "kind" not in table:
        raise file.wrong(here, f"expected a kind, which is one of: {', '.join(KINDS)}")
    name = str(file.value((*here, "kind"), _kind))
    kind = KINDS[name]
    values: dict[str, Any] = {}
    before = len(file.errors)
    for key in table:
        if key == "kind":
            continue
        with file.noted():
            if key not in kind.takers:
                raise file.unknown((*here, key), ["kind", *kind.takers])
            values[key] = file.value((*here, key), kind.takers[key])
            if kind.takers[key] is take_string:
                values[key] = _with_secrets(file, (*here, key), values[key])
    for key in kind.needed:
        if key not in table:
            file.errors.append(file.wrong(here, f"kind {name} needs {key} = ..."))
    for key in table:
        if f"{key}_file" in table and f"{key}_file" in kind.takers:
            file.errors.append(
                file.wrong((*here, key), f"{key} and {key}_file cannot both be: give one of them")
            )
    if len(file.errors) > before:
        return None
    for key in kind.paths:
        if key in values:
            values[key] = str(file.folder(here) / values[key])
    try:
        kind.check(values)
    except ConfigError as error:
        raise file.wrong(here, str(error)) from None
    return Asked(name, values, file.place(here))


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"expected tables, each below a line [[authenticator]], got {shown(value)}")
    return value


def _with_secrets(file: TomlFile, keys: Keys, text: str) -> str:
    """A text, which may stand somewhere else."""
    try:
        return read_secret(text, file.folder(keys))
    except ValueError as error:
        raise file.wrong(keys, str(error)) from None


def _kind(value: object) -> str:
    if not isinstance(value, str) or value not in KINDS:
        raise ValueError(f"expected one of: {', '.join(KINDS)}, got {shown(value)}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"expected a list of texts, got {shown(value)}")
    return tuple(value)


def _text_or_texts(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else _texts(value)


def _password_file(values: Mapping[str, Any]) -> Authenticator:
    from curier.auth import PasswordFile

    return PasswordFile(values["file"])


def _jwt(values: Mapping[str, Any]) -> Authenticator:
    try:
        from curier.auth.jwt import JwtAuthenticator, JwtSettings
    except ImportError as error:
        raise missing_package(error, 'kind = "jwt"') from error
    return JwtAuthenticator(JwtSettings(**values))


def _http(values: Mapping[str, Any]) -> Authenticator:
    from curier.auth.http import HttpAuthenticator, HttpSettings

    return HttpAuthenticator(HttpSettings(**values))


def _scram(values: Mapping[str, Any]) -> Authenticator:
    try:
        from curier.auth.scram import ScramFile
    except ImportError as error:
        raise missing_package(error, 'kind = "scram"') from error
    return ScramFile(values["file"])


def _sql(values: Mapping[str, Any]) -> Authenticator:
    try:
        from curier.auth.sql import SqlAuthenticator, SqlSettings
    except ImportError as error:
        raise missing_package(error, 'kind = "sql"') from error
    return SqlAuthenticator(SqlSettings(**values))


def _unix_peer(values: Mapping[str, Any]) -> Authenticator:
    from curier.auth.unix_peer import UnixPeer

    return UnixPeer(values.get("users", ()), values.get("groups", ()))


def _names_or_numbers(value: object) -> tuple[str | int, ...]:
    """Of users or groups of this machine."""
    if isinstance(value, list) and value:
        if all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in value):
            return tuple(value)
    raise ValueError(f"expected a list of names or numbers, got {shown(value)}")


def _check_unix_peer(values: Mapping[str, Any]) -> None:
    if not values:
        raise ConfigError("kind unix-peer needs users or groups, or nobody could come in")


def _ldap(values: Mapping[str, Any]) -> Authenticator:
    from curier.auth.ldap import LdapAuthenticator, LdapSettings

    return LdapAuthenticator(LdapSettings(**values))


_WHO_SIGNS: Final = ("secret", "secret_file", "key_file", "jwks_url")


def _check_jwt(values: Mapping[str, Any]) -> None:
    if len([name for name in _WHO_SIGNS if name in values]) != 1:
        raise ConfigError(f"kind jwt needs one of {', '.join(_WHO_SIGNS)}, which says who signs the tokens")
    if "jwks_copy" in values and "jwks_url" not in values:
        raise ConfigError("jwks_copy is for jwks_url")


KINDS: Final[dict[str, Kind]] = {
    "password-file": Kind({"file": take_path}, _password_file, needed=("file",), paths=("file",)),
    HOOKS: Kind({}, None),
    "unix-peer": Kind(
        {"users": _names_or_numbers, "groups": _names_or_numbers}, _unix_peer, check=_check_unix_peer
    ),
    "jwt": Kind(
        {
            "secret": take_string,
            "secret_file": take_path,
            "key_file": take_path,
            "jwks_url": take_string,
            "jwks_ca": take_path,
            "jwks_copy": take_path,
            "timeout": parse_seconds,
            "issuer": take_string,
            "audience": _text_or_texts,
            "leeway": parse_seconds,
            "identity_claim": take_string,
            "ignore_username": take_flag,
            "client_id_claim": take_string,
            "groups_claim": take_string,
            "claims": _texts,
            "require_expiry": take_flag,
            "method": take_string,
        },
        _jwt,
        paths=("secret_file", "key_file", "jwks_ca", "jwks_copy"),
        check=_check_jwt,
    ),
    "scram": Kind({"file": take_path}, _scram, needed=("file",), paths=("file",)),
    "sql": Kind(
        {
            "url": take_string,
            "query": take_string,
            "password": take_string,
            "password_file": take_path,
            "timeout": parse_seconds,
            "at_once": take_count,
        },
        _sql,
        needed=("url", "query"),
        paths=("password_file",),
    ),
    "ldap": Kind(
        {
            "url": take_string,
            "base": take_string,
            "filter": take_string,
            "identity_attribute": take_string,
            "bind_dn": take_string,
            "password": take_string,
            "password_file": take_path,
            "starttls": take_flag,
            "ca_file": take_path,
            "allow_plain": take_flag,
            "groups_attribute": take_string,
            "group_base": take_string,
            "group_filter": take_string,
            "group_name": take_string,
            "timeout": parse_seconds,
            "at_once": take_count,
        },
        _ldap,
        needed=("url", "base"),
        paths=("password_file", "ca_file"),
    ),
    "http": Kind(
        {
            "url": take_string,
            "timeout": parse_seconds,
            "at_once": take_count,
            "ca_file": take_path,
            "certificate": take_path,
            "key": take_path,
            "token": take_string,
            "token_file": take_path,
            "allow_plain": take_flag,
        },
        _http,
        needed=("url",),
        paths=("ca_file", "certificate", "key", "token_file"),
    ),
}
