"""``curier cluster``: how a cluster is, a node that is emptied, and NATS looked at before there is any."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from curier.cli.admin import Asking, asking_options
from curier.cli.options import option
from curier.cli.running import printable
from curier.cli.settings import InSections, cluster_options, read, settings_from
from curier.cluster_settings import ClusterSettings
from curier.errors import ConfigError
from curier.settings.kinds import SIZE
from curier.web import forms, table
from curier.web.client import Api, ApiError
from curier.web.cluster_forms import Cluster, Drain

if TYPE_CHECKING:
    from curier.jetstream.checking import Finding

EXAMPLES = """\
\b
Examples:
  curier cluster check --cluster nats://10.0.0.1,10.0.0.2,10.0.0.3
  curier cluster status
  curier cluster drain --server-reference node-b.example:1883
"""

FAILED: Final = 1
LOOK_SECONDS: Final = 0.5
CLOSED: Final = 0
STOPS: Final = 503
"""The status of a window that is there no more, and of one whose broker stops."""

END_SECONDS: Final = 10.0
"""How long the window may be there yet when its broker has stopped: it may be part of another program."""


@click.group(epilog=EXAMPLES)
def cluster() -> None:
    """See how a cluster is, empty a node of it, and look at NATS before there is one."""


@cluster.command(epilog="\b\nExamples:\n  curier cluster status\n  curier cluster status --json\n")
@asking_options
def status(
    ctx: click.Context, url: str | None, token_file: Path | None, cafile: Path | None, as_json: bool
) -> None:
    """Say how the cluster is, as one of its nodes knows it: nodes, leases, how far the log is read.

    It asks the window of a broker, as curier admin does. It exits with 0 where the node serves its clients,
    with 1 where it does not, or something keeps it from that.
    """
    asking = Asking(url, token_file, cafile, as_json)
    found = _ask(Api(asking.local()))
    if as_json:
        asking.ask(table.CLUSTER, forms.Nothing())
    else:
        for line in lines(found):
            click.echo(printable(line))
    if found.state != "open" or any(one.error for one in found.wrong):
        raise click.exceptions.Exit(FAILED)


def _ask(api: Api) -> Cluster:
    try:
        found = api.ask(table.CLUSTER, forms.Nothing())
    except ApiError as error:
        raise click.ClickException(printable(str(error))) from error
    finally:
        api.close()
    if found.state == "none":
        raise click.ClickException("this broker is alone: it was started without --cluster")
    return found


def lines(found: Cluster) -> list[str]:
    """What is said of it, for people."""
    where = f"{found.server}, NATS {found.version}" if found.server else "not connected to NATS"
    what = f"node {found.node} of the cluster {found.cluster}"
    if found.sync == "memory":
        where, what = "all in memory", f"worker {found.node} of this machine"
    made = [
        f"{what}: {found.state}, in its life {found.life}, {where}",
        f"sessions {found.sessions}, coming {found.claims}, leaving {found.leaving}; "
        f"trusted for {found.trusted_for:.1f} s more; entries not read {found.lag}",
        f"entries of the log {found.log}" + (f", held by {found.held}" if found.held else ""),
        "",
        *_table(
            ("node", "life", "is", "lease renewed"),
            [
                (
                    f"{one.name} (this one)" if one.self else one.name,
                    str(one.life),
                    one.standing,
                    f"{one.heard:.1f} s ago" if one.standing in ("living", "silent") else "",
                )
                for one in found.nodes
            ],
        ),
        "",
        *_table(
            ("stream", "last", "read", "lag", "leader", "copies"),
            [
                (
                    one.stream,
                    _known(one.last),
                    _known(one.read) if one.read >= 0 else "",
                    _known(one.lag) if one.read >= 0 else "",
                    one.leader or "none",
                    f"{one.replicas - len(one.behind)} of {one.replicas}",
                )
                for one in found.streams
            ],
        ),
    ]
    for one in found.wrong:
        made += ["", f"{'error' if one.error else 'warning'}: {one.text}", f"  {one.advice}"]
    return made if found.wrong else [*made, "", "nothing is wrong"]


def _known(number: int) -> str:
    return "?" if number < 0 else str(number)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


@cluster.command(epilog="\b\nExamples:\n  curier cluster drain\n  curier cluster drain --per-second 50\n")
@click.option(
    "--server-reference",
    default="",
    metavar="HOST:PORT",
    help="Where clients of MQTT 5.0 are told to go.",
)
@click.option(
    "--permanent", is_flag=True, help="Tell them to go there for good (0x9D), and not for now (0x9C)."
)
@click.option(
    "--per-second",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    help="How many sessions are given up each second.",
)
@click.option("--no-wait", is_flag=True, help="Return at once, and not when the node is empty.")
@asking_options
def drain(
    ctx: click.Context,
    server_reference: str,
    permanent: bool,
    per_second: int,
    no_wait: bool,
    url: str | None,
    token_file: Path | None,
    cafile: Path | None,
    as_json: bool,
) -> None:
    """Give the sessions of one node to the others, a few at a time, and end it.

    It lets no client in any more. Clients are disconnected, those of MQTT 5.0 with Reason Code 0x9C, and find
    their sessions at the node they go to. A service manager that starts it again only when it has failed does
    not then. It exits with 0 when the node has gone, with 1 where it refuses.
    """
    api = Api(Asking(url, token_file, cafile, as_json).local())
    began = time.monotonic()
    try:
        answer = api.ask(table.DRAIN, Drain(server_reference, permanent, per_second))
        _tell(answer.done, as_json, done=answer.done)
        if not no_wait:
            _wait(api, as_json)
            seconds = round(time.monotonic() - began, 1)
            _tell(f"it has gone, after {seconds} s", as_json, gone=True, seconds=seconds)
    except ApiError as error:
        raise click.ClickException(printable(str(error))) from error
    finally:
        api.close()


def _tell(text: str, as_json: bool, **what: object) -> None:
    """A line for people, or one of JSON."""
    click.echo(json.dumps(what) if as_json else printable(text))


def _wait(api: Api, as_json: bool) -> None:
    """Until the window of the node is there no more. Raises ``ApiError``."""
    told, stopped = -1, 0.0
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            left = api.ask(table.CLUSTER, forms.Nothing()).sessions
        except ApiError as error:
            stopped = stopped or time.monotonic()
            if error.status == CLOSED or (error.status == STOPS and time.monotonic() - stopped > END_SECONDS):
                return
            if error.status == STOPS:
                continue
            raise
        finally:
            api.close()  # or the window would wait for this connection before it ends
        if left != told:
            told = left
            _tell(f"{left} sessions are left", as_json, sessions=left)


@cluster.command(cls=InSections, epilog="\b\nExamples:\n  curier cluster check --config broker.toml\n")
@cluster_options
@option(
    "--free",
    type=read(SIZE),
    metavar="SIZE",
    default="1 GiB",
    show_default=True,
    help="How much JetStream is to have room for yet, at each server.",
)
@option("--json", "as_json", is_flag=True, help="What was found as JSON.")
def check(file: Path | None, free: int, as_json: bool, **options: object) -> None:
    """Look whether a cluster can run on these servers of NATS, and say what is to be done.

    Versions, sync_interval, streams and their copies, room on the disks. It starts no node and changes
    nothing. It exits with 0 where a node could start, with 1 where something keeps it from that or from
    keeping what it acknowledges, with 2 where an option is wrong. Warnings do not count.
    """
    settings = settings_from(file, options).membership
    if settings is None:
        raise ConfigError("which servers? Name them: --cluster nats://10.0.0.1,10.0.0.2,10.0.0.3")
    settings.check()
    found = asyncio.run(_check(settings, free))
    if as_json:
        click.echo(json.dumps([one._asdict() for one in found], indent=2))
    else:
        for one in found:
            click.echo(printable(f"{one.level}: {one.what}"))
            if one.advice:
                click.echo(printable(f"  {one.advice}"))
    if any(one.level == "error" for one in found):
        raise click.exceptions.Exit(FAILED)


async def _check(settings: ClusterSettings, free: int) -> list[Finding]:
    from curier.jetstream.access import access_of
    from curier.jetstream.checking import Wanted
    from curier.jetstream.checking import check as looked_at
    from curier.jetstream.names import Names
    from curier.jetstream.proof import monitors_of

    access = access_of(settings.urls, **settings.files)
    monitors = settings.monitors or monitors_of(settings.urls)
    names = Names(settings.name, settings.partitions)
    return await looked_at(
        Wanted(access, names, settings.replicas, settings.sync == "relaxed", monitors, free)
    )
