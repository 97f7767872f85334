"""The tour by the API: the scenes that ``curier trace tour`` plays, with the same texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from curier.server import Broker
from curier.tour.scenes import SCENES
from curier.tour.telling import LANGUAGES
from curier.web import table
from curier.web.tour_forms import TourQuery
from tests.tour.test_tour import OUTCOMES
from tests.web.asking import people


@pytest.mark.parametrize("name", ["en", "ro"])
async def test_it_has_each_scene_with_its_text_and_what_went_by(tmp_path: Path, name: str) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as who:
        told = await who["viewer"].ask(table.TOUR, TourQuery("ro" if name == "ro" else "en"))
    language = LANGUAGES[name]
    assert (told.intro, told.lesson) == (language.intro, language.lesson)
    assert [one.name for one in told.scenes] == [one.name for one in SCENES]
    assert {one.name: one.received for one in told.scenes} == {name: of[1] for name, of in OUTCOMES.items()}
    assert all(one.received < len(told.often) for one in told.scenes)
    for one in told.scenes:
        assert one.title == language.scenes[one.name].title
        assert one.steps == [*language.scenes[one.name].steps]
    lost = next(one for one in told.scenes if one.name == "qos2-pubrec")
    rows = lost.flows[0]["rows"]
    assert [row["label"].split()[0] for row in rows if row["style"] == "lost"] == ["PUBREC"]
    assert {row["version"] for row in rows} == {5}  # with its bytes, to be taken apart
    assert rows[0]["bytes"].startswith("34")
