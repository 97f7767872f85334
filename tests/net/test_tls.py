"""TLS on the network: the wires, the handshakes, and clients who do what they should not."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl

import pytest

from curier.auth import Authenticator, Credentials, Verdict
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Disconnect, Puback, Publish
from curier.listeners import Listener
from tests.net import doors
from tests.net.harness import Exchange, Peer, is_time_to_cut, options, running
from tests.waiting import until


@pytest.fixture(autouse=True)
def by_tls(use_reactor: bool) -> None:
    doors._current = doors.DOORS["tls"]  # ``use_reactor`` puts it back


async def plain(port: int, first: bytes) -> bytes:
    """Say something without TLS; returns what comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        return await reader.read()
    finally:
        writer.close()


async def test_messages_of_all_sizes(use_reactor: bool) -> None:
    async with running(use_reactor) as broker, Exchange(broker.port) as exchange:
        peer = await Peer.connect(broker.port, "c")
        await peer.subscribe("t", 1)
        for size in (0, 1, 16_370, 16_384, 70_000, 3_000_000):
            payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
            await peer.send(Publish("t", payload, 1, False, False, 1))
            got = [await peer.receive(), await peer.receive()]
            publish = next(packet for packet in got if isinstance(packet, Publish))
            assert publish.payload == payload
            await peer.send(Puback(publish.packet_id))
        await exchange.rounds(5)
        assert broker.core.traffic.bytes_sent > 3_000_000


async def test_what_was_said_before_the_end_counts(use_reactor: bool) -> None:
    """CONNECT, PUBLISH and the end in one go, and nothing is read (RFC 8446: tickets are on their way)."""
    async with running(use_reactor) as broker:
        other = await Peer.connect(broker.port, "other")
        await other.subscribe("t")
        for end in (b"\xe0\x00", b""):
            peer = await Peer.open(broker.port, 4)
            peer.deafen()
            await peer.send(Connect(4, "c", True, 0), Publish("t", b"last"), end)
            await peer.close()
            assert (await other.message()).payload == b"last"
        await until(lambda: "c" not in broker.core.sessions)


async def test_everything_behind_the_hello_in_one_piece(use_reactor: bool) -> None:
    """Not even the handshake is waited for: what a hasty client has sent is worked on all the same."""
    async with running(use_reactor) as broker:
        other = await Peer.connect(broker.port, "other")
        await other.subscribe("t")
        client, outgoing, writer = await shaken(broker.port)
        client.write(encode(Connect(4, "c", True, 0), 4) + encode(Publish("t", b"x" * 200_000), 4))
        writer.write(outgoing.read())
        writer.write_eof()
        assert len((await other.message()).payload) == 200_000
        writer.close()


