"""Where the keys of tokens come from: files, and a URL that may hang, lie, or be asked by strangers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from curier.auth.jwks import NoKeys, UrlKeys, calls_for_keys
from curier.auth.key_copy import KeyCopy
from curier.auth.token_keys import MOST_KEYS, of_jwk, of_public, of_set, read_keys
from curier.errors import ConfigError
from tests.auth.web_server import WebServer, web_server

P256 = ec.generate_private_key(ec.SECP256R1())
EC: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(P256.public_key()))
OKP: dict[str, Any] = json.loads(OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key()))


def key_set(*names: str | None, **more: object) -> bytes:
    return json.dumps({"keys": [EC | ({"kid": name} if name else {}) | more for name in names]}).encode()


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def keys(server: WebServer, time: Time) -> UrlKeys:
    return UrlKeys(calls_for_keys(f"http://127.0.0.1:{server.port}/jwks", 30.0, None), time)


async def names(keys: UrlKeys, name: str | None) -> list[str | None]:
    return [key.name for key in await keys.of(name)]


async def test_strangers_do_not_make_it_ask(server: WebServer, keys: UrlKeys, time: Time) -> None:
    """Tokens with made-up names cost one request in half a minute, and those of others nothing."""
    server.answer = (200, {}, key_set("a", "b"))
    assert await names(keys, "a") == ["a"]
    for second in range(29):
        time.now = 1000.0 + second
        for number in range(100):
            assert await names(keys, f"made-up-{second}-{number}") == []
        assert await names(keys, "b") == ["b"]
    assert len(server.asked) == 1
    time.now = 1030.0
    server.answer = (
        200,
        {},
        key_set("b", "c"),
    )  # a new one, which is there with the first token that names it
    assert await names(keys, "c") == ["c"]
    assert await names(keys, "a") == []
    assert len(server.asked) == 2


async def test_all_wait_for_one_answer(server: WebServer, keys: UrlKeys) -> None:
    """And whoever leaves meanwhile takes it from nobody."""
    server.answer = (200, {}, key_set("a"))
    server.gate.clear()
    waiting = [asyncio.create_task(names(keys, "a")) for _ in range(100)]
    await server.has_been_asked(1)
    waiting[0].cancel()
    server.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [["a"]] * 99
    assert len(server.asked) == 1


async def test_what_is_there_stays_while_nobody_answers(
    server: WebServer, keys: UrlKeys, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = (200, {}, key_set("a"))
    assert await names(keys, "a") == ["a"]
    for status, body in ((500, b""), (200, b"nothing"), (200, key_set()), (200, b'{"keys": 7}')):
        server.answer = (status, {}, body)
        time.now += 3600.0
        asked = len(server.asked)
        assert await names(keys, "a") == ["a"]  # at once; it is asked for behind it
        await server.has_been_asked(asked + 1)
        assert await names(keys, "other") == []  # waits for that
        assert len(server.asked) == asked + 1
        assert "those that are there stay" in caplog.text
    time.now += 24 * 3600.0
    with pytest.raises(NoKeys, match=r"/jwks: "):
        await names(keys, "a")
    time.now += 30.0
    server.answer = (200, {}, key_set("a"))
    assert await names(keys, "a") == ["a"]


async def test_a_hanging_url_holds_up_only_who_needs_it(server: WebServer, keys: UrlKeys, time: Time) -> None:
    server.answer = (200, {}, key_set("a"))
    assert await names(keys, "a") == ["a"]
    time.now += 31.0
    server.gate.clear()
    stranger = asyncio.create_task(names(keys, "made-up"))
    await server.has_been_asked(2)
    assert await names(keys, "a") == ["a"]
    assert not stranger.done()
    server.gate.set()
    assert await stranger == []


async def test_nobody_answers_from_the_start(server: WebServer, keys: UrlKeys, time: Time) -> None:
    server.answer = (404, {}, b"")
    for _ in range(3):
        with pytest.raises(NoKeys, match="it answers 404"):
            await names(keys, "a")
    assert len(server.asked) == 1
    server.answer = (200, {}, key_set("a"))
    keys.reload()  # SIGHUP
    assert await names(keys, "a") == ["a"]


async def test_a_reload_asks_with_the_next_token(server: WebServer, keys: UrlKeys) -> None:
    server.answer = (200, {}, key_set("a"))
    assert await names(keys, "a") == ["a"]
    server.answer = (200, {}, key_set("b"))
    keys.reload()
    assert await names(keys, "a") == ["a"]
    assert await names(keys, "b") == ["b"]
    assert await names(keys, "a") == []


async def test_an_answer_that_is_too_large(server: WebServer, keys: UrlKeys) -> None:
    server.answer = (200, {}, b" " * (256 * 1024) + key_set("a"))
    with pytest.raises(NoKeys, match="the answer has more than 262144 bytes"):
        await names(keys, "a")


# -- the copy on disk --


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Of a key "a", as it was written at 1 000 000."""
    return tmp_path / "copy.json"


