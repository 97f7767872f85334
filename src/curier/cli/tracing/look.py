"""How ``curier trace`` looks: its options, and what a terminal can."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import click

from curier.cli.options import option
from curier.frozen import dataclass
from curier.trace.drawing.making import View

LANE_CELLS: Final = 22  # a wider terminal has lanes for more receivers
OTHER_CELLS: Final = 34  # of a publisher, and of what stands beside the last lane
PIPE_WIDTH: Final = 100

_LOOK: Final = "How it looks"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_OPTIONS: Final = (
    option("--everyone", is_flag=True, section=_LOOK, help="A lane for each subscriber, no row left out."),
    option("--ascii", "ascii_only", is_flag=True, section=_LOOK, help="No character beyond ASCII."),
    option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        section=_LOOK,
        help="Colours, which only add; auto: on a terminal.",
    ),
    option(
        "--width",
        metavar="N",
        type=click.IntRange(40, 1000),
        section=_LOOK,
        help="Cells a line of a drawing may have.",
    ),
    option("--utc", is_flag=True, section=_LOOK, help="Times in UTC."),
)


def looking_options(command: Decorated) -> Decorated:
    """The options of how it looks; ``look_of`` is for their values."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


@dataclass(frozen=True, slots=True)
class Look:
    """How things are printed."""

    ascii_only: bool
    coloured: bool
    utc: bool
    width: int
    everyone: bool

    def view(self, now: float) -> View:
        """How much of a flow is drawn."""
        receivers = 0 if self.everyone else max(2, (self.width - OTHER_CELLS) // LANE_CELLS)
        return View(receivers, 0 if self.everyone else View().rows, self.utc, now)

    def of_width(self, width: int, everyone: bool) -> Look:
        """The same on another terminal."""
        return replace(self, width=width, everyone=everyone)


def look_of(options: dict[str, Any]) -> Look:
    """How it is to look, out of the options."""
    terminal = sys.stdout.isatty()
    return Look(
        options["ascii_only"] or not _speaks_unicode(),
        wants_colour(options["color"]),
        options["utc"],
        options["width"] or (shutil.get_terminal_size().columns if terminal else PIPE_WIDTH),
        options["everyone"],
    )


def wants_colour(choice: str) -> bool:
    """What is asked for, and otherwise colours on terminals that can and may."""
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Is it a terminal that can write lines, and no more?"""
    return os.environ.get("TERM", "dumb") in ("dumb", "")


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16")
