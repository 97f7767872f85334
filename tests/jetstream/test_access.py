"""How a node comes to its servers: TLS with an authority of its own, users, keys; and what it says when a
server does not let it in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

import tests.jetstream.needs  # noqa: F401, isort: skip

import curier
from curier import Broker
from curier.cluster_settings import ClusterSettings
from curier.errors import ClusterError, ConfigError
from curier.jetstream.access import Access, access_of
from curier.jetstream.line import Line
from curier.jetstream.names import Names
from curier.jetstream.proof import told_by
from curier.jetstream.streams import ensure
from tests.jetstream import keys
from tests.jetstream.servers import NatsServers
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.interop

SECRET = "s3cr,t/?@%"
WRITTEN = "s3cr%2Ct%2F%3F%40%25"
USERS = f'authorization {{ users: [{{ user: node, password: "{SECRET}" }}] }}\n'


class Files:
    """An authority and what it has signed, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.cafile = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.cafile)
        trustme.CA().cert_pem.write_to_path(folder / "other.pem")
        self.server = self.certificate("server", self.authority.issue_cert("127.0.0.1"))
        self.node = self.certificate("node", self.authority.issue_cert("node@example.org"))

    def certificate(self, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        certificate.write_bytes(b"".join([blob.bytes() for blob in issued.cert_chain_pems]))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def tls(self, pair: tuple[Path, Path], more: str = "") -> str:
        """For the configuration of a server."""
        return f'tls {{ cert_file: "{pair[0]}", key_file: "{pair[1]}", {more} timeout: 5 }}\n'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def one_server(folder: Path, more: str) -> Iterator[NatsServers]:
    server = NatsServers(folder, count=1, more=more)
    try:
        yield server
    finally:
        server.close()


async def meets(access: Access, words: str = "") -> str:
    """Why there is no connection, which has these words; without any there is one. A machine that is busy may
    have an attempt that is over time before it comes to that.
    """
    line = Line(access, "test")
    line.open()
    try:
        await until(lambda: words in line.why if words and not line.is_up else line.is_up)
        return line.why
    finally:
        await line.close()


def at(server: NatsServers, user: str = "", scheme: str = "nats") -> tuple[str, ...]:
    return (f"{scheme}://{user}127.0.0.1:{server.ports[0]}",)


# -- users and keys


async def test_a_user_with_a_password_as_it_is_written_in_a_url(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with one_server(tmp_path, USERS) as server:
        assert await meets(Access(at(server, f"node:{WRITTEN}@"))) == ""
        for user in ("", "node:wr0ng@", "wr0ng@"):
            why = await meets(Access(at(server, user)), "does not let this node in")
            assert why.startswith(f"{at(server)[0]} does not let this node in: it knows no such user")
            assert "--cluster-credentials" in why
            assert "wr0ng" not in why
    assert not any(word in caplog.text for word in (SECRET, WRITTEN, "wr0ng"))


async def test_a_token(tmp_path: Path) -> None:
    with one_server(tmp_path, f'authorization {{ token: "{SECRET}" }}\n') as server:
        assert await meets(Access(at(server, f"{WRITTEN}@"))) == ""
        assert await meets(Access(at(server)), "does not let this node in")


async def test_a_seed_is_who_this_node_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    own, other = keys.user_keys(), keys.user_keys()
    for name, pair in (("own", own), ("other", other)):
        (tmp_path / name).write_text(f"{keys.seed(pair)}\n")
    (tmp_path / "bent").write_text(keys.seed(own)[:-3])
    with one_server(tmp_path, f"authorization {{ users: [{{ nkey: {keys.public(own)} }}] }}\n") as server:
        assert await meets(Access(at(server), str(tmp_path / "own"))) == ""
        assert await meets(Access(at(server), str(tmp_path / "other")), "does not let this node in")
        assert await meets(Access(at(server), str(tmp_path / "bent")), "cannot be reached: ")
    assert keys.seed(own)[:-3] not in caplog.text


async def test_credentials_as_nsc_writes_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    own = keys.operator()
    (tmp_path / "own.creds").write_text(own.credentials)
    (tmp_path / "other.creds").write_text(keys.operator().credentials)
    with one_server(tmp_path, own.more) as server:
        assert await meets(Access(at(server), str(tmp_path / "own.creds"))) == ""
        assert await meets(Access(at(server), str(tmp_path / "other.creds")), "does not let this node in")
        assert await meets(Access(at(server)), "does not let this node in")
    seed = own.credentials.split("SEED-----\n")[1].splitlines()[0]
    assert seed.startswith("SU")
    assert seed not in caplog.text


def test_files_that_are_none_of_nats(tmp_path: Path) -> None:
    for name, text in (("empty", ""), ("text", "user = x\n"), ("jwt", "-----BEGIN NATS USER JWT-----\nx\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=r"is no file of NATS's credentials.*--cluster-credentials"):
            access_of(("nats://a",), str(tmp_path / name))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        access_of(("nats://a",), str(tmp_path / "none"))


async def test_a_file_that_is_spoilt_while_it_runs_is_told_of_and_tried_again(tmp_path: Path) -> None:
    own = keys.user_keys()
    file = tmp_path / "seed"
    file.write_text("spoilt")
    with one_server(tmp_path, f"authorization {{ users: [{{ nkey: {keys.public(own)} }}] }}\n") as server:
        line = Line(Access(at(server), str(file)), "test")
        line.open()
        try:
            await until(lambda: "is no file of NATS's credentials" in line.why)
            file.write_text(keys.seed(own))
            await until(lambda: line.is_up)
        finally:
            await line.close()


# -- TLS


def comes(files: Files, servers: tuple[str, ...], **how: Any) -> Access:
    settings = replace(ClusterSettings(servers, "a", cafile=str(files.cafile)), **how)
    settings.check()
    return access_of(settings.urls, **settings.files)


async def test_an_authority_of_its_own(files: Files, tmp_path: Path) -> None:
    with one_server(tmp_path, files.tls(files.server)) as server:
        for scheme in ("nats", "tls"):
            assert await meets(comes(files, at(server, "", scheme))) == ""
        for cafile in ("", str(files.folder / "other.pem")):
            why = await meets(comes(files, at(server, "", "tls"), cafile=cafile), "its certificate is not")
            assert "--cluster-cafile" in why


async def test_a_certificate_for_another_name_or_of_yesterday(files: Files, tmp_path: Path) -> None:
    wrong = files.certificate("wrong", files.authority.issue_cert("nats.example.org"))
    with one_server(tmp_path, files.tls(wrong)) as server:
        why = await meets(comes(files, at(server)), "IP address mismatch")
        assert "names in the certificate" in why
    then = datetime(2020, 1, 1, tzinfo=UTC)
    old = files.certificate("old", files.authority.issue_cert("127.0.0.1", not_after=then))
    (tmp_path / "old").mkdir()
    with one_server(tmp_path / "old", files.tls(old)) as server:
        assert await meets(comes(files, at(server)), "certificate has expired")


async def test_a_server_that_asks_for_a_certificate(files: Files, tmp_path: Path) -> None:
    more = files.tls(files.server, f'ca_file: "{files.cafile}", verify: true,')
    with one_server(tmp_path, more) as server:
        certificate, key = map(str, files.node)
        own = comes(files, at(server), certificate=certificate, key=key)
        assert await meets(own) == ""
        assert await meets(comes(files, at(server)), "--cluster-certificate")


def test_files_that_are_none_of_tls(files: Files, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    for cafile in ("text", "none"):
        with pytest.raises(ConfigError, match=r"no authorities can be read.*--cluster-cafile"):
            comes(files, ("nats://a",), cafile=str(tmp_path / cafile))
    with pytest.raises(ConfigError, match=r"certificate for NATS cannot be used.*--cluster-key"):
        comes(files, ("nats://a",), certificate=str(files.node[0]), key=str(files.server[1]))
    with pytest.raises(ConfigError, match="without its certificate"):
        comes(files, ("nats://a",), key="x")


@pytest.mark.parametrize("with_tls", [False, True])
async def test_nothing_secret_is_said_in_the_clear_where_tls_is_meant(files: Files, with_tls: bool) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.15.1", "max_payload": 1 << 20, "auth_required": True}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                heard.extend(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"{'nats' if with_tls else 'tls'}://node:{WRITTEN}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        why = await meets(Access((url,), tls=comes(files, (url,)).tls if with_tls else None), "ask for TLS")
    assert "does not ask for TLS" in why
    assert b"CONNECT" not in heard


# -- permissions


async def test_a_subject_that_this_user_may_not_publish_to_is_named(tmp_path: Path) -> None:
    users = 'authorization { users: [{ user: node, password: "x", permissions: { publish: { deny: '
    with one_server(tmp_path, users + '"$JS.API.STREAM.>" } } }] }\n') as server:
        line = Line(Access(at(server, "node:x@")), "test")
        line.open()
        try:
            with pytest.raises(
                ClusterError, match=r"permissions violation for publish to .*stream\.info.*give the user"
            ):
                await ensure(line, Names("home", 1), 1, PATIENCE)
        finally:
            await line.close()


async def test_a_subject_that_this_user_may_not_hear_is_named(tmp_path: Path) -> None:
    users = 'authorization { users: [{ user: node, password: "x", permissions: { subscribe: "x.>" } }] }\n'
    with one_server(tmp_path, users) as server:
        why = await meets(Access(at(server, "node:x@")), "does not let this node do its work")
        assert "_INBOX" in why


# -- all of it


PERMITTED = """\
authorization { users: [{ user: node, password: "x", permissions: {
  publish: ["$JS.API.>", "_INBOX.>", "home.>"], subscribe: ["_INBOX.>", "home.>"] } }] }
"""


async def test_a_node_with_tls_and_a_user_who_may_what_the_docs_say(files: Files, tmp_path: Path) -> None:
    servers = NatsServers(tmp_path, more=files.tls(files.server) + PERMITTED, monitor="https")
    urls = tuple([url.replace("nats://", "tls://node:x@") for url in servers.urls])
    how = ClusterSettings(
        urls, "a", "home", partitions=1, monitors=servers.monitor_urls, cafile=str(files.cafile)
    )
    try:
        async with (
            Broker("tcp://127.0.0.1:0", cluster=how) as one,
            Broker("tcp://127.0.0.1:0", cluster=replace(how, node="b")) as two,
        ):
            addresses = [node.urls[0].replace("tcp", "mqtt") for node in (one, two)]
            async with curier.connect(addresses[0]) as here, curier.connect(addresses[1]) as there:
                async with there.subscribe("t", qos=2) as heard:
                    for qos in (0, 1, 2):
                        await here.publish("t", str(qos), qos=qos)
                    got = {(await heard.get(timeout=PATIENCE)).payload.decode() for _ in range(3)}
            assert got == {"0", "1", "2"}
            view = one.cluster_view
            assert view is not None
            assert not any("permissions" in wrong.what for wrong in view.wrong)
        assert "its certificate is not accepted" in str(told_by(servers.monitor_urls[0]))
    finally:
        servers.close()


class Guarded(BaseHTTPRequestHandler):
    """A monitoring behind a user, as a proxy may have it."""

    def do_GET(self) -> None:
        if self.path == "/text/varz":
            self.answer(200, b"welcome")
        elif self.headers.get("Authorization") == "Basic dXM6cC93":  # us:p/w
            self.answer(200, b'{"server_name": "s0"}')
        else:
            self.answer(401, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """To nobody."""


async def test_a_monitoring_behind_a_user() -> None:
    server = HTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        where = f"127.0.0.1:{server.server_port}"
        assert await asyncio.to_thread(told_by, f"http://us:p%2Fw@{where}") == {"server_name": "s0"}
        assert "it wants a user" in str(await asyncio.to_thread(told_by, f"http://{where}"))
        why = str(await asyncio.to_thread(told_by, f"http://us:wr0ng@{where}"))
        assert why.startswith("HTTP 401")
        assert "wr0ng" not in why
        assert "none of NATS" in str(await asyncio.to_thread(told_by, f"http://{where}/text"))
    finally:
        server.shutdown()
        server.server_close()


def test_urls_share_their_user_and_no_password_is_shown() -> None:
    assert ClusterSettings((f"tls://u:{WRITTEN}@a:1,b,v:x@c", "nats://d"), "n").urls == (
        f"tls://u:{WRITTEN}@a:1",
        f"tls://u:{WRITTEN}@b",
        "tls://v:x@c",
        "nats://d",
    )
    for url in ("nats://u:s3cr,t@a", "nats://u:s3cr/t@a", "nats://u:s3cr?t@a", "nats://u:12/s3cr@a"):
        with pytest.raises(ConfigError, match="is special in a password") as raised:
            ClusterSettings((url,), "n").check()
        assert "s3cr" not in str(raised.value)


def test_tls_of_nothing_is_left_to_nats() -> None:
    assert access_of(("tls://a",)).tls is None
    assert Access(("tls://a",)).needs_tls("tls://a")
    assert not Access(("nats://a",)).needs_tls("nats://a")
    assert Access(("nats://a",), tls=ssl.create_default_context()).needs_tls("nats://a")
