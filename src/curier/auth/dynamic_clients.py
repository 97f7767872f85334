"""The clients of Mosquitto's ``dynamic-security.json``: who may log in. What they may do then is a matter of
``permissions``.

A password is PBKDF2 with HMAC-SHA-512 in three members (``password``, ``salt``, ``iterations``), or since
Mosquitto 2.1 one hash as password files have it (``encoded_password``).
"""

from __future__ import annotations

from typing import Any

from curier.auth.hashes import is_hash, why_too_costly
from curier.auth.user_file import Users
from curier.dynamic_security import named, parse
from curier.loglines import logger, printable

_log = logger("curier.auth")


def users_of(name: str, data: bytes) -> Users:
    """Those in the file ``name``, which has this text. Raises ``ConfigError`` where it is no JSON.

    As there, a client without a password that could be checked is known, and cannot log in; the log counts
    those whose password is wrong in itself. Of several with the same name the first counts.
    """
    clients, _ = named(parse(name, data), "clients", "username")
    clients = [one for one in clients if one["username"]]
    hashes: dict[str, str] = {}
    wrong: list[str] = []
    for client in clients:
        user = client["username"]
        hashes[user], why = _hash_of(client)
        if why:
            wrong.append(f"{printable(user, 80)}: {why}")
    if wrong:
        _log.warning("%s: %d clients cannot log in; the first is %s", name, len(wrong), wrong[0])
    return Users(
        hashes,
        frozenset(one["username"] for one in clients if one.get("disabled") is True),
        {one["username"]: one["clientid"] for one in clients if isinstance(one.get("clientid"), str)},
    )


def _hash_of(client: dict[str, Any]) -> tuple[str, str]:
    """The hash, or "" where there is none to check; and what is wrong with it, if anything is."""
    encoded = client.get("encoded_password")
    if not isinstance(encoded, str):
        password, salt, iterations = client.get("password"), client.get("salt"), client.get("iterations")
        if not isinstance(password, str) or not isinstance(salt, str):
            return "", ""
        is_number = isinstance(iterations, int | float) and not isinstance(iterations, bool)
        if not is_number or iterations is None or not 1 <= iterations < 1e9:
            return "", "its iterations are no number that can be"
        encoded = f"$7${int(iterations)}${salt}${password}"
    if not is_hash(encoded):
        return "", "its password is no hash that is known here"
    why = why_too_costly(encoded)
    return ("", why) if why else (encoded, "")
