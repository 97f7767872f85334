"""Tokens: which are accepted, which are not whatever they say, and what they say of a client."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from curier.auth import Credentials, Verdict
from curier.auth.jwks import Keys, NoKeys
from curier.auth.jwt import MOST_TOKEN_BYTES, JwtAuthenticator, JwtSettings
from curier.auth.token_keys import TokenKey, of_public, of_secret, read_keys, read_secret
from curier.errors import ConfigError
from curier.types import ReasonCode

NOW = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


class SomeKeys(Keys):
    """These; ``next`` are those that are there when they are asked for again."""

    def __init__(self, *keys: TokenKey, next: Sequence[TokenKey] | None = None) -> None:
        self.keys: Sequence[TokenKey] = keys
        self.next = next
        self.asked = 0

    async def of(self, name: str | None) -> Sequence[TokenKey]:
        self.asked += 1
        return [key for key in self.keys if name is None or key.name in (None, name)]

    async def again(self) -> bool:
        if self.next is None:
            return False
        self.keys, self.next = self.next, None
        return True

    def reload(self) -> None: ...


def token(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: object) -> bytes:
    claims = {"sub": "ana", "exp": NOW + 60, **claims}
    return jwt.encode({n: v for n, v in claims.items() if v is not None}, key, algorithm, headers).encode()


def raw(header: object, claims: object, signature: bytes = b"") -> bytes:
    """A token as an attacker makes it."""
    texts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (header, claims)]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*texts, signature))


def credentials(password: bytes | None, username: str | None = None, client_id: str = "c1") -> Credentials:
    return Credentials(client_id, username, password, "127.0.0.1", "tcp://127.0.0.1:1883", 5)


async def judged(
    password: bytes | None,
    *keys: TokenKey,
    username: str | None = None,
    client_id: str = "c1",
    **settings: Any,
) -> Verdict:
    one = JwtAuthenticator(
        JwtSettings(**settings), SomeKeys(*(keys or (of_secret(SECRET),))), clock=lambda: NOW
    )
    return await one.authenticate(credentials(password, username, client_id))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *((RSA, algorithm) for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (P256, "ES256"),
        (P384, "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ED, "EdDSA"),
        (ed448.Ed448PrivateKey.generate(), "EdDSA"),
    ],
)
async def test_signatures(key: Any, algorithm: str) -> None:
    signed = token(key, algorithm)
    verdict = await judged(signed, of_public(key.public_key()))
    assert (verdict.accepted, verdict.identity) == (True, "ana")
    head, claims, signature = signed.split(b".")
    other = token(key, algorithm, sub="eve").split(b".")[1]
    for forged in (b".".join((head, other, signature)), b".".join((head, claims, b""))):
        verdict = await judged(forged, of_public(key.public_key()))
        assert (verdict.reason_code, verdict.is_mine) == (ReasonCode.BAD_USER_NAME_OR_PASSWORD, True)
        assert verdict.why == "it is signed with none of the keys"


@pytest.mark.parametrize("length", [32, 48, 64])
async def test_a_secret_is_for_hashes_that_are_no_longer(length: int) -> None:
    """RFC 7518, section 3.2."""
    secret = b"s" * length
    for algorithm, least in (("HS256", 32), ("HS384", 48), ("HS512", 64)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that of PyJWT, for whoever signs
            signed = token(secret, algorithm)
        verdict = await judged(signed, of_secret(secret))
        assert verdict.accepted is (length >= least), algorithm


# -- what a token may not choose (RFC 8725) --


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"], "HS256" * 5])
async def test_no_token_is_accepted_unsigned(algorithm: object) -> None:
    for key in (of_secret(SECRET), of_public(RSA.public_key())):
        for claims in ({"sub": "ana", "exp": NOW + 60}, {"sub": "ana"}):
            verdict = await judged(raw({"alg": algorithm, "typ": "JWT"}, claims), key)
            assert not verdict.accepted


@pytest.mark.parametrize("form", ["pem", "pem, with a blank line", "der"])
async def test_a_public_key_is_no_secret(form: str, tmp_path: Path) -> None:
    """CVE-2022-29217 and its kin: HS256, with the public key as secret."""
    public = RSA.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(b"\n" + pem)
    secret = {
        "pem": pem,
        "pem, with a blank line": b"\n" + pem,
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    }[form]
    signed = raw({"alg": "HS256"}, {"sub": "ana", "exp": NOW + 60}).rstrip(b".")
    mac = hmac.digest(secret, signed, hashlib.sha256)
    forged = signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")
    for key in (of_public(public), *read_keys(str(tmp_path / "key.pem"))):
        verdict = await judged(forged, key)
        assert (verdict.accepted, verdict.why) == (False, "its alg HS256 is not for this key")
    for wrong in (pem, b"\n " + pem, b"ssh-ed25519 " + b"A" * 60):
        with pytest.raises(ValueError, match="it belongs into key_file"):
            of_secret(wrong)


async def test_a_name_leads_to_one_key_and_its_kind_decides() -> None:
    """A kid that names a key of another kind, or none; kid is for looking up, and nothing else."""
    keys = (of_public(RSA.public_key(), "r"), of_public(P256.public_key(), "e"))
    assert (await judged(token(RSA, "RS256", {"kid": "r"}), *keys)).accepted
    assert (await judged(token(P256, "ES256", {"kid": "e"}), *keys)).accepted
    assert (await judged(token(P256, "ES256"), *keys)).accepted  # without a name all are tried that fit
    for kid, why in (
        ("e", "its alg RS256 is not for this key"),
        ("../../etc/passwd", "nobody knows its key ../../etc/passwd"),
        ("x\n' OR 1", r"nobody knows its key x\n' OR 1"),
        ("k" * 5000, f"nobody knows its key {'k' * 80}... (5000 characters)"),
    ):
        verdict = await judged(token(RSA, "RS256", {"kid": kid}), *keys)
        assert (verdict.accepted, verdict.why) == (False, why)
    assert not (await judged(raw({"alg": "RS256", "kid": 7}, {"sub": "ana"}), *keys)).accepted


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
async def test_a_token_does_not_say_where_its_key_is(name: str) -> None:
    mine = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(P256.public_key()))
    header = {name: mine if name == "jwk" else "http://127.0.0.1:1/"}
    keys = SomeKeys(of_public(ec.generate_private_key(ec.SECP256R1()).public_key()))
    one = JwtAuthenticator(JwtSettings(), keys, clock=lambda: NOW)
    assert not (await one.authenticate(credentials(token(P256, "ES256", header)))).accepted


async def test_extensions_that_nobody_knows() -> None:
    verdict = await judged(token(headers={"crit": ["exp"], "exp": 1}))
    assert verdict.why == "it has extensions that are not known (crit)"
    assert not (await judged(token(headers={"b64": False}))).accepted


# -- what is no token at all --


@pytest.mark.parametrize(
    "password",
    [
        None,
        b"",
        b"secret",
        b"a.b",
        b"..",
        b"a.b.c",
        b"\xff.\xff.\xff",
        b"a.b.c.d.e",
        raw(b"[" * 5000, {}),
        raw({"alg": "HS256"}, b"[" * 5000),
        raw([], {}),
        raw({"alg": "HS256"}, []),
        b"x" * (MOST_TOKEN_BYTES + 1),
        token(x="y" * MOST_TOKEN_BYTES),
    ],
)
async def test_what_is_no_token_is_somebody_elses(password: bytes | None) -> None:
    assert (await judged(password)).is_mine is False


async def test_a_token_of_another_issuer_is_somebody_elses() -> None:
    """So there may be two of them. With the right name and the wrong key, it is refused for good."""
    issuer = "https://a.example"
    assert (await judged(token(iss=issuer), issuer=issuer)).accepted
    for other in ("https://b.example", "https://a.example/", None, [issuer]):
        verdict = await judged(raw({"alg": "HS256"}, {"iss": other}), issuer=issuer)
        assert not verdict.is_mine
    assert (await judged(token(b"x" * 32, iss=issuer), issuer=issuer)).is_mine


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [("b", True), (["a", "b"], True), ("c", False), (None, False), ([], False), (7, False)],
)
async def test_audience(audience: object, accepted: bool) -> None:
    assert (await judged(token(aud=audience), audience=("b", "d"))).accepted is accepted
    assert (await judged(token(aud=audience))).accepted  # where it does not matter


# -- times --


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOW + 1}, ""),
        ({"exp": NOW - 9}, ""),
        ({"exp": NOW - 10}, "it ended 10 s ago (exp)"),
        ({"exp": NOW - 3600.4}, "it ended 3600 s ago (exp)"),
        ({"exp": -(10**300)}, "it ended 255202300799 s ago (exp)"),
        ({"exp": 0}, "it ended 1800000000 s ago (exp)"),
        ({"exp": None}, "it has no end (exp)"),
        ({"exp": str(int(NOW + 60))}, "exp is no number"),
        ({"exp": True}, "exp is no number"),
        ({"exp": [NOW + 60]}, "exp is no number"),
        ({"iat": NOW + 1}, ""),
        ({"iat": NOW + 10}, ""),
        ({"iat": NOW + 11}, "it is not valid for another 11 s (iat)"),
        ({"nbf": NOW + 11}, "it is not valid for another 11 s (nbf)"),
        ({"nbf": "1"}, "nbf is no number"),
    ],
)
async def test_times(claims: dict[str, Any], why: str) -> None:
    verdict = await judged(token(**claims))
    assert (verdict.accepted, verdict.why) == (not why, why)


@pytest.mark.parametrize("number", ["1e400", "9" * 400, "1e999999", "1" + "0" * 15])
async def test_huge_ends_are_bounded(number: str) -> None:
    """A number that no float can hold, and one far away."""
    verdict = await judged(signed_text(f'{{"sub": "ana", "exp": {number}}}'))
    assert (verdict.accepted, verdict.expires_at) == (True, 253402300799.0)


@pytest.mark.parametrize("number", ["-1e400", "NaN", "9" * 5000, "-Infinity"])
async def test_numbers_that_are_none(number: str) -> None:
    assert not (await judged(signed_text(f'{{"sub": "ana", "exp": {number}}}'))).accepted


def signed_text(claims: str) -> bytes:
    """A token that says exactly this."""
    return jwt.api_jws.encode(claims.encode(), SECRET, "HS256").encode()


async def test_a_connection_lives_as_long_as_its_token() -> None:
    assert (await judged(token(exp=NOW + 60))).expires_at == NOW + 70
    assert (await judged(token(exp=NOW - 5))).expires_at == NOW + 5
    assert (await judged(token(exp=NOW + 60), leeway=0.0)).expires_at == NOW + 60
    assert (await judged(token(exp=None), require_expiry=False)).expires_at is None


# -- who a client is, and what else is known of it --


async def test_the_token_says_who_it_is() -> None:
    for username in (None, "", "ana"):
        assert (await judged(token(), username=username)).identity == "ana"
    verdict = await judged(token(), username="bob")
    assert (verdict.accepted, verdict.why) == (False, "it is of ana, and the user name is another")
    assert (await judged(token(), username="bob", ignore_username=True)).identity == "ana"
    assert (await judged(token(email="a@b.example"), identity_claim="email")).identity == "a@b.example"
    for wrong in (None, "", 7, ["ana"], "a\nb", "x" * 1025):
        assert "no text that can be a name" in (await judged(token(email=wrong), identity_claim="email")).why


async def test_the_client_id_may_be_bound() -> None:
    bound = {"client_id_claim": "device"}
    assert (await judged(token(device="c1"), **bound)).accepted
    for device, why in (("c2", "it is for the client id c2"), (None, "device is missing")):
        verdict = await judged(token(device=device), **bound)
        assert not verdict.accepted
        assert verdict.why.startswith(why)


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        (["a", "b c"], {"a", "b c"}),
        ("a b", {"a", "b"}),
        ([], set()),
        (None, set()),
        ([1], None),
        (7, None),
        (["g"] * 257, None),
        (["g" * 1025], None),
    ],
)
async def test_groups(claim: object, groups: set[str] | None) -> None:
    for name, signed in (
        ("groups", token(groups=claim)),
        ("realm.roles", token(realm={"roles": claim})),
    ):
        verdict = await judged(signed, groups_claim=name)
        assert verdict.accepted is (groups is not None)
        assert verdict.groups == (groups or set())
    assert (await judged(token(groups=["a"]))).groups == frozenset()


async def test_claims_that_are_passed_on() -> None:
    signed = token(site="north", floor=3, admin=True, **{"a.b": "x"}, tenant={"id": "t1"})
    verdict = await judged(signed, claims=("site", "floor", "admin", "a.b", "tenant.id", "none.at.all"))
    assert verdict.claims == {
        "site": "north",
        "floor": "3",
        "admin": "true",
        "a.b": "x",
        "tenant.id": "t1",
    }
    assert (await judged(signed, claims=("tenant",))).why == "tenant is neither text nor number"
    assert (await judged(token(site="x" * 1025), claims=("site",))).why == "site is too long"


# -- Authentication Data --


async def test_a_token_may_come_in_authentication_data_and_again() -> None:
    one = JwtAuthenticator(JwtSettings(), SomeKeys(of_secret(SECRET)), clock=lambda: NOW)
    assert one.methods == {"JWT"}

    def said(data: bytes | None) -> Credentials:
        return Credentials("c1", None, None, "", "", 5, authentication_method="JWT", authentication_data=data)

    assert (await one.authenticate(said(token()))).expires_at == NOW + 70
    assert (await one.exchange(said(token(exp=NOW + 600)), None)).expires_at == NOW + 610
    for wrong in (None, b"x", token(b"x" * 32)):
        for verdict in (await one.authenticate(said(wrong)), await one.exchange(said(wrong), None)):
            assert (verdict.accepted, verdict.is_mine) == (False, True)


# -- keys that come and go --


async def test_keys_without_names_are_asked_for_again() -> None:
    """Whoever signs has a new one, and no way to say so."""
    old, new = of_public(P256.public_key()), of_public(P384.public_key())
    keys = SomeKeys(old, next=(old, new, of_public(RSA.public_key())))
    one = JwtAuthenticator(JwtSettings(), keys, clock=lambda: NOW)
    fresh = ec.generate_private_key(ec.SECP256R1())
    assert not (await one.authenticate(credentials(token(fresh, "ES256")))).accepted
    assert len(keys.keys) == 3
    assert (await one.authenticate(credentials(token(P384, "ES384")))).accepted


async def test_without_keys_nobody_comes_in() -> None:
    class None_(SomeKeys):
        async def of(self, name: str | None) -> Sequence[TokenKey]:
            raise NoKeys("there are no keys from https://a.example: it does not answer in time")

    one = JwtAuthenticator(JwtSettings(), None_(), clock=lambda: NOW)
    verdict = await one.authenticate(credentials(token()))
    assert verdict.reason_code == ReasonCode.SERVER_UNAVAILABLE
    assert "a.example" in verdict.why
    assert "a.example" not in verdict.reason_string


async def test_a_file_of_keys_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    pem = [
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in (P256, RSA)
    ]
    path.write_bytes(pem[0])
    one = JwtAuthenticator(JwtSettings(key_file=str(path)), clock=lambda: NOW)
    signed = credentials(token(RSA, "RS256"))
    assert not (await one.authenticate(signed)).accepted
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="there is no public key in it"):
        one.reload()
    assert (await one.authenticate(credentials(token(P256, "ES256")))).accepted
    path.write_bytes(b"".join(pem))
    one.reload()
    assert (await one.authenticate(signed)).accepted


def test_one_thing_says_who_signs(tmp_path: Path) -> None:
    for given in (
        {},
        {"secret_file": "a", "key_file": "b"},
        {"key_file": "a", "jwks_url": "https://b.example"},
    ):
        with pytest.raises(ConfigError, match="one of secret, secret_file, key_file and jwks_url"):
            JwtAuthenticator(JwtSettings(**given))  # type: ignore[arg-type]
    (tmp_path / "secret").write_bytes(b"s" * 31 + b"\n")
    with pytest.raises(ConfigError, match="secret: a secret for tokens has 32 bytes or more, not 31"):
        read_secret(str(tmp_path / "secret"))
