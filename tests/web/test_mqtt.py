"""MQTT for the pages, by a WebSocket of the window: who may come in there, and what it may then."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

import curier
from curier.auth.base import Authenticator, Credentials, Verdict
from curier.doorways import Doorway
from curier.listeners import Listener
from curier.server import Broker
from curier.types import ReasonCode
from curier.web import forms, table
from curier.web.mqtt import may_enter
from curier.web.roles import Role
from curier.web.server import Web
from curier.web.tokens import add_token, remove_token
from tests.waiting import until
from tests.web.asking import people, window

CONNECT = bytes.fromhex("101000044d5154540402003c0004") + b"page"


def by(web: Web, token: str, query: str = "", origin: str | None = None) -> connect:
    """A WebSocket of the window."""
    return connect(
        web.urls[0].replace("http", "ws") + "/mqtt" + query,
        subprotocols=[Subprotocol("mqtt")],
        additional_headers={"authorization": f"Bearer {token}"},
        origin=None if origin is None else Origin(origin),
        proxy=None,
        open_timeout=100,
    )


async def why_closed(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "web-tokens"


async def test_it_is_a_client_as_any_other(tokens: Path) -> None:
    token = add_token(tokens, "ana", Role.OPERATOR)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker, tokens=tokens) as (web, _):
        url = f"ws://127.0.0.1:{web.urls[0].rpartition(':')[2]}/mqtt"
        headers = [("authorization", f"Bearer {token}")]
        async with (
            curier.connect(url, client_id="page", websocket_headers=headers) as page,
            curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="other") as other,
            page.subscribe("a/#", qos=2) as messages,
        ):
            session = broker.core.sessions["page"]
            assert session.connection is not None
            assert session.connection.address.startswith("127.0.0.1:")
            assert session.connection.listener == f"tcp://127.0.0.1:{broker.port}"
            for qos, size in ((0, 1), (1, 300_000), (2, 10)):
                await other.publish("a/b", bytes(size), qos=qos)
                message = await messages.__anext__()
                assert (message.qos, len(message.payload)) == (qos, size)
            await page.publish("a/c", bytes(300_000), qos=2)
            assert len((await messages.__anext__()).payload) == 300_000
        await until(lambda: not broker.turn.wires)


async def test_who_may_only_look_may_not_come_in(tokens: Path) -> None:
    token = add_token(tokens, "ana", Role.VIEWER)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker, tokens=tokens) as (web, _):
        async with by(web, token) as socket:
            assert await why_closed(socket) == (1008, "this is for the role operator, and ana is viewer")
        async with by(web, "no-token") as socket:
            assert (await why_closed(socket))[0] == 1008
        assert broker.doorways[0].entrance.accepted == 0


async def test_pages_of_other_sites_may_not_come_in(tokens: Path) -> None:
    token = add_token(tokens, "ana", Role.OPERATOR)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker, tokens=tokens) as (web, _):
        async with by(web, token, origin="http://elsewhere.example") as socket:
            code, why = await why_closed(socket)
            assert (code, why[:40]) == (1008, "a page from http://elsewhere.example may")
        async with by(web, token, origin=web.urls[0]) as socket:
            await socket.send(CONNECT)
            assert await socket.recv() == bytes.fromhex("20020000")
        rebound = by(web, token)
        rebound.additional_headers["host"] = "elsewhere.example"  # type: ignore[index]
        with pytest.raises(InvalidStatus):
            async with rebound:
                pass


class ByName(Authenticator):
    """Lets nobody in without a user name."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return Verdict(ReasonCode.SUCCESS if credentials.username == "ana" else ReasonCode.NOT_AUTHORIZED)


async def test_the_broker_decides_who_it_is(tokens: Path) -> None:
    """The login opens the way to a CONNECT, and no more."""
    token = add_token(tokens, "ana", Role.ADMIN)
    broker = Broker(listen=["tcp://127.0.0.1:0"], authenticator=ByName())
    async with broker, window(broker, tokens=tokens) as (web, _), by(web, token) as socket:
        await socket.send(CONNECT)
        assert await socket.recv() == bytes.fromhex("20020005")
        assert (await why_closed(socket))[0] == 1008


async def test_it_ends_with_the_token(tokens: Path) -> None:
    token = add_token(tokens, "ana", Role.OPERATOR)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker, tokens=tokens) as (web, _):
        async with by(web, token) as socket:
            await socket.send(CONNECT)
            await socket.recv()
            assert remove_token(tokens, "ana")
            assert await why_closed(socket) == (1008, "this token is not known, or was taken back")
        await until(lambda: not broker.turn.wires)


async def test_it_ends_with_the_broker(tokens: Path) -> None:
    token = add_token(tokens, "ana", Role.OPERATOR)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker, tokens=tokens) as (web, _):
        async with by(web, token) as socket:
            await socket.send(CONNECT)
            await socket.recv()
            async with asyncio.TaskGroup() as group:
                group.create_task(broker.stop())
                assert (await why_closed(socket))[0] == 1001


async def test_text_is_no_mqtt(tokens: Path) -> None:
    """[MQTT-6.0.0-1]"""
    token = add_token(tokens, "ana", Role.OPERATOR)
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker, tokens=tokens) as (web, _):
        async with by(web, token) as socket:
            await socket.send("CONNECT")
            assert (await why_closed(socket))[0] == 1003


async def test_it_comes_in_by_the_listener_that_it_chooses(tokens: Path) -> None:
    token = add_token(tokens, "ana", Role.OPERATOR)
    listen = [Listener("tcp://127.0.0.1:0"), Listener("tcp://127.0.0.1:0", name="second", mount="below/")]
    async with Broker(listen=listen) as broker, people(broker, tokens.parent) as who:
        first, second = (await who["viewer"].ask(table.DOORS, forms.Nothing())).doors
        assert (first.name, second.name) == ("", "second")
    async with Broker(listen=listen) as broker, window(broker, tokens=tokens) as (web, _):
        second_url = str(broker.doorways[1].opened[0].address)
        async with by(web, token, f"?listener={second_url}") as socket:
            await socket.send(CONNECT)
            await socket.recv()
            assert broker.doorways[1].entrance.connected == 1
        async with by(web, token, "?listener=tcp://127.0.0.1:1") as socket:
            assert (await why_closed(socket))[1] == "there is no such listener by which a page may come in"


@pytest.mark.parametrize(
    ("listener", "near", "far"),
    [
        (Listener("tcp://127.0.0.1:1"), True, False),
        (Listener("ws://0.0.0.0:1"), True, True),
        (Listener("tls://0.0.0.0:1"), True, True),
        (Listener("tls://0.0.0.0:1", client_ca="ca.pem"), False, False),
        (Listener("tls://0.0.0.0:1", psk_file="keys"), False, False),
        (Listener("tcp://0.0.0.0:1", proxy_protocol=(ip_network("::/0"),)), False, False),
        (Listener("unix:///run/mqtt"), False, False),
    ],
    ids=lambda one: one.url if isinstance(one, Listener) else "",
)  # fmt: skip
def test_no_listener_is_opened_that_knows_its_clients_by_something_else(
    listener: Listener, near: bool, far: bool
) -> None:
    opened = Doorway(listener, None, [None])  # type: ignore[arg-type, list-item]  # which are not looked at
    assert may_enter(opened, "127.0.0.1") == may_enter(opened, "::1") == near
    assert may_enter(opened, "192.0.2.7") == far