def started(server: WebServer, time: Time, copy: Path, at: float = 1e6) -> UrlKeys:
    """A broker that starts."""
    url = f"http://127.0.0.1:{server.port}/jwks"
    return UrlKeys(calls_for_keys(url, 30.0, None), time, KeyCopy(str(copy), url, lambda: at))


async def made(server: WebServer, time: Time, copy: Path, *names_of: str, **more: object) -> UrlKeys:
    """A broker that has got these keys, and kept them."""
    server.answer = (200, {}, key_set(*names_of, **more))
    keys = started(server, time, copy)
    await names(keys, names_of[0])
    assert keys.saving is not None
    await keys.saving
    return keys


def kept(copy: Path) -> tuple[int, dict[str, Any]]:
    """Mode and content."""
    return copy.stat().st_mode & 0o777, json.loads(copy.read_text())


def put(copy: Path, change: dict[str, object] | str | int) -> None:
    """Other members, another content, or another mode."""
    if isinstance(change, int):
        copy.chmod(change)
    elif isinstance(change, str):
        copy.write_text(change)
    else:
        copy.write_text(json.dumps(kept(copy)[1] | change))


async def test_a_broker_that_starts_while_nobody_answers_has_the_copy(
    server: WebServer, time: Time, copy: Path
) -> None:
    await made(server, time, copy, "a", d="secret", x5c=["what"])
    mode, table = kept(copy)
    assert (mode, table["keys"]) == (0o600, [EC | {"kid": "a"}])
    server.answer = (500, {}, b"")
    keys = started(server, time, copy, 1e6 + 20 * 3600)
    assert await names(keys, "a") == ["a"]
    assert await names(keys, "b") == []
    assert len(server.asked) == 2  # it was asked first
    time.now += 4 * 3600 - 1
    assert await names(keys, "a") == ["a"]
    time.now += 2
    with pytest.raises(NoKeys, match="it answers 500"):
        await names(keys, "a")  # a day has passed since they were got


async def test_a_key_that_is_gone_is_not_taken_from_the_copy(
    server: WebServer, time: Time, copy: Path
) -> None:
    await made(server, time, copy, "a")
    keys = await made(server, time, copy, "b")
    assert await names(keys, "a") == []
    assert [key["kid"] for key in kept(copy)[1]["keys"]] == ["b"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"url": "http://127.0.0.1/other"}, "it is of another URL"),
        ({"got_at": 1_000_000 - 24 * 3600 - 1}, "it is 24 hours old, and may be 24"),
        ({"got_at": 1_000_061}, "0 hours old"),
        ({"got_at": True}, "it does not say when"),
        ({"got_at": 1e400}, "it does not say when"),
        ({"keys": 7}, "expected a JSON Web Key Set"),
        ("{", "Expecting"),
        ("[" * 100_000, "recursion"),
        (0o620, "others may write it: chmod 600"),
    ],
)
async def test_a_copy_that_is_not_trusted(
    server: WebServer,
    time: Time,
    copy: Path,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object] | str | int,
    why: str,
) -> None:
    await made(server, time, copy, "a")
    put(copy, change)
    server.answer = (500, {}, b"")
    with pytest.raises(NoKeys):
        await names(started(server, time, copy), "a")
    assert f"{copy}, a copy of keys for tokens, is not used: " in caplog.text
    assert why in caplog.text
    await made(server, time, copy, "c")  # and the next one is good again
    assert kept(copy)[0] == 0o600


