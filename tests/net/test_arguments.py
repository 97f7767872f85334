"""What a broker is given by its program: slips are told at once, in one clear error."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Any

import pytest

import curier
from curier.auth import AllowAnonymous, Authenticator, Authorizer, Credentials, Verdict
from curier.broker.hooks import Hook
from curier.broker.options import Options
from curier.codec.packets import Connack, Connect, Puback, Publish
from curier.errors import ConfigError
from curier.listeners import DEFAULT_LISTEN
from curier.net import listening
from tests.net.harness import ANYWHERE, Peer, running


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hooks": [object()]}, "hooks: expected curier.Hook objects; got <object object"),
        ({"hooks": [Hook]}, "hooks: expected curier.Hook objects; got the class Hook, not an object of it"),
        ({"hooks": [Hook(), None]}, "hooks: expected curier.Hook objects; got None"),
        ({"hooks": Hook()}, "hooks: expected a list of curier.Hook objects; got <"),
        ({"hooks": 5}, "hooks: expected a list of curier.Hook objects; got 5"),
        ({"hooks": None}, "hooks: expected a list of curier.Hook objects; got None"),
        ({"hooks": "log"}, "hooks: expected curier.Hook objects; got 'l'"),
        (
            {"authenticator": object()},
            "authenticator: expected None, or a curier.auth.Authenticator; got <ob",
        ),
        ({"authenticator": AllowAnonymous}, "got the class AllowAnonymous, not an object of it"),
        (
            {"authenticator": "users"},
            "authenticator: expected None, or a curier.auth.Authenticator; got 'use",
        ),
        ({"authenticator": AllowAnonymous().authenticate}, "authenticator: expected None, or a curier.auth"),
        ({"authorizer": object()}, "authorizer: expected None, or a curier.auth.Authorizer; got <object"),
        ({"authorizer": AllowAnonymous()}, "authorizer: expected None, or a curier.auth.Authorizer; got <"),
        (
            {"options": {"max_sessions": 5}},
            "options: expected None, or curier.Options() with attributes set; ",
        ),
        ({"options": Options}, "got the class Options, not an object of it"),
        ({"data": 5}, "data: expected None, or the path of a directory; got 5"),
        ({"data": b"dir"}, "data: expected None, or the path of a directory; got b'dir'"),
        ({"listen": 1883}, "listen: expected a URL, or several, such as 'tcp://127.0.0.1:1883'; got 1883"),
        ({"listen": [1883]}, "listen: expected URLs such as 'tcp://127.0.0.1:1883', got 1883"),
        ({"listen": ("127.0.0.1", 1883)}, "'127.0.0.1': expected a URL such as tcp://127.0.0.1:1883"),
        ({"listen": b"tcp://127.0.0.1"}, "listen: expected URLs such as 'tcp://127.0.0.1:1883', got b'tcp"),
        ({"listen": [None]}, "listen: expected URLs such as 'tcp://127.0.0.1:1883', got None"),
        ({"listen": []}, "a broker needs at least one address to listen on, such as tcp://127.0.0.1:1883"),
        ({"listen": ""}, "'': expected a URL such as tcp://127.0.0.1:1883"),
        ({"listen": ["tcp://127.0.0.1"] * 2}, "tcp://127.0.0.1:1883 is to be listened on twice"),
        ({"listen": "tcp://127.0.0.1:99999"}, "ports go to 65535"),
        ({"listen": "tcp://127.0.0.1:-1"}, "ports go to 65535"),
        ({"listen": "tcp://127.0.0.1:mqtt"}, "ports go to 65535"),
        ({"listen": "tcp://127.0.0.1:1.5"}, "ports go to 65535"),
        ({"listen": "tcp://127.0.0.1: 1883"}, "ports go to 65535"),
        ({"listen": "tcp://[::1"}, "expected host and port"),
        ({"listen": "tcp://::1:1883"}, "expected an IPv6 address in brackets"),
        ({"listen": "127.0.0.1:1883"}, "expected a URL such as"),
        ({"listen": "udp://127.0.0.1:1883"}, "not udp://"),
        ({"durability": "disk"}, "durability is fsync, os or memory, not 'disk'"),
        ({"durability": None}, "durability is fsync, os or memory, not None"),
        ({"durability": ["fsync"]}, "durability is fsync, os or memory, not ['fsync']"),
    ],
)
def test_a_slip_is_one_clear_error(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ConfigError)) as caught:
        curier.Broker(**arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


async def test_one_url_is_one_listener() -> None:
    async with curier.Broker(ANYWHERE) as broker:
        assert broker.urls == [f"tcp://127.0.0.1:{broker.port}"]


# -- answers that are none --


class Odd(Authenticator, Authorizer):
    """Answers with whatever it has been given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def authenticate(self, credentials: Credentials) -> Verdict:
        return self.answer  # type: ignore[return-value]

    async def authorize(self, *_: object) -> Verdict:
        return self.answer  # type: ignore[return-value]


class Plain(Authenticator):
    """Has forgotten to be async."""

    def authenticate(self, credentials: Credentials) -> Verdict:  # type: ignore[override]
        return Verdict(0)


