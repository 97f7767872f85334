"""A broker in a terminal: greets, logs in plain lines, stops when told.

Standard output has what scripts wait for, ``listening on URL``, and then a few lines for people; the log
goes to standard error.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shlex
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from curier.auditing import Audit
from curier.auth import AllowAnonymous, Authenticator, Chain
from curier.cli.collector import looking_once
from curier.cli.host import allow_files, give_back_memory, keep_freed_memory
from curier.cli.log_setup import open_audit, start_logging
from curier.cli.log_writer import AuditFile, FileWriter
from curier.cli.manager import served
from curier.cli.reload import Reload
from curier.cli.signals import signals
from curier.cli.traces import Traces
from curier.cli.window import CannotListen, open_window, way_to, window_of
from curier.config import Config
from curier.config_authenticators import HOOKS
from curier.errors import ClusterAway, TakenForDead
from curier.hook_files.files import HookFiles
from curier.listeners import Listen, Listener, parse_listen
from curier.net import reactor
from curier.net.loop import Loop
from curier.permissions.rule_file import RuleFile
from curier.server import Broker
from curier.settings.environment import CALLED

if TYPE_CHECKING:
    from curier.bridge.house import Bridges
    from curier.laboratory import Laboratory
    from curier.webhooks import Webhook

_log = logging.getLogger("curier.cli")

JOIN_AGAIN_SECONDS: Final = 2.0
"""After a node that was taken for dead could not join, until it tries again."""

WEBHOOK_SECONDS: Final = 2.0
"""How long they have at the end to tell what has happened."""


def run(config: Config, reread: Callable[[], Config] | None = None) -> None:
    """``serve`` in the event loop that is made for it, where this system has it."""
    keep_freed_memory()
    allow_files(config.options.max_connections)
    make_loop = Loop if reactor.IS_AVAILABLE else None
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(serve(config, reread))


async def serve(config: Config, reread: Callable[[], Config] | None = None) -> None:
    """Run a broker until SIGINT or SIGTERM, or until its terminal is gone. At SIGHUP the settings are those
    that ``reread`` gives.

    Raises ``ConfigError``, ``StoreError`` (for last changes that could not be written, too),
    ``CannotListen`` for an address that cannot be had, or ``ClusterError`` where joining anew is no use.
    """
    log_file = start_logging(config)
    audit_file = open_audit(config)
    with closing(audit_file) if audit_file is not None else nullcontext():
        was_in = False
        while True:
            try:
                await _serve(config, reread or (lambda: config), log_file, audit_file)
                break
            except TakenForDead as error:  # others have its sessions: clients come again, as to any node
                if config.worker is not None:
                    raise  # who started this process starts another
                was_in = True
                _log.error("%s: this node has ended all its connections, and joins anew", error)
            except ClusterAway as error:
                if not was_in:  # a mistake of the settings, most likely, which somebody looks at now
                    raise
                _log.error("%s; it is tried again", error)
                await asyncio.sleep(JOIN_AGAIN_SECONDS)
    _log.info("stopped")


async def _serve(
    config: Config, reread: Callable[[], Config], log_file: FileWriter | None, audit_file: AuditFile | None
) -> None:
    """The same, with the files that are written while it runs."""
    hook_files = HookFiles(config.hooks)
    if config.hooks:
        await hook_files.load()
        config = replace(config, hooks_authenticate=hook_files.authenticator is not None)
        config.check()
    authenticator = authenticator_of(config, hook_files.authenticator)
    webhooks = webhooks_of(config)
    broker = Broker(
        config.doors(),
        options=config.options,
        authenticator=authenticator,
        authorizer=hook_files.authorizer,
        permissions=permissions_of(config),
        hooks=[*hook_files.defined.hooks, *webhooks],
        data=config.directory,
        cluster=config.part,
        durability=config.durability or "fsync",
        accept_loss=config.accept_loss,
        bans=config.bans,
        audit=Audit(audit_file.write) if audit_file is not None else None,
    )
    broker.lab = laboratory_of(config)
    broker.keeps_past = not config.no_past
    told_to_stop = asyncio.Event()
    reload = Reload(broker, config, authenticator, hook_files, log_file, reread, audit_file)
    window = window_of(config, broker, reload)
    traces = Traces(broker)
    with signals(told_to_stop.set, reload.soon):
        if not await _start(broker, told_to_stop, config):
            return
        bridges = reload.bridges = bridges_of(config, broker)
        try:
            await traces.start(config)
            is_open = window is not None and await open_window(window, config)
            with looking_once() if reactor.IS_AVAILABLE else nullcontext():
                _say(greeting(config, broker.listeners, own_command(), traces.is_serving))
                _say(way_to(window) if window is not None and is_open else "")
                _log.debug("ready")
                broker.acted("curier broker", "start")
                if bridges is not None:
                    await bridges.start()
                async with served(f"listening on {', '.join(broker.listeners)}"):
                    await _until(broker, told_to_stop)
        finally:
            try:
                if window is not None:
                    await window.stop()
            finally:
                await traces.stop()
                if reload.bridges is not None:
                    await reload.bridges.stop()
                await broker.stop()
                broker.acted("curier broker", "stop")
                await asyncio.gather(*(one.close(WEBHOOK_SECONDS) for one in webhooks))


def _say(text: str) -> None:
    """Write to standard output at once; that nobody reads it is no reason not to serve."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # or the last flush at exit would fail again
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def _start(broker: Broker, told_to_stop: asyncio.Event, config: Config) -> bool:
    """Start it, unless told to stop before it has: a node may have to wait for its cluster."""
    try:
        return await _unless(told_to_stop, broker.start())
    except OSError as error:
        raise CannotListen(explain_listen_error(error, [door.url for door in config.doors()])) from error


