"""docs/client.md and docs/migration.md say what is so: every program on them runs, every table is complete.

A line `print(...)  # text` promises what is printed there; a print without such a comment is not reached. A
piece that imports nothing stands inside of a `main`, as the page says, and in a client where it makes none.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import inspect
import queue
import re
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import get_args

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import curier
from curier import ReasonCode, errors
from curier.auth import Authenticator, Credentials, Verdict
from curier.client import events
from curier.client.sync import SyncReceipt
from tests.client.certificates import Certificates, make_certificates
from tests.client.servers import Proxy, serving
from tests.conftest import require_peer
from tests.test_docs import PROMISES, ROOT, blocks, rows

CLIENT = (ROOT / "docs" / "client.md").read_text()
MIGRATION = (ROOT / "docs" / "migration.md").read_text()
SECRET = b"secret"


class Doorkeeper(Authenticator):
    """Lets in ana with her password, and who knows the shared secret."""

    @property
    def methods(self) -> frozenset[str]:
        return frozenset({"SHARED-SECRET"})

    async def authenticate(self, credentials: Credentials) -> Verdict:
        if credentials.authentication_method is not None:
            return Verdict(ReasonCode.CONTINUE_AUTHENTICATION, authentication_data=b"challenge", state=True)
        if (credentials.username, credentials.password) == ("ana", SECRET):
            return Verdict(ReasonCode.SUCCESS)
        return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD)

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        if state is None:  # a re-authentication begins
            return Verdict(ReasonCode.CONTINUE_AUTHENTICATION, authentication_data=b"challenge", state=True)
        right = credentials.authentication_data == hmac.digest(SECRET, b"challenge", "sha256")
        return Verdict(ReasonCode.SUCCESS if right else ReasonCode.NOT_AUTHORIZED)


async def relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass everything on to the broker, and back."""
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
        raise EOFError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(pass_on(reader, there_writer))
            group.create_task(pass_on(there_reader, writer))
    except* (OSError, EOFError):
        pass
    finally:
        there_writer.transport.abort()


