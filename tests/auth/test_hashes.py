"""Kinds of hashes: ours and Mosquitto's."""

from __future__ import annotations

import argon2
import pytest

from curier.auth import hashes

# One word, by mosquitto_passwd 2.0.11 -H sha512, by the same with -H sha512-pbkdf2, and as 2.1 has it:
# Argon2id with one pass, one lane, 47104 KiB, and 64 bytes each of salt and digest.
WORD = "s3crét word".encode()
SHA512 = (
    "$6$8ur4Bp/LPd2c5Xri$hY74i266bvsISdCDQO+/VL07MIYCyUhtgWfC+DYweNaHkTA81i9j39gZ9zLUxCyHCuHtCVFJftc7Lt"
    "enc9W/dQ=="
)
PBKDF2 = (
    "$7$101$4UDh9CxhUsgN8vF7$CMqv93AT1rCmiLor6A01kVExP7iDHs5wngcwBOCks5CNz1S9WlH3G3Dsp89PM3pqa2y0jXgQLP"
    "uEXV4yKLS8/g=="
)
ARGON2ID = (
    "$argon2id$v=19$m=47104,t=1,p=1$kf2IoPSP7fZd1XyEV1ja+vkmXjYDe72YUTdsYAKjaWNITvCxvL7wZIWcvdm7USDyTGia"
    "C63AAdRWkf55FTPrrw$nv7w4zzCV8W3vq4FnyiD2x0ojvqkCRdZ+O3SM/uQXe4j7PlqNTcq2a05x0k7SjNmtXw+agylC2eijxjG"
    "7vxOXQ"
)
TOKEN = "$token$GkT/SCh9fO2g0VKsXjJjpwEdEj6qMKCKyl+otHylvj4="
ALL = [SHA512, PBKDF2, ARGON2ID, TOKEN]


@pytest.mark.parametrize("encoded", ALL)
def test_a_password_fits_its_hash_and_no_other_does(encoded: str) -> None:
    assert hashes.is_hash(encoded)
    assert hashes.fits(encoded, WORD)
    assert not hashes.fits(encoded, WORD + b" ")
    assert not hashes.fits(encoded, b"")
    other = "B" if encoded[-10] == "A" else "A"
    assert not hashes.fits(f"{encoded[:-10]}{other}{encoded[-9:]}", WORD)


@pytest.mark.parametrize("encoded", ALL)
def test_nobodys_hash_is_of_the_same_kind_and_cost(encoded: str) -> None:
    cost = hashes.cost_of(encoded)
    nobody = hashes.hash_of_nobody(cost)
    assert hashes.is_hash(nobody)
    assert hashes.cost_of(nobody) == cost
    assert nobody != hashes.hash_of_nobody(cost)
    assert not hashes.fits(nobody, WORD)


def test_a_new_hash_costs_the_default_and_fits() -> None:
    encoded = hashes.new_hash(b"word")
    assert hashes.is_hash(encoded)
    assert hashes.cost_of(encoded) == hashes.default_cost()
    assert hashes.fits(encoded, b"word")


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "word",
        "$5$c2Fs$c2Fs",
        "$2b$12$" + "a" * 53,
        SHA512[:-1],
        SHA512 + "=",
        SHA512.replace("$6$", "$6"),
        SHA512.replace("$6$", "$7$"),
        PBKDF2.replace("$101$", "$-1$"),
        PBKDF2.replace("$101$", "$1000000000$"),
        PBKDF2.replace("$101$", "$$"),
        PBKDF2.replace("4UDh", "4UD"),
        ARGON2ID.replace("m=47104", "m=7"),
        ARGON2ID + "\n",
        TOKEN[:-1],
        TOKEN + "=",
        TOKEN.replace("$token$", "$token"),
    ],
)
def test_what_is_no_hash(encoded: str) -> None:
    assert not hashes.is_hash(encoded)


def test_a_hash_for_which_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> bool:
        raise argon2.exceptions.VerificationError("Memory allocation error")

    monkeypatch.setattr(argon2.PasswordHasher, "verify", no_memory)
    with pytest.raises(hashes.CheckError, match="Memory allocation error"):
        hashes.fits(ARGON2ID, WORD)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (PBKDF2, ""),
        (PBKDF2.replace("$101$", "$5000000$"), ""),
        (
            PBKDF2.replace("$101$", "$5000001$"),
            "the hash asks for 5000001 iterations, and 5000000 are allowed",
        ),
        (SHA512, ""),
        (TOKEN, ""),
        (ARGON2ID, ""),
        (ARGON2ID.replace("m=47104", "m=1048576"), ""),
        (
            ARGON2ID.replace("m=47104", "m=1048577"),
            "the hash asks for 1048577 KiB of memory, and 1048576 are",
        ),
        (ARGON2ID.replace("t=1", "t=999999999"), "the hash asks for 999999999 passes over 47104 KiB, and 89"),
        (ARGON2ID.replace("p=1", "p=65"), "the hash asks for 65 lanes"),
    ],
)
def test_what_a_check_may_cost_at_most(encoded: str, why: str) -> None:
    assert hashes.is_hash(encoded)
    found = hashes.why_too_costly(encoded)
    assert found.startswith(why) if why else not found
