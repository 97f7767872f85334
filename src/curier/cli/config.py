"""``curier config``: make a configuration file, and see what is wrong with one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from curier.config import Config, read, with_settings
from curier.config_authenticators import KINDS
from curier.errors import ConfigError
from curier.settings.environment import settings_of

EXAMPLES = """\
\b
Examples:
  curier config init broker.toml
  curier config check broker.toml
  curier config audit broker.toml
  curier config schema > curier.schema.json
  curier config from-mosquitto /etc/mosquitto/mosquitto.conf > broker.toml
"""

WRONG = 2
"""Exit code where a setting is wrong, as of all commands."""

FILE = click.Path(path_type=Path)


@click.group(epilog=EXAMPLES)
def config() -> None:
    """Make a configuration file of curier broker, check one, translate one of Mosquitto.

    `curier limits` says what all limits are in the end.
    """


@config.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Say all that is wrong with a configuration file.

    Each line names file, line and key, and says what was expected. Environment variables count as they do for
    curier broker, and the files that are named are read: users, certificates, keys. It exits with 0 where all
    is right, else with 2.
    """
    settings, wrong = everything_wrong(file)
    for error in wrong:
        click.echo(f"Error: {error}", err=True)
    if wrong:
        raise click.exceptions.Exit(WRONG)
    listeners = ", ".join(door.url for door in settings.doors())
    click.echo(f"{file}: nothing is wrong; listeners: {listeners}")


def everything_wrong(file: Path) -> tuple[Config, list[ConfigError]]:
    """The settings, and what is wrong with them, as far as can be told without running a broker."""
    try:
        settings, wrong = read(file)
    except ConfigError as error:
        return Config(), [error]
    settings = with_settings(settings, settings_of(os.environ, wrong), lambda setting: setting.variable)
    if not wrong:  # or the rest would be about what is not meant
        from curier.cli.trying import problems

        wrong = [*settings.problems()] or [*problems(settings)]
    return settings, wrong


@config.command()
@click.argument("file", type=FILE, required=False)
def init(file: Path | None) -> None:
    """Write a configuration file with every setting, commented out, to a new FILE or to standard output."""
    from curier.settings.template import template

    if file is None:
        click.echo(template(), nl=False)
        return
    try:
        with file.open("x") as new:
            new.write(template())
    except FileExistsError:
        raise ConfigError(f"{file}: there is such a file already; it stays as it is") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


@config.command()
@click.argument("file", type=FILE, required=False)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def audit(file: Path | None, as_json: bool) -> None:
    """Say what of the settings is open, and how to close it.

    Without FILE, of a broker without a configuration file. Environment variables count as they do for curier
    broker. Not all that is open is wrong: a broker for this machine alone may well let its programs in. It
    exits with 0 where nothing is open, with 1 where something is, with 2 where the settings are wrong.
    """
    from curier.cli.audit import findings
    from curier.cli.settings import settings_from

    settings = settings_from(file, {})
    settings.check()
    found = [*findings(settings, [file] if file is not None else [])]
    if as_json:
        click.echo(json.dumps([{"open": one.what, "close": one.close} for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"open:  {one.what}\nclose: {one.close}\n")
        click.echo(f"{len(found)} open" if found else "nothing is open")
    if found:
        raise click.exceptions.Exit(1)


@config.command()
def schema() -> None:
    """Write a JSON Schema of the file, for editors that complete and check TOML."""
    from curier.settings.schema import schema

    kinds = {"kind": {"enum": [*KINDS]}}
    asked = {"type": "array", "items": {"type": "object", "required": ["kind"], "properties": kinds}}
    click.echo(json.dumps(schema(authenticator=asked), indent=2))


@config.command("from-mosquitto")
@click.argument("file", type=FILE)
def from_mosquitto(file: Path) -> None:
    """Translate a mosquitto.conf, and write the result to standard output.

    Comments at its top say what became of lines that have no counterpart. A listener or a bridge that would
    be more open than it was is left out, and named on standard error, too; the exit code is 1 then, and 2
    where Mosquitto would refuse the file as well.
    """
    from curier.mosquitto_conf.reading import read
    from curier.mosquitto_conf.translating import translate, written

    made = translate(read(file))
    click.echo(written(made, file), nl=False)
    for why in made.left_out:
        click.echo(f"left out: {why}", err=True)
    if made.left_out:
        raise click.exceptions.Exit(1)
