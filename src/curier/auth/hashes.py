"""Passwords as hashes in text: what kinds there are, what checking one costs, whether a password fits.

Argon2id (RFC 9106) is what ``curier passwd`` writes, and mosquitto_passwd since 2.1:
``$argon2id$v=19$m=MEMORY,t=PASSES,p=LANES$SALT$HASH``. Older versions of that program wrote
``$7$ITERATIONS$SALT$HASH``, which is PBKDF2 with HMAC-SHA-512, and ``$6$SALT$HASH``, which is one SHA-512 of
password and salt. Salts and hashes are in base64.

As a program, this file checks what it is sent: see ``hash_process``. So it imports nothing of curier.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import signal
import sys
from contextlib import suppress
from struct import Struct
from typing import Final

import argon2
from argon2.exceptions import VerificationError, VerifyMismatchError

_ARGON2ID: Final = re.compile(
    r"\$argon2id\$v=(?:16|19)\$m=(?P<m>\d{1,9}),t=(?P<t>\d{1,9}),p=(?P<p>\d{1,7})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,})\$(?P<hash>[A-Za-z0-9+/]{6,})"
)
_MOSQUITTO: Final = re.compile(
    r"\$(?:6|7\$(?P<iterations>[1-9]\d{0,8}))\$(?P<salt>[A-Za-z0-9+/]+={0,2})\$(?P<hash>[A-Za-z0-9+/]{86}==)"
)

EXPECTED: Final = (
    "an Argon2id hash ($argon2id$v=19$m=...,t=...,p=...$salt$hash), or one of Mosquitto's ($6$, $7$)"
)


_OURS: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The cost that OWASP's Password Storage Cheat Sheet names for Argon2id. Devices log in by the thousand; at
several times the cost it would take hours to let a hundred thousand of them in."""


PROGRAM: Final = __file__
REQUEST: Final = Struct("<HI")  # lengths of hash and password
ANSWER: Final = Struct("<BH")  # 0 wrong, 1 right, 2 could not be checked; length of the message


class CheckError(Exception):
    """A password could not be checked, for want of memory perhaps."""


def new_hash(password: bytes) -> str:
    """An Argon2id hash with a new salt; takes tens of milliseconds, and 19 MiB."""
    return _OURS.hash(password)


def is_hash(encoded: str) -> bool:
    """Whether ``fits`` knows what to do with this."""
    if encoded.startswith("$argon2id$"):
        return _is_argon2id(encoded)
    found = _MOSQUITTO.fullmatch(encoded)
    return found is not None and len(found["salt"]) % 4 == 0


def _is_argon2id(encoded: str) -> bool:
    """Whether this is a hash as Argon2 writes them, with costs it accepts (RFC 9106 section 3.1)."""
    found = _ARGON2ID.fullmatch(encoded)
    if found is None:
        return False
    memory, passes, lanes = (int(found[name]) for name in ("m", "t", "p"))
    whole = all(len(found[name]) % 4 != 1 for name in ("salt", "hash"))  # no base64 has this length
    return whole and passes >= 1 and lanes >= 1 and memory >= 8 * lanes


def fits(encoded: str, password: bytes) -> bool:
    """Whether this is the password. Raises ``CheckError``.

    Blocks for as long as the hash asks for, most of it without the interpreter's lock.
    """
    if encoded.startswith("$argon2id$"):
        try:
            return _OURS.verify(encoded, password)
        except VerifyMismatchError:
            return False
        except VerificationError as error:
            raise CheckError(str(error)) from None
    found = _MOSQUITTO.fullmatch(encoded)
    if found is None:
        raise CheckError("the hash is malformed")
    salt = base64.b64decode(found["salt"])
    if found["iterations"] is None:
        digest = hashlib.sha512(password + salt).digest()
    else:
        digest = hashlib.pbkdf2_hmac("sha512", password, salt, int(found["iterations"]))
    return hmac.compare_digest(digest, base64.b64decode(found["hash"]))


def cost_of(encoded: str) -> str:
    """What stands before salt and hash: hashes that have it in common cost the same to check."""
    return encoded.rsplit("$", 2)[0]


def default_cost() -> str:
    """The cost of a hash by ``new_hash``."""
    return f"$argon2id$v=19$m={_OURS.memory_cost},t={_OURS.time_cost},p={_OURS.parallelism}"


def hash_of_nobody(cost: str) -> str:
    """A hash of that cost which no password has."""
    if cost.startswith("$argon2id$"):
        salt, digest = (_random(size).rstrip("=") for size in (_OURS.salt_len, _OURS.hash_len))
    else:
        salt, digest = _random(12), _random(64)
    return f"{cost}${salt}${digest}"


def _random(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode()


def serve(niceness: int) -> None:
    """Check what comes on standard input, one after another, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the program that asks
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(niceness)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        sizes = REQUEST.unpack(header)
        encoded, password = (requests.read(size) for size in sizes)
        status, message = 2, b""
        try:
            status = int(fits(encoded.decode(), password))
        except CheckError as error:
            message = str(error).encode()[:1000]
        answers.write(ANSWER.pack(status, len(message)) + message)
        answers.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        serve(int(sys.argv[1]))
