"""TLS with keys that both sides know: who comes in, as whom, and what the others are told."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

import curier
from curier.auth import Authenticator, Credentials, Verdict
from curier.listeners import Listener
from curier.net import certificates, renewal, shared_keys
from curier.net.certificates import Certificates
from curier.net.psk_file import PYTHON_HAS_PSK
from curier.net.shared_keys import Claim, SharedKeys
from tests.net.pki import put
from tests.waiting import until

KEYS = {f"dev{number}": bytes([number]) * 16 for number in range(1, 9)}
CONNECT = bytes.fromhex("10 0c 0004 4d515454 04 02 003c 0000")
CONNACK = bytes.fromhex("20 02 00 00")

psk = pytest.mark.skipif(
    not PYTHON_HAS_PSK,
    reason="Python has PSK from 3.13 on; test_psk_file has what is said before",
)


class Wanting:
    """The server's end of a handshake, as far as a claim knows it, which asks for a key."""

    def __init__(self, find: Callable[[str | None], bytes]) -> None:
        self.find = find
        self.names: list[str] = []
        self.got = b""
        self.session_reused = False
        self.session = self
        self.id = b"1"

    def do_handshake(self) -> None:
        self.got = self.find(self.names.pop())
        raise ssl.SSLWantReadError


def test_a_claim_is_of_the_thread_that_takes_its_step() -> None:
    """All of them ask at once, each in a thread of its own, and each is given its own key and name."""
    keys = SharedKeys(KEYS)
    both = threading.Barrier(len(KEYS))

    def find(name: str | None) -> bytes:
        both.wait()
        key = keys._find(name)
        both.wait()
        return key

    found: dict[str, tuple[str | None, bytes]] = {}

    def work(name: str) -> None:
        claim = Claim(keys)
        for _ in range(50):
            end = Wanting(find)
            end.names.append(name)
            end.id = name.encode()
            with pytest.raises(ssl.SSLWantReadError):
                claim.shake(cast(ssl.SSLObject, end))
            assert claim.refusal(cast(ssl.SSLObject, end)) == ""
            found[name] = (claim.identity, end.got)

    threads = [threading.Thread(target=partial(work, name)) for name in KEYS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: (name, key) for name, key in KEYS.items()}


def test_who_is_not_known_is_given_a_key_that_nobody_has() -> None:
    keys = SharedKeys(KEYS)
    claim = Claim(keys)
    end = Wanting(keys._find)
    end.names = ["nobody", "nobody"]
    given = set()
    for _ in range(2):
        with pytest.raises(ssl.SSLWantReadError):
            claim.shake(cast(ssl.SSLObject, end))
        given.add(end.got)
        assert claim.refusal(cast(ssl.SSLObject, end)) != ""
    assert len(given) == 2
    assert claim.identity is None
    assert keys._find("dev1") not in (KEYS["dev1"], b"")  # outside of any handshake of ours


def test_whose_a_session_is_is_remembered_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_keys, "MOST_SESSIONS", 2)
    keys = SharedKeys(KEYS)
    for number in (b"1", b"2", b"3"):
        keys.remember(number, "dev1")
    for number, why in ((b"1", "TLS: nobody knows any more whose session that is"), (b"2", ""), (b"3", "")):
        end = Wanting(keys._find)
        end.session_reused = True
        end.id = number
        claim = Claim(keys)
        assert claim.refusal(cast(ssl.SSLObject, end)) == why
        assert claim.identity == (None if why else "dev1")


# ---- where Python has it ----


def text(keys: dict[str, bytes]) -> bytes:
    return "".join(f"{name}:{key.hex()}\n" for name, key in keys.items()).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return put(tmp_path / "keys", text(KEYS))


def client_context(
    name: str | None, key: bytes, ciphers: str = "PSK", hints: list[str | None] | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)

    def tell(hint: str | None) -> tuple[str | None, bytes]:
        if hints is not None:
            hints.append(hint)
        return name, key

    made: Any = context
    made.set_psk_client_callback(tell)
    return context


