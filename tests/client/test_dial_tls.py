"""Dialing with TLS: whom it trusts, who it is, and what it says when that does not do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.client.dial import DialSettings, TlsSettings, dial
from curier.client.urls import parse_server_url
from curier.errors import ConfigError, ConnectionLost
from tests.client.certificates import Certificates, make_certificates
from tests.client.servers import (
    User,
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


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[int]:
    """A server that refuses one handshake with an alert; asyncio's would close without one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(ssl.SSLError):
                context.wrap_socket(sock, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@on_every_loop
async def test_tls(certificates: Certificates) -> None:
    async with serving(echo, certificates.server()) as port:
        for host in ("localhost", "127.0.0.1"):
            user = await call(f"mqtts://{host}:{port}", tls=TlsSettings(ca_file=certificates.ca))
            assert await user.ask(b"x" * 100_000) == b"x" * 100_000
            assert user.transport is not None
            assert user.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
            await user.close()
            assert user.error is None


async def test_keys_for_wireshark_in_a_file_that_is_ours_alone(
    certificates: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / "keys.log"
    async with serving(echo, certificates.server()) as port:
        tls = TlsSettings(ca_file=certificates.ca, key_log_file=file)
        user = await call(f"mqtts://localhost:{port}", tls=tls)
        await user.close()
    assert "CLIENT_TRAFFIC_SECRET_0" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match=r"key_log_file .*no/where: No such file"):
        await call("mqtts://localhost:1", tls=TlsSettings(key_log_file=tmp_path / "no" / "where"))


@on_every_loop
async def test_a_context_of_ones_own(certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(echo, certificates.server()) as port:
        user = await call(f"mqtts://localhost:{port}", tls=context)
        assert await user.ask(b"hello") == b"hello"
        assert user.transport is not None
        assert user.transport.get_extra_info("ssl_object").version() == "TLSv1.2"
        await user.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("expired", ["certificate has expired", "or the clock of this machine is wrong"]),
        ("early", ["not yet valid", "or the clock of this machine is wrong"]),
        ("other", ["not valid for 'localhost'", "or give that as server_name"]),
        ("stranger", ["unable to get local issuer", "name their certificate as ca_file"]),
    ],
)
@on_every_loop
async def test_a_certificate_that_is_not_valid(
    certificates: Certificates, name: str, said: list[str]
) -> None:
    async with serving(echo, certificates.server(name)) as port:
        with pytest.raises(ConnectionLost) as caught:
            await call(f"mqtts://localhost:{port}", tls=TlsSettings(ca_file=certificates.ca))
    assert str(caught.value).startswith("the certificate of localhost is not valid: ")
    for words in said:
        assert words in str(caught.value)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@on_every_loop
async def test_without_settings_the_system_decides(certificates: Certificates) -> None:
    async with serving(echo, certificates.server()) as port:
        for tls in (None, TlsSettings()):
            with pytest.raises(ConnectionLost, match="name their certificate as ca_file"):
                await call(f"mqtts://localhost:{port}", tls=tls)


@on_every_loop
async def test_insecure_says_so(certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo, certificates.server("stranger")) as port:
        user = await call(f"mqtts://localhost:{port}", tls=TlsSettings(insecure=True))
        assert await user.ask(b"hello") == b"hello"
        await user.close()
    assert caplog.messages == [
        f"mqtts://localhost:{port}: insecure: the server's certificate is not verified"
    ]


@on_every_loop
async def test_another_name_for_the_server(certificates: Certificates) -> None:
    async with serving(echo, certificates.server("other")) as port:
        tls = TlsSettings(ca_file=certificates.ca, server_name="other.example")
        user = await call(f"mqtts://localhost:{port}", tls=tls)
        assert await user.ask(b"hello") == b"hello"
        await user.close()


