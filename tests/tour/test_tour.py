"""The tour: what its scenes come to, that its texts say so, and how it looks."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.faults.rules import PACKET_NAMES
from curier.tour.scenes import DASH, GATEWAY, SCENES, Scene, play
from curier.tour.telling import LANGUAGES, translated
from curier.trace.drawing.diagram import Arrow
from curier.trace.drawing.making import diagram
from curier.trace.events import Packet

OUTCOMES = {  # how often PUBLISH left the publisher, and the message arrived; whether the publisher knows
    "qos0": (1, 1, False),
    "qos0-publish": (1, 0, False),
    "qos1": (1, 1, True),
    "qos1-publish": (2, 1, True),
    "qos1-puback": (2, 2, True),
    "qos1-receiver": (1, 2, True),
    "qos2": (1, 1, True),
    "qos2-publish": (2, 1, True),
    "qos2-pubrec": (2, 1, True),
    "qos2-pubrel": (1, 1, True),
    "qos2-pubcomp": (1, 1, True),
}


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
def test_a_scene_comes_to_what_is_said_of_it(scene: Scene) -> None:
    outcome = play(scene)
    assert (outcome.sent, outcome.received, outcome.is_known) == OUTCOMES[scene.name]
    lost = [event for event in outcome.events if isinstance(event, Packet) and event.lost]
    assert len(lost) == bool(scene.rule)
    assert len(outcome.flows) == 1


FLOWS = {
    "qos0": ["PUBLISH"],
    "qos1": ["PUBLISH", "PUBACK"],
    "qos2": ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"],
    "qos2-pubrec": ["PUBLISH", "PUBREC", "PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"],
    "qos2-pubrel": ["PUBLISH", "PUBREC", "PUBREL", "PUBREL", "PUBCOMP"],
    "qos2-pubcomp": ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP", "PUBREL", "PUBCOMP"],
}


@pytest.mark.parametrize("name", FLOWS)
def test_the_packets_of_a_flow_are_those_of_the_text_book(name: str) -> None:
    (scene,) = (scene for scene in SCENES if scene.name == name)
    seen = [
        PACKET_NAMES[event.data[0] >> 4]
        for event in play(scene).events
        if isinstance(event, Packet) and event.wire.client_id == GATEWAY and 3 <= event.data[0] >> 4 <= 7
    ]
    assert seen == FLOWS[name]


def test_each_language_says_as_much_of_every_scene() -> None:
    english = LANGUAGES["en"]
    for language in LANGUAGES.values():
        assert [*language.scenes] == [scene.name for scene in SCENES] == [*OUTCOMES]
        for name, words in language.scenes.items():
            assert len(words.steps) == len(english.scenes[name].steps)
        for field in ("{sent}", "{received}", "{knows}"):
            assert field in language.outcome
        assert (GATEWAY in language.intro, DASH in language.intro) == (True, True)


def run(*words: str, **environment: str) -> Result:
    unset = dict.fromkeys(("LC_ALL", "LC_MESSAGES", "LANG"), "")
    return CliRunner().invoke(main, ["trace", "tour", *words], env=unset | environment)


def test_it_is_told_from_the_first_to_the_last_scene() -> None:
    result = run("--width", "80")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert [line for line in result.output.splitlines() if line.startswith("--break")] == [
        f"--break '{scene.rule}'" for scene in SCENES if scene.rule
    ]
    assert "11. QoS 2, and the PUBCOMP is lost" in result.output
    assert "  QoS 1, and the PUBACK is lost                    2 times\n" in result.output
    assert "  QoS 0, and the PUBLISH is lost                   never\n" in result.output


def test_the_language_is_that_of_the_locale_or_the_one_that_is_asked_for() -> None:
    assert "QoS 1: cel puțin o dată" in run("--qos", "1", LANG="ro_RO.UTF-8").output
    assert "QoS 1: at least once" in run("--qos", "1", LC_ALL="C.UTF-8", LANG="ro_RO.UTF-8").output
    assert "QoS 1: at least once" in run("--qos", "1", "--lang", "en", LANG="ro_RO.UTF-8").output
    assert "QoS 1: at least once" in run("--qos", "1", LANG="hu_HU.UTF-8").output


def test_no_word_of_a_drawing_stays_english() -> None:
    said = {
        lang: [
            re.findall(r"[^\W\d_]{4,}", re.sub(r"'lose [^']*'|0x92 \([^)]*\)", "", row.note))
            for scene in SCENES
            for flow in play(scene).flows
            for row in translated(diagram(flow), LANGUAGES[lang]).rows
            if isinstance(row, Arrow)
        ]
        for lang in LANGUAGES
    }
    english, romanian = ({word for words in said[lang] for word in words} for lang in ("en", "ro"))
    assert "delivered" in english
    assert english & romanian <= {*PACKET_NAMES.values()}


def test_it_can_do_without_unicode() -> None:
    result = run("--qos", "0", "--lang", "ro", "--ascii")
    assert result.output.isascii()
    assert "cel mult o data" in result.output
