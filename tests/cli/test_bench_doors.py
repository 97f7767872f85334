"""``curier bench`` by TLS, by WebSocket, by both, and by a Unix socket."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import curier
from curier.codec.encode import encode
from curier.codec.packets import Publish
from curier.errors import ConnectionLost
from curier.listeners import Listener
from curier.loadgen import Plan
from curier.loadgen.tunnel import TlsTunnel, Tunnels, WebTunnel, masked_frames
from curier.net.frames import FrameReader
from tests.cli.test_bench import Ran, bench
from tests.net.doors import DOORS, Authority, authority, server_files

SCHEMES = {"tls": "mqtts", "ws": "ws", "wss": "wss", "unix": "unix"}


@contextmanager
def serving(listener: Listener) -> Iterator[curier.Broker]:
    """A broker in a thread."""
    ready = threading.Event()
    found: list[curier.Broker] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with curier.Broker(listen=[listener]) as broker:
            found.append(broker)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(100)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module", params=list(SCHEMES))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a broker that is reached by one of them."""
    listener = DOORS[request.param].listener()
    with serving(listener) as broker:
        if request.param == "unix":
            yield listener.url
        else:
            yield f"{SCHEMES[request.param]}://127.0.0.1:{broker.port}"


def by(url: str, scenario: str, *options: object) -> Ran:
    trusted = ("--cafile", authority().file) if url.startswith(("mqtts", "wss")) else ()
    return bench(scenario, url, "--json", *trusted, *options)


@pytest.mark.parametrize("batched", [(), ("--batched",)])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("scenario", ["pub", "fanout", "pairs", "rr"])
def test_every_message_arrives(url: str, scenario: str, qos: int, batched: tuple[str, ...]) -> None:
    options = ("--subscribers", 3) if scenario == "fanout" else ()
    ran = by(url, scenario, "--messages", 300, "--qos", qos, *options, *batched)
    assert ran.code == 0, ran.json
    assert ran.json["ok"]
    assert ran.json["published"] == 300


def test_large_messages(url: str) -> None:
    ran = by(url, "pairs", "--publishers", 2, "--payload", "300 KiB", "--messages", 20)
    assert ran.code == 0, ran.json
    assert ran.json["checks"]["received"] == 20


def test_connections(url: str) -> None:
    ran = by(url, "connect", "--connections", 50)
    assert ran.code == 0, ran.json
    assert ran.json["connections"] == 50


def test_a_certificate_that_nobody_trusts() -> None:
    with serving(DOORS["tls"].listener()) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        ran = bench("pubsub", url, "--cafile", Authority().file, "--json")
    assert ran.code != 0
    assert "its certificate is not trusted" in ran.err


def test_the_name_in_a_certificate() -> None:
    certificate, key = authority().issue("broker.example")
    with serving(Listener("tls://127.0.0.1:0", certificate=certificate, key=key)) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        arguments = ("pubsub", url, "--cafile", authority().file, "--messages", 10)
        assert "IP address mismatch" in bench(*arguments).err
        assert bench(*arguments, "--insecure").code == 0


def test_a_certificate_of_the_clients(tmp_path: Path) -> None:
    certificate, key = server_files()
    listener = Listener("tls://127.0.0.1:0", certificate=certificate, key=key, client_ca=authority().file)
    own, own_key = authority().issue("client.example", common_name="client")
    with serving(listener) as broker:
        arguments = (
            "pubsub", f"mqtts://127.0.0.1:{broker.port}", "--cafile", authority().file, "--messages", 10
        )  # fmt: skip
        assert bench(*arguments).code != 0
        ran = bench(*arguments, "--cert", own, "--key", own_key)
        assert ran.code == 0, ran.err


def test_a_path_that_is_not_there() -> None:
    with serving(Listener("ws://127.0.0.1:0/mqtt")) as broker:
        assert bench("pubsub", f"ws://127.0.0.1:{broker.port}/mqtt", "--messages", 10).code == 0
        ran = bench("pubsub", f"ws://127.0.0.1:{broker.port}/other")
    assert ran.code != 0
    assert "refused the WebSocket at /other: " in ran.err