class Seen(Authenticator):
    """Lets nobody in, so that only a door does."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        raise AssertionError("it was asked")


def broker(file: Path, use_reactor: bool, scheme: str = "tls", **settings: Any) -> curier.Broker:
    listener = Listener(f"{scheme}://127.0.0.1:0", name="keys", psk_file=file, **settings)
    return curier.Broker(listen=listener, use_reactor=use_reactor, authenticator=Seen())


async def visit(
    port: int, context: ssl.SSLContext, client_id: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, by TLS and then by MQTT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    name = client_id.encode()
    writer.write(bytes((0x10, 12 + len(name))) + CONNECT[2:12] + len(name).to_bytes(2, "big") + name)
    assert await reader.readexactly(4) == CONNACK
    return reader, writer


def who(running: curier.Broker, client_id: str) -> str | None:
    connection = running.core.sessions[client_id].connection
    assert connection is not None
    return connection.identity


@psk
async def test_many_at_once_are_each_themselves(file: Path, use_reactor: bool) -> None:
    async with broker(file, use_reactor) as running:
        assert running._handshakes is not None
        running._handshakes._most_threads = 4  # whatever this machine has
        for turn in range(8):
            names = [name for name in KEYS for _ in range(4)]
            made = await asyncio.gather(
                *(
                    visit(running.port, client_context(name, KEYS[name]), f"{name}-{number}")
                    for number, name in enumerate(names)
                )
            )
            found = {f"{name}-{number}": name for number, name in enumerate(names)}
            assert {client_id: who(running, client_id) for client_id in found} == found, turn
            for _, writer in made:
                writer.close()
        assert len(running._handshakes._threads) > 1


@psk
@pytest.mark.parametrize(
    "ciphers", ["PSK-AES128-CCM8", "PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305"]
)
async def test_the_key_is_enough(file: Path, use_reactor: bool, ciphers: str) -> None:
    hints: list[str | None] = []
    async with broker(file, use_reactor, psk_hint="a hint") as running:
        _, writer = await visit(running.port, client_context("dev1", KEYS["dev1"], ciphers, hints), "c")
        assert who(running, "c") == "dev1"
        assert writer.get_extra_info("cipher")[:2] == (ciphers, "TLSv1.2")
        assert hints == ["a hint"]
        assert not any(key.endswith("certificate/expires") for key in running._process.told)
        writer.close()


@psk
async def test_wrong_keys_and_unknown_names_look_alike_outside(
    file: Path, use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "curier")
    said = set()
    async with broker(file, use_reactor) as running:
        for name in ("dev1", "nobody", "", None):
            with pytest.raises(ssl.SSLError) as caught:
                await visit(running.port, client_context(name, KEYS["dev2"]), "c")
            said.add(caught.value.reason)
        await until(lambda: "no key for the identity ''" in caplog.text)
    assert len(said) == 1
    assert "TLS: the client's key is not the one that psk_file has for 'dev1'" in caplog.text
    assert "TLS: psk_file has no key for the identity 'nobody'" in caplog.text
    assert not any(key.hex() in caplog.text for key in KEYS.values())


@psk
async def test_what_has_no_keys_is_told_in_words(
    file: Path, use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    newer = client_context("dev1", KEYS["dev1"])
    newer.maximum_version = newer.minimum_version = ssl.TLSVersion.TLSv1_3
    other = client_context("dev1", KEYS["dev1"], "ECDHE-RSA-AES128-GCM-SHA256")
    async with broker(file, use_reactor) as running:
        for context in (newer, other):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await visit(running.port, context, "c")
        await until(lambda: "offers no cipher with keys (PSK)" in caplog.text)
        assert "does not offer TLS 1.2, the only version with keys" in caplog.text


def meet(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None, ask: Callable[[], str | None]
) -> tuple[str | None, bool, ssl.SSLSession | None]:
    """Connect and leave, in order; returns what ``ask`` says meanwhile, whether it was resumed, and what to
    resume.
    """
    with (
        socket.create_connection(("127.0.0.1", port)) as sock,
        context.wrap_socket(sock, session=session) as connection,
    ):
        connection.sendall(bytes.fromhex("10 0d 0004 4d515454 04 02 003c 0001 63"))
        assert connection.recv(4) == CONNACK
        found = ask(), bool(connection.session_reused), connection.session
        connection.sendall(bytes.fromhex("e0 00"))
        assert connection.recv(1) == b""  # who does not wait for it has its session forgotten
        return found


@psk
async def test_who_resumes_is_who_it_was(file: Path, use_reactor: bool) -> None:
    """TLS 1.2 resumes by number, without a word of who that is."""
    async with broker(file, use_reactor) as running:
        contexts = {name: client_context(name, KEYS[name]) for name in ("dev1", "dev2")}
        sessions: dict[str, ssl.SSLSession | None] = {}
        for reused in (False, True):
            for name, context in contexts.items():
                found, is_reused, sessions[name] = await asyncio.to_thread(
                    meet, running.port, context, sessions.get(name), partial(who, running, "c")
                )
                assert (found, is_reused) == (name, reused)
        await running.reload_certificates()  # a new context, which knows no sessions
        found, is_reused, _ = await asyncio.to_thread(
            meet, running.port, contexts["dev1"], sessions["dev1"], partial(who, running, "c")
        )
        assert (found, is_reused) == ("dev1", False)


@psk
async def test_the_file_is_read_again(
    file: Path, use_reactor: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "curier")
    monkeypatch.setattr(renewal, "FIRST_SECONDS", 0.01)
    for name in ("LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(certificates, name, 0.01)
    async with broker(file, use_reactor) as running:
        _, stays = await visit(running.port, client_context("dev1", KEYS["dev1"]), "stays")
        put(file, text({"new": b"n" * 16}))
        await until(lambda: "is new for new connections: 1 keys" in caplog.text)
        _, writer = await visit(running.port, client_context("new", b"n" * 16), "c")
        with pytest.raises(ssl.SSLError):
            await visit(running.port, client_context("dev1", KEYS["dev1"]), "d")
        put(file, b"new:abc\n")
        await until(lambda: "line 1: the key has 3 digits" in caplog.text)
        assert "the keys of before are kept" in caplog.text
        with pytest.raises(curier.ConfigError, match=r"line 1: the key has 3 digits.*the keys of before"):
            await running.reload_certificates()
        again = await visit(running.port, client_context("new", b"n" * 16), "e")
        for one in (writer, again[1]):
            one.close()
        assert not stays.is_closing()
        assert who(running, "stays") == "dev1"
        stays.close()


@psk
def test_ciphers_have_to_be_for_keys(file: Path) -> None:
    listener = Listener("tls://127.0.0.1:0", psk_file=file, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(curier.ConfigError, match="none of them is for keys, as PSK-AES128-GCM-SHA256 is"):
        Certificates(listener)


@psk
def test_what_everybody_can_read_is_warned_of(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.chmod(0o644)
    Certificates(Listener("tls://127.0.0.1:0", psk_file=file, ciphers="PSK"))
    assert re.search(r"psk_file .*: every user of this machine may read it", caplog.text)
    assert "weak ones are among them" in caplog.text  # OpenSSL's "PSK" has those without encryption


# ---- other people's clients, and our own ----


async def run(*command: object, given: bytes = b"") -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(100):
        said, _ = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, said


OPENSSL = shutil.which("openssl")
MOSQUITTO = shutil.which("mosquitto_pub")


@psk
@pytest.mark.skipif(OPENSSL is None, reason="there is no openssl here")
async def test_openssl(file: Path, use_reactor: bool) -> None:
    async with broker(file, use_reactor) as running:

        async def shake(name: str | bytes, key: str, *more: str) -> tuple[int, bytes]:
            where = ("s_client", "-connect", f"127.0.0.1:{running.port}", "-psk", key)
            process = await asyncio.to_thread(
                subprocess.run,
                [str(OPENSSL), *where, "-psk_identity", name, *more],
                input=b"",
                capture_output=True,
                check=False,
            )
            return process.returncode, process.stdout + process.stderr

        code, said = await shake("dev1", KEYS["dev1"].hex(), "-cipher", "PSK")
        assert (code, b"TLSv1.2, Cipher is ECDHE-PSK-CHACHA20-POLY1305" in said) == (0, True)
        code, said = await shake("dev1", KEYS["dev1"].hex(), "-tls1_3")
        assert b"alert protocol version" in said
        alerts = set()
        for name in ("dev1", "nobody"):
            code, said = await shake(name, KEYS["dev2"].hex(), "-cipher", "PSK")
            assert code == 1
            alerts.update(re.findall(rb"SSL alert number \d+", said))
        assert alerts == {b"SSL alert number 20"}
        code, said = await shake(b"\xff\xfe", KEYS["dev1"].hex(), "-cipher", "PSK")
        assert (code, b"alert number 115" in said) == (1, True)


@psk
@pytest.mark.skipif(MOSQUITTO is None, reason="there is no mosquitto_pub here")
@pytest.mark.parametrize("hint", ["", "which key?"])
async def test_mosquitto_pub_and_curier_sub(file: Path, use_reactor: bool, hint: str) -> None:
    async with broker(file, use_reactor, psk_hint=hint) as running:
        at = ("-h", "127.0.0.1", "-p", running.port, "-t", "t", "-q", 1)
        mine = ("--psk", KEYS["dev2"].hex(), "--psk-identity", "dev2")
        sub = asyncio.create_task(
            run(sys.executable, "-m", "curier", "sub", *at, *mine, "-C", 1, "-i", "sub")
        )
        await until(
            lambda: "sub" in running.core.sessions and len(running.core.sessions["sub"].subscriptions) > 0
        )
        assert who(running, "sub") == "dev2"
        theirs = ("--psk", KEYS["dev1"].hex(), "--psk-identity")
        code, said = await run(MOSQUITTO, *at, "-m", "lost", *theirs, "dev2")
        assert code != 0, said
        assert await run(MOSQUITTO, *at, "-m", "sent", *theirs, "dev1") == (0, b"")
        assert await sub == (0, b"sent\n")
        code, said = await run(sys.executable, "-m", "curier", "pub", *at, "-m", "x", *theirs, "dev2")
        assert code == 1, said
