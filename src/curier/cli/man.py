"""``curier man``: the manual pages of all commands, made of what their help is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from curier.cli import main
from curier.cli.options import sections_of
from curier.cli.trace import SHOW, TraceCommands
from curier.errors import ConfigError

EXAMPLES = """\
\b
Examples:
  curier man /usr/local/share/man/man1
  curier man pages && man -l pages/curier-pub.1
"""


@click.command(epilog=EXAMPLES)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def man(directory: Path) -> None:
    """Write the manual pages of all commands into DIR, which is made if need be.

    They are of section 1: curier.1, curier-pub.1, curier-config-check.1 and so on. Packages of a system bring
    them; `man -l` shows one from any place.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in pages():
            (directory / f"{name}.1").write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: cannot be written: {error.strerror}") from error


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page, in the language of man (groff's man macros)."""
    for command, ctx, below in every_command():
        name = ctx.command_path.replace(" ", "-")
        yield name, "".join(f"{line}\n" for line in _page(command, ctx, below))


def every_command() -> Iterator[tuple[click.Command, click.Context, dict[str, click.Command]]]:
    """Each command that help shows, in order: what tells of it, its context, and the commands below it."""
    yield from _commands_of(main, None, "curier")


def _commands_of(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[click.Command, click.Context, dict[str, click.Command]]]:
    ctx = click.Context(command, parent, name, **command.context_settings)
    below = dict(_below(command, ctx)) if isinstance(command, click.Group) else {}
    shown = {one: made for one, made in below.items() if not made.hidden}
    told = shown.pop(SHOW) if isinstance(command, TraceCommands) else command
    yield told, ctx, shown
    for one, made in shown.items():
        yield from _commands_of(made, ctx, one)


def _below(command: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group, but those that need a package which is not installed."""
    for name in command.list_commands(ctx):
        try:
            made = command.get_command(ctx, name)
        except click.ClickException as error:
            click.echo(f"Warning: {ctx.command_path} {name} is left out: {error.message}", err=True)
        else:
            if made is not None:
                yield name, made


def _page(command: click.Command, ctx: click.Context, below: dict[str, click.Command]) -> Iterator[str]:
    page = ctx.command_path.replace(" ", "-")
    yield f'.TH "{plain(page).upper()}" 1 "" curier "curier manual"'
    yield from (".SH NAME", f"{plain(page)} \\- {plain(first_sentence(command))}")
    usage = " ".join(command.collect_usage_pieces(ctx))
    yield from (".SH SYNOPSIS", f".B {plain(ctx.command_path)}", plain(usage))
    yield ".SH DESCRIPTION"
    yield from _prose(command.help or "")
    for title, rows in sections_of(command, ctx).items():
        yield f".SH {plain(title).upper()}"
        for term, text in rows:
            yield from (".TP", rf"\fB{plain(term)}\fR", plain(text))
    if below:
        yield ".SH COMMANDS"
        for one, made in below.items():
            yield from (".TP", rf"\fB{plain(page)}\-{plain(one)}\fR(1)", plain(first_sentence(made)))
    if command.epilog:
        yield ".SH EXAMPLES"
        yield from _prose(re.sub(r"\AExamples:\n", "", command.epilog.replace("\b\nExamples:\n", "\b\n")))
    if ctx.parent is not None:
        yield from (".SH SEE ALSO", rf"\fB{plain(ctx.parent.command_path.replace(' ', '-'))}\fR(1)")


def first_sentence(command: click.Command) -> str:
    """What it does, in short."""
    return " ".join(re.split(r"(?<=\.)\s|\n\n", (command.help or "").strip(), maxsplit=1)[0].split())


def _prose(text: str) -> Iterator[str]:
    """Paragraphs are filled; what click leaves as it stands (a line of ``\\b`` before it) stands."""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        if lines[0].strip() == "\b":
            yield from (".PP", ".nf", *map(plain, lines[1:]), ".fi")
        else:
            yield from (".PP", plain(" ".join(line.strip() for line in lines)))


def plain(text: str) -> str:
    """The text as it stands, whatever letters of it mean something to man."""
    shown = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("'", r"\(aq")
    return re.sub(r"(?m)^(?=\.)", r"\\&", shown)
