"""Sentences of the pages with numbers in them, in both languages."""

from __future__ import annotations

from pathlib import Path

from tests.interop.node import Node

FILL = """
import { filled } from "./filling.js";
tell(given.map(([text, n]) => filled(text, { n, size: "3 B" }, (value) => `<${value}>`)));
"""
ENGLISH = "{n} {n:message|messages}, {size}"
ROMANIAN = "{n} {n:mesaj|mesaje|de mesaje}, {size}"


def test_a_word_has_the_form_that_its_number_wants(tmp_path: Path) -> None:
    numbers = (0, 1, 2, 19, 20, 101, 119, 120, 1001)
    said = Node(tmp_path).run(FILL, [[text, n] for text in (ENGLISH, ROMANIAN) for n in numbers])
    words = ["mesaje", "mesaj", "mesaje", "mesaje", "de mesaje", "mesaje", "mesaje", "de mesaje", "mesaje"]
    assert said == [
        *(f"<{n}> {'message' if n == 1 else 'messages'}, 3 B" for n in numbers),
        *(f"<{n}> {word}, 3 B" for n, word in zip(numbers, words, strict=True)),
    ]
    assert Node(tmp_path).run(FILL, [["{a} {n}", "x"]]) == ["{a} x"]  # what is not given stays