ODD = (
    None,
    True,
    0,
    "s3cret",
    (0, "s3cret"),
    Verdict("s3cret"),  # type: ignore[arg-type]
    Verdict(0, None),  # type: ignore[arg-type]
    Verdict(0, identity=b"s3cret"),  # type: ignore[arg-type]
    Verdict(0, authentication_data="s3cret"),  # type: ignore[arg-type]
)


@pytest.mark.parametrize("authenticator", [*(Odd(answer) for answer in ODD), Plain()])
async def test_an_authenticator_whose_answer_is_none_refuses(
    use_reactor: bool, authenticator: Authenticator, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(use_reactor, authenticator=authenticator) as broker:
        peer = await Peer.open(broker.port, 5)
        await peer.send(Connect(5, "c", True, 0, "user", b"word"))
        assert (await peer.expect(Connack)).reason_code == 0x88
        await peer.ended()
    assert "the authenticator failed; c is refused" in caplog.text
    assert "TypeError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("answer", ODD)
async def test_an_authorizer_whose_answer_is_none_refuses(
    use_reactor: bool, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(use_reactor, authorizer=Odd(answer)) as broker,
        await Peer.connect(broker.port, "c", 5) as client,
    ):
        await client.send(Publish("t", b"", 1, False, False, 1))
        assert (await client.expect(Puback)).reason_code == 0x87
    assert "the authorizer failed; c may not publish t" in caplog.text
    assert "s3cret" not in caplog.text


# -- addresses --


def lacks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return True
    return False


def a_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """What is listened on by default, at another port: 1883 may be in use here."""
    port = a_port()
    listen = tuple(url.replace("1883", str(port)) for url in DEFAULT_LISTEN)
    monkeypatch.setattr("curier.server.DEFAULT_LISTEN", listen)
    return listen


@pytest.fixture
def no_ipv6(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A system without addresses of IPv6, or without IPv6 at all."""
    number = request.param
    bind = listening._bind

    def refuse(place: Any, port: int, reuse_port: bool) -> socket.socket:
        if place[0] == socket.AF_INET6:
            raise OSError(number, "no IPv6 here")
        return bind(place, port, reuse_port)

    monkeypatch.setattr(listening, "_bind", refuse)


def test_the_default_is_this_machine_in_both_families() -> None:
    assert DEFAULT_LISTEN == ("tcp://127.0.0.1:1883", "tcp://[::1]:1883")


@pytest.mark.skipif(lacks_ipv6(), reason="there is no IPv6 here")
async def test_both_addresses_of_the_default_are_listened_on(
    use_reactor: bool, defaults: Sequence[str]
) -> None:
    async with running(use_reactor, listen=defaults) as broker:
        assert broker.urls == list(defaults)
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, broker.port)
            writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c")
            assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
            writer.close()


@pytest.mark.parametrize("no_ipv6", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT], indirect=True)
@pytest.mark.usefixtures("no_ipv6")
async def test_where_there_is_no_ipv6_the_default_does_without(
    defaults: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with curier.Broker(defaults) as broker:
        assert broker.urls == [defaults[0]]
    assert caplog.text == ""
    async with curier.Broker("tcp://localhost:0") as broker:
        assert broker.urls == [f"tcp://localhost:{broker.port}"]


@pytest.mark.parametrize("no_ipv6", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT], indirect=True)
@pytest.mark.usefixtures("no_ipv6")
async def test_ipv6_that_was_asked_for_is_not_done_without() -> None:
    for listen in ("tcp://[::1]:0", [ANYWHERE, "tcp://[::1]:0"]):
        with pytest.raises(OSError, match=r"cannot listen on tcp://\[::1\]:0: no IPv6 here"):
            await curier.Broker(listen).start()


@pytest.mark.parametrize("no_ipv6", [errno.EADDRINUSE, errno.EACCES], indirect=True)
@pytest.mark.usefixtures("no_ipv6")
async def test_another_program_on_one_of_the_two_is_an_error(defaults: Sequence[str]) -> None:
    with pytest.raises(OSError, match=r"cannot listen on tcp://\[::1\]"):
        await curier.Broker(defaults).start()


@pytest.mark.parametrize("fails", [1, listening.PORT_TRIES])
async def test_a_free_port_is_free_on_every_address_of_a_name(
    monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
    ports: list[int] = []
    bind = listening._bind

    def busy(place: Any, port: int, reuse_port: bool) -> socket.socket:
        if port:
            ports.append(port)
            if len(ports) <= fails:
                raise OSError(errno.EADDRINUSE, "in use")
        return bind(place, port, reuse_port)

    async def getaddrinfo(*_: object, **__: object) -> object:
        return places

    monkeypatch.setattr(listening, "_bind", busy)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    if fails == listening.PORT_TRIES:
        with pytest.raises(OSError, match="in use"):
            await listening.bind("two.example", 0)
        return
    sockets = await listening.bind("two.example", 0)
    assert {sock.getsockname() for sock in sockets} == {("127.0.0.1", ports[-1]), ("127.0.0.2", ports[-1])}
    for sock in sockets:
        sock.close()
