"""The broker as a program or as a part of one: core, listeners, authentication, clock, wired together.

async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
    print(broker.port)
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from curier.asking import Asking
from curier.auditing import Audit
from curier.auth.at_doors import AtDoors, has_rules
from curier.auth.bans import Bans, BanSettings
from curier.auth.base import AllowAnonymous, Authenticator, Authorizer, Credentials, Verdict
from curier.banning import Banning
from curier.broker.core import BrokerCore
from curier.broker.effects import Authenticate, Authorize, CatchUp, Claim, Close, Commit, Effect
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.broker_arguments import (
    application_message,
    check_all_anonymous,
    check_anonymous,
    check_options,
    expect,
    hooks_of,
    listeners_of,
)
from curier.cluster_settings import ClusterSettings, WorkerSettings
from curier.cluster_view import ClusterView
from curier.doorways import Doorway, change
from curier.errors import ClusterError, ConfigError, StoreError
from curier.inside import HOP, BridgeNumbers, InsidersToo
from curier.listeners import DEFAULT_LISTEN, Listener, parse_listen
from curier.loglines import logger, tell_left_out
from curier.logs import DROPS_SECONDS, LogHook
from curier.mounted import Mounted
from curier.net import reactor
from curier.net.clock import Clock
from curier.net.doors import Door, entrances_of
from curier.net.handshakes import Handshakes
from curier.net.host import Process
from curier.net.passed import Passed
from curier.net.pings import Pings
from curier.net.renewal import Renewal
from curier.net.transports import TransportServer
from curier.net.turn import Turn
from curier.optional_parts import certificates_of, member_of, stored, with_acme
from curier.permissions.base import Rules
from curier.permissions.rule_file import RuleFile
from curier.restored import restore
from curier.session.journal import Journal
from curier.store.base import Durability, described
from curier.trace.traced import Traced
from curier.types import Message

if TYPE_CHECKING:
    from curier.laboratory import Laboratory  # which hardly any broker has

log = logger("curier.server")

DEFAULT_BANS = BanSettings()

STOP_SECONDS = 8.0
"""How long ``stop`` may take, with a disk that takes the last changes slowly or not at all."""

CLIENT_SECONDS = 1.0
"""How long of that it waits for clients to take their last bytes."""

LAST_SECONDS = 2.0
"""How long of that the store has at least to end."""


class Broker(Traced, Mounted):
    """An MQTT broker in the running event loop.

    ``listen`` is a URL such as ``tcp://127.0.0.1:1883``, or several of them, None where clients come in by
    ``asgi`` alone; port 0 takes a free one, see ``port`` and ``urls``. By default it is port 1883 of this
    machine only, by IPv4 and, if it has that, IPv6.
    Without an ``authenticator`` everybody may connect, which is possible on loopback addresses only: to let
    everybody in from elsewhere, pass ``AllowAnonymous()``. ``authorizer`` decides on topics; without one
    every client may use all of them. ``permissions`` are rules of a file on the same; where there are both,
    both must say yes. ``data`` is a directory for sessions, messages and retained state, with
    ``durability`` ``"fsync"`` (survives a loss of power) or ``"os"`` (survives the death of the process);
    without it, or with ``"memory"``, nothing is kept. ``accept_loss`` goes on with what is there, where
    something that was acknowledged is missing from it.

    ``cluster`` makes it one node of a cluster, which keeps all there is to keep: there is no ``data`` then.

    ``bans`` say what an address, or a user at one, is banned for, where there is an ``authenticator``; None:
    nobody is. ``audit`` is told who comes, is refused or banned, and what is denied or changed.

    Raises ``TypeError`` for arguments of a wrong type, ``ConfigError`` for settings that cannot be. ``start``
    raises ``OSError`` for an address that cannot be listened on, ``StoreError`` for a directory that cannot
    be used, ``ClusterError`` for such a cluster. A broker starts and stops once.
    Cancelling ``start`` or ``stop`` leaves nothing listening.
    """

    bridges: Callable[[], Sequence[BridgeNumbers]] = tuple  # what they count, where there are any
    lab: Laboratory | None = None  # set before ``start``: breaks connections on purpose
    _asking: Asking | None = None
    _stopped: asyncio.Event | None = None
    _why_dead: ClusterError | None = None  # a node of a cluster: why it had to end

    def __init__(
        self,
        listen: str | Listener | Sequence[str | Listener] | None = DEFAULT_LISTEN,
        *,
        options: Options | None = None,
        authenticator: Authenticator | None = None,
        authorizer: Authorizer | None = None,
        permissions: RuleFile | None = None,
        data: str | Path | None = None,
        durability: str = "fsync",
        accept_loss: bool = False,
        hooks: Sequence[Hook] = (),
        bans: BanSettings | None = DEFAULT_BANS,
        audit: Audit | None = None,
        cluster: ClusterSettings | WorkerSettings | None = None,
        use_reactor: bool = reactor.IS_AVAILABLE,
    ) -> None:
        expect("options", options, Options, "None, or curier.Options() with attributes set")
        expect("authenticator", authenticator, Authenticator, "None, or a curier.auth.Authenticator")
        expect("authorizer", authorizer, Authorizer, "None, or a curier.auth.Authorizer")
        expect("permissions", permissions, RuleFile, "None, or a curier.permissions.RuleFile")
        expect("bans", bans, BanSettings, "None, or a curier.auth.bans.BanSettings")
        expect("data", data, (str, Path), "None, or the path of a directory")
        self.options = options if options is not None else Options()
        check_options(self.options)
        if durability not in ("fsync", "os", "memory"):
            raise ConfigError(f"durability is fsync, os or memory, not {durability!r}")
        kept_at = self.directory = Path(data) if data is not None and durability != "memory" else None
        how = cast(Durability, durability)
        self._member = member_of(cluster, data) if cluster is not None else None
        self._store = self._member or (stored(kept_at, how, accept_loss) if kept_at is not None else None)
        self._listen = listeners_of(listen)
        self._is_default = self._listen == listeners_of(DEFAULT_LISTEN)
        self._listen, self._acme = with_acme(self._listen, kept_at)
        self._certificates = {
            listener: certificates_of(listener) for listener in self._listen if listener.address.is_secure
        }
        check_all_anonymous(self._listen, authenticator)
        self.authenticator = authenticator
        self._at_doors = AtDoors(authenticator) if any(map(has_rules, self._listen)) else None
        self.authorizer = authorizer
        self.permissions = permissions
        self.listeners: dict[str, Listener] = {}
        """All of a broker that runs, by their real addresses."""
        self._hooks = hooks_of(hooks)
        self._use_reactor = use_reactor
        self.bans = Banning(Bans(bans), time.monotonic, audit) if bans is not None else None
        """Who is banned, unless nobody ever is."""
        self.audit = audit
        self._core: BrokerCore | None = None
        self._log = LogHook()
        self._log_timer: asyncio.TimerHandle | None = None
        self._turn: Turn | None = None
        self._handshakes: Handshakes | None = None
        self._pings: Pings | None = None
        self._process = Process()
        self._renewal = Renewal([*self._certificates.values()], self._process.told, self._end_revoked)
        self._reactor: reactor.Reactor | None = None
        self._transports: TransportServer | None = None
        self._doorways: list[Doorway] = []

    @property
    def urls(self) -> list[str]:
        """The real addresses, in the order of the listeners."""
        return list(self.listeners)

    @property
    def core(self) -> BrokerCore:
        """The core of a broker that runs."""
        if self._core is None:
            raise RuntimeError("the broker has not been started")
        return self._core

    @property
    def turn(self) -> Turn:
        """What drives the core of a broker that runs: its clock, and who is told that there is output."""
        if self._turn is None:
            raise RuntimeError("the broker has not been started")
        return self._turn

    @property
    def cluster_view(self) -> ClusterView | None:
        """How things stand with the cluster that it is a node of; None where there is none."""
        return self._member.view() if self._member is not None else None

    def give_up_sessions(self, names: Sequence[str] | None) -> int:
        """Give these or all of them to other nodes, and take none any more; how many are left."""
        return self._member.give_up(names) if self._member is not None else 0

    @property
    def port(self) -> int:
        """The port of the first listener, as bound."""
        if not self.listeners:
            raise RuntimeError("the broker has not been started")
        return parse_listen(self.urls[0]).port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on all addresses; returns when clients can connect."""
        if self._core is not None:
            raise RuntimeError("a broker starts once; make a new one")
        loop = asyncio.get_running_loop()
        clock = Clock()
        authenticator = self._asked_at_doors() or self.authenticator
        asks = authenticator is not None and type(authenticator) is not AllowAnonymous
        core = self._core = BrokerCore(
            self.options,
            clock.now(),
            id_prefix=f"auto-{os.urandom(8).hex()}-",
            journal=Journal() if self._store is not None else None,
            asks_authentication=asks,
            authentication_methods=authenticator.methods if authenticator is not None else frozenset(),
            asks_authorization=self.authorizer is not None,
        )
        core.run_on(self._process, clock.now())
        core.hop = (HOP, os.urandom(8).hex())
        recorder = self._be_traced(core, clock.now, loop.call_soon)
        self._add_hooks(core, asks)
        if self.permissions is not None:
            core.judge_by(InsidersToo(self.permissions.rules), clock.now())
        if self.authorizer is not None:
            self.authorizer.watch(core.permissions_changed)
        turn = self._turn = Turn(core, loop, clock, self._on_effect)
        turn.tape = self._tape
        self._asking = Asking(turn, authenticator, self.authorizer, self.bans)
        self._handshakes = Handshakes(turn)
        tell = recorder.broken
        self._top = self.lab.layers(turn, self._handshakes, tell) if self.lab is not None else None
        self._stopped = asyncio.Event()
        try:
            await self._begin_to_keep(turn)
            passed = Passed()
            for listener, entrance in zip(self._listen, entrances_of(self._listen), strict=True):
                doorway = Doorway(listener, entrance)
                self._doorways.append(doorway)
                self.core.statistics.entrances.append(entrance)
                await self._open(doorway, passed)
                self._enter(doorway)
            self._open_mounts()
            self._pings = Pings(turn, {listener.ping_interval for listener in self._listen})
            for name in passed.left():
                log.warning("descriptor %s was passed to this process, and is not listened on", name)
        except BaseException:
            self._stopped.set()
            self._close_now()
            if self._store is not None:
                await self._store.close()
            raise
        self._renewal.start()
        self._asking.start()
        if self.permissions is not None:
            self.permissions.start(self._judge_by)
        if self._acme is not None:
            self._acme.start()
        self._tell_log()
        turn.schedule()

    async def _begin_to_keep(self, turn: Turn) -> None:
        """Have what the last life left, and a store for this one, if there is any."""
        if self._member is not None:
            self._member.enter(turn, self._end_without_a_word)
        if self._store is not None:
            await restore(self._store, turn)

    def _unwritten(self) -> list[BrokerConnection]:
        return self._turn.waiting() if self._turn is not None else []

    def _add_hooks(self, core: BrokerCore, asks: bool) -> None:
        """Have ours told of what happens, and those of the program."""
        hooks: list[Hook] = [self._log, *self._hooks]
        if self.keeps_past:
            hooks.append(self._mishaps)
        if self.audit is not None:
            hooks.append(self.audit)
        if asks and self.bans is not None:
            hooks.append(self.bans)
        for hook in hooks:
            core.add_hook(hook)

    def _tell_log(self) -> None:
        """Have the log say what it has summed up, now and every few seconds."""
        self._log.tell()
        if self.audit is not None:
            self.audit.tell_left_out()
        self._log_timer = asyncio.get_running_loop().call_later(DROPS_SECONDS / 6, self._tell_log)

    def _judge_by(self, rules: Rules) -> None:
        """The rules have changed."""
        assert self._turn is not None
        self.core.judge_by(InsidersToo(rules), self._turn.clock.now())
        self._turn.schedule()

    async def _open(self, doorway: Doorway, passed: Passed) -> None:
        address = doorway.listener.address
        await doorway.open(passed, may_lack_ipv6=self._is_default or address.host == "localhost")
        for opened in doorway.opened:
            check_anonymous(doorway.listener, opened.address, self.authenticator)

    def _enter(self, doorway: Doorway) -> None:
        """Let clients in by a listener that is open."""
        listener = doorway.listener
        for opened in doorway.opened:
            url = str(opened.address)
            if self._at_doors is not None:
                self._at_doors.add(url, listener)
            self.listeners[url] = listener
            certificates = self._certificates.get(listener)
            self._listen_on(opened.sock, Door(url, listener, doorway.entrance, certificates, self._top))

    @asynccontextmanager
    async def changing_listeners(
        self, listen: str | Listener | Sequence[str | Listener]
    ) -> AsyncIterator[None]:
        """Have a broker that runs listen where ``listen`` says, after the body; clients that are connected
        stay, by whichever listener they came. Where the body raises, nothing changes.

        Raises ``ConfigError`` for listeners that cannot be, ``curier.doorways.NeedsRestart`` (one of those)
        for what needs a new broker, ``OSError`` for an address that cannot be had; before the body, with
        nothing changed.
        """
        wanted = listeners_of(listen)
        plan = change(self._doorways, wanted, asks_at_doors=self._at_doors is not None)
        entrances = dict(zip(map(id, wanted), entrances_of(wanted), strict=True))
        check_all_anonymous(wanted, self.authenticator)
        certificates = {
            one: self._certificates.get(one) or certificates_of(one)
            for one in wanted
            if one.address.is_secure
        }
        new = [Doorway(one, entrances[id(one)]) for one in plan.new]
        try:
            for doorway in new:
                await self._open(doorway, Passed())
            yield
        except BaseException:
            for doorway in new:
                doorway.remove_files()
                doorway.close()
            raise
        self._certificates = certificates
        for doorway in plan.gone:
            self._leave(doorway)
            doorway.remove_files()
            doorway.close()
        for doorway, listener in plan.kept:
            doorway.entrance.become(entrances[id(listener)])
            if doorway.listener != listener:
                self._leave(doorway)
                doorway.listener = listener
                self._enter(doorway)
        for doorway in new:
            self._enter(doorway)
        self._doorways = [*(doorway for doorway, _ in plan.kept), *new]
        self._listeners_changed(wanted)

    async def _end_revoked(self) -> None:
        if self._asking is not None:
            await self._asking.end_revoked()

    def _listeners_changed(self, listeners: Sequence[Listener]) -> None:
        """Have all that looks after listeners look after these."""
        assert self._turn is not None
        self._listen = [*listeners]
        opened = [doorway.entrance for doorway in self._doorways]
        self.core.statistics.entrances[:] = [*opened, *self._mounted_entrances]
        self._renewal.stop()
        self._renewal = Renewal([*self._certificates.values()], self._process.told, self._end_revoked)
        self._renewal.start()
        if self._pings is not None:
            self._pings.stop()
        self._pings = Pings(self._turn, {listener.ping_interval for listener in listeners})

    def _leave(self, doorway: Doorway) -> None:
        """Let nobody in there any more; its sockets stay open."""
        for opened in doorway.opened:
            self.listeners.pop(str(opened.address), None)
            if self._reactor is not None:
                self._reactor.leave(opened.sock)
            if self._transports is not None:
                self._transports.leave(opened.sock)

    def _listen_on(self, sock: socket.socket, door: Door) -> None:
        assert self._turn is not None
        assert self._handshakes is not None
        if self._use_reactor:
            if self._reactor is None:
                self._reactor = reactor.Reactor(self._turn, self._handshakes)
            self._reactor.listen(sock, door)
        else:
            if self._transports is None:
                self._transports = TransportServer(self._turn, self._handshakes)
            self._transports.listen(sock, door)

    def stop_listening(self) -> None:
        """Let nobody in any more."""
        for doorway in self._doorways:
            doorway.remove_files()
        if self._reactor is not None:
            self._reactor.stop_listening()
        if self._transports is not None:
            self._transports.stop_listening()
        for doorway in self._doorways:
            doorway.close()

    async def serve_forever(self) -> None:
        """Wait until ``stop`` is called. Raises ``ClusterError`` where a node of a cluster has to end;
        ``TakenForDead``, one of those, where it may join anew.
        """
        if self._stopped is None:
            raise RuntimeError("the broker has not been started")
        await self._stopped.wait()
        if self._why_dead:
            raise self._why_dead

    def _end_without_a_word(self, why: ClusterError) -> None:
        """Another node may have the sessions of this one: nothing more is said to anybody."""
        self._why_dead = why
        self._close_now()
        if self._stopped is not None:
            self._stopped.set()

    async def stop(self) -> None:
        """Stop listening, tell 5.0 clients (0x8B), send and store what is left, close.

        It takes 8 seconds at most. Raises ``StoreError`` where the last changes, which are acknowledged to
        nobody, could not be stored; the broker has stopped all the same.
        """
        if self._turn is None or self._core is None or self._stopped is None or self._stopped.is_set():
            return
        until = asyncio.get_running_loop().time() + STOP_SECONDS
        self._is_stopping = True
        self.stop_listening()
        self._core.shut_down(self._turn.clock.now())
        self._turn.finish(self._turn.clock.now())
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                parts = (self._reactor, self._transports)
                while any(one.wires for one in parts if one is not None) or self._mounts_are_busy:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        finally:
            try:
                await self._close_store(until)
            finally:
                self._close_now()
                self._log.tell(is_last=True)
                tell_left_out()
                self._stopped.set()

    async def _close_store(self, until: float) -> None:
        """Have the last changes written, then let go of the directory. Raises ``StoreError``."""
        store = self._store
        if store is None:
            return
        core = self.core
        try:
            async with asyncio.timeout_at(until - LAST_SECONDS):
                while core.is_committing and not core.store_trouble:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pass
        finally:
            await store.close(max(LAST_SECONDS, until - asyncio.get_running_loop().time()))
        later = core.journal.take() if core.journal is not None else None
        lost = [*store.unwritten, *(later.records if later is not None else ())]
        if lost and self._member is None:  # other nodes have what those are about
            raise StoreError(
                f"{store.where}: the last changes could not be written ({described(lost)}); none of them was "
                f"acknowledged{f': {core.store_trouble}' if core.store_trouble else ''}"
            )

    def _close_now(self) -> None:
        if self._log_timer is not None:
            self._log_timer.cancel()
        if self._asking is not None:
            self._asking.call_all_off()
        if self.authorizer is not None and self._core is not None:
            self.authorizer.unwatch(self._core.permissions_changed)
        if self._turn is not None:
            self._turn.stop()
        self.stop_listening()
        if self._reactor is not None:
            self._reactor.stop()
        if self._transports is not None:
            self._transports.stop()
        self._end_mounts()
        for part in (self._handshakes, self._pings):
            if part is not None:
                part.stop()
        self._renewal.stop()
        if self.permissions is not None:
            self.permissions.stop()
        if self._acme is not None:
            self._acme.stop()

    @property
    def has_certificates(self) -> bool:
        """Whether there are TLS listeners, so that ``reload_certificates`` has something to do."""
        return bool(self._certificates)

    @property
    def doorways(self) -> Sequence[Doorway]:
        """The listeners, with the sockets of each and how many came in there."""
        return self._doorways

    def certificates_end(self, listener: Listener) -> float:
        """When the first of a listener's certificates ends, in seconds since 1970; inf: it has none, or none
        that ends.
        """
        found = self._certificates.get(listener)
        return math.inf if found is None else found.expires

    async def reload_certificates(self) -> None:
        """Read certificates, keys, authorities and revocation lists of all listeners again, at once.

        It happens by itself within seconds of a change. New connections get what is new, the others stay.
        Raises ``ConfigError`` for files that do not fit; a listener with such goes on with what it had.
        """
        await self._renewal.reload()

    def change_options(self, options: Options) -> frozenset[str]:
        """Go by ``options`` from now on, in a broker that runs. Returns the names of those that could not be
        changed, and stay as they are. What a client was told when it connected holds for it until it connects
        again. Raises ``ConfigError`` for options that cannot be.
        """
        try:
            options.check()
        except ValueError as error:
            raise ConfigError(str(error)) from None
        assert self._turn is not None
        if self._member is not None:
            options.max_packet_size = self._member.limited(options.max_packet_size)
        stuck = self.core.change_options(options, self._turn.clock.now())
        self._turn.schedule()
        return stuck

    def acted(self, who: str, action: str, **details: str | float | None) -> None:
        """Have the audit log say what somebody did in another way than by MQTT; see ``Audit.acted``."""
        if self.audit is not None:
            self.audit.acted(who, action, **details)

    @property
    def knows_users(self) -> bool:
        """Whether somebody decides by names who may connect."""
        return self.authenticator is not None and type(self.authenticator) is not AllowAnonymous

    async def who_is(self, credentials: Credentials) -> Verdict:
        """What the authenticator says of somebody who comes by no listener; see ``Asking.who_is``."""
        assert self.authenticator is not None
        assert self._asking is not None
        return await self._asking.who_is(self.authenticator, credentials)

    def publish(self, message: Message) -> None:
        """Publish as the broker itself. Raises ``ValueError`` for what cannot be published."""
        core = self.core
        assert self._turn is not None
        now = self._turn.clock.now()
        made = application_message(message, now)
        why = self._member.why_too_large(made.size()) if self._member is not None else ""
        if why := why or core.publish(made, None, now):
            raise ValueError(why)
        self._turn.schedule()

    # ---- effects ----

    def _on_effect(self, effect: Effect) -> None:
        assert self._asking is not None
        if isinstance(effect, Commit):
            if self._store is not None:
                self._store.commit(effect.batch)
        elif isinstance(effect, Close):
            self._asking.call_off(effect.connection.number)  # nobody is there to hear the answer
        elif isinstance(effect, (Authenticate, Authorize)):
            self._asking.ask(effect)
        elif isinstance(effect, (Claim, CatchUp)) and self._member is not None:
            self._member.ask(effect)
