"""Where everything of a diagram goes, in cells: the columns of lanes, and texts broken to fit between them.

An arrow takes the lines of its label, and below them its own line, at whose right end its note begins.
"""

from __future__ import annotations

from typing import Final

from curier.frozen import dataclass
from curier.trace.drawing.cells import width_of, wrap
from curier.trace.drawing.diagram import Arrow, Diagram, Fold, Lane, Note

LEAST_GAP: Final = 14  # cells between two lanes
MOST_GAP: Final = 60
LEAST_WIDTH: Final = 40
FIRST: Final = 2  # the cell of the first lane
MARK: Final = "• "  # before a note


@dataclass(frozen=True, slots=True)
class Placed:
    """One row: ``above`` are the lines over an arrow, ``beside`` those that begin at its right end.

    ``left`` and ``right`` are the cells of its two lanes; ``at`` and ``beside_at`` where the texts begin.
    Lines above an arrow to the left end at ``right``.
    """

    row: Arrow | Note | Fold
    left: int
    right: int
    above: tuple[str, ...]
    at: int
    beside: tuple[str, ...]
    beside_at: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A diagram in ``width`` cells. ``heads``, the lines of lanes' names, begin at ``head_at``."""

    diagram: Diagram
    width: int
    columns: tuple[int, ...]
    heads: tuple[tuple[str, ...], ...]
    head_at: tuple[int, ...]
    rows: tuple[Placed, ...]
    title: tuple[str, ...]
    below: tuple[str, ...]


def lay_out(diagram: Diagram, width: int) -> Layout:
    """Lay out in at most ``width`` cells, or in ``least_width`` where that is more."""
    width = max(width, least_width(diagram))
    columns = _columns(diagram, width)
    ends = [*columns[1:], width + 1]  # where a text has to end, but for one cell of room
    head_at = [max(column - 1, 0) for column in columns]
    heads = [
        tuple(wrap(lane_words(lane), end - at - 2))
        for lane, at, end in zip(diagram.lanes, head_at, ends, strict=True)
    ]
    rows = [_placed(row, columns, ends) for row in diagram.rows]
    below = [line for sentence in diagram.below for line in _hanging(sentence, width)]
    title = tuple(wrap(diagram.title, width))
    return Layout(
        diagram, width, tuple(columns), tuple(heads), tuple(head_at), tuple(rows), title, tuple(below)
    )


def least_width(diagram: Diagram) -> int:
    """The cells that its lanes take at least."""
    return max(LEAST_WIDTH, FIRST + LEAST_GAP * len(diagram.lanes) + 2)


def lane_words(lane: Lane) -> str:
    """What stands over a lane."""
    return f"{lane.name} ({lane.note})" if lane.note else lane.name


def label_of(row: Arrow) -> str:
    """What stands over an arrow."""
    return f"{row.label} ×{row.count}" if row.count > 1 else row.label


def _columns(diagram: Diagram, width: int) -> list[int]:
    """Each gap gets what its texts take; where that is more than there is, all but the least are cut down."""
    wants = [width_of(lane_words(lane)) + 3 for lane in diagram.lanes]
    for row in diagram.rows:
        if isinstance(row, Arrow):
            place = row.source if row.source < row.target else row.source - 1
            wants[place] = max(wants[place], width_of(label_of(row)) + 3)
            last = max(row.source, row.target)
            wants[last] = max(wants[last], width_of(row.note) + 3)
        elif isinstance(row, Note):
            wants[row.lane] = max(wants[row.lane], width_of(row.text) + 5)
    wants = [min(max(want, LEAST_GAP), MOST_GAP) for want in wants]
    wants[-1] = max(wants[-1] - 1, LEAST_GAP)  # nothing stands behind it
    room = width - FIRST
    while sum(wants) > room:
        largest = max(wants)
        if largest <= LEAST_GAP:
            break
        over = sum(wants) - room
        next_one = max((want for want in wants if want < largest), default=LEAST_GAP)
        many = wants.count(largest)
        step = max(min(largest - max(next_one, LEAST_GAP), over // many), 1)
        for place, want in enumerate(wants):
            if want == largest and over > 0:
                wants[place] = want - min(step, over)
                over -= min(step, over)
    columns = [FIRST]
    for want in wants[:-1]:
        columns.append(columns[-1] + want)
    return columns


def _placed(row: Arrow | Note | Fold, columns: list[int], ends: list[int]) -> Placed:
    if isinstance(row, Fold):
        words = f"{row.count} more rows" if row.count > 1 else "1 more row"
        return Placed(row, columns[0], columns[-1], (f"… {words}",), columns[0] + 2, (), 0)
    if isinstance(row, Note):
        left = columns[row.lane]
        lines = wrap(MARK + row.text, ends[row.lane] - left - 3)
        return Placed(row, left, left, tuple(lines), left + 2, (), 0)
    left, right = sorted((row.source, row.target))
    beside_at = columns[right] + 2
    beside = wrap(row.note, ends[right] - beside_at - 1) if row.note else []
    if row.source < row.target:
        at, end = columns[left] + 2, ends[left]
    else:
        at, end = columns[right - 1] + 2, columns[right]
    above = wrap(label_of(row), end - at - 1)
    if row.source > row.target:
        at = end - 1 - max(map(width_of, above))
    return Placed(row, columns[left], columns[right], tuple(above), at, tuple(beside), beside_at)


def _hanging(sentence: str, width: int) -> list[str]:
    first, *rest = wrap(sentence, width - 2)
    return [first, *(f"  {line}" for line in rest)]