@on_every_loop
async def test_a_client_certificate(certificates: Certificates) -> None:
    where = certificates.directory
    ways: list[dict[str, Any]] = [
        {"certificate": where / "client.pem"},
        {"certificate": where / "client.crt", "key": str(where / "client.key")},
        {
            "certificate": where / "client.crt",
            "key": where / "encrypted.key",
            "key_password": "open sesame",
        },
    ]

    async def name(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (_, found), *_ = writer.get_extra_info("peercert")["subjectAltName"]
        writer.write(found.encode())
        await mute(reader, writer)

    async with serving(name, certificates.server(client=True)) as port:
        for way in ways:
            user = await call(f"mqtts://localhost:{port}", tls=TlsSettings(ca_file=certificates.ca, **way))
            await user.until(lambda user=user: user.data == b"client@example.org")  # type: ignore[misc]
            await user.close()


@on_every_loop
async def test_a_client_certificate_that_is_missing(certificates: Certificates) -> None:
    server = certificates.server(client=True)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    with refusing(server) as port:
        with pytest.raises(ConnectionLost, match="it may want a client certificate"):
            await call(f"mqtts://localhost:{port}", tls=TlsSettings(ca_file=certificates.ca))


@on_every_loop
async def test_alpn(certificates: Certificates) -> None:
    server = certificates.server()
    server.set_alpn_protocols(["mqtt"])
    tls = TlsSettings(ca_file=certificates.ca, alpn=("x-other", "mqtt"))
    async with serving(echo, server) as port:
        user = await call(f"mqtts://localhost:{port}", tls=tls)
        assert user.transport is not None
        assert user.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "mqtt"
        await user.close()


@on_every_loop
async def test_a_server_with_old_tls_only(certificates: Certificates) -> None:
    server = certificates.server()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = TlsSettings(ca_file=certificates.ca, minimum_version="1.3")
    with refusing(server) as port:
        with pytest.raises(ConnectionLost, match="no TLS version that minimum_version allows"):
            await call(f"mqtts://localhost:{port}", tls=tls)


@on_every_loop
async def test_a_port_without_tls(certificates: Certificates) -> None:
    async with serving(saying(b"\x20\x02\x00\x01" * 9)) as port:
        with pytest.raises(ConnectionLost, match=r"it does not speak TLS there: .*mqtt://"):
            await call(f"mqtts://localhost:{port}", tls=TlsSettings(ca_file=certificates.ca))


@on_every_loop
async def test_a_server_that_hangs_up_in_the_handshake() -> None:
    async with serving(saying(b"")) as port:
        with pytest.raises(ConnectionLost, match="closed the connection during the TLS handshake"):
            await call(f"mqtts://127.0.0.1:{port}")


@on_every_loop
async def test_a_server_that_says_something_before_the_handshake(certificates: Certificates) -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x02\x00\x00")
        await mute(reader, writer)

    # What came in the clear is never taken for what came through TLS: it breaks the handshake at the latest.
    async with serving(hasty) as port:
        with pytest.raises(ConnectionLost, match=r"speaks before it is asked|TLS with .* failed"):
            await call(f"mqtts://127.0.0.1:{port}", tls=TlsSettings(ca_file=certificates.ca))


@on_every_loop
async def test_the_time_limit_covers_the_handshake() -> None:
    async with serving(mute) as port:
        await runs_into_its_limit("the server did not finish the TLS handshake", f"mqtts://127.0.0.1:{port}")


@on_every_loop
async def test_cancelled_in_the_handshake_it_leaves_nothing_open(certificates: Certificates) -> None:
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        asked.set()
        try:
            await mute(reader, writer)
        finally:
            closed.set()

    async with serving(watch) as port:
        url = parse_server_url(f"mqtts://127.0.0.1:{port}")
        task = asyncio.ensure_future(dial(url, DialSettings(tls=TlsSettings(ca_file=certificates.ca)), User))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()


@on_every_loop
async def test_cancelled_at_every_step_it_leaves_nothing_open(certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    async with serving(echo, certificates.server()) as port:
        await cancel_everywhere(f"mqtts://localhost:{port}", tls=context)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ca_file": "{}/none.pem"}, "ca_file {}/none.pem: No such file or directory"),
        ({"ca_file": "{}/client.key"}, "ca_file {}/client.key: expected certificates in PEM"),
        ({"certificate": "{}/none.pem"}, "certificate {}/none.pem: there is no such file"),
        ({"certificate": "{}/client.crt", "key": "{}/none"}, "key {}/none: there is no such file"),
        ({"certificate": "{}/client.crt"}, "certificate {}/client.crt: expected a certificate and its key"),
        ({"certificate": "{}/client.crt", "key": "{}/good.pem"}, "the key is not that of the certificate"),
        ({"certificate": "{}/client.crt", "key": "{}/encrypted.key"}, "is encrypted: give key_password"),
        (
            {"certificate": "{}/client.crt", "key": "{}/encrypted.key", "key_password": "s3cret"},
            "does not open with key_password",
        ),
    ],
)
@on_every_loop
async def test_files_that_cannot_be_used(
    certificates: Certificates, settings: dict[str, str], said: str
) -> None:
    here = str(certificates.directory)
    tls = TlsSettings(**{name: value.format(here) for name, value in settings.items()})  # type: ignore[arg-type]
    async with serving(echo, certificates.server()) as port:
        with pytest.raises(ConfigError) as caught:
            await call(f"mqtts://localhost:{port}", tls=tls)
    assert said.format(here) in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"minimum_version": "1.1"}, 'is "1.2" or "1.3"'),
        ({"key": "k"}, "a TLS key needs its certificate"),
        ({"insecure": True, "ca_file": "ca"}, "leave one of them out"),
        ({"alpn": "mqtt"}, "a tuple of names, such as ('mqtt',)"),
        ({"alpn": ("",)}, "1 to 255 ASCII characters"),
        ({"alpn": ("ü",)}, "1 to 255 ASCII characters"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TlsSettings(**settings)
    assert said in str(caught.value)


async def test_a_wrong_file_is_told_without_a_server(tmp_path: Path) -> None:
    """And not as a server that cannot be reached."""
    tls = TlsSettings(ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"ca_file .*ca\.pem: No such file"):
        await curier.connect("mqtts://127.0.0.1:1", tls=tls).connect()
    with pytest.raises(ConfigError, match=r"ca_file .*ca\.pem: No such file"):
        await curier.connect("mqtts://127.0.0.1:1", tls=tls, retry_first_connect=True).connect()
