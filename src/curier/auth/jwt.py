"""Tokens: JSON Web Tokens (RFC 7519), signed (RFC 7515), in the place of a password.

What RFC 8725 advises is done: the key says which algorithms may be, never the token; nothing that a token
says of where its key is (``jku``, ``jwk``, ``x5u``, ``x5c``) is looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from jwt.utils import base64url_decode

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict
from curier.auth.facts import END_OF_TIME, take_claim, take_groups, take_name, take_time
from curier.auth.jwks import FileKeys, Keys, NoKeys, UrlKeys, calls_for_keys
from curier.auth.key_copy import KeyCopy
from curier.auth.token_keys import TokenKey, read_keys, read_secret, take_secret
from curier.errors import ConfigError
from curier.loglines import printable
from curier.types import ReasonCode

MOST_TOKEN_BYTES: Final = 16 * 1024
MOST_CANDIDATES: Final = 8
"""Keys that one token is tried with; more are only there where neither they nor it have names."""


@dataclass(frozen=True)
class JwtSettings:
    """Which tokens are accepted, and what they say.

    One of ``secret``, ``secret_file`` (HS256, HS384, HS512), ``key_file`` and ``jwks_url`` (RS, PS, ES,
    EdDSA) says who signs; the two kinds are never mixed. In ``jwks_copy`` what the URL gave is kept, for a
    broker that is started while it does not answer. ``issuer`` and ``audience``, where given, have to be in
    the token. ``leeway`` is how far clocks may be apart, in seconds. Names of claims may be paths, such as
    ``realm_access.roles``.

    ``identity_claim`` is who the client is: a User Name that it sends has to be the same, unless
    ``ignore_username``. With ``client_id_claim`` its Client Identifier has to be that claim. ``groups_claim``
    is a list of texts, or one text with blanks between; ``claims`` are passed on to permissions, as text.
    """

    secret: str | None = field(default=None, repr=False)
    secret_file: str | None = None
    key_file: str | None = None
    jwks_url: str | None = None
    jwks_ca: str | None = None
    jwks_copy: str | None = None
    timeout: float = 5.0
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    leeway: float = 10.0
    identity_claim: str = "sub"
    ignore_username: bool = False
    client_id_claim: str | None = None
    groups_claim: str | None = None
    claims: tuple[str, ...] = ()
    require_expiry: bool = True
    method: str = "JWT"

    def keys(self) -> Keys:
        """Where the keys are, read or ready to be asked for. Raises ``ConfigError``."""
        ways = (self.secret, self.secret_file, self.key_file, self.jwks_url)
        given = [way for way in ways if way is not None]
        if len(given) != 1:
            raise ConfigError("one of secret, secret_file, key_file and jwks_url says who signs the tokens")
        if self.jwks_copy is not None and self.jwks_url is None:
            raise ConfigError("jwks_copy is for jwks_url")
        if self.secret is not None:
            return FileKeys(take_secret, self.secret)
        if self.secret_file is not None:
            return FileKeys(read_secret, self.secret_file)
        if self.key_file is not None:
            return FileKeys(read_keys, self.key_file)
        copy = KeyCopy(self.jwks_copy, given[0]) if self.jwks_copy is not None else None
        return UrlKeys(calls_for_keys(given[0], self.timeout, self.jwks_ca), copy=copy)


class _Refused(ValueError):
    """The token is no good; the text says why, for the log."""


class JwtAuthenticator(Authenticator):
    """Accepts clients with a token: in the password, or, with the Authentication Method ``settings.method``,
    in Authentication Data, which lets a client bring the next token before the last one is over.

    A password that has not the form of a token, or says that it is of another issuer, is not its own. Tokens
    are verified in the event loop: that takes a tenth of a millisecond. Raises ``ConfigError``.
    """

    def __init__(
        self, settings: JwtSettings, keys: Keys | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings: Final = settings
        self._keys: Final = keys if keys is not None else settings.keys()
        self._clock: Final = clock

    @property
    def name(self) -> str:
        """What the log calls it."""
        return "jwt"

    @property
    def methods(self) -> frozenset[str]:
        """The one that has tokens in Authentication Data."""
        return frozenset((self.settings.method,))

    def reload(self) -> bool:
        """Read the file of keys again, or ask its URL soon. Raises ``ConfigError``; the keys stay then."""
        self._keys.reload()
        return True

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        if credentials.authentication_method is not None:
            return await self.exchange(credentials, None)
        if credentials.password is None:
            return NOT_MINE
        return await self._judge(credentials, credentials.password)

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        """Answer an AUTH packet, which is a re-authentication with another token."""
        if credentials.authentication_data is None:
            return _no("there is no token in Authentication Data")
        verdict = await self._judge(credentials, credentials.authentication_data)
        return verdict if verdict.is_mine else _no(verdict.why)

    async def _judge(self, credentials: Credentials, token: bytes) -> Verdict:
        parts = _unverified(token)
        if parts is None:
            return _not_mine("it is no token")
        header, said = parts
        settings = self.settings
        if settings.issuer is not None and said.get("iss") != settings.issuer:
            return _not_mine(f"the issuer is {_short(said.get('iss'))}")
        try:
            claims = await self._verified(header, token)
            self._check_times(claims)
            identity = self._identity(claims, credentials)
            return Verdict(
                ACCEPT,
                identity=identity,
                groups=self._groups(claims),
                claims=self._passed_on(claims),
                expires_at=self._end(claims),
            )
        except ValueError as refused:  # what is said of a client is wrong, or nobody has signed it
            return _no(str(refused))
        except NoKeys as error:
            why = str(error)
            return Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available", why=why)

    async def _verified(self, header: Mapping[str, object], token: bytes) -> Mapping[str, object]:
        """The claims, which a key of ours has signed. Raises ``_Refused``, ``NoKeys``."""
        algorithm, name = header.get("alg"), header.get("kid")
        if not isinstance(name, str | None):
            raise _Refused("its kid is no text")
        if "crit" in header:  # RFC 7515, section 4.1.11: what is not understood
            raise _Refused("it has extensions that are not known (crit)")
        if not isinstance(algorithm, str) or len(algorithm) > 10 or algorithm.lower() == "none":
            raise _Refused("it is not signed (alg)")
        keys = await self._keys.of(name)
        if not keys:
            raise _Refused(f"nobody knows its key {_short(name)}")
        claims = self._try(keys, algorithm, token)
        if claims is None and any(key.name is None for key in keys) and await self._keys.again():
            claims = self._try(await self._keys.of(name), algorithm, token)
        if claims is None:
            raise _Refused("it is signed with none of the keys")
        return claims

    def _try(self, keys: Sequence[TokenKey], algorithm: str, token: bytes) -> Mapping[str, object] | None:
        fitting = [key for key in keys if algorithm in key.algorithms]
        if not fitting:
            raise _Refused(f"its alg {_short(algorithm)} is not for this key")
        settings = self.settings
        for key in fitting[:MOST_CANDIDATES]:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    issuer=settings.issuer,
                    audience=settings.audience or None,
                    options={
                        "verify_aud": bool(settings.audience),
                        "verify_exp": False,  # our own, which say by how much, and take no text for a number
                        "verify_nbf": False,
                        "verify_iat": False,
                        "verify_sub": False,
                        "verify_jti": False,
                    },
                )
                return claims
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidAudienceError:
                raise _Refused("it is for another audience") from None
            except Exception as error:  # whatever strangers can make of it, it is a no
                raise _Refused(f"it cannot be read ({type(error).__name__})") from None
        return None

    def _check_times(self, claims: Mapping[str, object]) -> None:
        now, leeway = self._clock(), self.settings.leeway
        if "exp" not in claims and self.settings.require_expiry:
            raise _Refused("it has no end (exp)")
        if "exp" in claims and (over := now - take_time(claims["exp"], "exp")) >= leeway:
            raise _Refused(f"it ended {over:.0f} s ago (exp)")
        for name in ("nbf", "iat"):
            if name in claims and (ahead := take_time(claims[name], name) - now) > leeway:
                raise _Refused(f"it is not valid for another {ahead:.0f} s ({name})")

    def _end(self, claims: Mapping[str, object]) -> float | None:
        if "exp" not in claims:
            return None
        return min(take_time(claims["exp"], "exp") + self.settings.leeway, END_OF_TIME)

    def _identity(self, claims: Mapping[str, object], credentials: Credentials) -> str:
        settings = self.settings
        identity = take_name(_at(claims, settings.identity_claim), settings.identity_claim)
        if not settings.ignore_username and credentials.username not in (None, "", identity):
            raise _Refused(f"it is of {_short(identity)}, and the user name is another")
        if settings.client_id_claim is not None:
            client_id = take_name(_at(claims, settings.client_id_claim), settings.client_id_claim)
            if client_id != credentials.client_id:
                raise _Refused(f"it is for the client id {_short(client_id)}")
        return identity

    def _groups(self, claims: Mapping[str, object]) -> frozenset[str]:
        name = self.settings.groups_claim
        return take_groups(_at(claims, name), name) if name is not None else frozenset()

    def _passed_on(self, claims: Mapping[str, object]) -> dict[str, str]:
        found = {name: _at(claims, name) for name in self.settings.claims}
        return {name: take_claim(value, name) for name, value in found.items() if value is not None}


def _unverified(token: bytes) -> tuple[Mapping[str, object], Mapping[str, object]] | None:
    """Header and claims as they are written, to find the key with; None: it has not the form of a token."""
    if len(token) > MOST_TOKEN_BYTES or token.count(b".") != 2:
        return None
    try:
        header, claims = (json.loads(base64url_decode(part)) for part in token.split(b".")[:2])
    except Exception:  # whatever strangers can make of it
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None


def _at(claims: Mapping[str, object], path: str) -> object:
    """A claim of this name, or else where this path leads; None: there is none."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _short(value: object) -> str:
    return "none" if value is None else printable(str(value), 80) if isinstance(value, str) else "no text"


def _no(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why)


def _not_mine(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why, is_mine=False)
