"""The tour of QoS 0, 1 and 2 for the pages: scenes that are played in virtual time, beside the broker."""

from __future__ import annotations

import asyncio
import importlib
from typing import Final

from curier.web import table, tour_forms
from curier.web.drawn import drawn_data
from curier.web.handling import handles
from curier.web.scene import Scene
from curier.web.tokens import Known

TOLD: Final[dict[str, tour_forms.Tour]] = {}
"""By language; they come out the same each time, so they are played once."""


@handles(table.TOUR)
async def tour(scene: Scene, asked: tour_forms.TourQuery, who: Known) -> tour_forms.Tour:
    """The three flows, played and explained."""
    if asked.language not in TOLD:
        await asyncio.to_thread(importlib.import_module, "curier.tour.telling")  # a quarter of a second
        TOLD[asked.language] = await _played(asked.language)
    return TOLD[asked.language]


async def _played(name: str) -> tour_forms.Tour:
    from curier.tour.scenes import SCENES, play
    from curier.tour.telling import LANGUAGES, came_out, translated
    from curier.trace.drawing.making import View, diagram

    language = LANGUAGES[name]
    scenes = []
    for one in SCENES:
        outcome = play(one)
        text = language.scenes[one.name]
        view = View(now=outcome.now, utc=True)
        flows = [drawn_data(translated(diagram(flow, view), language)) for flow in outcome.flows]
        scenes.append(
            tour_forms.TourScene(
                one.name,
                text.title,
                one.qos,
                one.rule,
                flows,
                [*text.steps],
                came_out(outcome, language),
                outcome.received,
            )
        )
        await asyncio.sleep(0)  # a scene takes some milliseconds, which are others' as well
    often = [language.often(number) for number in range(3)]
    return tour_forms.Tour(language.intro, scenes, often, language.summary, language.lesson)