@contextlib.asynccontextmanager
async def websocket(port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """A WebSocket listener before the broker."""

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.headers["Authorization"] == "Bearer secret"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await reader.read(65536):
                await connection.send(data)

        returning = asyncio.ensure_future(back())
        try:
            with contextlib.suppress(ConnectionClosed):
                async for message in connection:
                    assert isinstance(message, bytes)
                    writer.write(message)
        finally:
            returning.cancel()
            await asyncio.wait([returning])
            writer.transport.abort()

    protocols = [Subprotocol("mqtt")]
    async with serve(handle, "127.0.0.1", 0, ssl=tls, subprotocols=protocols, close_timeout=0.5) as server:
        (sock,) = server.sockets
        yield sock.getsockname()[1]


@contextlib.asynccontextmanager
async def servers(certificates: Certificates, folder: Path, proxy: Proxy) -> AsyncIterator[dict[str, str]]:
    """Everything the pages connect to, and where it really is."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        broker = await enter(curier.Broker(listen=["tcp://127.0.0.1:0"]))
        secure = await enter(curier.Broker(listen=["tcp://127.0.0.1:0"], authenticator=Doorkeeper()))
        through = partial(relay, broker.port)
        tls = await enter(serving(through, certificates.server(client=True)))
        wss = await enter(websocket(broker.port, certificates.server()))
        await enter(serving(through, path=str(folder / "curier.sock")))
        proxy_port = await enter(serving(proxy.handle))
        yield {
            "mqtt://localhost": f"mqtt://127.0.0.1:{broker.port}",
            "mqtt://secure.example": f"mqtt://127.0.0.1:{secure.port}",
            "mqtt://one.example": "mqtt://127.0.0.1:1",  # where nobody listens
            "mqtts://broker.example": f"mqtts://localhost:{tls}",
            "wss://broker.example/mqtt": f"wss://localhost:{wss}/mqtt",
            "unix:///run/curier.sock": f"unix://{folder}/curier.sock",
            "http://proxy.example:3128": f"http://127.0.0.1:{proxy_port}",
            '"localhost", 1883': f'"127.0.0.1", {broker.port}',
        }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def proxy() -> Proxy:
    return Proxy("http")


@pytest.fixture
def places(certificates: Certificates, tmp_path: Path, proxy: Proxy) -> Iterator[dict[str, str]]:
    """The servers, in a thread of their own: programs have the main thread, as they will have it."""
    found: queue.Queue[dict[str, str] | BaseException] = queue.Queue()
    over: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        end = asyncio.Event()
        over.append((asyncio.get_running_loop(), end))
        async with servers(certificates, tmp_path, proxy) as where:
            found.put(where)
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            found.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    where = found.get(timeout=100)
    assert isinstance(where, dict), where
    yield where
    loop, end = over[0]
    loop.call_soon_threadsafe(end.set)
    thread.join(100)
    assert found.empty(), found.get()


def program(text: str) -> str:
    """A piece as a whole program."""
    if re.search(r"^(import|from) ", text, re.MULTILINE):
        return text
    if not re.search(r"\bas client\b|\bclient = ", text):
        text = 'async with curier.connect("mqtt://localhost") as client:\n' + indent(text, "    ")
    body = indent(text, "    ")
    return f"import asyncio\n\nimport curier\n\n\nasync def main() -> None:\n{body}\n\nasyncio.run(main())\n"


PROGRAMS = [
    pytest.param(text, id=f"{name}-{number}")
    for name, page in (("client", CLIENT), ("migration", MIGRATION))
    for number, text in enumerate(blocks(page, "python"))
]


@pytest.mark.slow
@pytest.mark.parametrize("text", PROGRAMS)
def test_programs(
    places: dict[str, str],
    certificates: Certificates,
    proxy: Proxy,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in ("paho", "aiomqtt"):
        if f"import {package}" in text:
            require_peer(package)
    for name in ("ca.pem", "client.crt", "client.key"):
        (tmp_path / name).write_bytes((certificates.directory / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    whole = program(text)
    for name, place in places.items():
        whole = re.sub(rf"{re.escape(name)}(?![\w.])", place, whole)
    assert not re.search(r"\.example\b|\b1883\b", whole), "a place that nobody serves"
    exec(compile(whole, "page", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines() == PROMISES.findall(text)
    assert bool(proxy.asked) == ("proxy" in text)


def test_every_setting_is_described() -> None:
    described = {row[0].strip("`"): row[1].strip("`") for row in rows(CLIENT, "## Settings")}
    names = {"Reconnect": curier.Reconnect}
    assert list(described) == [one.name for one in fields(curier.ClientSettings)]
    for one in fields(curier.ClientSettings):
        assert one.default is not MISSING
        assert eval(described[one.name], names) == one.default, one.name


def test_every_event_is_described() -> None:
    told = rows(CLIENT, "## When the connection is lost")
    kinds = {kind.__name__: kind for kind in get_args(events.Event)}
    assert {row[0].strip("`") for row in told} == set(kinds)
    for name, what in told:
        has = {*inspect.get_annotations(kinds[name.strip("`")]), "reason_code", "by_server"}
        words = set(re.findall(r"`([a-z_]+)`", what)) - {"publish"}
        assert words <= has, name


def test_the_tree_of_errors() -> None:
    """Each error is where it belongs, and none is left out but what `...` stands for."""
    (tree,) = blocks(CLIENT, "text")
    path: list[str] = []
    found = {}
    for line in tree.splitlines():
        drawn = re.match(r"([│├└─ ]*)(\w+)", line)
        if drawn is None:
            continue
        depth = len(drawn[1]) // 4
        path[depth:] = [drawn[2]]
        found[drawn[2]] = path[depth - 1] if depth else "Exception"
    kinds = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert found == {name: kind.__bases__[0].__name__ for name, kind in kinds.items()}
    assert all(getattr(curier, name) is kind for name, kind in kinds.items())


def known_names(*places: object) -> set[str]:
    """The names of attributes and parameters of modules, classes and functions."""
    names = set()
    for place in places:
        names.update(dir(place))
        if callable(place):
            names.update(inspect.signature(place).parameters)
    return names


OURS = known_names(
    curier,
    curier.ClientSettings,
    curier.TlsSettings,
    curier.Reconnect,
    curier.Message,
    curier.Client,
    curier.Client.subscribe,
    curier.Stream,
    SyncReceipt,
) | {"str", "timeout"}


@pytest.mark.parametrize("heading", ["## From paho-mqtt", "## From aiomqtt"])
def test_the_calls_that_are_named_exist(heading: str) -> None:
    """On both sides of the tables: what is called, and what is given by keyword."""
    require_peer("paho")
    require_peer("aiomqtt")
    import aiomqtt
    from paho.mqtt import client as paho
    from paho.mqtt import packettypes, properties, publish, subscribeoptions

    theirs = known_names(paho, paho.Client, paho.MQTTMessageInfo, properties, packettypes, subscribeoptions)
    theirs |= known_names(subscribeoptions.SubscribeOptions, publish, aiomqtt, aiomqtt.Client, aiomqtt.Topic)
    called = re.compile(r"(\w+)(?:\(|=(?!=))")
    for left, right in rows(MIGRATION, heading):
        for cell, names in ((left, theirs), (right, OURS)):
            for code in re.findall(r"`([^`]+)`", cell):
                assert set(called.findall(code)) - {"info", "receipt"} <= names, code
