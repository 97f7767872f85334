"""``curier broker``: the options, and how they go together with a configuration file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from curier.cli.options import option, write_sections
from curier.config import Config, load, with_settings
from curier.settings.environment import CONFIG, settings_of
from curier.settings.kinds import FILES, FLAG, URLS, Kind
from curier.settings.setting import plain
from curier.settings.table import ALL

EXAMPLES = """\
\b
Examples:
  curier broker
  curier broker --listen tcp://127.0.0.1:0 --memory --log-level debug
  curier broker --data /var/lib/curier
  curier broker --listen tcp://0.0.0.0:1883 --password-file users
  curier broker --listen tls://0.0.0.0 --certificate c.pem --key k.pem --password-file users
  curier broker --listen tcp://127.0.0.1 --listen ws://127.0.0.1:8083/mqtt
  curier broker --hook refuse_humidity.py
  curier broker --config broker.toml --max-packet-size "1 MiB"

\b
A configuration file, every key optional:
  listen = ["tcp://0.0.0.0:1883"]
  password_file = "users"          # beside this file
  [[listener]]                     # one with settings of its own
  url = "tls://0.0.0.0:8883"
  certificate = "server.pem"
  key = "server.key"
  [limits]
  max_connections = 10_000
  max_queued_bytes = "16 MiB"
"""


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class BrokerCommand(click.Command):
    """The command, with its help in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        write_sections(self, ctx, formatter)


def read(kind: Kind) -> Callable[[str], object]:
    """What reads a value of this kind, for click."""

    def parse(text: str) -> object:
        try:
            return kind.parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return parse


def options(command: Decorated) -> Decorated:
    """``command`` with an option for each setting; it is given those that are there, by name."""
    for setting in reversed(ALL.values()):
        kind, help_text = setting.kind, setting.help
        if setting.default[0] in "`0123456789":
            default = plain(setting.default).strip('"')
            help_text += f"  [default: {default}]"
        how: dict[str, Any] = {"default": None, "help": help_text, "section": setting.section}
        names = setting.option
        if kind is FLAG:
            names = f"{names}/--no-{setting.option[2:]}"
        elif kind is URLS or kind is FILES:
            how.update(multiple=True, metavar=kind.metavar)
        elif kind.choices:
            how["type"] = click.Choice(kind.choices)
        else:
            how.update(type=read(kind), metavar=kind.metavar)
        command = option(names, setting.name, **how)(command)
    return command


@click.command(cls=BrokerCommand, epilog=EXAMPLES)
@option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar=CONFIG,
    help="Settings from a TOML file; variables and options beat it.",
)
@options
@option(
    "--accept-loss",
    is_flag=True,
    help="Start though something that was acknowledged is missing from the directory.",
)
def broker(file: Path | None, accept_loss: bool, **options: object) -> None:
    """Run a broker until Ctrl-C.

    Every option is a key of the configuration file and an environment variable, too: --max-packet-size is
    max_packet_size and CURIER_MAX_PACKET_SIZE. Options beat variables, variables beat the file.

    Without options it serves this machine only, to everyone on it, and keeps sessions, messages and retained
    state below ~/.local/state, so that nothing it has acknowledged is lost. On any other address it wants to
    know who may connect: --password-file, or --allow-anonymous.

    It says "listening on URL" on standard output when it is ready, a line for each listener; port 0 takes
    a free port. Ctrl-C, SIGTERM or the end of its terminal finish what is being written and stop it; a second
    signal stops it at once. SIGHUP has it read the password file and hooks again. It exits with 0 when
    stopped so, with 2 when a setting is wrong or a port is in use, else with 1.
    """
    config = replace(settings_from(file, options), accept_loss=accept_loss)
    config.check()
    from curier.cli.serve import run  # the other commands need not load the broker

    run(config)


def settings_from(file: Path | None, options: Mapping[str, object]) -> Config:
    """The file, the environment over it, and over both the options of the command, as click has them."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    if given.get("memory") and "data" in given:
        raise click.UsageError("--data and --memory cannot both be: choose a directory, or memory only")
    config = load(file) if file is not None else Config()
    config = with_settings(config, settings_of(os.environ))
    return with_settings(config, given)
