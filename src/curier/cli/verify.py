"""``curier verify``: the options of a play, its progress on a terminal, and the verdict."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import click

from curier.cli.bench import Bar, parse_url
from curier.cli.options import positive_seconds
from curier.cli.running import signals_to
from curier.cli.tls_options import TlsOptions
from curier.client.dial import DialSettings
from curier.client.urls import ServerUrl
from curier.errors import ConfigError
from curier.loadgen import Progress
from curier.verify.brokers import BrokerElsewhere, BrokerUnderTest, OwnBroker, command_broker
from curier.verify.outcome import REFUTED, UNJUDGED, Outcome, outcome_of
from curier.verify.place import Place, place_of
from curier.verify.play import Plan, Play

RESULT: Final = "verify.json"

NOT_SHOWN: Final = """\
What kill -9 does not show: a crash of the system, or a loss of power. What a process has written the system
keeps when the process dies, so a broker that never waits for the disk (fsync) passes as well.
{level}
Whether a disk keeps what it says it has written is up to its write cache: only a plug that is pulled shows
that."""

LEVELS: Final = {
    "": "Read in its manual whether it waits, and when.",
    "fsync": "Durability fsync, as here, waits for it.",
    "os": "Durability os, as here, does not wait: such a loss takes the last moments along.",
    "memory": "Durability memory, as here, writes nothing at all.",
}

VERSIONS: Final = {"5.0": (5,), "3.1.1": (4,), "both": (5, 4)}

EXAMPLES: Final = """\
\b
Examples:
  curier verify                                  # our own broker, on this disk
  curier verify --rounds 200 --seed 7 --dir /mnt/ssd
  curier verify --durability memory              # see a promise that is not kept
  curier verify --command 'mosquitto -c my.conf -p {port}'
  curier verify --url mqtt://test.example --kill 'ssh test.example pkill -9 nanomq' \\
      --start 'ssh test.example nanomq start -d'
