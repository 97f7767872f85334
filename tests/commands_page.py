"""Writes docs/reference/commands.md, of what the commands say of themselves: `make settings`, or
`python -m tests.commands_page`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from curier.cli.man import every_command, first_sentence
from curier.cli.options import sections_of

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
HEAD = """\
# Commands

What `--help` says of each command, in one place; `--help` itself is left out. At length:
[the broker's settings and commands](../configuration.md), [pub, sub and rr](../command-line.md).
[`curier man`](#curier-man) writes the same as pages of `man`.
"""
MEANS_SOMETHING = re.compile(r"(?<!\w)[*_]|[*_](?!\w)|<(?=[\w/])|\|")
CODE = re.compile(r"(`[^`]+`)")


def prose(text: str) -> str:
    """As it stands, whatever of it means something to Markdown; what is in backticks is code."""
    parts = CODE.split(" ".join(text.split()))
    return "".join(
        part if at % 2 else MEANS_SOMETHING.sub(lambda met: f"\\{met[0]}", part)
        for at, part in enumerate(parts)
    )


def cell(text: str) -> str:
    """Code in a table."""
    return "`" + text.replace("|", "\\|") + "`"


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, but for what click leaves as it stands (a line of ``\\b`` before it): that is code."""
    for block in filter(None, re.split(r"\n\s*\n", inspect.cleandoc(text).strip("\n"))):
        lines = block.splitlines()
        if lines[:1] and lines[0].strip() == "\b":
            first = lines[1].strip() if len(lines) > 1 else ""
            yield from ([prose(first)] if first.endswith(":") else [])
            rest = lines[2:] if first.endswith(":") else lines[1:]
            if rest:
                yield "\n".join(["```", *inspect.cleandoc("\n".join(rest)).splitlines(), "```"])
        else:
            yield prose(block)


def options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """A table for each section of the options, but for --help, which all have."""
    for title, records in sections_of(command, ctx).items():
        rows = [
            f"| {cell(names)} | {prose(text)} |"
            for names, text in records
            if not re.search(r"--help\b|--version\b", names)
        ]
        if rows:
            yield "\n".join([f"| {title} | |", "|---|---|", *rows])


def section(command: click.Command, ctx: click.Context, below: dict[str, click.Command]) -> Iterator[str]:
    """All of one command."""
    depth = ctx.command_path.count(" ")
    yield f"{'#' * min(depth + 1, 4)} {ctx.command_path}"
    usage = " ".join(command.collect_usage_pieces(ctx))
    yield f"```\n{ctx.command_path} {usage}\n```"
    yield from blocks(command.help or "")
    yield from options(command, ctx)
    if below:
        yield listed(ctx, below)
    yield from blocks(command.epilog or "")


def listed(ctx: click.Context, below: dict[str, click.Command]) -> str:
    """Links to the commands below another."""
    paths = {f"{ctx.command_path} {name}": one for name, one in below.items()}
    return "\n".join(
        f"- [`{path}`](#{path.replace(' ', '-')}): {prose(first_sentence(one))}"
        for path, one in paths.items()
    )


def written() -> str:
    """The page."""
    (_, top, below), *rest = every_command()
    parts = [HEAD.rstrip("\n"), listed(top, below)]
    for command, ctx, under in rest:
        parts += section(command, ctx, under)
    return "\n\n".join(parts) + "\n"


def main() -> None:
    PAGE.write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    main()
