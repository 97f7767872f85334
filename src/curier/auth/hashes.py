"""Passwords as hashes in text: what kinds there are, what checking one costs, whether a password fits.

Argon2id (RFC 9106) is what ``curier passwd`` writes, and mosquitto_passwd since 2.1:
``$argon2id$v=19$m=MEMORY,t=PASSES,p=LANES$SALT$HASH``. Older versions of that program wrote
``$7$ITERATIONS$SALT$HASH``, which is PBKDF2 with HMAC-SHA-512, and ``$6$SALT$HASH``, which is one SHA-512 of
password and salt. Salts and hashes are in base64.

A token is a password that a machine has made of 256 random bits: nobody can guess it, however quick a guess
is. So its hash is one SHA-256, ``$token$HASH``, which costs nothing to check.

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

_TOKEN: Final = re.compile(r"\$token\$(?P<hash>[A-Za-z0-9+/]{43}=)")
_TOKEN_COST: Final = "$token"
TOKEN_PREFIX: Final = "curier_"
"""What tokens begin with, so that programs that look for secrets in the wrong places find them."""

EXPECTED: Final = (
    "an Argon2id hash ($argon2id$v=19$m=...,t=...,p=...$salt$hash), that of a token ($token$...), or one of "
    "Mosquitto's ($6$, $7$)"
)

MOST_MEMORY: Final = 1 << 20
"""KiB that the check of an Argon2id hash may take, and ``MOST_WORK`` so many in all its passes: some four
seconds of a core. A hash that asks for more would keep others from logging in."""
MOST_WORK: Final = 4 << 20
MOST_LANES: Final = 64
MOST_ITERATIONS: Final = 5_000_000
"""Of PBKDF2: some three seconds."""


_OURS: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The cost that OWASP's Password Storage Cheat Sheet names for Argon2id. Devices log in by the thousand; at
several times the cost it would take hours to let a hundred thousand of them in."""


PROGRAM: Final = __file__
REQUEST: Final = Struct("<HI")  # lengths of hash and password
ANSWER: Final = Struct("<BH")  # 0 wrong, 1 right, 2 could not be checked; length of the message


COSTS: Final = {"low": (4 * 1024, 1), "normal": (_OURS.memory_cost, _OURS.time_cost), "high": (64 * 1024, 3)}
"""What a new hash may cost: KiB of memory, and passes. Low is for long passwords that a machine has made."""


class CheckError(Exception):
    """A password could not be checked, for want of memory perhaps."""


def new_hash(password: bytes, cost: str = "normal") -> str:
    """An Argon2id hash with a new salt; takes tens of milliseconds, and 19 MiB. ``cost`` is one of ``COSTS``,
    or numbers such as ``m=65536,t=3,p=1``; raises ``ValueError`` for others.
    """
    if cost == "normal":
        return _OURS.hash(password)
    memory, passes, lanes = numbers_of(cost)
    return argon2.PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes).hash(password)


def numbers_of(cost: str) -> tuple[int, int, int]:
    """KiB of memory, passes and lanes of a cost as ``new_hash`` takes it. Raises ``ValueError``."""
    if cost in COSTS:
        return (*COSTS[cost], 1)
    nobody = hash_of_nobody(f"$argon2id$v=19${cost}")
    if not is_hash(nobody) or why_too_costly(nobody):
        why = why_too_costly(nobody) or "expected memory in KiB, passes and lanes"
        raise ValueError(f"{why}: {', '.join(COSTS)}, or numbers such as m=65536,t=3,p=1")
    found = _ARGON2ID.fullmatch(nobody)
    assert found is not None
    return int(found["m"]), int(found["t"]), int(found["p"])


def new_token() -> tuple[str, str]:
    """A token, which is to be told to nobody but its owner, and its hash."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, f"{_TOKEN_COST}${_digest_of_token(token.encode())}"


def is_token(encoded: str) -> bool:
    """Whether this is the hash of a token, which costs nothing to check."""
    return encoded.startswith(_TOKEN_COST)


def _digest_of_token(token: bytes) -> str:
    return base64.b64encode(hashlib.sha256(token).digest()).decode()


def why_too_costly(encoded: str) -> str:
    """Plain words where checking this hash takes more than it may, or ""."""
    if (found := _ARGON2ID.fullmatch(encoded)) is not None:
        memory, passes, lanes = (int(found[name]) for name in ("m", "t", "p"))
        if memory > MOST_MEMORY:
            return f"the hash asks for {memory} KiB of memory, and {MOST_MEMORY} are allowed"
        if memory * passes > MOST_WORK:
            return (
                f"the hash asks for {passes} passes over {memory} KiB, and {MOST_WORK // memory} are allowed"
            )
        if lanes > MOST_LANES:
            return f"the hash asks for {lanes} lanes, and {MOST_LANES} are allowed"
    elif (found := _MOSQUITTO.fullmatch(encoded)) is not None:
        iterations = int(found["iterations"] or 1)
        if iterations > MOST_ITERATIONS:
            return f"the hash asks for {iterations} iterations, and {MOST_ITERATIONS} are allowed"
    return ""


def is_hash(encoded: str) -> bool:
    """Whether ``fits`` knows what to do with this."""
    if encoded.startswith("$argon2id$"):
        return _is_argon2id(encoded)
    if is_token(encoded):
        return _TOKEN.fullmatch(encoded) is not None
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
    if is_token(encoded):
        return hmac.compare_digest(f"{_TOKEN_COST}${_digest_of_token(password)}", encoded)
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
    return _TOKEN_COST if is_token(encoded) else encoded.rsplit("$", 2)[0]


def default_cost() -> str:
    """The cost of a hash by ``new_hash``."""
    return f"$argon2id$v=19$m={_OURS.memory_cost},t={_OURS.time_cost},p={_OURS.parallelism}"


def hash_of_nobody(cost: str) -> str:
    """A hash of that cost which no password has."""
    if is_token(cost):
        return f"{_TOKEN_COST}${_random(32)}"
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
