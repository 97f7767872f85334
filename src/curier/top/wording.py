"""Numbers, as people read them: sizes with steps of 1024, groups of three figures, spans of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_BARS: Final = " ▁▂▃▄▅▆▇█"


def count(number: float) -> str:
    """``12 345``."""
    return f"{number:,.0f}".replace(",", " ")


def rate(number: float) -> str:
    """``50 000/s``, ``0.4/s``."""
    return f"{number:.1f}/s" if 0 < number < 9.95 else f"{count(number)}/s"


def size(number: float) -> str:
    """``12.3 MiB``."""
    step = 0
    while number >= 999.5 and step < len(_SIZES) - 1:
        number /= 1024
        step += 1
    shown = f"{number:.0f}" if step == 0 or number >= 99.95 else f"{number:.1f}"
    return f"{shown} {_SIZES[step]}"


def span(seconds: float) -> str:
    """``3 d 4 h``: of days, hours, minutes and seconds the two largest."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for length, name in _SPANS:
        if left >= length or (length == 1 and not parts):
            parts.append(f"{left // length} {name}")
            left %= length
        elif parts:
            break
    return " ".join(parts[:2])


def moment(at: float) -> str:
    """``14:03:07``, by the clock of whoever reads."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def short(text: str, most: int) -> str:
    """No more than so many characters; what is left out is an ellipsis in the middle, since names of devices
    differ at their ends.
    """
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[len(text) - half :]}"


def bars(values: Sequence[float], width: int) -> str:
    """The last values as columns, the newest on the right; the largest is a full one."""
    shown = [*values][-width:]
    most = max(shown, default=0.0)
    if most <= 0:
        return (_BARS[0] * len(shown)).rjust(width)
    # What is not nothing is seen, however little it is beside the largest.
    return "".join(_BARS[max(value > 0, round(value / most * 8))] for value in shown).rjust(width)
