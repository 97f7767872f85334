"""The TLS options of ``curier pub`` with a server that shows one certificate or another."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import BrokerThread, Curier
from tests.client.certificates import Certificates, make_certificates

Listen = Callable[[ssl.SSLContext], int]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def listen(broker: BrokerThread) -> Iterator[Listen]:
    """Opens a port in front of the broker where TLS is spoken, and returns it."""
    servers: list[asyncio.Server] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # the other end has gone
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async def start(context: ssl.SSLContext) -> int:
        server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def stop() -> None:
        for server in servers:
            server.close()

    yield lambda context: int(broker.run(start(context)))
    broker.run(stop())


def publish(curier: Curier, port: int, *words: object) -> tuple[int, str]:
    result = curier("pub", "-h", "localhost", "-p", port, "-t", "test/tls", "-m", "x", "-q", 1, *words)
    return result.exit_code, result.stderr


@pytest.fixture
def directory(certificates: Certificates, tmp_path: Path) -> Path:
    """A directory of authorities."""
    named = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificates.ca],
        check=True,
        capture_output=True,
        text=True,
    )
    (tmp_path / f"{named.stdout.strip()}.0").write_bytes(certificates.ca.read_bytes())
    return tmp_path


def test_a_server_is_trusted_by_whom_it_is_signed(
    curier: Curier, listen: Listen, certificates: Certificates, directory: Path
) -> None:
    port = listen(certificates.server())
    assert publish(curier, port, "--cafile", certificates.ca) == (0, "")
    assert publish(curier, port, "--capath", directory) == (0, "")
    for words in (["--tls-use-os-certs"], ["--capath", directory.parent], ["--insecure"]):
        code, said = publish(curier, port, *words)
        assert code == 1
        assert "certificate" in said


def test_another_name_is_refused_unless_nobody_is_to_look(
    curier: Curier, listen: Listen, certificates: Certificates, directory: Path
) -> None:
    port = listen(certificates.server("other"))
    for words in (["--cafile", certificates.ca], ["--capath", directory]):
        code, said = publish(curier, port, *words)
        assert code == 1
        assert "the certificate of localhost is not valid" in said
        assert publish(curier, port, *words, "--insecure") == (0, "")


def test_a_certificate_of_the_client(curier: Curier, listen: Listen, certificates: Certificates) -> None:
    port = listen(certificates.server(client=True))
    words = ("--cafile", certificates.ca)
    code, said = publish(curier, port, *words)  # before TLS 1.3 within the handshake, since then behind it
    assert code in (1, 7)
    assert said != ""
    both = ("--cert", certificates.directory / "client.crt", "--key", certificates.directory / "client.key")
    assert publish(curier, port, *words, *both) == (0, "")
    assert publish(curier, port, *words, "--cert", certificates.directory / "client.pem") == (0, "")


def test_a_url_says_it_too(curier: Curier, listen: Listen, certificates: Certificates) -> None:
    port = listen(certificates.server())
    url = f"mqtts://localhost:{port}/test/tls"
    result = curier("pub", "-L", url, "-m", "x", "-q", 1, "--cafile", certificates.ca, "-d")
    assert result.exit_code == 0
    assert f"connected to mqtts://localhost:{port} " in result.stderr


def test_a_server_without_tls_is_told(
    curier: Curier, broker: BrokerThread, certificates: Certificates
) -> None:
    code, said = publish(curier, broker.port, "--cafile", certificates.ca)
    assert code == 1
    assert "TLS" in said


@pytest.mark.parametrize("key", ["00c0ffee", "00c0ffef", "0x00", "c0ffe"])
def test_a_key_that_both_sides_know(curier: Curier, listen: Listen, key: str) -> None:
    """Where Python has it, which is said plainly where it has not."""
    words = ("--psk", key, "--psk-identity", "dev")
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if not hasattr(context, "set_psk_server_callback"):
        code, said = publish(curier, 1, *words)
        assert (code, "--psk needs Python 3.13 or newer, and this is 3." in said) == (2, True)
        return
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    context.set_psk_server_callback(lambda name: bytes.fromhex("00c0ffee") if name == "dev" else b"")
    code, said = publish(curier, listen(context), *words)
    if len(key) != 8:
        assert (code, "--psk: expected pairs of the digits" in said) == (2, True)
    else:
        assert code == (0 if key == "00c0ffee" else 1)


def test_a_key_is_of_tls_1_2(curier: Curier) -> None:
    words = ("--psk", "00", "--psk-identity", "dev", "--tls-version", "tlsv1.3")
    assert publish(curier, 1, *words)[0] == 2