async def _until(broker: Broker, told_to_stop: asyncio.Event) -> None:
    """Return when told to stop; raise what makes the broker fail."""
    traffic = broker.core.traffic
    giving_back = asyncio.create_task(give_back_memory(lambda: traffic.bytes_received + traffic.bytes_sent))
    try:
        await _unless(told_to_stop, broker.serve_forever())
    finally:
        giving_back.cancel()
        await asyncio.gather(giving_back, return_exceptions=True)


async def _unless(told_to_stop: asyncio.Event, work: Coroutine[None, None, object]) -> bool:
    """Do that until it is done, which is True, or until told to stop."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(told_to_stop.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        waiting.cancel()
        working.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def authenticator_of(config: Config, of_hooks: Authenticator | None = None) -> Authenticator | None:
    """Who may connect, as the settings say; None is what the listeners say. ``of_hooks`` is that in the hook
    files. Raises ``ConfigError``.
    """
    sources = [of_hooks if one.kind == HOOKS and of_hooks is not None else one.make() for one in config.asked]
    if sources:
        return Chain(sources, allow_anonymous=bool(config.allow_anonymous))
    return AllowAnonymous() if config.allow_anonymous else of_hooks


def webhooks_of(config: Config) -> list[Webhook]:
    """Who is told by HTTP of what happens. Raises ``ConfigError``."""
    if not config.webhooks:
        return []
    from curier.webhooks import webhook

    return [webhook(one) for one in config.webhooks]


def bridges_of(config: Config, broker: Broker) -> Bridges | None:
    """The bridges, where there are any, or something is left of earlier ones."""
    left = broker.directory is not None and (broker.directory / "bridges").is_dir()
    if not config.bridges and not left:
        return None
    from curier.bridge.house import of_broker

    logging.getLogger("curier.client").setLevel(logging.ERROR)  # what it says, the bridge says in its words
    return of_broker(broker, config.bridges)


def permissions_of(config: Config) -> RuleFile | None:
    """What clients may do, as the settings say. Raises ``ConfigError``."""
    if config.acl_file is None:
        return None
    if not config.has_users and not any(door.knows_all for door in config.doors()):
        _log.warning(
            "%s: nobody checks who clients are, so whoever claims to be a user has its rights",
            config.acl_file,
        )
    return RuleFile(config.acl_file, dialect=config.acl_dialect)


def laboratory_of(config: Config) -> Laboratory | None:
    """What breaks connections on purpose, where that is asked for. Raises ``ConfigError``."""
    if config.lab is None:
        return None
    from curier.faults.line import Faults
    from curier.faults.tables import read_rules
    from curier.laboratory import Laboratory

    rules, seed = read_rules(config.lab)
    return Laboratory(Faults(*rules, seed=seed))


def own_command() -> str:
    """How to call this program again: its name, where that finds it, else as it was called this time; for a
    worker that is as who started it was called.
    """
    called = os.environ.get(CALLED) or sys.argv[0]
    if os.path.basename(called) == "__main__.py":
        return f"{os.path.basename(sys.executable)} -m curier"
    by_name = (os.path.join(folder, "curier") for folder in os.get_exec_path())
    found = next((path for path in by_name if os.access(path, os.X_OK)), None)
    return "curier" if found and os.path.abspath(found) == os.path.abspath(called) else shlex.quote(called)


def greeting(
    config: Config, listeners: Mapping[str, Listener], command: str = "curier", is_traced: bool = False
) -> str:
    """What the terminal says when the broker is ready. ``listeners`` are all, by their real addresses;
    ``is_traced``: its traces are served where ``curier trace`` looks for them.
    """
    first = min(listeners, key=lambda url: _trouble(parse_listen(url), listeners[url]))
    door = listeners[first]
    to = _way_to(parse_listen(first), door)
    if not door.knows_all and not config.anonymous_may_connect(door):
        to += " -u USER -P PASSWORD"
    if config.membership is not None:
        kept = "on their disks" if config.cluster_sync == "always" else "by more than half of them"
        stored = (
            f"node {config.membership.node} of the cluster {config.cluster_name}: an acknowledgement is sent "
            f"when servers of NATS have it, {kept}"
        )
    elif config.worker is not None:
        stored = (
            f"{config.worker.count} workers, all in memory: what one has acknowledged is not lost with it, "
            "and everything is lost when all are stopped"
        )
    elif config.directory is None:
        stored = "kept in memory only: everything is lost when the broker stops"
    else:
        waits = {
            "fsync": "is sent when it is on the disk",
            "os": "is sent when the operating system has it",
        }[config.durability or "fsync"]
        stored = f"stored in {config.directory}: an acknowledgement {waits}"
    lines = [
        *(f"listening on {url}" for url in listeners),
        stored,
        f"subscribe: {command} sub {to} -t 'greetings/#' -v",
        f"publish:   {command} pub {to} -t greetings/world -m hello",
        "           (or mosquitto_sub and mosquitto_pub, with the same options)",
    ]
    if is_traced:
        of_it = f" {shlex.quote(config.directory)}" if config.directory is not None else ""
        lines.append(f"look on:   {command} trace{of_it}")
    lines.append("stop:      Ctrl-C")
    return "".join(f"{line}\n" for line in lines)


def _trouble(address: Listen, door: Listener) -> tuple[bool, bool, bool]:
    """Sorts what everybody can use first: no proxy in between, no certificate, no file."""
    return bool(door.proxy_protocol), address.speech != "tcp", address.carrier != "tcp"


def _way_to(address: Listen, door: Listener) -> str:
    """The options of a command that connects there."""
    if door.proxy_protocol:  # a proxy's address is known to its owner
        to = f"-L {address.speech}://PROXY:PORT/mqtt" if address.is_web else "-h PROXY -p PORT"
        shows = door.proxy_certificates and door.knows_all
        return f"{to}{_CA}{_CERTIFICATE}" if shows else to + _tls_to(address, door)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    if address.carrier != "tcp":
        to = f"--unix {shlex.quote(address.path)}"
    elif address.is_web:
        to = f"-L {Listen(address.scheme, host, address.port, address.path or '/mqtt')}"
    else:
        to = f"-h {host} -p {address.port}"
    return to + _tls_to(address, door)


def _tls_to(address: Listen, door: Listener) -> str:
    """Those of them that are for TLS: what the client knows the broker by, and the broker the client."""
    if not address.is_secure:
        return ""
    if door.psk_file is not None:
        return " --psk KEY --psk-identity NAME"
    shows = door.asks_client == "required" or (door.knows_all and door.identity is not None)
    return _CA + _CERTIFICATE if shows else _CA


_CA = " --cafile CA.pem"
_CERTIFICATE = " --cert CERT.pem --key KEY.pem"


def explain_listen_error(error: OSError, listen: Sequence[str]) -> str:
    """One line that names the address that cannot be had, why, and the way out."""
    named = [url for url in listen if f"{parse_listen(url)}:" in str(error)]  # as Broker.start says it
    if named and parse_listen(named[0]).carrier != "tcp":
        return error.strerror or str(error)  # which says it all
    where = f"cannot listen on {' or '.join(named or listen)}"
    free = "--listen tcp://127.0.0.1:0 takes a free port"
    if isinstance(error, socket.gaierror):
        return f"{where}: the host name is not known; give an address, such as 127.0.0.1"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program uses this port; stop it, or choose another port ({free})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where}: this user may not use this port; choose one above 1023 ({free})"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address; 0.0.0.0 stands for all it has"
    return f"{where}: {os.strerror(error.errno) if error.errno else error}"