@pytest.mark.parametrize(
    ("there", "by"), [("ws", "mqtts"), ("tls", "ws"), ("tls", "mqtt"), ("ws", "mqtt"), ("tcp", "mqtts")]
)
def test_another_door(there: str, by: str) -> None:
    with serving(DOORS[there].listener()) as broker:
        ran = bench("pubsub", f"{by}://127.0.0.1:{broker.port}", "--messages", 10)
    assert ran.code != 0
    assert "-p0: " in ran.err or "-s0: " in ran.err


@pytest.mark.parametrize(
    ("url", "options"),
    [("tcp://127.0.0.1", ("--cafile", "x")), ("ws://127.0.0.1", ("--insecure",))],
)
def test_options_of_tls_without_tls(url: str, options: tuple[str, ...]) -> None:
    ran = bench("pubsub", url, *options)
    assert ran.code == 2
    assert "mqtts:// and wss://" in ran.err


@given(st.integers(1, 300), st.integers(1, 40), st.randoms())
def test_frames_are_what_was_sent_whatever_their_size(size: int, count: int, random: object) -> None:
    data = bytes(number * 7 % 251 for number in range(size * count))
    made, length = masked_frames(bytearray(data), size)
    frames = bytes(made)
    assert len(frames) == length * count
    masks = set()
    for at in range(0, len(frames), length):  # each is whole by itself
        head = 2 if size < 126 else 4
        masks.add(frames[at + head : at + head + 4])
        assert FrameReader(True).read(frames[at : at + length]) == data[at // length * size :][:size]
    assert FrameReader(True).read(frames) == data


def packets(count: int) -> bytearray:
    return bytearray(encode(Publish("a/b", b"x" * 40, 0), 4) * count)


def records(data: bytes) -> int:
    """How many records of TLS there are."""
    at = count = 0
    while at < len(data):
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
        count += 1
    return count


@pytest.mark.parametrize("batched", [False, True])
def test_a_record_for_each_packet_unless_batched(batched: bool) -> None:
    plan = Plan("pub", tls=authority().client_context(), batched=batched)
    client = Tunnels(plan)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server_files())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(client.begin())
    for _ in range(3):
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        if answer := outgoing.read():
            _, said = client.receive(answer)
            incoming.write(said)
    assert client.is_open
    sent = bytes(client.send([packets(10), packets(1)]))
    assert records(sent) == (1 if batched else 11)
    incoming.write(sent)
    got = b""
    while incoming.pending:
        got += server.read(16384)
    assert got == packets(11)


def test_a_broker_that_is_no_friend_of_tls() -> None:
    tunnel = TlsTunnel(authority().client_context(), "127.0.0.1")
    tunnel.begin()
    with pytest.raises(ConnectionLost, match="TLS failed"):
        tunnel.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("frames", "said"),
    [(b"\x81\x01x", "broke a rule"), (b"\x88\x02\x03\xe8", "closed the WebSocket: 1000")],
)
def test_frames_that_are_an_end(frames: bytes, said: str) -> None:
    tunnel = WebTunnel(Plan("pub", web_path="/mqtt"))
    tunnel.is_open = True
    with pytest.raises(ConnectionLost, match=said):
        tunnel.receive(frames)


def test_a_ping_is_answered() -> None:
    tunnel = WebTunnel(Plan("pub", web_path="/mqtt"))
    tunnel.is_open = True
    plain, [(pong, _)] = tunnel.receive(b"\x89\x02hi")
    assert plain == b""
    assert pong[:2] == b"\x8a\x82"


def test_a_server_that_does_not_take_the_subprotocol() -> None:
    tunnel = WebTunnel(Plan("pub", web_path="/mqtt"))
    [(request, _)] = tunnel.begin()
    assert b"Sec-WebSocket-Protocol: mqtt\r\n" in request
    with pytest.raises(ConnectionLost, match="refused the WebSocket at /mqtt"):
        tunnel.receive(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
