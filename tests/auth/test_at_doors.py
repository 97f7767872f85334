"""What a listener decides of who may connect, and what it leaves to others."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from curier.auth import NOT_MINE, AllowAnonymous, Authenticator, Certificate, Chain, Credentials, Verdict
from curier.auth.at_doors import AtDoors, has_rules
from curier.listeners import Listener
from curier.types import ReasonCode
from tests.auth.test_identity import CN, certificate

DEVICE = certificate((CN, "dev1"))
URL = "tls://127.0.0.1:8883"


class Asked(Authenticator):
    """Refuses whom it is asked about, so that one sees that it was."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD)


class Tokens(Authenticator):
    """Knows some passwords without a name."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        if credentials.password == b"token":
            return Verdict(0, identity="dev1")
        return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD) if credentials.password == b"old" else NOT_MINE


def credentials(
    username: str | None = None, shown: bytes | None = None, certificate_name: str | None = None
) -> Credentials:
    return Credentials(
        *("c", username, None, "127.0.0.1:5", URL, 5),
        certificate=Certificate(shown, {}) if shown is not None else None,
        certificate_name=certificate_name,
    )


async def test_whose_key_it_is() -> None:
    """The key is enough; a user name that is sent besides is not looked at."""
    listener = Listener(URL, psk_file="keys", allow_anonymous=False)
    assert has_rules(listener)
    assert listener.knows_all
    known = replace(credentials("u"), psk_identity="dev1")
    for otherwise in (Asked(), None):
        assert await answer(listener, known, otherwise) == Verdict(0, identity="dev1")


async def answer(listener: Listener, asked: Credentials, otherwise: Authenticator | None) -> Verdict:
    doors = AtDoors(otherwise)
    doors.add(URL, listener)
    return await doors.authenticate(asked)


@pytest.mark.parametrize(
    ("allowed", "otherwise", "username", "code"),
    [
        (True, Asked(), None, 0),
        (True, Asked(), "u", 0x86),
        (True, None, "u", 0),
        (False, Asked(), None, 0x87),
        (False, Asked(), "u", 0x86),
        (False, None, None, 0x87),
        (False, None, "u", 0x87),
        (None, Asked(), None, 0x86),
        (None, None, None, 0),
    ],
)
async def test_a_client_without_a_user_name(
    allowed: bool | None, otherwise: Authenticator | None, username: str | None, code: int
) -> None:
    listener = Listener(URL, allow_anonymous=allowed)
    assert (await answer(listener, credentials(username), otherwise)).reason_code == code


@pytest.mark.parametrize(
    ("allowed", "password", "code", "name"),
    [
        (True, b"token", 0, "dev1"),
        (False, b"token", 0, "dev1"),
        (True, b"old", 0x86, None),  # not as nobody
        (True, b"other", 0, None),
        (False, b"other", 0x87, None),
        (True, None, 0, None),
        (False, None, 0x87, None),
    ],
)
async def test_a_password_alone_may_be_a_token(
    allowed: bool, password: bytes | None, code: int, name: str | None
) -> None:
    listener = Listener(URL, allow_anonymous=allowed)
    verdict = await answer(listener, replace(credentials(), password=password), Tokens())
    assert (verdict.reason_code, verdict.identity) == (code, name)


@pytest.mark.parametrize("otherwise", [AllowAnonymous(), Chain([Tokens()], allow_anonymous=True)])
async def test_a_password_that_nobody_knows_makes_nobody_somebody(otherwise: Authenticator) -> None:
    nobody = replace(credentials(), password=b"other")
    assert not (await answer(Listener(URL, allow_anonymous=False), nobody, otherwise)).accepted


@pytest.mark.parametrize("username", [None, "somebody else"])
async def test_a_certificate_says_who_it_is(username: str | None) -> None:
    listener = Listener(URL, client_ca="ca.pem", identity="common-name")
    verdict = await answer(listener, credentials(username, DEVICE), Asked())
    assert (verdict.reason_code, verdict.identity) == (0, "dev1")


async def test_one_that_does_not_say_it_is_refused_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = Listener(URL, client_ca="ca.pem", identity="uri", allow_anonymous=True)
    verdict = await answer(listener, credentials("u", DEVICE), Asked())
    assert verdict.reason_code == 0x87
    assert "the client's certificate has no URI (subjectAltName)" in caplog.text


async def test_who_shows_none_is_asked_like_everybody() -> None:
    listener = Listener(URL, client_ca="ca.pem", client_certificates="optional", identity="common-name")
    assert (await answer(listener, credentials("u"), Asked())).reason_code == 0x86


PROXY = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("name", "code"), [("dev1", 0), (None, 0x86), ("", 0x87), ("dev1\0admin", 0x87), (" dev1", 0x87)]
)
async def test_what_a_proxy_has_read_in_a_certificate_where_that_is_asked_for(
    name: str | None, code: int
) -> None:
    listener = Listener(URL, proxy_protocol=PROXY, proxy_certificates=True)
    verdict = await answer(listener, credentials("u", None, name), Asked())
    assert (verdict.reason_code, verdict.identity) == (code, name if code == 0 else None)


async def test_and_where_it_is_not() -> None:
    listener = Listener(URL, proxy_protocol=PROXY)
    assert not has_rules(listener)
    assert (await answer(listener, credentials("u", None, "dev1"), Asked())).reason_code == 0x86
