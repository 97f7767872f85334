"""The command line: ``curier``. One module for each command; here is what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Final

import click

from curier.errors import ConfigError, MqttError

COMMANDS: Final = ("bench", "broker", "passwd", "pub", "rr", "store", "sub")
"""Each is a command of this name in a module of this name."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


class WrongSetting(click.ClickException):
    """A setting is wrong: one line for the user, and exit code 2, as for wrong usage."""

    exit_code = 2


class CommandsByName(MutableMapping[str, click.Command]):
    """Commands that are imported when they are asked for: to publish a message needs no broker."""

    def __init__(self) -> None:
        self._loaded: dict[str, click.Command | None] = dict.fromkeys(COMMANDS)

    def __getitem__(self, name: str) -> click.Command:
        command = self._loaded[name]
        if command is None:
            command = self._loaded[name] = getattr(import_module(f"curier.cli.{name}"), name)
        return command

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)


class Commands(click.Group):
    """A group of commands whose errors are told in one line, not in a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. What curier raises on purpose becomes a line: 2 for settings, 1 for the rest."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise WrongSetting(str(error)) from error
        except MqttError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def _tell_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version  # which takes long to import

    try:
        found = version("curier")
    except PackageNotFoundError:
        found = "(not installed: run from its sources)"
    click.echo(f"{ctx.find_root().info_name} {found}")
    ctx.exit()


@click.group(
    cls=Commands, commands=CommandsByName(), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
def main() -> None:
    """MQTT for Python: a broker, a client library and this command line.

    \b
    Try it, each line in a terminal of its own:
      curier broker
      curier sub -t 'greetings/#' -v
      curier pub -t greetings/world -m hello

    `curier COMMAND --help` explains a command, with examples.
    """
