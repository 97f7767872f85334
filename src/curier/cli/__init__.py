"""The command line: ``curier``. One module for each command; here is what they have in common."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Any, Final

import click

from curier.cli.streams import CannotWrite, NobodyTakes
from curier.errors import ConfigError, MqttError, OtherVersion, missing_package

COMMANDS: Final = {
    "acl": "Ask what the rules of a file let a client do.",
    "admin": "Look at a broker that runs, and act on it.",
    "ban": "List who is banned by a broker that runs, and lift bans.",
    "bench": "Load a broker with messages, measure it, check what arrives.",
    "bridge": "Carry messages between two brokers.",
    "broker": "Run a broker until Ctrl-C.",
    "cert": "Make certificates to try TLS with.",
    "cluster": "See how a cluster is, empty a node, look at NATS before.",
    "completion": "Have a shell complete commands and options.",
    "config": "Make a configuration file, or see what is wrong with one.",
    "limits": "Print every limit, and where it comes from.",
    "man": "Write the manual pages.",
    "metrics": "Write a dashboard, or rules for alerts.",
    "passwd": "Add a user to a password file, or change a password.",
    "pub": "Publish a message, or one for each line of a file.",
    "rr": "Publish a request and print the response to it.",
    "scram": "Add a user to a file for SCRAM-SHA-256, or change a password.",
    "store": "Look into a data directory, back it up, move it.",
    "sub": "Subscribe to topics and print the messages that come.",
    "top": "Watch a broker that runs, in the terminal.",
    "trace": "See what goes by on the wire, drawn as it happens.",
    "verify": "Kill a broker under load, and see whether its promises are kept.",
}
"""Each is a command of this name in a module of this name; what it does, in a line."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


class WrongSetting(click.ClickException):
    """A setting is wrong, or a node's version: one line for the user, and exit code 2, as for wrong usage. To
    start it again would mend nothing.
    """

    exit_code = 2


class CommandsByName(MutableMapping[str, click.Command]):
    """Commands that are imported when they are asked for: to publish a message needs no broker."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._loaded: dict[str, click.Command | None] = dict.fromkeys(modules)

    def __getitem__(self, name: str) -> click.Command:
        command = self._loaded[name]
        if command is None:
            try:
                module = import_module(self._modules[name])
            except ImportError as error:
                raise click.ClickException(str(missing_package(error, f"curier {name}"))) from error
            command = self._loaded[name] = getattr(module, name)
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what commands there are, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Tell a shell how the first word may go on, without importing the commands."""
        from click.shell_completion import CompletionItem  # which only a shell needs

        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(item for item in found if item.value.startswith(incomplete)), *options]

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. What curier raises on purpose becomes a line: 2 for settings, 1 for the rest."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # of __main__, until here
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except (ConfigError, OtherVersion) as error:
            raise WrongSetting(str(error)) from error
        except MqttError as error:
            raise click.ClickException(str(error)) from error
        except NobodyTakes:
            raise
        except BrokenPipeError:  # the reader has what it wanted, as with head
            ctx.exit(0)

    def main(  # type: ignore[override]  # what it returns depends on standalone_mode: Any is all of it
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **how: Any
    ) -> Any:
        """Run, and exit with the code that says what has happened, whatever the standard streams are."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **how)
        try:
            code = super().main(args, standalone_mode=False, **how)
            sys.stdout.flush()
        except click.ClickException as error:
            code = _fail(error)
        except NobodyTakes as error:
            code = _fail(CannotWrite(error.strerror))
        except KeyboardInterrupt:
            code = INTERRUPTED
        except click.Abort as error:  # of a prompt: Ctrl-C, or the end of the input
            is_ctrl_c = isinstance(error.__context__, KeyboardInterrupt)
            code = INTERRUPTED if is_ctrl_c else _fail(click.ClickException("there is no answer"))
        sys.exit(code if isinstance(code, int) else 0)


def _fail(error: click.ClickException) -> int:
    error.show()
    return error.exit_code


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
    cls=Commands,
    commands=CommandsByName({name: f"curier.cli.{name}" for name in COMMANDS}),
    context_settings={"help_option_names": ["-h", "--help"]},
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
