"""Diagrams as lines of text, for terminals: Unicode or ASCII, of any width from ``layout.LEAST_WIDTH`` on.

Colour only adds: what it says stands there in words and signs as well. It is that of arrows alone, so that
texts have the colour of the terminal, dark or light.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from curier.frozen import dataclass
from curier.trace.drawing.cells import clusters, width_of
from curier.trace.drawing.diagram import DOTTED, LOST, Arrow, Diagram, Fold, Lane, Note, Row
from curier.trace.drawing.layout import Layout, Placed, lay_out

RESET: Final = "\x1b[0m"
# What is readable on light and on dark: cyan, green and yellow are too pale on the one, blue on the other.
TO_SERVER: Final = ""  # as all text
FROM_SERVER: Final = "\x1b[35m"  # magenta
TROUBLE: Final = "\x1b[1;31m"  # bold red
BOLD: Final = "\x1b[1m"


@dataclass(frozen=True, slots=True)
class Signs:
    """What lines are made of."""

    lane: str
    away: str
    line: str
    dotted: str
    right: str
    left: str
    lost: str
    fold: str


UNICODE: Final = Signs("│", "┆", "─", "┄", "▶", "◀", "✗", "┊")
ASCII: Final = Signs("|", ":", "-", ".", ">", "<", "X", ":")

_IN_ASCII: Final = {
    "…": "...",
    "•": "*",
    "×": "x",
    "“": '"',
    "”": '"',
}


class Canvas:
    """One line: cells with a character and a colour each."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.colours: list[str] = []

    def put(self, at: int, text: str, colour: str = "") -> None:
        """Write ``text`` from cell ``at`` on, over what is there."""
        for cluster in [text] if len(text) == 1 else clusters(text):
            size = max(width_of(cluster), 1)
            short = at + size - len(self.cells)
            if short > 0:
                self.cells += [" "] * short
                self.colours += [""] * short
            self.cells[at] = cluster
            self.colours[at] = colour
            for extra in range(at + 1, at + size):
                self.cells[extra] = ""
            at += size

    def text(self, coloured: bool) -> str:
        """The line, without spaces at its end."""
        if not coloured:
            return "".join(self.cells).rstrip()
        parts, now = list[str](), ""
        for cell, colour in zip(self.cells, self.colours, strict=True):
            if colour != now and (cell != " " or now):
                parts.append(f"{RESET if now else ''}{colour}")
                now = colour
            parts.append(cell)
        return "".join(parts).rstrip() + (RESET if now else "")


def text(diagram: Diagram, width: int = 80, *, ascii_only: bool = False, coloured: bool = False) -> list[str]:
    """The lines of a diagram, at most ``width`` cells each (more only where its lanes do not fit)."""
    signs = UNICODE
    if ascii_only:
        diagram, signs = _in_ascii(diagram), ASCII
    layout = lay_out(diagram, width)
    return _Drawing(layout, signs, coloured, ascii_only).lines()


class _Drawing:
    """Draws one layout."""

    def __init__(self, layout: Layout, signs: Signs, coloured: bool, ascii_only: bool) -> None:
        self.layout = layout
        self.signs = signs
        self.coloured = coloured
        self.ascii_only = ascii_only
        self.done: list[str] = []

    def lines(self) -> list[str]:
        layout = self.layout
        for line in layout.title:
            self._end(self._plain(line, BOLD))
        self._end(Canvas())
        height = max((len(head) for head in layout.heads), default=0)
        for number in range(height):
            canvas = Canvas()
            for head, at in zip(layout.heads, layout.head_at, strict=True):
                if number < len(head):
                    canvas.put(at, head[number])
            self._end(canvas)
        for placed in layout.rows:
            self._row(placed)
        if layout.rows:
            self._end(self._lanes())
        for line in layout.below:
            self._end(self._plain(line))
        return self.done

    def _row(self, placed: Placed) -> None:
        row = placed.row
        if isinstance(row, Fold):
            for line in placed.above:
                canvas = self._lanes(self.signs.fold)
                canvas.put(placed.at, self._words(line))
                self._end(canvas)
            return
        colour = TROUBLE if row.trouble else ""
        for line in placed.above:
            canvas = self._lanes()
            at = placed.at
            if isinstance(row, Arrow) and row.source > row.target:
                at = placed.right - 1 - width_of(line)
            canvas.put(at, self._words(line), colour)
            self._end(canvas)
        if isinstance(row, Arrow):
            self._arrow(placed, row)

    def _arrow(self, placed: Placed, row: Arrow) -> None:
        signs = self.signs
        length = placed.right - placed.left - 1
        line = (signs.dotted if row.style == DOTTED else signs.line) * length
        goes_right = row.source < row.target
        if row.style == LOST:
            reach = length - length // 3
            line = line[: reach - 1] + signs.lost if goes_right else signs.lost + line[: reach - 1]
            at = placed.left + 1 if goes_right else placed.right - reach
        else:
            line = line[:-1] + signs.right if goes_right else signs.left + line[1:]
            at = placed.left + 1
        colour = TROUBLE if row.trouble else TO_SERVER if row.to_server else FROM_SERVER
        canvas = self._lanes()
        canvas.put(at, line, colour)
        for number, words in enumerate(placed.beside or ("",)):
            if number:
                canvas = self._lanes()
            canvas.put(placed.beside_at, self._words(words))
            self._end(canvas)

    def _lanes(self, sign: str = "") -> Canvas:
        canvas = Canvas()
        for column, lane in zip(self.layout.columns, self.layout.diagram.lanes, strict=True):
            canvas.put(column, sign or (self.signs.away if lane.is_away else self.signs.lane))
        return canvas

    def _plain(self, line: str, colour: str = "") -> Canvas:
        canvas = Canvas()
        canvas.put(0, self._words(line), colour)
        return canvas

    def _words(self, text: str) -> str:
        return _ascii(text) if self.ascii_only else text

    def _end(self, canvas: Canvas) -> None:
        self.done.append(canvas.text(self.coloured))


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    for sign, plain in _IN_ASCII.items():
        text = text.replace(sign, plain)
    return text.encode("ascii", "backslashreplace").decode()


def _in_ascii(diagram: Diagram) -> Diagram:
    """All its texts in ASCII, before they are measured."""
    return Diagram(
        _ascii(diagram.title),
        diagram.began,
        tuple(_ascii_lane(lane) for lane in diagram.lanes),
        tuple(_ascii_row(row) for row in diagram.rows),
        tuple(map(_ascii, diagram.below)),
    )


def _ascii_lane(lane: Lane) -> Lane:
    return replace(lane, name=_ascii(lane.name), note=_ascii(lane.note))


def _ascii_row(row: Row) -> Row:
    if isinstance(row, Arrow):
        return replace(row, label=_ascii(row.label), note=_ascii(row.note))
    return replace(row, text=_ascii(row.text)) if isinstance(row, Note) else row
