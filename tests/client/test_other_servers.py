"""Servers that speak no MQTT, speak first, or know no 5.0: said at once, or taken as they are."""

from __future__ import annotations

import asyncio
import re

import pytest

import curier
from curier.codec.constants import MQTT_311
from curier.codec.packets import Connack, Connect
from tests.client.hostile import Peer, hostile
from tests.client.stage import Stage, Watch, Wire, settle, virtual

GREETINGS = [
    (b"\xd0\x00", "first bytes are d0 00"),
    (b"\x20\x02\x00\x00", "first bytes are 20 02 00 00"),
    (b"\x20\x03\x00\x00\x00", "first bytes are 20 03"),
    (b"220 mail.example ESMTP Postfix\r\n", r"mail server \(SMTP\)"),
    (b"220 (vsFTPd 3.0.5)\r\n", "mail or FTP server"),
    (b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00", "MySQL"),
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH server .*SSH-2.0-OpenSSH_9.2p1"),
    (b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23", "telnet"),
    (b'INFO {"server_id":"NA"}\r\n', "NATS"),
    (b"RFB 003.008\n", "VNC"),
    (b"+OK ready\r\n", "POP3"),
]
ANSWERS = [
    (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "web server; .*ws://"),
    (b"\x15\x03\x01\x00\x02\x02\x46", r"TLS: try mqtts://"),
    (b"-ERR unknown command\r\n", "Redis"),
    (b"AMQP\x00\x00\x09\x01", "AMQP"),
    (b"\x00\x00\x00", "not MQTT .*00 00 00"),
    *GREETINGS[3:8],
]


@pytest.mark.parametrize(("greeting", "said"), GREETINGS)
@pytest.mark.parametrize("is_early", [True, False])
async def test_a_server_that_speaks_first(greeting: bytes, said: str, is_early: bool) -> None:
    """Said at once at the first connection; later retried as every lost connection is."""

    async def script(peer: Peer) -> None:
        if is_early:  # it is there before the client has looked
            peer.send(greeting)
            await peer.closed()
        else:
            await peer.packet()
            peer.send(greeting if greeting[0] != 0x20 else b"\xd0\x00")
            await peer.closed()

    async with hostile(script) as url:
        found = said if is_early or not greeting.startswith(b"\x20") else "d0 00"
        with pytest.raises(curier.ConnectionLost, match=f"^{re.escape(url)}: .*{found}"):
            async with asyncio.timeout(100):
                await curier.connect(url).connect()


@pytest.mark.parametrize(("answer", "said"), ANSWERS)
@virtual
async def test_what_is_no_mqtt(stage: Stage, answer: bytes, said: str) -> None:
    """Said at once, whatever it wants to go on with; and no other version is tried."""
    connecting = asyncio.ensure_future(stage.client().connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send_bytes(answer)
    with pytest.raises(curier.ConnectionLost, match=said):
        await connecting
    assert len(stage.dialled) == 1


@pytest.mark.parametrize("greeting", [b"\xd0\x00", b"\x20\x02\x00\x00", b"220 smtp\r\n"])
async def test_the_next_server_is_tried_where_one_speaks_first(greeting: bytes) -> None:
    async def speaks(peer: Peer) -> None:
        peer.send(greeting)
        await peer.closed()

    async def accepts(peer: Peer) -> None:
        await peer.accept()
        await peer.closed()

    async with (
        hostile(speaks) as first,
        hostile(accepts) as second,
        curier.connect([first, second]) as client,
    ):
        assert client.is_connected
        assert second in repr(client)


@pytest.mark.parametrize("greeting", [b"\xd0\x00", b"\x20\x02\x00\x00", b"220 smtp\r\n"])
async def test_a_server_that_speaks_first_for_a_while(greeting: bytes) -> None:
    """No such thing ends a client that was connected."""

    async def script(peer: Peer) -> None:
        if peer.number in (2, 3):
            peer.send(greeting)
        else:
            await peer.accept()
            if peer.number == 1:
                return
        await peer.closed()

    async with (
        hostile(script) as url,
        curier.connect(url, reconnect=curier.Reconnect(0.01, 0.01)) as client,
    ):
        reader = client.events()
        while not isinstance(await reader.get(timeout=100), curier.Connected):
            pass


# ---- 5.0 that is not understood ----


async def fall_back(stage: Stage, wire: Wire) -> Wire:
    """The client comes with 3.1.1; the wire."""
    again = await stage.wire()
    assert (await again.accept()).version == MQTT_311
    return again


POLITE = [
    b"\x20\x02\x00\x01",
    b"\x20\x02\x00\x84",
    b"\x20\x03\x00\x01\x00",
    b"\x20\x03\x00\x84\x00",
    b"\x20\x02\x00\x05",
    b"\x20\x02\x00\x00",
]


@pytest.mark.parametrize("answer", POLITE)
@virtual
async def test_a_server_that_says_that_it_knows_no_5(stage: Stage, answer: bytes) -> None:
    client = stage.client()
    connecting = asyncio.ensure_future(client.connect())
    first = await stage.wire()
    assert (await first.receive(Connect)).version == 5
    first.send_bytes(answer)
    second = await fall_back(stage, first)
    await connecting
    assert client.version == 4
    second.cut()
    await (await stage.wire()).accept()
    await settle()
    assert client.version == 4  # which is remembered
    assert len(stage.dialled) == 3
    await client.close()


@pytest.mark.parametrize("answer", ["close", "reset", "silence", "garbage"])
@virtual
async def test_a_server_that_cannot_say_it(stage: Stage, answer: str) -> None:
    client = stage.client()
    connecting = asyncio.ensure_future(client.connect())
    for _ in range(1 if answer == "silence" else 2):  # else it may have been the network
        wire = await stage.wire()
        assert (await wire.receive(Connect)).version == 5
        if answer == "garbage":
            wire.send_bytes(b"\x20\x7f" + bytes(127))
        elif answer != "silence":
            wire.cut(OSError("reset by peer") if answer == "reset" else None)
    again = await stage.wire()
    assert (await again.accept()).version == MQTT_311
    await connecting
    again.cut()
    assert (await (await stage.wire()).accept()).version == MQTT_311
    await settle()
    await client.close()


@virtual
async def test_one_cut_is_no_reason_for_an_older_version(stage: Stage) -> None:
    client = stage.client()
    connecting = asyncio.ensure_future(client.connect())
    (await stage.wire()).cut()
    assert (await (await stage.wire()).accept()).version == 5
    await connecting
    await client.close()


@virtual
async def test_who_has_understood_5_is_not_asked_for_less(stage: Stage) -> None:
    """A server that is restarting closes many a connection."""
    async with stage.connect() as (client, wire), Watch(client) as watch:
        wire.cut()
        for _ in range(5):
            wire = await stage.wire()
            assert (await wire.receive(Connect)).version == 5
            wire.cut()
        assert (await (await stage.wire()).accept()).version == 5
        await settle()
        assert watch.kinds().count("Connected") == 1


@pytest.mark.parametrize("answer", ["close", "silence"])
@virtual
async def test_where_nothing_helps_the_error_names_the_versions(stage: Stage, answer: str) -> None:
    connecting = asyncio.ensure_future(stage.client(connect_timeout=3).connect())
    for _ in range(3 if answer == "close" else 2):
        wire = await stage.wire()
        await wire.receive(Connect)
        if answer == "close":
            wire.cut()
    with pytest.raises(curier.ConnectionLost, match=r"5\.0 and with 3\.1\.1; .*mqtts://") as caught:
        await connecting
    assert ("no CONNACK" if answer == "silence" else "closed the connection") in str(caught.value)
    assert len(stage.dialled) == (3 if answer == "close" else 2)


@virtual
async def test_what_311_is_refused_for_is_what_is_told(stage: Stage) -> None:
    connecting = asyncio.ensure_future(stage.client().connect())
    (await stage.wire()).cut()
    (await stage.wire()).cut()
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 5))
    with pytest.raises(curier.ConnectRefused) as caught:
        await connecting
    assert caught.value.reason_code == 0x87


@pytest.mark.parametrize(("version", "said"), [(5, r"5\.0"), (4, r"3\.1\.1"), (3, r"3\.1:")])
@virtual
async def test_a_refused_version_is_named(stage: Stage, version: int, said: str) -> None:
    connecting = asyncio.ensure_future(stage.client(version=version, client_id="me").connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send_bytes(b"\x20\x02\x00\x01")
    with pytest.raises(curier.ConnectRefused, match=said):
        await connecting
    assert len(stage.dialled) == 1


@virtual
async def test_versions_are_those_of_their_servers(stage: Stage) -> None:
    """One that knows no 5.0 does not take it away from the next."""
    client = stage.client(["mqtt://old", "mqtt://new"])
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    wire.send_bytes(b"\x20\x02\x00\x01")
    wire = await stage.wire()
    assert (await wire.accept()).version == 4
    await connecting
    stage.down["old"] = curier.ConnectionLost("down")
    wire.cut()
    wire = await stage.wire()
    assert (wire.url.host, (await wire.accept()).version) == ("new", 5)
    await settle()
    del stage.down["old"]
    stage.down["new"] = curier.ConnectionLost("down")
    wire.cut()
    wire = await stage.wire()
    assert (wire.url.host, (await wire.accept()).version) == ("old", 4)
    await settle()
    await client.close()