async def test_a_refusal_and_close_notify_reach_the_client(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        peer = await Peer.connect(broker.port, "c", 5)
        await peer.send(b"\x00\x00", bytes(1_000_000))
        assert (await peer.expect(Disconnect)).reason_code == 0x81
        await peer.ended()  # asyncio would raise an error for an end without close_notify
        await until(lambda: not broker.core.connections)


async def shaken(port: int) -> tuple[ssl.SSLObject, ssl.MemoryBIO, asyncio.StreamWriter]:
    """The end of a handshake: a client without a loop's TLS, what it has to say, and where."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = doors.trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        try:
            client.do_handshake()
            return client, outgoing, writer
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(65536))


async def test_who_says_goodbye_and_closes_tls_is_not_waited_for() -> None:
    async with running(True) as broker:
        assert broker._reactor is not None
        wires = broker._reactor.wires
        statistics = broker.core.statistics
        for closes in (False, True):
            statistics.connects = 0
            client, outgoing, writer = await shaken(broker.port)
            client.write(encode(Connect(4, "c", True, 0), 4) + encode(Disconnect(), 4))
            if closes:
                with pytest.raises(ssl.SSLWantReadError):
                    client.unwrap()  # close_notify, and the socket stays open
            writer.write(outgoing.read())
            await until(lambda: statistics.connects == 1 and not broker.core.connections)
            assert is_time_to_cut(broker, math.inf)
            if closes:
                await until(lambda: not wires)
            assert bool(wires) != closes
            writer.transport.abort()
            await until(lambda: not wires)


async def test_closing_in_order_is_no_disconnect(use_reactor: bool) -> None:
    from curier.codec.packets import Will

    async with running(use_reactor) as broker:
        other = await Peer.connect(broker.port, "other")
        await other.subscribe("will")
        peer = await Peer.connect(broker.port, "c", will=Will("will", b"gone", 0, False))
        await peer.close()
        assert (await other.message()).payload == b"gone"


async def test_what_is_not_tls_is_told_what_this_is(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(use_reactor) as broker:
        assert (await plain(broker.port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert await plain(broker.port, encode(Connect(4, "c", True, 0), 4)) == b""
        assert b"speaks TLS" in await plain(broker.port, encode(Connect(5, "c", True, 0), 5))
        assert await plain(broker.port, b"hello") == b""
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 4
    assert all(broker.urls[0] in line for line in said)


async def test_a_handshake_that_is_not_finished_ends_in_time(use_reactor: bool) -> None:
    async with running(use_reactor, options=options(connect_timeout=0.2)) as broker:
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        half, half_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        half_writer.write(b"\x16\x03\x01\x02\x00\x01")
        assert await silent.read() == b""
        assert await half.read() == b""
        silent_writer.close()
        half_writer.close()
        await until(lambda: not broker.core.connections)


async def test_who_hangs_up_during_the_handshake_costs_a_line(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has said nothing, as those do that only look whether the port is open, costs none."""
    async with running(use_reactor) as broker, Exchange(broker.port) as exchange:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = doors.trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        for size in (0, 1, len(hello) - 1, len(hello)):
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
                writer.write(hello[:size])
                writer.close()
        await exchange.rounds(3)
        await until(lambda: len(broker.core.connections) == 2)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    told = [line for line in said if f"at {broker.urls[0]} has broken off the TLS handshake" in line]
    left_out = [int(line.split()[0]) for line in said if "more lines were left out" in line]
    assert len(told) + sum(left_out) == 60
    assert len(told) >= 20
    assert len(said) == len(told) + len(left_out)


async def test_who_ends_behind_the_handshake_costs_no_line(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As those do that look how long the certificate lasts."""
    async with running(use_reactor) as broker:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", broker.port, ssl=doors.trusting(), server_hostname="localhost"
        )
        writer.close()
        await writer.wait_closed()
        await until(lambda: not broker.core.connections)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_resumption(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        loop = asyncio.get_running_loop()

        def connect(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
            import socket

            with (
                socket.create_connection(("127.0.0.1", broker.port)) as raw,
                doors.trusting().wrap_socket(raw, server_hostname="localhost", session=session) as sock,
            ):
                sock.sendall(encode(Connect(4, "c", True, 0), 4))
                assert sock.recv(4) == encode(Connack(False, 0), 4)
                return bool(sock.session_reused), sock.session

        was_reused, session = await loop.run_in_executor(None, connect, None)
        assert not was_reused
        was_reused, _ = await loop.run_in_executor(None, connect, session)
        assert was_reused


class Recorder(Authenticator):
    """Lets everybody in, and remembers them."""

    def __init__(self) -> None:
        self.seen: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.seen.append(credentials)
        return Verdict(0)


def with_client(*, has_certificate: bool, version: ssl.TLSVersion, by: doors.Authority) -> ssl.SSLContext:
    context = doors.authority().client_context()
    context.maximum_version = version
    if has_certificate:
        context.load_cert_chain(*by.issue("dev1", common_name="device 1"))
    return context


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_authenticator_sees_the_certificate(use_reactor: bool, version: ssl.TLSVersion) -> None:
    certificate, key = doors.server_files()
    listener = Listener(
        "tls://127.0.0.1:0",
        certificate=certificate,
        key=key,
        client_ca=doors.authority().file,
        client_certificates="optional",
    )
    recorder = Recorder()
    async with running(use_reactor, listen=[listener], authenticator=recorder) as broker:
        for has_certificate in (True, False):
            context = with_client(has_certificate=has_certificate, version=version, by=doors.authority())
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.port, ssl=context)
            peer = Peer(reader, writer, 4)
            await peer.send(Connect(4, "c", True, 0))
            await peer.expect(Connack)
    shown, none = (credentials.certificate for credentials in recorder.seen)
    assert none is None
    assert shown is not None
    assert ((("commonName", "device 1"),)) in shown.fields["subject"]
    assert b"device 1" in shown.der


async def say_connect(port: int, context: ssl.SSLContext) -> None:
    """As soon as the client believes that it may."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(encode(Connect(4, "c", True, 0), 4) * 100)
        await reader.read()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who", ["nobody", "stranger"])
async def test_a_refused_certificate_is_told_with_an_alert(
    use_reactor: bool, version: ssl.TLSVersion, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In TLS 1.3 the client believes that all is well by then, and says CONNECT."""
    certificate, key = doors.server_files()
    listener = Listener(
        "tls://127.0.0.1:0", certificate=certificate, key=key, client_ca=doors.authority().file
    )
    context = with_client(has_certificate=who == "stranger", version=version, by=doors.Authority())
    async with running(use_reactor, listen=[listener]) as broker:
        with pytest.raises(ssl.SSLError, match="ALERT"):
            await say_connect(broker.port, context)
        assert not broker.core.sessions
        await until(lambda: not broker.core.connections)
    said = [record.getMessage() for record in caplog.records if record.name == "curier.net"]
    assert len(said) == 1
    assert "certificate" in said[0]


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_shows_a_certificate_gets_no_ticket_of_tls_1_3(
    use_reactor: bool, version: ssl.TLSVersion
) -> None:
    """In 1.2, OpenSSL would keep the sessions itself if it gave none, and resume them all the same."""
    certificate, key = doors.server_files()
    listener = Listener(
        "tls://127.0.0.1:0", certificate=certificate, key=key, client_ca=doors.authority().file
    )
    context = with_client(has_certificate=True, version=version, by=doors.authority())
    async with running(use_reactor, listen=[listener]) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port, ssl=context)
        peer = Peer(reader, writer, 4)
        await peer.send(Connect(4, "c", True, 0))
        await peer.expect(Connack)
        session = writer.get_extra_info("ssl_object").session
        assert (session is not None and session.has_ticket) == (version == ssl.TLSVersion.TLSv1_2)
