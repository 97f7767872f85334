"""A broker whose certificates change: on the network, over both wires, and against other people's clients."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

import curier
from curier.auth import AllowAnonymous
from curier.cli.reload import Reload
from curier.config import Config
from curier.errors import ConfigError
from curier.hook_files.files import HookFiles
from curier.listeners import Listener, level_of
from curier.net import certificates, renewal
from tests.net.pki import DAY, NOW, client_context, loaded, put, revocations, serial, write_pair
from tests.waiting import until

ROOT = trustme.CA()
SERVER = ROOT.issue_cert("127.0.0.1")
CLIENT = ROOT.issue_cert("dev1@example.org", common_name="dev1")
OTHER = ROOT.issue_cert("dev2@example.org", common_name="dev2")
CONNECT = bytes.fromhex("10 0c 0004 4d515454 04 02 003c 0000")
CONNACK = bytes.fromhex("20 02 00 00")
PING = bytes.fromhex("c0 00")
PONG = bytes.fromhex("d0 00")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files all the time."""
    monkeypatch.setattr(renewal, "FIRST_SECONDS", 0.01)
    for name in ("LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(certificates, name, 0.01)


def listener(directory: Path, **settings: Any) -> Listener:
    certificate, key = write_pair(directory, SERVER, root=ROOT)
    made = Listener("tls://127.0.0.1:0", name="front", certificate=certificate, key=key)
    return replace(made, **settings)


def authorities(directory: Path) -> Path:
    return put(directory / "ca.pem", ROOT.cert_pem.bytes())


@asynccontextmanager
async def running(use_reactor: bool, *made: Listener) -> AsyncIterator[curier.Broker]:
    async with curier.Broker(listen=made, use_reactor=use_reactor) as broker:
        yield broker


class Device:
    """A client that is connected, and sees what certificate the broker has."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, broker: curier.Broker, context: ssl.SSLContext | None = None) -> Device:
        """Raises ``OSError`` or ``IncompleteReadError`` where it is refused."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", broker.port, ssl=context or client_context(ROOT), server_hostname="127.0.0.1"
        )
        device = cls(reader, writer)
        try:
            await device.ask(CONNECT, CONNACK)
        except BaseException:
            writer.transport.abort()
            raise
        return device

    async def ask(self, packet: bytes, answer: bytes) -> None:
        self.writer.write(packet)
        assert await self.reader.readexactly(len(answer)) == answer

    @property
    def serial(self) -> int:
        shown = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).serial_number

    async def close(self) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)


async def shown(broker: curier.Broker) -> int:
    """The serial number that a new client sees."""
    device = await Device.connect(broker)
    await device.close()
    return device.serial


def now_served(broker: curier.Broker) -> int:
    (held,) = broker._certificates.values()
    return held.pairs[0].leaf.serial_number


async def test_a_renewed_certificate_is_for_new_connections(use_reactor: bool, tmp_path: Path) -> None:
    async with running(use_reactor, listener(tmp_path)) as broker:
        old = await Device.connect(broker)
        assert old.serial == serial(SERVER)
        new = ROOT.issue_cert("127.0.0.1")
        write_pair(tmp_path, new, root=ROOT)
        await until(lambda: now_served(broker) == serial(new))
        assert await shown(broker) == serial(new)
        await old.ask(PING, PONG)  # it does not notice
        await old.close()


async def test_reload_takes_it_at_once(
    use_reactor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "FIRST_SECONDS", 99.0)
    async with running(use_reactor, listener(tmp_path)) as broker:
        write_pair(tmp_path, new := ROOT.issue_cert("127.0.0.1"), root=ROOT)
        assert await shown(broker) == serial(SERVER)
        await broker.reload_certificates()
        assert await shown(broker) == serial(new)


