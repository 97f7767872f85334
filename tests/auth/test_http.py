"""Somebody else decides who may connect: what is asked, what is an answer, and what becomes of all else."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.auth import Credentials, Verdict
from curier.auth.calls import Answered
from curier.auth.http import HttpAuthenticator, HttpSettings, read_answer
from curier.auth.remembered import Remembered
from curier.auth.shares import MOST_OF_ONE_PLACE
from curier.errors import ConfigError, ConnectRefused
from curier.types import ReasonCode
from tests.auth.web_server import WebServer, web_server

ANA = Credentials("c1", "ana", b"secret", "192.0.2.1:5000", "tcp://0.0.0.0:1883", 5, listener_name="plain")


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def asking(server: WebServer, clock: Any = time.monotonic, **settings: Any) -> HttpAuthenticator:
    settings = {"timeout": 30.0, **settings}
    return HttpAuthenticator(HttpSettings(f"http://127.0.0.1:{server.port}/login", **settings), clock)


def says(server: WebServer, **answer: object) -> None:
    server.answer = (200, {}, json.dumps(answer).encode())


def questions(server: WebServer) -> list[Any]:
    return [json.loads(one.body) for one in server.asked]


async def test_what_is_asked(server: WebServer) -> None:
    says(server, result="allow")
    one = asking(server)
    assert (await one.authenticate(ANA)).accepted
    await one.authenticate(replace(ANA, password=b"\xff", address="[2001:db8::7]:5000", certificate_name="n"))
    await one.authenticate(replace(ANA, password=None, listener_name=""))
    common = {
        "client_id": "c1",
        "username": "ana",
        "address": "192.0.2.1",
        "listener": "plain",
        "protocol_version": 5,
        "certificate_name": None,
    }
    assert questions(server) == [
        common | {"password": "secret"},
        common | {"password_hex": "ff", "address": "2001:db8::7", "certificate_name": "n"},
        common | {"password": None, "listener": "tcp://0.0.0.0:1883"},
    ]
    assert [one.path for one in server.asked] == ["/login"] * 3
    assert server.asked[0].headers["content-type"] == "application/json"


async def test_who_says_nothing_is_not_asked_about(server: WebServer) -> None:
    one = asking(server)
    for nobody in (
        replace(ANA, username=None, password=None),
        replace(ANA, authentication_method="SCRAM-SHA-256"),
    ):
        assert (await one.authenticate(nobody)).is_mine is False
    assert server.asked == []


def read(body: object, status: int = 200) -> tuple[Verdict, float]:
    return read_answer(Answered(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode()))


def test_answers() -> None:
    verdict, seconds = read({"result": "allow"})
    assert (verdict.accepted, verdict.identity, verdict.groups, seconds) == (True, None, frozenset(), 0.0)
    verdict, seconds = read(
        {
            "result": "allow",
            "identity": "Ana",
            "groups": ["a", "b"],
            "claims": {"site": "north", "floor": 3},
            "expires_at": 2_000_000_000,
            "cache_seconds": 60,
            "other": [],
        }
    )
    assert verdict == Verdict(
        0, identity="Ana", groups=frozenset("ab"), claims={"site": "north", "floor": "3"}, expires_at=2e9
    )
    assert seconds == 60.0
    verdict, _ = read({"result": "deny", "reason": "locked\nsince Monday"})
    assert (verdict.reason_code, verdict.reason_string) == (0x86, "bad user name or password")
    assert (verdict.is_mine, verdict.why) == (True, "locked\\nsince Monday")
    assert read({"result": "unknown"})[0].is_mine is False


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"OK", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 50_000, "no JSON"),
        (b"\xff", "no JSON"),
        (b"true", "no JSON object"),
        (b"[]", "no JSON object"),
        ({}, "result is none of"),
        ({"result": "ALLOW"}, "result is none of"),
        ({"result": True}, "result is none of"),
        ({"result": ["allow"]}, "result is none of"),
        ({"result": "allow", "identity": ""}, "identity is missing"),
        ({"result": "allow", "identity": 7}, "identity is missing"),
        ({"result": "allow", "identity": "x" * 2000}, "identity is missing"),
        ({"result": "allow", "groups": [1]}, "groups is no list"),
        ({"result": "allow", "groups": ["g"] * 1000}, "groups is too long"),
        ({"result": "allow", "claims": []}, "claims is no JSON object"),
        ({"result": "allow", "claims": {f"c{n}": "" for n in range(65)}}, "claims is no JSON object of 64"),
        ({"result": "allow", "claims": {"a": {}}}, "claims.a is neither"),
        ({"result": "allow", "claims": {"\n": "a"}}, "the name of a claim"),
        ({"result": "allow", "expires_at": "soon"}, "expires_at is no number"),
        ({"result": "allow", "cache_seconds": "1"}, "cache_seconds is no number"),
        ({"result": "allow", "cache_seconds": -1}, "cache_seconds is no number"),
        (b'{"result": "allow", "cache_seconds": NaN}', "cache_seconds is no number"),
        ({"result": "deny", "reason": 7}, "reason is no text"),
    ],
)
def test_what_is_no_answer(body: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(body)


@pytest.mark.parametrize("status", [201, 204, 301, 401, 403, 404, 500, 503])
async def test_another_status_is_a_no_whatever_comes_with_it(server: WebServer, status: int) -> None:
    """Neither yes, nor somebody else's client; and it is not kept."""
    says(server, result="allow", cache_seconds=60)
    body = server.answer[2]
    one = asking(server)
    server.answer = (status, {"Location": "/other"}, body if status != 204 else b"")
    verdict = await one.authenticate(ANA)
    assert (verdict.reason_code, verdict.is_mine) == (ReasonCode.SERVER_UNAVAILABLE, True)
    assert verdict.why == f"the answer has the status {status}"
    server.answer = (200, {}, body)
    assert (await one.authenticate(ANA)).accepted


