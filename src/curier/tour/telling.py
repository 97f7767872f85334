"""The tour in a language: all that are there, and a drawing with its words."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from curier.tour.english import ENGLISH
from curier.tour.language import Language
from curier.tour.romanian import ROMANIAN
from curier.tour.scenes import Outcome
from curier.trace.drawing.diagram import Arrow, Diagram, Note

LANGUAGES: Final = {"en": ENGLISH, "ro": ROMANIAN}


def translated(made: Diagram, language: Language) -> Diagram:
    """The same with the words beside its arrows in this language."""
    rows = [
        replace(row, note=_said(row.note, language)) if isinstance(row, Arrow) else row for row in made.rows
    ]
    rows = [replace(row, text=_said(row.text, language)) if isinstance(row, Note) else row for row in rows]
    return replace(made, rows=tuple(rows))


def _said(words: str, language: Language) -> str:
    for english, own in language.drawn:
        words = words.replace(english, own)
    return words


def came_out(outcome: Outcome, language: Language) -> str:
    """What came out of a scene, in a sentence."""
    return language.outcome.format(
        sent=language.often(outcome.sent),
        received=language.received[outcome.received > 0].format(language.often(outcome.received)),
        knows=language.knows[outcome.is_known],
    )
