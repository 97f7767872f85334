"""The command line: ``curier``. One module for each command; here is what they have in common."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from curier.cli.bench import bench
from curier.cli.broker import broker
from curier.cli.passwd import passwd
from curier.cli.store import store
from curier.errors import ConfigError, MqttError


class WrongSetting(click.ClickException):
    """A setting is wrong: one line for the user, and exit code 2, as for wrong usage."""

    exit_code = 2


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


def _version() -> str:
    try:
        return version("curier")
    except PackageNotFoundError:
        return "(not installed: run from its sources)"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), message="%(prog)s %(version)s")
def main() -> None:
    """MQTT for Python: a broker, a client library and this command line.

    \b
    Try it, each line in a terminal of its own:
      curier broker
      mosquitto_sub -h 127.0.0.1 -p 1883 -t 'greetings/#' -v
      mosquitto_pub -h 127.0.0.1 -p 1883 -t greetings/world -m hello

    `curier COMMAND --help` explains a command, with examples.
    """


main.add_command(broker)
main.add_command(bench)
main.add_command(passwd)
main.add_command(store)