async def test_a_huge_number_of_seconds_is_a_day() -> None:
    for text in ("1e400", "9" * 400, "1e10"):
        assert read(f'{{"result": "allow", "cache_seconds": {text}}}'.encode())[1] == 86400.0


async def test_an_answer_is_used_again_for_as_long_as_it_says(server: WebServer) -> None:
    clock = Time()
    one = asking(server, clock)
    says(server, result="allow", cache_seconds=60)
    assert (await one.authenticate(ANA)).accepted
    says(server, result="deny", cache_seconds=60)
    other_port = replace(ANA, address="192.0.2.1:6000")
    assert (await one.authenticate(other_port)).accepted
    assert len(server.asked) == 1
    for other in (
        replace(ANA, password=b"other"),
        replace(ANA, username="bob"),
        replace(ANA, client_id="c2"),
        replace(ANA, address="192.0.2.2:5000"),
        replace(ANA, listener_name="tls"),
    ):
        asked = len(server.asked)
        for _ in range(2):
            assert not (await one.authenticate(other)).accepted
        assert len(server.asked) == asked + 1
    clock.now += 60.0
    assert not (await one.authenticate(ANA)).accepted
    says(server, result="allow")
    one.reload()
    assert (await one.authenticate(ANA)).accepted


async def test_nothing_is_used_again_that_says_nothing_of_that(server: WebServer) -> None:
    one = asking(server)
    says(server, result="allow")
    server.answer = (200, {"Cache-Control": "max-age=60"}, server.answer[2])
    for _ in range(2):
        assert (await one.authenticate(ANA)).accepted
    assert len(server.asked) == 2


async def test_no_answer_outlives_what_it_allows(server: WebServer) -> None:
    one = asking(server)
    says(server, result="allow", cache_seconds=60, expires_at=time.time() - 1)
    for _ in range(2):
        await one.authenticate(ANA)
    assert len(server.asked) == 2


def test_so_many_are_remembered_and_strangers_push_out_nobody() -> None:
    clock = Time()
    kept = Remembered[int](most=3, clock=clock)
    for number in range(3):
        kept.keep(b"%d" % number, number, 60)
    assert kept.find(b"0") == 0
    kept.keep(b"3", 3, 60)
    assert [kept.find(b"%d" % number) for number in range(4)] == [0, None, 2, 3]
    kept.keep(b"4", 4, 0)
    assert kept.find(b"4") is None
    kept.keep(b"5", 5, 10**9)
    clock.now += 24 * 3600.0
    assert kept.find(b"5") is None


async def test_one_address_does_not_take_all_places(server: WebServer) -> None:
    says(server, result="allow")
    server.gate.clear()
    one = asking(server, at_once=1)
    flood = [
        asyncio.create_task(one.authenticate(replace(ANA, address="192.0.2.66:1", client_id=f"c{number}")))
        for number in range(MOST_OF_ONE_PLACE)
    ]
    await server.has_been_asked(1)
    verdict = await one.authenticate(replace(ANA, address="192.0.2.66:2"))
    assert verdict.reason_code == ReasonCode.SERVER_BUSY
    assert "128 logins from 192.0.2.66 wait" in verdict.why
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    server.gate.set()
    assert (await one.authenticate(replace(ANA, address="192.0.2.66:2"))).accepted


async def test_who_is_not_there_lets_nobody_in(server: WebServer) -> None:
    one = asking(server, timeout=0.05)
    server.gate.clear()
    verdict = await one.authenticate(ANA)
    assert verdict.reason_code == ReasonCode.SERVER_UNAVAILABLE
    assert verdict.why == "there is no whole answer after 0.05 s"


async def test_a_token_shows_who_asks(server: WebServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken\n")
    says(server, result="allow")
    one = asking(server, token_file=str(file))
    await one.authenticate(ANA)
    for wrong in ("", "\n", "a\nb", "ä"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match="token: expected a token"):
            one.reload()
    await one.authenticate(ANA)
    file.write_text("other")
    one.reload()
    await one.authenticate(ANA)
    assert [asked.headers["authorization"][7:] for asked in server.asked] == ["t0ken", "t0ken", "other"]


def test_passwords_are_sent_for_nobody_to_read() -> None:
    with pytest.raises(ConfigError, match=r"http://a\.example/: others could read the passwords"):
        HttpAuthenticator(HttpSettings("http://a.example/?key=secret"))
    HttpAuthenticator(HttpSettings("http://a.example/", allow_plain=True))
    for wrong in ({"timeout": 0.0}, {"at_once": 0}):
        with pytest.raises(ConfigError, match="have to be more than 0"):
            HttpAuthenticator(HttpSettings("https://a.example/", **wrong))


async def test_a_broker_asks_and_no_password_is_in_its_log(
    server: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    one = asking(server)
    async with curier.Broker("tcp://127.0.0.1:0", authenticator=one) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        says(server, result="allow", identity="Ana", groups=["staff"])
        async with curier.connect(url, username="ana", password="hunter2hunter2"):
            (connection,) = broker.core.connections.values()
            assert connection.identity == "Ana"
            assert connection.known is not None
            assert connection.known.groups == {"staff"}
        for answer in ({"result": "deny", "reason": "locked"}, {"result": "hunter2hunter2"}, {}):
            server.answer = (200, {}, json.dumps(answer).encode())
            with pytest.raises(ConnectRefused):
                async with curier.connect(url, username="ana", password="hunter2hunter2"):
                    pass
    assert "locked" in caplog.text
    assert "hunter2" not in caplog.text
