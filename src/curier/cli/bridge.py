"""``curier bridge``: bridges between brokers that this program is none of."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from curier.config import Config, default_directory
from curier.errors import ConfigError, MqttError
from curier.settings.log_levels import LOG_LEVELS

if TYPE_CHECKING:
    from curier.bridge.settings import BridgeSettings

_log = logging.getLogger("curier.cli")

DIRECTORY: Final = "bridge"
"""Beside what a broker keeps, where nobody says otherwise."""

EPILOG = """\
\b
Examples:
  curier bridge bridges.toml
  curier bridge --local mqtt://localhost --remote mqtts://broker.example -t "sensors/# out 1"

In a file each bridge is a table [[bridge]], as in that of a broker, with a table [bridge.local] for the
broker here. At SIGHUP the file is read again.
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--local", metavar="URL", help="The broker here: mqtt, mqtts, ws, wss or unix://...")
@click.option(
    "--remote", metavar="URL", multiple=True, help="The other one. Given again: the next if one fails."
)
@click.option(
    *("-t", "--topic", "topics"),
    metavar="TOPIC",
    multiple=True,
    help='PATTERN DIRECTION QOS LOCAL REMOTE, as "sensors/# out 1". May be given several times.',
)
@click.option("--name", metavar="NAME", default="bridge", show_default=True, help="What it is called.")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where is kept what has to survive this program.  [default: below $XDG_STATE_HOME]",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="info",
    show_default=True,
    help="How much is logged.",
)
def bridge(
    file: Path | None,
    local: str | None,
    remote: tuple[str, ...],
    topics: tuple[str, ...],
    name: str,
    data: Path | None,
    log_level: str,
) -> None:
    """Carry messages between two brokers until Ctrl-C: from one to the other, or both ways.

    A message with QoS 1 or 2 is acknowledged to the one when the other has acknowledged it. User and password
    may stand in the URL; in a file they may be in the environment or in another file.
    """
    given = bool(local or remote or topics)
    if (file is None) != given:
        raise click.UsageError("give a FILE, or --local, --remote and -t")
    if given and not (local and remote and topics):
        raise click.UsageError("without a FILE --local, --remote and -t are all needed")

    def wanted() -> Sequence[BridgeSettings]:
        return _of_options(name, str(local), remote, topics) if file is None else _of_file(file)

    directory = data if data is not None else Path(default_directory()) / DIRECTORY
    asyncio.run(_serve(wanted, directory, log_level))


def _of_file(file: Path) -> Sequence[BridgeSettings]:
    """Those of a file. Raises the first ``ConfigError``."""
    from curier.bridge.settings import look_at_files
    from curier.config_bridges import read_bridges
    from curier.strict_toml import TomlFile

    table = TomlFile(file)
    for key in table.table:
        if key != "bridge":
            raise table.unknown((key,), ["bridge"])
    if "bridge" not in table.table:
        raise ConfigError(f"{file}: there is no [[bridge]]")
    found = read_bridges(table, has_local=True)
    for wrong in table.errors:
        raise wrong
    for one in found:
        look_at_files(one)
    return found


def _of_options(
    name: str, local: str, remote: tuple[str, ...], topics: tuple[str, ...]
) -> list[BridgeSettings]:
    from curier.bridge.settings import BridgeSettings, Peer, check_all
    from curier.bridge.topics import parse_topic

    made = BridgeSettings(
        name=name,
        local=Peer(urls=(local,)),
        remote=Peer(urls=remote),
        topics=tuple(map(parse_topic, topics)),
    )
    check_all([made])
    return [made]


async def _serve(wanted: Callable[[], Sequence[BridgeSettings]], directory: Path, log_level: str) -> None:
    """Run them until told to stop."""
    from curier.bridge.house import Bridges
    from curier.cli.log_setup import start_logging
    from curier.cli.manager import reading_again, served
    from curier.cli.signals import signals

    first = wanted()
    start_logging(Config(log_level=log_level))
    logging.getLogger("curier.client").setLevel(logging.ERROR)  # what it says, the bridge says in its words
    house = Bridges(first, directory)
    told_to_stop = asyncio.Event()
    changes: set[asyncio.Task[None]] = set()

    async def change() -> None:
        try:
            with reading_again():
                said = await house.change(await asyncio.to_thread(wanted))
            _log.info("SIGHUP: %s", "; ".join(said) or "nothing has changed")
        except MqttError as error:
            _log.error("SIGHUP: %s; nothing has changed", error)

    def soon() -> None:
        task = asyncio.get_running_loop().create_task(change())
        changes.add(task)
        task.add_done_callback(changes.discard)

    with signals(told_to_stop.set, soon):
        await house.start()
        names = ", ".join(house.running)
        sys.stdout.write(f"carrying for {names}\n")
        sys.stdout.flush()
        async with served(f"carrying for {names}"):
            await told_to_stop.wait()
        await house.stop()
    _log.info("stopped")
