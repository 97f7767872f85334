"""Dialing through HTTP and SOCKS 5 proxies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from curier.client.dial import TlsSettings
from curier.client.dialing.proxy import HEAD_BYTES
from curier.errors import ConnectionLost
from tests.client.certificates import Certificates, make_certificates
from tests.client.servers import (
    Proxy,
    call,
    cancel_everywhere,
    echo,
    mute,
    on_every_loop,
    runs_into_its_limit,
    saying,
    serving,
)

pytestmark = pytest.mark.slow

KINDS = pytest.mark.parametrize("kind", ["http", "socks5"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@KINDS
@on_every_loop
async def test_a_proxy_looks_names_up(kind: str) -> None:
    proxy = Proxy(kind)
    async with serving(echo) as port, serving(proxy.handle) as at:
        # Nobody but the proxy knows broker.test.
        user = await call(f"mqtt://broker.test:{port}", proxy=f"{kind}://127.0.0.1:{at}")
        assert await user.ask(b"hello") == b"hello"
        assert proxy.asked == [("broker.test", port)]
        await user.close()


@KINDS
@on_every_loop
async def test_addresses_go_as_addresses(kind: str) -> None:
    proxy = Proxy(kind)
    async with serving(echo) as port, serving(proxy.handle) as at:
        for host in ("127.0.0.1", "[2001:db8::1]"):
            user = await call(f"mqtt://{host}:{port}", proxy=f"{kind}://localhost:{at}")
            assert await user.ask(b"hello") == b"hello"
            await user.close()
    shown = "[2001:db8::1]" if kind == "http" else "2001:db8::1"
    assert proxy.asked == [("127.0.0.1", port), (shown, port)]


@KINDS
@on_every_loop
async def test_user_and_password(kind: str) -> None:
    proxy = Proxy(kind, "me", "s3cret:ü")
    async with serving(echo) as port, serving(proxy.handle) as at:
        url = f"mqtt://broker.test:{port}"
        user = await call(url, proxy=f"{kind}://me:s3cret%3A%C3%BC@127.0.0.1:{at}")
        assert await user.ask(b"hello") == b"hello"
        await user.close()
        with pytest.raises(ConnectionLost) as caught:
            await call(url, proxy=f"{kind}://me:wr0ng@127.0.0.1:{at}")
        assert "user and password" in str(caught.value)
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(ConnectionLost) as caught:
            await call(url, proxy=f"{kind}://127.0.0.1:{at}")
        assert f"it wants a user and password: {kind}://USER:PASSWORD@127.0.0.1:{at}" in str(caught.value)


@KINDS
@on_every_loop
async def test_tls_behind_a_proxy(certificates: Certificates, kind: str) -> None:
    proxy = Proxy(kind)
    tls = TlsSettings(ca_file=certificates.ca)
    async with serving(echo, certificates.server()) as port, serving(proxy.handle) as at:
        user = await call(f"mqtts://broker.test:{port}", proxy=f"{kind}://127.0.0.1:{at}", tls=tls)
        assert await user.ask(b"x" * 300_000) == b"x" * 300_000
        await user.close()
        # The name in the certificate is the server's, not the proxy's.
        with pytest.raises(ConnectionLost, match=r"the certificate of other\.test is not valid"):
            await call(f"mqtts://other.test:{port}", proxy=f"{kind}://localhost:{at}", tls=tls)


@KINDS
@on_every_loop
async def test_a_proxy_that_cannot_connect(kind: str) -> None:
    async with serving(Proxy(kind).handle) as at:
        with pytest.raises(ConnectionLost) as caught:
            await call("mqtt://broker.test:1", proxy=f"{kind}://127.0.0.1:{at}")
    why = "502 Bad Gateway" if kind == "http" else "the connection was refused"
    assert str(caught.value) == (
        f"the proxy {kind}://127.0.0.1:{at} does not connect to broker.test:1: {why}"
    )


@KINDS
@on_every_loop
async def test_a_proxy_that_is_not_there(kind: str) -> None:
    with pytest.raises(ConnectionLost, match=r"cannot connect to the proxy .*: connection refused"):
        await call("mqtt://broker.test", proxy=f"{kind}://127.0.0.1:1")


@KINDS
@on_every_loop
async def test_the_time_limit_covers_the_proxy(kind: str) -> None:
    async with serving(mute) as at:
        proxy = f"{kind}://127.0.0.1:{at}"
        await runs_into_its_limit(f"waiting for the proxy {kind}://", "mqtt://broker.test", proxy=proxy)


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        ("http", b"SSH-2.0-x\r\n\r\n", "did not answer in HTTP; is it an HTTP proxy?"),
        ("http", b"HTTP/1.1 403 No\x1b[31m!\r\n\r\n", "403 No?[31m!"),
        ("http", b"HTTP/1.1 200\r\n" + b"x" * HEAD_BYTES, f"answered more than {HEAD_BYTES} bytes"),
        ("http", b"HTTP/1.1 200 O", "closed the connection"),
        ("http", b"", "closed the connection"),
        ("socks5", b"HT", "does not speak SOCKS 5"),
        ("socks5", b"\x05\x02", "chose a way to authenticate that was not offered: 2"),
        ("socks5", b"\x05\x00\x04\x00\x00\x01", "does not speak SOCKS 5"),
        ("socks5", b"\x05\x00\x05\x00\x00\x09", "does not speak SOCKS 5"),
        ("socks5", b"\x05\x00\x05\x02", "its rules do not allow that"),
        ("socks5", b"\x05\x00\x05\x63", "code 99"),
        ("socks5", b"\x05\x00\x05\x00\x00\x03\x05abc", "closed the connection"),
    ],
)
@on_every_loop
async def test_proxies_that_answer_nonsense(kind: str, answer: bytes, said: str) -> None:
    async with serving(saying(answer)) as at:
        with pytest.raises(ConnectionLost) as caught:
            await call("mqtt://broker.test", proxy=f"{kind}://127.0.0.1:{at}")
    assert str(caught.value).startswith(f"the proxy {kind}://127.0.0.1:{at} ")
    assert said in str(caught.value)


@on_every_loop
async def test_answers_byte_by_byte() -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.0 200 Connection established\r\nA: b\r\n\r\nwelcome":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await echo(reader, writer)

    async with serving(slowly) as at:
        user = await call("mqtt://broker.test", proxy=f"http://127.0.0.1:{at}")
        await user.until(lambda: user.data == b"welcome")
        assert await user.ask(b"hello") == b"hello"
        await user.close()


@on_every_loop
async def test_nothing_in_the_clear_gets_behind_tls(certificates: Certificates) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\n\r\ninjected", mute)) as at:
        with pytest.raises(ConnectionLost, match="speaks before it is asked: not MQTT"):
            await call(
                "mqtts://broker.test",
                proxy=f"http://127.0.0.1:{at}",
                tls=TlsSettings(ca_file=certificates.ca),
            )


@KINDS
@on_every_loop
async def test_cancelled_at_every_step_it_leaves_nothing_open(kind: str) -> None:
    async with serving(echo) as port, serving(Proxy(kind, "me", "pw").handle) as at:
        await cancel_everywhere(f"mqtt://broker.test:{port}", proxy=f"{kind}://me:pw@127.0.0.1:{at}")


@pytest.mark.parametrize(("kind", "scheme"), [("http", "mqtt"), ("socks5", "mqtt"), ("socks5", "mqtts")])
@on_every_loop
async def test_cut_after_every_byte(certificates: Certificates, kind: str, scheme: str) -> None:
    """Whatever the proxy sends before it is gone, the caller hears of it, in one of two ways."""
    secure = scheme == "mqtts"
    settings: dict[str, Any] = {"tls": TlsSettings(ca_file=certificates.ca)} if secure else {}
    whole = Proxy(kind, "me", "pw")
    async with serving(echo, certificates.server() if secure else None) as port:
        url = f"{scheme}://broker.test:{port}"

        async def through(proxy: Proxy) -> bytes:
            async with serving(proxy.handle) as at:
                user = await call(url, proxy=f"{kind}://me:pw@127.0.0.1:{at}", **settings)
                try:
                    return await user.ask(b"hello")
                finally:
                    await user.close()

        assert await through(whole) == b"hello"
        answers = refused = 0
        for limit in range(1, whole.sent, 53 if secure else 1):
            try:
                data = await through(Proxy(kind, "me", "pw", limit))
            except ConnectionLost:
                refused += 1
            else:
                assert data in (b"", b"h", b"he", b"hel", b"hell")
                answers += 1
        assert refused > 10
        assert secure or answers == 5
