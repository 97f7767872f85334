"""Every request: which name was asked for, how often, and what every answer says of itself."""

from __future__ import annotations

import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from curier.web import guard
from curier.web.guard import Guard, name_of
from tests.web.asking import asking


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def fails(request: Request) -> Response:
    raise RuntimeError("a secret of the inside")


APP = Starlette(routes=[Route("/", hello), Route("/fails", fails)])


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:9883", "localhost"),
        ("LocalHost.", "localhost"),
        ("[::1]:9883", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1:9883", "[::1]:9883", "10.0.0.7"])
async def test_loopback_and_addresses_may_be_asked_for(host: str) -> None:
    async with asking(Guard(APP)) as client:
        assert (await client.get("/", headers={"host": host})).text == "hello"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""])
async def test_other_names_are_refused_with_the_way_out(host: str) -> None:
    async with asking(Guard(APP)) as client:
        refused = await client.get("/", headers={"host": host})
    assert refused.status_code == 421
    assert refused.headers["content-type"] == "application/problem+json"
    assert ("hosts below [web]" in refused.json()["detail"]) == bool(host)


async def test_a_setting_allows_more_names() -> None:
    async with asking(Guard(APP, ["mqtt.example"])) as client:
        assert (await client.get("/", headers={"host": "mqtt.example:80"})).status_code == 200
        assert (await client.get("/", headers={"host": "evil.example"})).status_code == 421
    async with asking(Guard(APP, ["*"])) as client:
        assert (await client.get("/", headers={"host": "evil.example"})).status_code == 200


async def test_pages_are_in_no_frame_but_that_of_home_assistant() -> None:
    async with asking(Guard(APP)) as client:
        alone = await client.get("/")
        passed_on = await client.get("/", headers={"X-Ingress-Path": "/api/hassio_ingress/abc"})
    assert "frame-ancestors 'none'" in alone.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in passed_on.headers["content-security-policy"]


async def test_too_many_requests_are_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.time, "monotonic", lambda: 1000.0)  # type: ignore[attr-defined]
    async with asking(Guard(APP)) as client:
        codes = [(await client.get("/")).status_code for _ in range(guard.REQUESTS_PER_SECOND + 1)]
        refused = await client.get("/")
    assert codes == [200] * guard.REQUESTS_PER_SECOND + [429]
    assert refused.headers["retry-after"] == "1"


async def test_many_pages_at_once_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is some 60 files; one that is refused leaves the page empty."""
    monkeypatch.setattr(guard.time, "monotonic", lambda: 1000.0)  # type: ignore[attr-defined]
    for prefix in ("", "/behind"):
        async with asking(Guard(APP, prefix=prefix)) as client:
            path = f"{prefix}/pages/app.js"
            codes = {(await client.get(path)).status_code for _ in range(guard.FILES_PER_SECOND)}
            last = (await client.get(path)).status_code
            other = (await client.get(f"{prefix}/")).status_code
        assert 429 not in {*codes, other}
        assert last == 429


async def test_every_answer_is_strict() -> None:
    async with asking(Guard(APP)) as client:
        for path in ("/", "/nothing", "/fails"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self';")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "date" in headers


async def test_an_error_of_ours_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "curier.web"):
        async with asking(Guard(APP)) as client:
            answer = await client.get("/fails")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "a secret of the inside" in caplog.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/at/curier/", 200), ("/at/curier/at/curier/", 404), ("/at/curierx/", 404), ("/at/", 404)],
)
async def test_a_path_of_a_proxy_may_be_there(path: str, status: int) -> None:
    async with asking(Guard(APP, prefix="/at/curier")) as client:
        assert (await client.get(path)).status_code == status


async def test_the_path_of_a_proxy_alone_leads_to_the_slash() -> None:
    async with asking(Guard(APP, prefix="/at/curier")) as client:
        answer = await client.get("/at/curier")
    assert (answer.status_code, answer.headers["location"]) == (308, "curier/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