async def test_a_pair_that_does_not_fit_changes_nothing(
    use_reactor: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(use_reactor, listener(tmp_path)) as broker:
        put(tmp_path / "server.key", CLIENT.private_key_pem.bytes())
        with pytest.raises(ConfigError, match=r"^front: .*is not that of the certificate; .* is kept"):
            await broker.reload_certificates()
        assert await shown(broker) == serial(SERVER)
        await until(lambda: "the key is not that of the certificate" in caplog.text)
        assert await shown(broker) == serial(SERVER)
        write_pair(tmp_path, new := ROOT.issue_cert("127.0.0.1"), root=ROOT)
        await until(lambda: now_served(broker) == serial(new))
        assert await shown(broker) == serial(new)


async def test_one_listener_with_wrong_files_holds_up_no_other(use_reactor: bool, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    back = replace(listener(tmp_path / "back"), name="back")
    async with running(use_reactor, listener(tmp_path), back) as broker:
        put(tmp_path / "server.pem", b"")
        write_pair(tmp_path / "back", new := ROOT.issue_cert("127.0.0.1"), root=ROOT)
        with pytest.raises(ConfigError, match=r"^front: "):
            await broker.reload_certificates()
        front, other = broker._certificates.values()
        assert [one.pairs[0].leaf.serial_number for one in (front, other)] == [serial(SERVER), serial(new)]


async def test_its_end_is_told_below_sys(use_reactor: bool, tmp_path: Path) -> None:
    options = curier.Options()
    options.sys_interval = 0.05
    async with curier.Broker(
        [listener(tmp_path), "tcp://127.0.0.1:0"], options=options, use_reactor=use_reactor
    ) as broker:
        async with (
            curier.connect(broker.urls[1].replace("tcp", "mqtt")) as client,
            client.subscribe("$SYS/broker/listeners/front/certificate/expires") as stream,
        ):
            end = loaded(SERVER).not_valid_after_utc
            assert float((await stream.get(timeout=100)).payload) == end.timestamp()
            sooner = ROOT.issue_cert("127.0.0.1", not_after=NOW + 40 * DAY)
            write_pair(tmp_path, sooner, root=ROOT)
            assert float((await stream.get(timeout=100)).payload) == (NOW + 40 * DAY).timestamp()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_that_is_taken_back(
    use_reactor: bool, tmp_path: Path, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    crl = put(tmp_path / "crl.pem", revocations(ROOT))
    made = listener(tmp_path, client_ca=authorities(tmp_path), crl=crl)
    async with running(use_reactor, made) as broker:
        context = client_context(ROOT, CLIENT, version=version)
        connected = await Device.connect(broker, context)
        other = await Device.connect(broker, client_context(ROOT, OTHER, version=version))
        put(crl, revocations(ROOT, CLIENT))
        await broker.reload_certificates()
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await Device.connect(broker, context)
        await until(lambda: "the client's certificate is not valid: certificate revoked" in caplog.text)
        assert await connected.reader.read() == b""  # who is in does not stay
        await until(lambda: len(broker.core.connections) == 1)
        await other.ask(PING, PONG)
        await other.close()


async def test_who_is_refused_is_told_in_the_log(
    use_reactor: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = trustme.CA().issue_cert("dev1")
    made = listener(tmp_path, client_ca=authorities(tmp_path))
    async with running(use_reactor, made) as broker:
        for certificate, why in (
            (None, "the client sent no certificate, which this listener requires"),
            (stranger, "the client's certificate is signed by nobody in client_ca"),
        ):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await Device.connect(broker, client_context(ROOT, certificate))
            await until(partial(lambda why: why in caplog.text, why))


async def test_a_disk_that_hangs_does_not_hold_up_the_end(
    use_reactor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, hanging = threading.Event(), threading.Event()

    def hang() -> float:
        begun.set()
        hanging.wait(60)
        return 99.0

    async with running(use_reactor, listener(tmp_path)) as broker:
        (held,) = broker._certificates.values()
        monkeypatch.setattr(held, "look", hang)
        await until(begun.is_set)
        assert await shown(broker) == serial(SERVER)
    (thread,) = (one for one in threading.enumerate() if one.name == "curier certificates")
    assert thread.daemon  # so that the interpreter does not wait for it
    hanging.set()
    thread.join()


async def test_what_goes_wrong_in_a_look_is_not_the_last(
    use_reactor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "FAILED_SECONDS", 0.01)
    looks = 0

    def fail() -> float:
        nonlocal looks
        looks += 1
        raise RuntimeError("for once")

    async with running(use_reactor, listener(tmp_path)) as broker:
        (held,) = broker._certificates.values()
        monkeypatch.setattr(held, "look", fail)
        await until(lambda: looks > 2)
    assert "front: looking at its certificates failed" in caplog.text


def test_names_as_levels_of_topics() -> None:
    assert [level_of(name) for name in ("front", "tls://[::1]:8883", "a/b+c#\n")] == [
        "front",
        "tls-[::1]:8883",
        "a-b-c--",
    ]


async def test_sighup(use_reactor: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    config = Config(listeners=(listener(tmp_path),), allow_anonymous=True)
    async with running(use_reactor, *config.doors()) as broker:
        reload = Reload(broker, config, AllowAnonymous(), HookFiles(()), None, lambda: config)
        write_pair(tmp_path, new := ROOT.issue_cert("127.0.0.1"), root=ROOT)
        await reload.now()
        assert "SIGHUP: the certificates were read again" in caplog.text
        assert await shown(broker) == serial(new)
        put(tmp_path / "server.pem", b"")
        await reload.now()
        assert "it is empty; nothing has changed" in caplog.text
        assert await shown(broker) == serial(new)


# ---- other people's clients ----


def openssl(broker: curier.Broker, *how: str | Path) -> str:
    """What ``openssl s_client`` says."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{broker.port}", *map(str, how)]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=100)
    return done.stdout + done.stderr


def client_files(directory: Path) -> tuple[str | Path, ...]:
    certificate, key = write_pair(directory, CLIENT, "client")
    return "-cert", certificate, "-key", key


@pytest.mark.interop
async def test_openssl_resumes_without_certificates_of_clients(use_reactor: bool, tmp_path: Path) -> None:
    session = tmp_path / "session"
    async with running(use_reactor, listener(tmp_path)) as broker:
        said = await asyncio.to_thread(openssl, broker, "-tls1_2", "-sess_out", session, "-alpn", "mqtt")
        assert "ALPN protocol: mqtt" in said
        assert "Secure Renegotiation IS supported" in said
        said = await asyncio.to_thread(openssl, broker, "-tls1_2", "-sess_in", session)
        assert "Reused, TLSv1.2" in said


@pytest.mark.interop
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_resumes_no_session_from_before_a_change(
    use_reactor: bool, tmp_path: Path, version: str
) -> None:
    session = tmp_path / "session"
    made = listener(tmp_path, client_ca=authorities(tmp_path))
    async with running(use_reactor, made) as broker:
        files = client_files(tmp_path)
        said = await asyncio.to_thread(openssl, broker, version, "-sess_out", session, *files)
        assert ("TLS session ticket:" in said) == (version == "-tls1_2")
        if not session.exists():  # of 1.3 there is none without a ticket
            return
        assert version == "-tls1_2"
        said = await asyncio.to_thread(openssl, broker, version, "-sess_in", session, *files)
        assert "Reused, TLSv1.2" in said
        await broker.reload_certificates()
        said = await asyncio.to_thread(openssl, broker, version, "-sess_in", session, *files)
        assert "New, TLSv1.2" in said


@pytest.mark.interop
async def test_openssl_may_not_renegotiate(use_reactor: bool, tmp_path: Path) -> None:
    async with running(use_reactor, listener(tmp_path)) as broker:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{broker.port}", "-tls1_2"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        out, _ = await process.communicate(b"R\n")
        assert b"no renegotiation" in out


@pytest.mark.interop
async def test_mosquitto_pub(use_reactor: bool, tmp_path: Path) -> None:
    made = listener(tmp_path, client_ca=authorities(tmp_path))
    async with curier.Broker([made, "tcp://127.0.0.1:0"], use_reactor=use_reactor) as broker:
        async with (
            curier.connect(broker.urls[1].replace("tcp", "mqtt")) as client,
            client.subscribe("t") as stream,
        ):
            certificate, key = write_pair(tmp_path, CLIENT, "client")
            command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", "t", "-m"]
            command_files = [
                "--cafile",
                str(tmp_path / "ca.pem"),
                "--cert",
                str(certificate),
                "--key",
                str(key),
            ]
            for number in range(2):
                process = await asyncio.create_subprocess_exec(*command, f"{number}", *command_files)
                assert await process.wait() == 0
                assert (await stream.get(timeout=100)).payload == str(number).encode()
                write_pair(tmp_path, ROOT.issue_cert("127.0.0.1"), root=ROOT)
                await broker.reload_certificates()
            process = await asyncio.create_subprocess_exec(
                *command, "no", *command_files[:2], stderr=subprocess.DEVNULL
            )
            assert await process.wait() != 0
