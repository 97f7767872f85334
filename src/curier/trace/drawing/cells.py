"""How many cells of a terminal a text takes, and how it is broken into lines of so many.

Texts have passed ``wording.shown`` before: there are no control characters, joiners or variation selectors,
over whose widths terminals disagree.
"""

from __future__ import annotations

from unicodedata import category, east_asian_width


def width_of(text: str) -> int:
    """The cells that ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if category(character) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def clusters(text: str) -> list[str]:
    """The characters, each with the marks that stand over it."""
    found: list[str] = []
    for character in text:
        if found and not _width(character):
            found[-1] += character
        else:
            found.append(character)
    return found


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` cells, broken at spaces where there are some; at least one line."""
    width = max(width, 2)
    lines, line, used = list[str](), "", 0
    for word in text.split(" "):
        size = width_of(word)
        if line and used + 1 + size > width:
            lines.append(line)
            line, used = "", 0
        if line:
            line, used = f"{line} {word}", used + 1 + size
            continue
        while size > width:
            head = cut(word, width)
            lines.append(head)
            word = word[len(head) :]
            size = width_of(word)
        line, used = word, size
    lines.append(line)
    return [one for one in lines if one] or [""]


def cut(text: str, width: int, mark: str = "") -> str:
    """As much of the beginning as takes at most ``width`` cells, with ``mark`` where that is not all."""
    if mark:
        whole = cut(text, width)
        return whole if whole == text else cut(text, max(width - width_of(mark), 0)) + cut(mark, width)
    taken, used = "", 0
    for cluster in clusters(text):
        size = width_of(cluster)
        if used + size > width:
            break
        taken, used = taken + cluster, used + size
    return taken
