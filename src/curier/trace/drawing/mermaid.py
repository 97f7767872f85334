"""Diagrams as the text of Mermaid, for documents that draw such (``sequenceDiagram``).

Names and texts of strangers are written such that they are texts to Mermaid as well: what means something to
it, or to HTML, is a character code (``#59;``).
"""

from __future__ import annotations

import re
from typing import Final

from curier.trace.drawing.diagram import DOTTED, LOST, Arrow, Diagram, Fold, Note
from curier.trace.drawing.layout import label_of, lane_words

_PLAIN: Final = frozenset(" !$'()*+,-./=?@[]^_|~:")  # besides letters and digits
_END: Final = re.compile(r"\bend\b")
_ARROWS: Final = {DOTTED: "--)", LOST: "-x"}


def mermaid(diagram: Diagram) -> str:
    """A diagram as text, which ends with a line break."""
    lines = ["sequenceDiagram", f"    accTitle: {written(diagram.title)}"]
    for number, lane in enumerate(diagram.lanes):
        lines.append(f"    participant p{number} as {written(lane_words(lane))}")
    ends = f"p0,p{len(diagram.lanes) - 1}" if len(diagram.lanes) > 1 else "p0"
    for row in diagram.rows:
        if isinstance(row, Fold):
            lines.append(f"    Note over {ends}: {row.count} more rows")
        elif isinstance(row, Note):
            lines.append(f"    Note right of p{row.lane}: {written(row.text)}")
        elif isinstance(row, Arrow):
            arrow = _ARROWS.get(row.style, "->>")
            words = written("  ".join(filter(None, (label_of(row), row.note))))
            lines.append(f"    p{row.source}{arrow}p{row.target}: {words}")
    for sentence in diagram.below:
        lines.append(f"    Note over {ends}: {written(sentence)}")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """A text that is one to Mermaid; the word "end" would be the end of a block."""
    coded = "".join(one if one.isalnum() or one in _PLAIN else f"#{ord(one)};" for one in text)
    return _END.sub("#101;nd", coded)
