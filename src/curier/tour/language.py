"""What the tour has to say in each language."""

from __future__ import annotations

from curier.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """What is said of a scene: its title, and one sentence or two for each step."""

    title: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """All texts of one language. ``times`` says how often, of a number; ``outcome`` has ``{sent}``,
    ``{received}`` and ``{knows}``: ``received`` and ``knows`` are what these are for no and yes, and the one
    for yes has how often in it. ``drawn`` are words beside arrows, in English and in this language, the
    longer ones first.
    """

    intro: str
    scenes: dict[str, Text]
    outcome: str
    received: tuple[str, str]
    knows: tuple[str, str]
    once: str
    times: str
    never: str
    go_on: str
    summary: str
    lesson: str
    drawn: tuple[tuple[str, str], ...] = ()

    def often(self, number: int) -> str:
        """How often that is, in words."""
        if number < 2:
            return self.once if number else self.never
        return self.times.format(number)
