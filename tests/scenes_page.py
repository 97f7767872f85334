"""`make settings` also writes what becomes of messages: the scenes of the tour, played, drawn and told."""

from __future__ import annotations

import re
from pathlib import Path

from curier.tour.language import Language
from curier.tour.scenes import SCENES, Outcome, Scene, play
from curier.tour.telling import LANGUAGES, came_out, translated
from curier.trace.drawing.making import View, diagram
from curier.trace.drawing.svg import svg

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {"en": DOCS / "qos.md", "ro": DOCS / "ro" / "qos.md"}
PLACE = re.compile(r"(<!-- scenes: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 64
"""Of the drawings, in cells: what a telephone can show."""

_outcomes: dict[str, Outcome] = {}


def outcome_of(scene: Scene) -> Outcome:
    """What came out of it; each is played once."""
    return _outcomes.setdefault(scene.name, play(scene))


def drawing(scene: Scene, language: Language) -> str:
    """Its SVG: that of the message, which is the first flow."""
    outcome = outcome_of(scene)
    made = diagram(outcome.flows[0], View(utc=True, now=outcome.now))
    return svg(translated(made, language), WIDTH)


def drawings() -> dict[Path, str]:
    """All files of images and what is in them."""
    return {
        DOCS / "images" / f"{scene.name}.{name}.svg": drawing(scene, language)
        for name, language in LANGUAGES.items()
        for scene in SCENES
    }


def told(part: str, name: str) -> str:
    """What a place of a page has: the introduction, the lesson, or the scenes of a QoS."""
    language = LANGUAGES[name]
    if part in ("intro", "lesson"):
        return f"{wrapped(getattr(language, part))}\n"
    images = "images" if PAGES[name].parent == DOCS else "../images"
    text = ""
    for scene in SCENES:
        if scene.name.split("-")[0] == part:
            said = language.scenes[scene.name]
            text += f"### {said.title}\n\n![{said.title}]({images}/{scene.name}.{name}.svg)\n\n"
            text += "".join(f"{number}. {step}\n" for number, step in enumerate(said.steps, 1))
            text += f"\n**{came_out(outcome_of(scene), language)}**\n\n"
    return text


def wrapped(words: str) -> str:
    """In lines as the other pages have them."""
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) >= 120:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def written(page: str, name: str) -> str:
    """The page, with what has to be in its places."""
    return PLACE.sub(lambda place: f"{place[1]}{told(place[2], name)}{place[3]}", page)


def main() -> None:
    for path, text in drawings().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, path in PAGES.items():
        path.write_text(written(path.read_text(encoding="utf-8"), name), encoding="utf-8")


if __name__ == "__main__":
    main()