async def test_a_copy_that_cannot_be_kept_keeps_nobody_out(
    server: WebServer, time: Time, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = await made(server, time, tmp_path, "a")  # a directory
    for _ in range(2):
        keys.reload()
        assert await names(keys, "a") == ["a"]
        assert keys.saving is not None
        await keys.saving
    assert caplog.text.count("no copy of the keys for tokens is kept") == 1
    with pytest.raises(ConfigError, match="nowhere is no directory"):
        started(server, time, tmp_path / "nowhere" / "copy")


def test_a_url_that_others_could_answer_for() -> None:
    with pytest.raises(ConfigError, match="who signs tokens can only be asked by https://"):
        UrlKeys(calls_for_keys("http://keys.example/", 5.0, None))
    UrlKeys(calls_for_keys("https://keys.example/", 5.0, None))


# -- what is in a set --


async def test_keys_that_are_of_no_use_are_left_out(
    server: WebServer, keys: UrlKeys, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = (
        200,
        {},
        json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, EC | {"kid": "a"}]}).encode(),
    )
    with caplog.at_level(logging.INFO):
        assert await names(keys, None) == ["a"]
    assert "is left out: key 1: a secret is none of the keys that may be in a set" in caplog.text


def test_so_many_keys_and_no_more() -> None:
    found, left_out = of_set(key_set(*(f"k{number}" for number in range(MOST_KEYS + 50))))
    assert len(found) == MOST_KEYS
    assert left_out == [f"all from key {MOST_KEYS + 1} on: a set has {MOST_KEYS} keys at most"]
    assert len(of_set(json.dumps({"keys": [{}] * 1000}).encode())[1]) == 10


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000, b"\xff"])
def test_what_is_no_set(text: bytes) -> None:
    with pytest.raises(ValueError, match="expected a JSON Web Key Set"):
        of_set(text)


def weak(bits: int, exponent: int = 65537) -> dict[str, Any]:
    """An RSA key that nobody made, of so many bits."""
    numbers = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 1)
    found: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(numbers.public_key()))
    return found


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        (EC | {"use": "enc"}, "for other things"),
        (EC | {"key_ops": ["encrypt"]}, "not for verifying"),
        (EC | {"alg": "RS256"}, "its alg does not fit its kind"),
        (EC | {"alg": "HS256"}, "its alg does not fit its kind"),
        (EC | {"alg": 7}, "its alg does not fit its kind"),
        (EC | {"kid": 7}, "its kid is no text"),
        (EC | {"x": "AAAA"}, "cannot be read"),
        (EC | {"x": 7}, "cannot be read"),
        (EC | {"crv": "secp256k1"}, "cannot be read"),
        ({"kty": "EC"}, "cannot be read"),
        ({"kty": "OKP", "crv": "X25519", "x": OKP["x"]}, "cannot be read"),
        ({"kty": "other"}, "cannot be read"),
        ({}, "cannot be read"),
        (weak(1024), "an RSA key of 2048 to 8192 bits is wanted, not of 1024"),
        (weak(16384), "an RSA key of 2048 to 8192 bits is wanted, not of 16384"),
        (weak(2048, 2**100 + 1), "cannot be read|an RSA key"),
    ],
)
def test_what_is_no_key_for_tokens(jwk: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        of_jwk(jwk)


def test_what_a_key_is_for() -> None:
    assert of_jwk(EC).algorithms == ("ES256",)
    assert of_jwk(OKP | {"kid": "x"}).algorithms == ("EdDSA",)
    assert of_jwk(EC | {"alg": "ES256", "use": "sig", "key_ops": ["verify"]}).algorithms == ("ES256",)
    assert "d" in json.loads(ECAlgorithm.to_jwk(P256))
    assert of_jwk(json.loads(ECAlgorithm.to_jwk(P256))).algorithms == (
        "ES256",
    )  # the private part is not taken


# -- files --


def test_files_of_keys(tmp_path: Path) -> None:
    public = P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    authority = trustme.CA()
    path = tmp_path / "keys"
    for content, algorithms in (
        (public, ["ES256"]),
        (b"a comment\n" + public + authority.cert_pem.bytes(), ["ES256", "ES256"]),
        (key_set("a", "b"), ["ES256", "ES256"]),
    ):
        path.write_bytes(content)
        assert [key.algorithms[0] for key in read_keys(str(path))] == algorithms
    private = P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, why in (
        (b"", "there is no public key in it"),
        (private, "a private key is in it"),
        (public.replace(b"MF", b"MG"), "keys: "),
        (b'{"keys": [{}]}', "key 1: it cannot be read"),
        (b" " * 300_000, "it has 300000 bytes"),
        (public * (MOST_KEYS + 1), "it has more than 100 keys"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=why):
            read_keys(str(path))
    with pytest.raises(ConfigError, match="other: cannot be read: No such file"):
        read_keys(str(tmp_path / "other"))


def test_keys_of_other_kinds() -> None:
    for key in (x25519.X25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(ValueError, match="a public key is wanted"):
            of_public(key.public_key())
    with pytest.raises(ValueError, match="a public key is wanted"):
        of_public(P256)
