"""Options of the commands that are clients: kinds of values, and help in sections.

Letters and long names are those of mosquitto_pub, mosquitto_sub and mosquitto_rr, so ``-h`` is the host and
help is ``--help``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import click

from curier.strict_toml import parse_seconds

NEVER: Final = 0xFFFFFFFF
"""The Session Expiry Interval of a session that does not expire (5.0 section 3.1.2.11.2)."""

QOS: Final = click.IntRange(0, 2)
PORT: Final = click.IntRange(1, 65535)

VERSIONS: Final = {
    "5": 5,
    "5.0": 5,
    "mqttv5": 5,
    "311": 4,
    "3.1.1": 4,
    "mqttv311": 4,
    "31": 3,
    "3.1": 3,
    "mqttv31": 3,
}

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def protocol_version(text: str) -> int:
    """The Protocol Version: 5, 4 (for 3.1.1) or 3 (for 3.1)."""
    if text not in VERSIONS:
        raise click.BadParameter("expected 5, 311 or 31")
    return VERSIONS[text]


def expiry(text: str) -> int:
    """A Session Expiry Interval: seconds, a time such as ``"1 h"``, or -1 or ∞ for one that never ends."""
    if text in ("-1", "∞"):
        return NEVER
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; -1 for a session that does not expire") from None
    if seconds != int(seconds) or seconds > NEVER:
        raise click.BadParameter(f"expected whole seconds, {NEVER} at most, or -1 for no end")
    return int(seconds)


def positive_seconds(text: str) -> float:
    """Seconds, more than none, from ``90`` or ``"1.5 min"``."""
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if seconds <= 0:
        raise click.BadParameter("expected more than 0 seconds")
    return seconds


def only_once(ctx: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> Any:
    """The one value of an option that is ``multiple`` only so that none of several is lost in silence."""
    if len(values) > 1:
        raise click.UsageError(f"{param.opts[0]} is there {len(values)} times: one message has one")
    return values[0] if values else None


class Option(click.Option):
    """An option with its place in the help."""

    def __init__(self, *arguments: Any, section: str = "Options", **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What is said beside the help: not the range of a number, which the error for a wrong one says."""
        return {name: value for name, value in super().get_help_extra(ctx).items() if name != "range"}


def option(*names: str, section: str = "Options", **how: Any) -> Callable[[Decorated], Decorated]:
    """``click.option`` in a section of the help."""
    return click.option(*names, cls=Option, section=section, **how)


def not_offered(name: str, why: str, is_flag: bool = False) -> Callable[[Decorated], Decorated]:
    """An option of mosquitto_pub that is refused with the reason, and not as a slip of the pen."""

    def refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{name} is not offered: {why}")

    how: dict[str, Any] = {"is_flag": is_flag, "hidden": True, "expose_value": False, "callback": refuse}
    return option(name, help=f"Not offered: {why}.", **how)


class ClientCommand(click.Command):
    """A command that is a client: ``-D`` takes as many words as its property has, help comes in sections."""

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **{"context_settings": {"help_option_names": ["--help"]}, **how})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the -D of User Properties, which has a word more than others, under its other name."""
        return super().parse_args(ctx, [*self._renamed(ctx, args)])

    def _renamed(self, ctx: click.Context, args: list[str]) -> Iterator[str]:
        words = {name: one for one in self.get_params(ctx) for name in one.opts}
        rest = iter(args)
        for word in rest:
            if word == "--":
                yield word
                yield from rest
                return
            owner = _option_that_waits(word, words)
            if owner is None:
                yield word
                continue
            values = [value for _, value in zip(range(owner.nargs), rest, strict=False)]
            if owner.name == "properties" and values[1:2] == ["user-property"]:
                values += [value for _, value in zip(range(1), rest, strict=False)]
                word = "--property-pair"
            # click looks for what is like a short name among the long ones first, which takes it milliseconds
            yield (
                next((name for name in owner.opts if name.startswith("--")), word) if len(word) == 2 else word
            )
            yield from values

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        write_sections(self, ctx, formatter, last="Options")


def sections_of(command: click.Command, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
    """The options of a command by section, each with what is said of it."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and record[1]:  # arguments are told of above the options
            sections.setdefault(getattr(param, "section", "Options"), []).append(record)
    return sections


def write_sections(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter, last: str = ""
) -> None:
    """Write the options of a command, each section under its name."""
    sections = sections_of(command, ctx)
    for name in sorted(sections, key=lambda name: name == last):
        with formatter.section(name):
            formatter.write_dl(sections[name], col_max=28)


def _option_that_waits(word: str, options: dict[str, click.Parameter]) -> click.Parameter | None:
    """The option, at the end of this word, whose values are the words that follow; None if there is none."""
    if word.startswith("--"):
        found = options.get(word)
        return found if found is not None and _takes_values(found) else None
    if not word.startswith("-") or word == "-":
        return None
    for place in range(1, len(word)):  # letters without values may stand together: -rd
        found = options.get(f"-{word[place]}")
        if found is None:
            return None
        if _takes_values(found):
            return found if place == len(word) - 1 else None
    return None


def _takes_values(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.is_flag and not param.count
