"""A connection to the servers that comes back for ever, and questions over it that may have no answer.

nats-py's own reconnecting is off, and so are its buffers: what was sent on a connection that ended is lost,
and who asked is told so at once. A server that was stopped is found by its silence, and the next is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from curier.errors import ConfigError
from curier.jetstream.access import Access, NotSecure
from curier.loglines import logger

try:
    import nats.aio.client as nats_client
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.errors import Error as NatsError
except ImportError as missing:
    raise ImportError("a cluster needs nats-py: pip install 'curier[cluster]'", name="nats") from missing

log = logger("curier.cluster")

# Bytes that nats-py reads at once, for which it has no setting: with its own 32 KiB it stops and begins
# to read all the time where much comes.
nats_client.DEFAULT_BUFFER_SIZE = 256 * 1024

CONNECT_SECONDS: Final = 4.0
LOOK_SECONDS: Final = 1.0  # between two questions whether the server still answers
SILENT_SECONDS: Final = 3  # until one that does not is left
LATEST_SECONDS: Final = 10  # until which an answer that comes too late is still met
AGAIN_SECONDS: Final = 0.2
SOON: Final[dict[str, Any]] = {"reconnect_time_wait": 0.1}  # nats-py says that it takes whole seconds
CLOSE_SECONDS: Final = 1.0
DENIED: Final = "permissions violation"
PERMIT: Final = (
    "give the user of this node the permissions of docs/cluster.md: publish and subscribe below $JS.API, "
    "_INBOX and the name of the cluster"
)

Heard = Callable[[Msg | None], bool]
"""Gets an answer, or None: there will be none. True: nothing more is waited for."""


class _Question:
    __slots__ = ("heard", "timer")

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.timer: asyncio.TimerHandle | None = None


class Line:
    """Begins with ``open``; ``came`` is called each time the connection is there, ``went`` when it is not."""

    def __init__(
        self,
        access: Access,
        name: str,
        came: Callable[[], None] = lambda: None,
        went: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.is_up = False
        self.why = "nothing was tried yet"  # there is no connection
        self.most = 0  # bytes of a message
        self.server = ""  # which one it is connected to, and what that is
        self.version = ""
        self.denied = ""  # what the server does not let this user do, as it said last on this connection
        self._access = access
        self._name = name
        self._came = came
        self._went = went
        self._loop = asyncio.get_running_loop()
        self._listened: list[tuple[str, Callable[[Msg], None]]] = []
        self._questions: dict[str, _Question] = {}
        self._count = 0
        self._error: Exception | None = None  # what nats-py told last
        self._inbox = ""
        self._out: deque[Callable[[Client], Awaitable[object]]] = deque()
        self._exact: dict[str, Subscription] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asked: set[asyncio.Task[None]] = set()  # for signs of life
        self._closing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._task = self._loop.create_task(self._live())

    async def close(self) -> None:
        """Nothing is heard any more."""
        while self._task is not None and not self._task.done():
            self._task.cancel()  # which wait_for of Python 3.11, in nats-py, loses if it has come to its end
            await asyncio.wait([self._task], timeout=AGAIN_SECONDS)
        for asked in self._asked:
            asked.cancel()
        if left := {*self._asked, *self._closing}:
            await asyncio.wait(left)

    def listen(self, subject: str, heard: Callable[[Msg], None]) -> None:
        """What comes there, on each connection that will be. Before ``open``."""
        self._listened.append((subject, heard))

    def send(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Without a connection it is lost."""
        self._do(lambda client: client.publish(subject, payload, reply, headers))

    def ask(
        self,
        subject: str,
        payload: bytes,
        heard: Heard,
        seconds: float,
        headers: dict[str, str] | None = None,
    ) -> None:
        """``heard`` is called in a later turn, at the latest in ``seconds`` with None."""
        if not self.is_up:
            self._loop.call_soon(heard, None)
            return
        inbox = self.inbox(heard)
        word = inbox.rpartition(".")[2]
        self._questions[word].timer = self._loop.call_later(seconds, self._no_answer, word)
        self.send(subject, payload, inbox, headers)

    def inbox(self, heard: Heard) -> str:
        """A subject on this connection whose messages ``heard`` gets; None when the connection has ended."""
        self._count += 1
        word = str(self._count)
        self._questions[word] = _Question(heard)
        return f"{self._inbox}.{word}"

    def subscription(self, heard: Heard) -> str:
        """An inbox with a subscription of its own.

        A consumer needs that: its messages have the subjects under which they were stored, so only the
        subscription tells whose they are; and with one to a pattern JetStream (2.15.1) sends none.
        """
        inbox = f"{self._inbox}.only{self.inbox(heard)[len(self._inbox) :]}"
        word = inbox.rpartition(".")[2]

        async def came(message: Msg) -> None:
            self._hear(word, message)

        async def subscribe(client: Client) -> None:
            self._exact[word] = await client.subscribe(inbox, cb=came)

        self._do(subscribe)
        return inbox

    def forget(self, inbox: str) -> None:
        """``inbox`` is of no use any more."""
        word = inbox.rpartition(".")[2]
        self._questions.pop(word, None)

        async def unsubscribe(client: Client) -> None:
            subscription = self._exact.pop(word, None)
            if subscription is not None:
                await subscription.unsubscribe()

        if ".only." in inbox:
            self._do(unsubscribe)

    # -- within

    def _do(self, what: Callable[[Client], Awaitable[object]]) -> None:
        """In order, on this connection or never."""
        if self.is_up:
            self._out.append(what)
            self._wake.set()

    def _no_answer(self, word: str) -> None:
        question = self._questions.pop(word, None)
        if question is not None:
            self._call(question.heard, None)

    async def _answered(self, message: Msg) -> None:
        self._hear(message.subject.rpartition(".")[2], message)

    def _hear(self, word: str, message: Msg) -> None:
        question = self._questions.get(word)
        if question is not None and self._call(question.heard, message):
            self._questions.pop(word, None)
            if question.timer is not None:
                question.timer.cancel()

    def _call(self, heard: Heard, message: Msg | None) -> bool:
        """A fault of who hears is told to the loop, and ends no connection; nats-py would hide it."""
        try:
            return heard(message)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "an answer of NATS was not taken", "exception": error}
            )
            return True

    def _listener(self, heard: Callable[[Msg], None]) -> Callable[[Msg], Awaitable[None]]:
        def take(message: Msg | None) -> bool:
            if message is not None:
                heard(message)
            return False

        async def call(message: Msg) -> None:
            self._call(take, message)

        return call

    async def _live(self) -> None:
        servers = list(self._access.servers)
        random.shuffle(servers)  # so that not all nodes are at one
        at = 0
        while True:
            client, self._error, self.denied = Client(), None, ""
            ended = asyncio.Event()
            server = servers[at % len(servers)]
            try:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await self._connect(client, server, ended)
                except Exception as error:  # whatever nats-py makes of what a server or a file says
                    self.why = f"{without_password(server)} {self._why_not(client, error)}"
                    log.debug("%s", self.why)
                else:
                    await self._is_there(client, ended)
            finally:
                self._leave(client)
            at += 1
            await asyncio.sleep(AGAIN_SECONDS)

    def _why_not(self, client: Client, error: Exception) -> str:
        if client._server_info.get("tls_verify") and not self._access.has_certificate:
            return (
                f"asks for a certificate of this node, and there is none ({_said(error)}): "
                "--cluster-certificate and --cluster-key"
            )
        return _why(error, self._error)

    async def _connect(self, client: Client, server: str, ended: asyncio.Event) -> None:
        async def has_closed() -> None:
            ended.set()

        async def failed(error: Exception) -> None:
            self._error = error
            log.debug("from NATS: %s", _said(error))
            if DENIED in str(error).lower():
                self._is_denied(str(error))

        options = self._access.options(server)
        if self._access.needs_tls(server):
            _only_by_tls(client, options)
        await client.connect(
            servers=[server],
            name=self._name,
            error_cb=failed,
            closed_cb=has_closed,
            disconnected_cb=has_closed,
            allow_reconnect=False,
            connect_timeout=2,
            max_reconnect_attempts=1,  # so many of its own, before there is a connection
            **SOON,
            no_echo=True,
            pending_size=0,
            **options,
        )
        _notice_end_of_reading(client, ended)
        if self._access.needs_tls(server):
            _check_tls(client)
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._answered)
        for subject, heard in self._listened:
            await client.subscribe(subject, cb=self._listener(heard))
        for _ in range(2):  # nats-py sends the first question past what was subscribed to
            await client.flush(timeout=2)
        if self.denied:  # what is said by others would not be heard
            raise NatsError(self.denied)
        self.most = client.max_payload
        self.server = str(client._server_info.get("server_name", ""))
        self.version = str(client._server_info.get("version", ""))

    def _is_denied(self, said: str) -> None:
        """Once for each subject, or a log would be full of it."""
        said = said.removeprefix("nats: ").strip("'")
        if said != self.denied:
            self.denied = said
            if self.is_up:
                log.error("%s: %s; %s", self.server, said, PERMIT)

    async def _is_there(self, client: Client, ended: asyncio.Event) -> None:
        """Until the connection ends, or the server is silent."""
        self.is_up, self.why = True, ""
        sender = self._loop.create_task(self._send_all(client))
        self._came()
        why = "the connection has ended"
        try:
            while not ended.is_set() and not sender.done():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await ended.wait()
                if not ended.is_set():
                    await self._answers(client)
        except (NatsError, OSError, TimeoutError) as error:
            why = f"the server does not answer: {_said(error)}"
        finally:
            sender.cancel()
            self.is_up, self.why = False, f"{self.server or 'NATS'}: {why}"
            self._out.clear()
            self._exact.clear()
            questions, self._questions = self._questions, {}
            for question in questions.values():
                if question.timer is not None:
                    question.timer.cancel()
                self._call(question.heard, None)
            self._went(self.why)

    async def _answers(self, client: Client) -> None:
        """Have a sign of life from the server. Raises ``TimeoutError``.

        The limit is not given to nats-py, which meets an answer that comes behind it with a traceback.
        """
        asked = self._loop.create_task(client.flush(timeout=LATEST_SECONDS))
        self._asked.add(asked)
        asked.add_done_callback(self._is_answered)
        done, _ = await asyncio.wait((asked,), timeout=SILENT_SECONDS)
        if not done:
            raise TimeoutError(f"for {SILENT_SECONDS} s")
        await asked

    def _is_answered(self, asked: asyncio.Task[None]) -> None:
        self._asked.discard(asked)
        if not asked.cancelled():
            asked.exception()  # nobody waits for it any more

    async def _send_all(self, client: Client) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._out:
                await self._out.popleft()(client)

    def _leave(self, client: Client) -> None:
        """Close it, however long that takes: a server that was stopped reads nothing, not even the end."""

        async def close() -> None:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await client.close()

        task = self._loop.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _notice_end_of_reading(client: Client, ended: asyncio.Event) -> None:
    """Where a connection is reset while something is to be written, nats-py fails to close it: it tells
    nobody that it has ended, its task ends with an error that nobody has asked for, and subscriptions wait.
    """
    subscriptions = client._subs

    def has_ended(reading: asyncio.Task[None]) -> None:
        ended.set()
        if not reading.cancelled() and reading.exception() is not None:
            for one in subscriptions.values():
                waiting = cast("asyncio.Task[None] | None", one._wait_for_msgs_task)
                if waiting is not None:
                    waiting.cancel()

    assert client._reading_task is not None
    client._reading_task.add_done_callback(has_ended)