"""


@click.command(epilog=EXAMPLES)
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True, help="How many kills.")
@click.option(
    "--seconds",
    type=positive_seconds,
    metavar="SECONDS",
    help="Time under load, with the kills at random in it.  [default: half a second a round]",
)
@click.option("--seed", type=int, help="Repeats the choices of a run, though not its timing.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    show_default=True,
    help="On the disk to be tested: a directory is made in it, and removed.",
)
@click.option(
    "--durability",
    type=click.Choice(["fsync", "os", "memory"]),
    help="Of our own broker.  [default: fsync]",
)
@click.option("--command", metavar="COMMAND", help="Starts another broker, on {port}; data may go to {dir}.")
@click.option("--url", metavar="URL", help="Where the broker is: mqtt://, mqtts://, ws://, wss://, unix://.")
@click.option("--kill", "kill_command", metavar="COMMAND", help="With --url: kills the broker.")
@click.option("--start", "start_command", metavar="COMMAND", help="With --url: starts it again.")
@click.option(
    "--mqtt", type=click.Choice(list(VERSIONS)), default="both", show_default=True, help="Of the clients."
)
@click.option(
    "--rate", type=click.IntRange(0), default=500, show_default=True, help="Messages a second; 0: flood."
)
@click.option("--wills", is_flag=True, help="Another broker has to publish wills after a kill, as ours has.")
@click.option(
    "--patience",
    type=positive_seconds,
    metavar="SECONDS",
    default="40",
    show_default=True,
    help="How long what is due may take.",
)
@click.option("--username", metavar="NAME", help="User name.")
@click.option(
    "--password", metavar="TEXT", envvar="CURIER_PASSWORD", help="Better in the variable CURIER_PASSWORD."
)
@click.option("--cafile", metavar="FILE", help="Certificates of those who may sign the broker's.")
@click.option("--insecure", is_flag=True, help="TLS: do not compare the name in the certificate.")
@click.option("--keep", is_flag=True, help="Leave data, log and result where they are.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(directory: Path, as_json: bool, keep: bool, **options: Any) -> None:
    """Kill a broker again and again under load, and see whether what it acknowledged is there.

    With nothing else it starts a broker of its own, with its data in a new directory below this one. Clients
    publish at QoS 1 and 2 to others with persistent sessions, the broker is killed with kill -9 at random
    moments and started again, and at the end every message is accounted for: acknowledged or not, how often
    it came, in what order. So are retained values, sessions, subscriptions and their ends, and wills. The
    clients keep their own books; nobody asks the broker.

    --command starts any other broker, which is killed and started again the same way. With --url, --kill and
    --start it is one elsewhere, on a machine that is there to be tried: what is killed there is killed. The
    sessions and retained messages of this run are removed there at the end.

    Ctrl-C kills no more, and judges what there was so far; a second one ends at once.

    It exits with 0 when every promise was kept, with 1 when one was not, with 2 when that could not be judged
    or an option is wrong. Kept means: in these kills. A fault that shows once in a thousand needs as many.
    """
    seed = options.pop("seed")
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    plan = make_plan(seed, options)
    check_options(options)
    outcome = None
    made = _make_directory(directory)
    try:
        broker = make_broker(made, seed, options)
        place = place_of(made) if not isinstance(broker, BrokerElsewhere) else None
        if not as_json:
            click.echo(f"{broker.name}, seed {seed}{_where(place, options['command'])}")
        outcome = perform(broker, plan, options["wills"] or isinstance(broker, OwnBroker))
        result = {**outcome.as_json(), "seed": seed, "broker": broker.name, **_place_json(place)}
        (made / RESULT).write_text(json.dumps(result, indent=2))
    except OSError as error:  # no verdict, and so not the exit code of one
        raise ConfigError(f"{error.filename or made}: {error.strerror or error}") from error
    finally:
        keep = keep or (outcome is not None and outcome.verdict == REFUTED)
        if not keep:
            _remove(made)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(outcome.words())
        if keep:
            click.echo(f"Data, log and result are in {made}")
    if not as_json and outcome.verdict != UNJUDGED:
        click.echo()
        level = options["durability"] or "fsync" if isinstance(broker, OwnBroker) else ""
        click.echo(NOT_SHOWN.format(level=LEVELS[level]))
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)


def _make_directory(directory: Path) -> Path:
    """A new one below it. Raises ``ConfigError``."""
    try:
        return Path(tempfile.mkdtemp(prefix="curier-verify-", dir=directory.absolute()))
    except OSError as error:
        raise ConfigError(f"--dir {directory}: nothing can be made there: {error.strerror}") from error


def check_options(options: dict[str, Any]) -> None:
    """Raise ``click.UsageError`` for what does not go together."""
    url, command, kill = options["url"], options["command"], options["kill_command"]
    if command is not None and (kill is not None or options["start_command"] is not None):
        raise click.UsageError("--command kills and starts by itself: leave --kill and --start out")
    if url is not None and command is None and kill is None:
        raise click.UsageError("--url needs --kill, the command that kills that broker (and --start)")
    if url is None and (kill is not None or options["start_command"] is not None):
        raise click.UsageError("--kill and --start are for a broker at --url")
    is_own = url is None and command is None
    if options["durability"] is not None and not is_own:
        raise click.UsageError("--durability is of our own broker")
    if is_own and (options["username"] is not None or options["cafile"] is not None or options["insecure"]):
        raise click.UsageError("--username, --cafile and --insecure are for a broker at --url")


def make_plan(seed: int, options: dict[str, Any]) -> Plan:
    """What is to be done, by the options."""
    rounds, url = options["rounds"], options["url"]
    there = parse_url(url) if url is not None else None
    password = options["password"] if options["username"] is not None else None
    if there is not None and there.username is not None and options["username"] is None:
        options["username"] = there.username
        password = there.password if there.password is not None else options["password"]
    return Plan(
        rounds=rounds,
        seconds=options["seconds"] or rounds / 2,
        seed=seed,
        rate=float(options["rate"]),
        patience=options["patience"],
        versions=VERSIONS[options["mqtt"]],
        prefix=f"curier-verify-{secrets.token_hex(2)}",
        cleans_up=there is not None,
        username=options["username"],
        password=None if password is None else password.encode(),
    )


def make_broker(directory: Path, seed: int, options: dict[str, Any]) -> BrokerUnderTest:
    """The broker that the options name. Raises ``ConfigError`` and ``click.UsageError``."""
    there = parse_url(options["url"]) if options["url"] is not None else None
    dialing = make_dialing(there, options)
    if options["command"] is not None:
        return command_broker(options["command"], directory, there, dialing)
    if there is None:
        return OwnBroker(directory, options["durability"] or "fsync", Random(seed))
    start = options["start_command"] or ""
    return BrokerElsewhere(there, dialing, options["kill_command"], start, directory / "commands.log")


def make_dialing(there: ServerUrl | None, options: dict[str, Any]) -> DialSettings:
    """How to connect. Raises ``ConfigError`` and ``click.UsageError``."""
    tls = TlsOptions()
    tls.cafile, tls.insecure = options["cafile"], options["insecure"]
    if there is None or not there.is_tls:
        if tls.ask_for_tls:
            raise click.UsageError(f"--cafile and --insecure are for mqtts:// and wss://, not {there}")
        return DialSettings(timeout=options["patience"])
    from curier.cli.tls import client_context  # which takes long to import

    return DialSettings(timeout=options["patience"], tls=client_context(tls))


def perform(broker: BrokerUnderTest, plan: Plan, holds_to_wills: bool) -> Outcome:
    """Play it, with a progress bar where a terminal watches."""
    bar = Bar() if sys.stderr.isatty() else None
    watch = Watch(bar) if bar is not None else None
    play = Play(broker, plan, watch)
    try:
        asyncio.run(_played(play))
    finally:
        if bar is not None:
            bar.clear()
    return outcome_of(play, holds_to_wills)


async def _played(play: Play) -> None:
    """The first signal has it judge what there was so far; the second ends it."""
    task = asyncio.ensure_future(play.run())

    def on_signal(number: int) -> None:
        if play.is_stopping.is_set():
            task.cancel()
        play.stop()

    with signals_to(on_signal):
        try:
            await task
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


class Watch:
    """Draws the bar, a few times a second."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._next = 0.0

    def __call__(self, play: Play) -> None:
        """Draw how it stands."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.2
        phase = play.phase
        if phase == "killing":
            phase = f"kill {len(play.kills)} of {play.plan.rounds}"
        share = play.round / play.plan.rounds
        self._bar.show(Progress(phase, share, play.promised, play.delivered))


def _where(place: Place | None, command: str | None) -> str:
    if place is None or (command is not None and "{dir}" not in command):
        return ""
    said = f"\nin {place}"
    if place.is_memory:
        said += ", which is memory and no disk: name a directory on the disk to be tested with --dir"
    return said


def _place_json(place: Place | None) -> dict[str, str]:
    if place is None:
        return {}
    return {"directory": place.directory, "filesystem": place.filesystem, "device": place.device}


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)  # a store that was killed lately may hold a file on Windows
