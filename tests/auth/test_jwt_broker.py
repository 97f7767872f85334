"""A broker and a client with tokens, and the next token before the last one is over."""

from __future__ import annotations

import time

import jwt
import pytest

import curier
from curier.auth.jwt import JwtAuthenticator, JwtSettings
from curier.auth.token_keys import of_secret
from curier.errors import ConnectionLost, ConnectRefused
from tests.auth.test_jwt import SECRET, SomeKeys


def token(who: str, seconds: float) -> bytes:
    claims = {"sub": who, "exp": time.time() + seconds, "groups": ["g"], "site": "north"}
    return jwt.encode(claims, SECRET, "HS256").encode()


class Tokens(curier.Authentication):
    method = "JWT"

    def __init__(self, *tokens: bytes) -> None:
        self.tokens = [*tokens]

    def begin(self) -> bytes:
        return self.tokens.pop(0)


def broker() -> curier.Broker:
    settings = JwtSettings(groups_claim="groups", claims=("site",), leeway=0.0)
    return curier.Broker(
        "tcp://127.0.0.1:0", authenticator=JwtAuthenticator(settings, SomeKeys(of_secret(SECRET)))
    )


async def test_a_token_as_password() -> None:
    async with broker() as one:
        url = f"mqtt://127.0.0.1:{one.port}"
        async with curier.connect(url, username="ana", password=token("ana", 60)):
            (connection,) = one.core.connections.values()
            known = connection.known
            assert known is not None
            assert (connection.identity, known.claims) == ("ana", {"site": "north"})
            assert known.groups == {"g"}
        for username, password in (("bob", token("ana", 60)), ("ana", token("ana", -1)), ("ana", b"ana")):
            with pytest.raises(ConnectRefused) as refused:
                async with curier.connect(url, username=username, password=password):
                    pass
            assert refused.value.reason_code == 0x86
            assert str(refused.value).endswith(": bad user name or password")


async def test_the_next_token_before_the_last_is_over() -> None:
    async with broker() as one:
        tokens = Tokens(token("ana", 60), token("ana", 600), token("bob", 6000))
        async with curier.connect(f"mqtt://127.0.0.1:{one.port}", authentication=tokens) as client:
            (connection,) = one.core.connections.values()
            assert connection.known is not None
            first = connection.known.expires_at
            await client.reauthenticate()
            assert 530 < connection.known.expires_at - first < 550
            with pytest.raises(ConnectionLost) as lost:  # nobody becomes another on the way
                await client.reauthenticate()
            assert lost.value.reason_code == 0x87