def without_password(server: str) -> str:
    """A URL for a log."""
    scheme, separator, rest = server.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _only_by_tls(client: Client, options: dict[str, Any]) -> None:
    """Have passwords and tokens told only once the connection is secure: nats-py takes a server's word for it
    that there is no TLS.
    """

    def once_secure(secret: str) -> Callable[[], str]:
        def tell() -> str:
            _check_tls(client)
            return secret

        return tell

    for name in ("user", "password", "token"):
        if name in options:
            options[name] = once_secure(options[name])


def _check_tls(client: Client) -> None:
    server = client._current_server
    is_secure = server is not None and server.uri.scheme == "wss"
    if not is_secure and not client._server_info.get("tls_required"):
        raise NotSecure(
            "does not ask for TLS, so nothing was said to it: give the server a tls block (without "
            "allow_non_tls), or use a nats:// URL without --cluster-cafile where the network is yours alone"
        )


def _why(error: Exception, before: Exception | None) -> str:
    """Why a server was not reached, behind its name. ``before`` is what nats-py told meanwhile."""
    if isinstance(error, NotSecure):
        return str(error)
    if isinstance(error, ConfigError):
        return f"is not called: {error}"
    for one in (error, before or error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return (
                f"cannot be trusted: its certificate is not accepted: {one.verify_message.rstrip('.')}; see "
                "--cluster-cafile, and that the names in the certificate have the one in the URL"
            )
        words = str(one).lower()
        if "authorization violation" in words or "authentication" in words or "user authentication" in words:
            return (
                "does not let this node in: it knows no such user, password, token or key; see the URLs, or "
                "--cluster-credentials"
            )
        if DENIED in words:
            return f"does not let this node do its work: {_said(one)}; {PERMIT}"
    return f"cannot be reached: {_said(error)}"


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
