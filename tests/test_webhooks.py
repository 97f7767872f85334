"""Webhooks: told in batches, signed, again until they are taken, bounded; and their tables in a file."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import curier
from curier import webhooks
from curier.config import load, read
from curier.errors import ConfigError
from curier.server import Broker
from curier.webhooks import MessageWebhook, Webhook, WebhookSettings, webhook


class Taker:
    """A program that is told; it answers with ``answers``, then with 204."""

    def __init__(self, *answers: int) -> None:
        self.answers = [*answers]
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self._has_more = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                self.bodies.append(await reader.readexactly(int(headers["content-length"])))
                self.headers.append(headers)
                self._has_more.set()
                status = self.answers.pop(0) if self.answers else 204
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % status)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    async def told(self, count: int) -> list[dict[str, Any]]:
        """The first batches."""
        async with asyncio.timeout(60):
            while len(self.bodies) < count:
                self._has_more.clear()
                await self._has_more.wait()
        return [json.loads(body) for body in self.bodies]


@asynccontextmanager
async def taker(*answers: int) -> AsyncIterator[Taker]:
    made = Taker(*answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield made
    server.close()
    for writer in made.writers:
        writer.close()
        await writer.wait_closed()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.001)


async def test_what_happens_to_clients_is_told_and_signed() -> None:
    async with taker() as there:
        hook = webhook(WebhookSettings(there.url, ("connect", "subscribe", "message"), ("a/#",), "se-cret"))
        async with Broker(listen=["tcp://127.0.0.1:0"], hooks=[hook]) as broker:
            async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="c1") as client:
                async with client.subscribe("b", qos=1):
                    await client.publish("a/b", b"\xff", qos=1)
                    await client.publish("b", "not this one", qos=1)
        await hook.close(30)
        events = [event for batch in await there.told(1) for event in batch["events"]]
    assert [event["event"] for event in events] == ["connect", "subscribe", "message"]
    assert events[0]["client_id"] == "c1"
    assert events[0]["address"].startswith("127.0.0.1:")
    assert events[1]["filter"] == "b"
    assert base64.b64decode(events[2]["payload"]) == b"\xff"
    for headers, body in zip(there.headers, there.bodies, strict=True):
        stamp, _, signed = headers["x-curier-signature"].partition(",")
        seconds = stamp.removeprefix("t=")
        wanted = hmac.new(b"se-cret", seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert signed == f"v1={wanted}"


async def test_the_same_batch_is_told_again_until_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "curier.webhooks")
    async with taker(500, 500, 302) as there:
        hook = Webhook(WebhookSettings(there.url))
        hook._put("connect", 0, client_id="c1")
        batches = await there.told(4)
        await hook.close(30)
    assert len({batch["id"] for batch in batches}) == 1
    assert [text.partition(": ")[2] for text in caplog.messages] == [
        "it has answered with 500; it is told again until it takes it",
        "it has answered with 302; it is told again until it takes it",
        "takes what it is told again",
    ]


async def test_what_waits_is_bounded_and_what_is_lost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_WAITING", 5)
    monkeypatch.setattr(webhooks, "MOST_IN_BATCH", 3)
    async with taker() as there:
        hook = Webhook(WebhookSettings(there.url))
        for number in range(8):
            hook._put("connect", 0, client_id=str(number))
        await hook.close(30)
        batches = await there.told(2)
    assert [batch["lost"] for batch in batches] == [3, 0]
    assert [[one["client_id"] for one in batch["events"]] for batch in batches] == [
        ["3", "4", "5"],
        ["6", "7"],
    ]


async def test_payloads_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_BYTES", 1000)
    async with taker() as there:
        hook = Webhook(WebhookSettings(there.url))
        for number in range(5):
            hook._put("message", 400, client_id=str(number))
        assert len(hook._waiting) == 2
        await hook.close(30)
        assert (await there.told(1))[0]["lost"] == 3


async def test_the_end_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    hook = Webhook(WebhookSettings("http://127.0.0.1:1/"))
    hook._put("connect", 0)
    await hook.close(0.05)
    assert hook._task is None
    assert "1 events were not told" in caplog.text
    hook._put("connect", 0)
    assert hook._task is None


async def test_only_one_that_tells_of_messages_is_asked_about_them() -> None:
    assert type(webhook(WebhookSettings("https://h/", ("connect",)))) is Webhook
    assert type(webhook(WebhookSettings("https://h/", ("message",)))) is MessageWebhook
    async with Broker(listen=["tcp://127.0.0.1:0"], hooks=[Webhook(WebhookSettings("https://h/"))]) as broker:
        assert broker.core.hooks.publish is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "expected a url"),
        ('url = "http://example.org/"', "use https://"),
        ('url = "https://h/"\nevents = ["birth"]', "there is no event 'birth'"),
        ('url = "https://h/"\ntopics = ["a/#/b"]', "topics: 'a/#/b'"),
        ('url = "https://h/"\nsecret = "env:NOT_THERE"', "there is no variable NOT_THERE"),
        ('url = "https://h/"\ncolour = 1', "there is no such key"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(f"[[webhook]]\n{table}\n")
    _, wrong = read(path)
    assert len(wrong) == 1
    assert said in str(wrong[0])
    assert "broker.toml, line" in str(wrong[0])


def test_tables_that_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s")
    path = tmp_path / "broker.toml"
    path.write_text(
        '[[webhook]]\nurl = "https://h/"\nsecret = "env:HOOK_SECRET"\nca_file = "ca.pem"\n'
        '[[webhook]]\nurl = "http://h/"\nallow_plain = true\nevents = ["drop"]\ntimeout = "2 s"\n'
    )
    first, second = load(path).webhooks
    assert (first.secret, first.ca_file) == ("s", str(tmp_path / "ca.pem"))
    assert "secret" not in repr(first)
    assert (second.events, second.timeout) == (("drop",), 2.0)


def test_a_url_has_to_be_one() -> None:
    with pytest.raises(ConfigError):
        Webhook(WebhookSettings("https://"))
