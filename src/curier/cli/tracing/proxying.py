"""``curier trace --proxy``: the options of each side, and the events."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from curier.cli.options import option
from curier.cli.tracing.sources import at_the_end
from curier.errors import ConfigError
from curier.faults.line import Faults
from curier.faults.tables import read_rules
from curier.faults.words import parse_rule
from curier.trace.events import Event

_BETWEEN: Final = "Between a client and a broker"
_BREAK: Final = "Break it on purpose"
_FILE: Final = click.Path(dir_okay=False, path_type=Path)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

Told = Callable[[Any, Callable[[], None]], None]

_OPTIONS: Final = (
    option(
        "--proxy",
        nargs=2,
        metavar="LISTEN TARGET",
        section=_BETWEEN,
        help="Listen at the URL LISTEN, connect to the broker TARGET: tcp://, tls://, ws:// or wss://.",
    ),
    option("--cert", type=_FILE, metavar="FILE", section=_BETWEEN, help="LISTEN: our certificate, for TLS."),
    option("--key", type=_FILE, metavar="FILE", section=_BETWEEN, help="LISTEN: its key."),
    option(
        "--client-ca", type=_FILE, metavar="FILE", section=_BETWEEN, help="LISTEN: who signs clients' ones."
    ),
    option("--target-ca", type=_FILE, metavar="FILE", section=_BETWEEN, help="TARGET: who signs its own."),
    option(
        "--target-cert", type=_FILE, metavar="FILE", section=_BETWEEN, help="TARGET: a client's certificate."
    ),
    option("--target-key", type=_FILE, metavar="FILE", section=_BETWEEN, help="TARGET: the key of that."),
    option(
        "--target-name", metavar="NAME", section=_BETWEEN, help="TARGET: the name in its certificate (SNI)."
    ),
    option("--target-alpn", metavar="NAME", multiple=True, section=_BETWEEN, help="TARGET: ALPN to offer."),
    option("--target-insecure", is_flag=True, section=_BETWEEN, help="TARGET: any certificate will do."),
    option(
        "--proxy-header",
        type=click.Choice(["1", "2"]),
        section=_BETWEEN,
        help="TARGET: told who connects, by the PROXY protocol of this version.",
    ),
    option(
        "--key-log",
        type=_FILE,
        metavar="FILE",
        section=_BETWEEN,
        help="Keys of TLS on both sides, for Wireshark; who has them reads everything.",
    ),
    option(
        "--break",
        "rules",
        metavar="RULE",
        multiple=True,
        section=_BREAK,
        help="A rule, as 'lose 2nd PUBACK to dash-1' or 'delay PUBREC by 2s'; may be repeated.",
    ),
    option("--faults", type=_FILE, metavar="FILE", section=_BREAK, help="Rules of a TOML file."),
    option(
        "--seed",
        metavar="N",
        type=click.IntRange(0),
        section=_BREAK,
        help="What chances are drawn from; or the file's.",
    ),
)


def proxy_options(command: Decorated) -> Decorated:
    """Give a command the options of a proxy."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


def check_alone(options: dict[str, Any]) -> None:
    """Raise ``click.UsageError`` where an option asks for a proxy, and there is none."""
    names = ("cert", "key", "client_ca", "target_ca", "target_cert", "target_key", "target_name")
    more = ("target_alpn", "target_insecure", "proxy_header", "key_log", "rules", "faults", "seed")
    given = [name for name in (*names, *more) if options[name] not in (None, (), False)]
    if given:
        name = "break" if given[0] == "rules" else given[0].replace("_", "-")
        raise click.UsageError(f"--{name} needs --proxy LISTEN TARGET: nothing else has it")


async def from_proxy(options: dict[str, Any], told: Told | None = None) -> AsyncIterator[Event]:
    """What goes by at the proxy that these options ask for, until SIGINT or SIGTERM; ``told`` is called when
    it listens, and by default says where, and has these signals end it.
    """
    from curier.proxy.following import follow_proxy  # and all that sockets need

    try:
        settings, faults = _settings(options), _faults(options)
        async for event in follow_proxy(settings, faults, on_listen=told if told is not None else _told):
            yield event
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        where = options["proxy"][0]
        raise click.ClickException(f"{where} cannot be listened on: {error.strerror or error}") from None


def _settings(options: dict[str, Any]) -> Any:
    from curier.client.dial import DialSettings
    from curier.client.dialing.tls import TlsSettings
    from curier.listeners import Listener
    from curier.proxy.proxy import settings_for

    listen, target = options["proxy"]
    if listen.partition("://")[0] in ("tls", "wss") and not (options["cert"] and options["key"]):
        raise ConfigError(f"{listen} needs --cert and --key; `curier cert lab` makes some to try it")
    tls = TlsSettings(
        ca_file=options["target_ca"],
        certificate=options["target_cert"],
        key=options["target_key"],
        server_name=options["target_name"],
        alpn=options["target_alpn"],
        insecure=options["target_insecure"],
    )
    return settings_for(
        Listener(listen, certificate=options["cert"], key=options["key"], client_ca=options["client_ca"]),
        target,
        dial=DialSettings(tls=tls if tls != TlsSettings() else None),
        key_log=options["key_log"],
        header=int(options["proxy_header"] or 0),
    )


def _faults(options: dict[str, Any]) -> Faults:
    rules, seed = read_rules(options["faults"]) if options["faults"] is not None else ([], 0)
    given: Iterable[str] = options["rules"]
    rules += [parse_rule(text) for text in given]
    return Faults(*rules, seed=seed if options["seed"] is None else options["seed"])


def _told(proxy: Any, stop: Callable[[], None]) -> None:
    """Say where it listens, and what it does to packets; SIGINT and SIGTERM end it in order."""
    at_the_end(stop)
    print(f"curier trace: {', '.join(proxy.urls)} leads to {proxy.settings.target}", file=sys.stderr)
    for rule in proxy.faults.rules:
        print(f"curier trace: rule: {rule}", file=sys.stderr)
    sys.stderr.flush()


def nothing_told(proxy: Any, stop: Callable[[], None]) -> None:
    """Where a screen shows it, which has its own ways to say so, and to end."""
