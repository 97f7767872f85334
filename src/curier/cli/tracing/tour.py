"""``curier trace tour``: the three flows of MQTT, played in virtual time, drawn and explained."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from typing import Final

import click

from curier.tour.language import Language
from curier.tour.scenes import SCENES, Outcome, Scene, play
from curier.tour.telling import LANGUAGES, came_out, translated
from curier.trace.drawing.making import View, diagram
from curier.trace.drawing.text import text

PIPE_WIDTH: Final = 80
WIDEST: Final = 100  # text that is wider is hard to read


EPILOG: Final = """
\b
Examples:
  curier trace tour --qos 1
  curier trace tour --lang ro --no-pause | less
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lang", type=click.Choice([*LANGUAGES]), help="The language; by default that of the locale.")
@click.option(
    "--qos",
    metavar="N",
    type=click.IntRange(0, 2),
    multiple=True,
    help="This flow only: 0, 1 or 2; again for more.",
)
@click.option("--ascii", "ascii_only", is_flag=True, help="No character beyond ASCII.")
@click.option(
    "--width",
    metavar="N",
    type=click.IntRange(40, 1000),
    help="Cells a line may have; by default those of the terminal.",
)
@click.option("--no-pause", is_flag=True, help="Do not wait for Enter after each scene.")
def tour(lang: str | None, qos: tuple[int, ...], ascii_only: bool, width: int | None, no_pause: bool) -> None:
    """Play the three flows of MQTT, and show what each loses and doubles when a packet is lost.

    Every scene is a real run of a broker and two clients, in virtual time.
    """
    language = LANGUAGES[lang or _language()]
    is_terminal = sys.stdout.isatty()
    cells = width or (shutil.get_terminal_size().columns if is_terminal else PIPE_WIDTH)
    scenes = [scene for scene in SCENES if not qos or scene.qos in qos]
    pauses = is_terminal and sys.stdin.isatty() and not no_pause
    played: list[tuple[Scene, Outcome]] = []
    ascii_only = ascii_only or "utf" not in (sys.stdout.encoding or "").lower()
    _print(_wrapped(language.intro, cells), ascii_only)
    for number, scene in enumerate(scenes, 1):
        if pauses and _wants_to_end(language, ascii_only):
            return
        outcome = play(scene)
        played.append((scene, outcome))
        _print(scene_lines(scene, outcome, language, number, cells, ascii_only), ascii_only)
    _print(_summary(played, language, cells), ascii_only)


def scene_lines(
    scene: Scene, outcome: Outcome, language: Language, number: int, cells: int, ascii_only: bool
) -> Iterator[str]:
    """A scene: its title, what went by, what that means, and what came out."""
    words = language.scenes[scene.name]
    title = f"{number}. {words.title}"
    yield from ("", title, "=" * len(title))
    if scene.rule:
        yield f"--break '{scene.rule}'"
    for flow in outcome.flows:
        yield ""
        made = translated(diagram(flow, View(now=outcome.now, utc=True)), language)
        drawn = text(made, cells, ascii_only=ascii_only)
        yield from (line.rstrip() for line in drawn)
    yield ""
    for at, step in enumerate(words.steps):
        yield from _wrapped(step, cells, f"{'abcdefg'[at]}) ")
    yield ""
    yield from _wrapped(came_out(outcome, language), cells, "-> ")


def _summary(played: list[tuple[Scene, Outcome]], language: Language, cells: int) -> Iterator[str]:
    yield from ("", language.summary, "")
    widest = max(len(language.scenes[scene.name].title) for scene, _ in played)
    for scene, outcome in played:
        title = language.scenes[scene.name].title
        yield f"  {title}{' ' * (widest - len(title))}  {language.often(outcome.received)}"
    yield ""
    yield from _wrapped(language.lesson, cells)


def _wrapped(words: str, cells: int, first: str = "") -> list[str]:
    return textwrap.wrap(
        words,
        min(cells, WIDEST),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
    )


def _print(lines: Iterator[str] | list[str], ascii_only: bool) -> None:
    for line in lines:
        click.echo(_plain(line) if ascii_only else line)


def _plain(line: str) -> str:
    """Without the marks on letters, where they cannot be shown."""
    apart = unicodedata.normalize("NFKD", line)
    return "".join(one for one in apart if not unicodedata.combining(one)).encode("ascii", "replace").decode()


def _wants_to_end(language: Language, ascii_only: bool) -> bool:
    click.echo()
    try:
        answer = input(_plain(language.go_on) if ascii_only else language.go_on)
    except EOFError:
        return True
    return answer.strip().lower() == "q"


def _language() -> str:
    """That of the messages of this process (locale(7)), where there is a tour in it."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return value[:2].lower() if value[:2].lower() in LANGUAGES else "en"
    return "en"
