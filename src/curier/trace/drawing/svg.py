"""Diagrams as SVG: one file that stands for itself, with no script and nothing from elsewhere.

Its colours follow the reader's choice of light or dark (``prefers-color-scheme``), and everything has a
class, so that a page may have its own. What a colour says stands there in words and signs as well.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from curier.trace.drawing.cells import width_of
from curier.trace.drawing.diagram import LOST, Arrow, Diagram, Fold, Note
from curier.trace.drawing.layout import Layout, Placed, lay_out

WIDTH: Final = 110  # cells, if nothing else is asked for
CELL: Final = 7.8  # pixels, of a character in a font of fixed width at FONT pixels
LINE: Final = 18.0
FONT: Final = 13
EDGE: Final = 12.0
CROSS: Final = 5.0

STYLE: Final = """
.curier { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --quiet: #6e7781; --to: #0b6e77;
  --from: #7a3e9d; --trouble: #b3261e; }
@media (prefers-color-scheme: dark) { .curier { --ink: #e6edf3; --paper: #0d1117; --quiet: #8b949e;
  --to: #4cc3cf; --from: #c69ae6; --trouble: #ff7b72; } }
.paper { fill: var(--paper); }
text { fill: var(--ink); font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  white-space: pre; direction: ltr; unicode-bidi: isolate-override; }
.title, .name { font-weight: 600; }
.note, .below { fill: var(--quiet); }
.lane { stroke: var(--quiet); stroke-width: 1; }
.lane.away, .dotted .line { stroke-dasharray: 3 4; }
.line { stroke-width: 1.5; fill: none; }
.to-server .line { stroke: var(--to); }
.to-server .head { fill: var(--to); }
.from-server .line { stroke: var(--from); }
.from-server .head { fill: var(--from); }
.trouble .line, .cross { stroke: var(--trouble); }
.trouble .head, .trouble .label { fill: var(--trouble); }
.cross { stroke-width: 2; fill: none; }
"""


def svg(diagram: Diagram, width: int = WIDTH) -> str:
    """A diagram as the text of an SVG document; ``width`` in cells, of ``CELL`` pixels each."""
    layout = lay_out(diagram, width)
    return _Sheet(layout).document()


class _Sheet:
    """Draws one layout, from the top down."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.parts: list[str] = []
        self.y = EDGE
        self.right = 0.0  # of all texts and lanes

    def document(self) -> str:
        layout = self.layout
        for line in layout.title:
            self._text(0, line, "title")
        self.y += LINE / 2
        self._heads()
        top = self.y - LINE / 3
        for placed in layout.rows:
            self._row(placed)
        bottom = self.y + LINE / 2
        if layout.rows:
            self.y = bottom + LINE / 2
        for line in layout.below:
            self._text(0, line, "below")
        lanes = (
            [self._lane(number, top, bottom) for number in range(len(layout.columns))] if layout.rows else []
        )
        width, height = round(self.right + EDGE), round(self.y + EDGE)
        title = escape(_valid(layout.diagram.title))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="curier" role="img" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
            f"<title>{title}</title>\n<style>{STYLE}</style>\n"
            f'<rect class="paper" width="{width}" height="{height}"/>\n'
            + "\n".join([*lanes, *self.parts])
            + "\n</svg>\n"
        )

    def _heads(self) -> None:
        layout, top = self.layout, self.y
        height = max((len(head) for head in layout.heads), default=0)
        for head, at in zip(layout.heads, layout.head_at, strict=True):
            self.y = top
            for line in head:
                self._text(at, line, "name")
        self.y = top + height * LINE + LINE / 3

    def _lane(self, number: int, top: float, bottom: float) -> str:
        x = _x(self.layout.columns[number])
        self.right = max(self.right, x)
        away = " away" if self.layout.diagram.lanes[number].is_away else ""
        return f'<line class="lane{away}" x1="{x:g}" y1="{top:g}" x2="{x:g}" y2="{bottom:g}"/>'

    def _row(self, placed: Placed) -> None:
        row = placed.row
        trouble = " trouble" if getattr(row, "trouble", False) else ""
        if isinstance(row, Fold):
            self.parts.append('<g class="fold">')
        elif isinstance(row, Note):
            self.parts.append(f'<g class="happening{trouble}">')
        else:
            way = "to-server" if row.to_server else "from-server"
            self.parts.append(f'<g class="arrow {way} {row.style}{trouble}">')
        for line in placed.above:
            at = placed.at
            if isinstance(row, Arrow) and row.source > row.target:
                at = placed.right - 1 - width_of(line)
            self._text(at, line, "label")
        if isinstance(row, Arrow):
            self._arrow(placed, row)
        self.parts.append("</g>")

    def _arrow(self, placed: Placed, row: Arrow) -> None:
        y = self.y + LINE / 2
        left, right = _x(placed.left) + 1, _x(placed.right) - 1
        start, end = (left, right) if row.source < row.target else (right, left)
        way = 1 if start < end else -1
        if row.style == LOST:
            end = start + (end - start) * 0.65
            self.parts.append(
                f'<path class="cross" d="M{end - CROSS:g} {y - CROSS:g}L{end + CROSS:g} {y + CROSS:g}'
                f'M{end - CROSS:g} {y + CROSS:g}L{end + CROSS:g} {y - CROSS:g}"/>'
            )
        else:
            back = end - way * 9
            self.parts.append(f'<path class="head" d="M{end:g} {y:g}L{back:g} {y - 4:g}V{y + 4:g}Z"/>')
            end = back
        self.parts.append(f'<path class="line" d="M{start:g} {y:g}H{end:g}"/>')
        for line in placed.beside:
            self._text(placed.beside_at, line, "note")
        if not placed.beside:
            self.y += LINE

    def _text(self, at: int, line: str, name: str) -> None:
        if line:
            x, y = _x(at), self.y + LINE * 0.75
            length = width_of(line) * CELL
            self.right = max(self.right, x + length)
            self.parts.append(
                f'<text class={quoteattr(name)} x="{x:g}" y="{y:g}" textLength="{length:.4g}" '
                f'lengthAdjust="spacingAndGlyphs">{escape(_valid(line))}</text>'
            )
        self.y += LINE


def _x(cell: int) -> float:
    return round(EDGE + cell * CELL, 1)


def _valid(text: str) -> str:
    """Without what XML 1.0 cannot have at all; control characters have been escaped before."""
    return "".join(one if one.isprintable() and one not in "\ufffe\uffff" else "\ufffd" for one in text)
