"""How a broker is, as lines: what is wrong first, then rates, then what it has."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from curier.loglines import printable
from curier.top.watching import Rates, Watch
from curier.top.wording import bars, count, moment, rate, size, span
from curier.web.forms import Overview

_MARKS: Final = {"error": "✗", "warning": "!"}
_STYLES: Final = {"error": "bold red", "warning": "yellow"}

LEFT: Final = 24
NUMBER: Final = 16
BACK_SECONDS: Final = 60.0


def state_line(watch: Watch, now: float) -> Text:
    """Who is watched, and whether it can be asked."""
    name = watch.now.version if watch.now is not None else "curier"
    if watch.away is not None:
        since, why = watch.away
        text = f"✗ {name}: no answer since {moment(since)}, for {span(now - since)} ({printable(why)})"
        return Text(text, "bold red")
    if watch.now is None:
        return Text("asking ...")
    text = f"● {name} at {watch.url}, up {span(watch.now.uptime)}"
    if watch.back is not None and now - watch.back.since < BACK_SECONDS:
        how = "started anew" if watch.back.is_new else "back"
        text += f"; {how} since {moment(watch.back.since)}, away for {span(watch.back.away)}"
    return Text(text)


def overview_lines(watch: Watch, width: int) -> Text:
    """All of it, for a terminal of so many columns."""
    now = watch.now
    if now is None:
        return Text("Nothing is known yet.")
    lines = [*_troubles(now), Text(), *_rates(watch, width), Text(), *_figures(now)]
    return Text("\n").join(lines)


def _troubles(now: Overview) -> list[Text]:
    if not now.troubles:
        return [Text("✓ Nothing is wrong.", "green")]
    return [
        Text(f"{_MARKS.get(one.level, '!')} {one.level}: {printable(one.text)}", _STYLES.get(one.level, ""))
        for one in now.troubles
    ]


def _rates(watch: Watch, width: int) -> list[Text]:
    if not watch.past:
        return [Text("Rates are known after two looks.")]
    last = watch.past[-1]
    rows = (
        ("messages in", rate(last.received), "received"),
        ("messages out", rate(last.sent), "sent"),
        ("bytes in", f"{size(last.bytes_received)}/s", "bytes_received"),
        ("bytes out", f"{size(last.bytes_sent)}/s", "bytes_sent"),
        ("dropped", rate(last.dropped), "dropped"),
        ("connects", rate(last.connects), "connects"),
    )
    room = max(10, min(120, width - LEFT - NUMBER - 2))
    at = {name: index for index, name in enumerate(Rates._fields)}
    made = [Text(f"{'each second':<{LEFT}}{'now':>{NUMBER}}  the last {room} s", "bold")]
    for name, shown, field in rows:
        line = Text(f"{name:<{LEFT}}{shown:>{NUMBER}}  ")
        line.append(bars([one[at[field]] for one in watch.past], room), "cyan")
        made.append(line)
    return made


def _figures(now: Overview) -> list[Text]:
    dropped_else = now.total_dropped - now.total_dropped_full
    limit = f" of {size(now.memory_limit)}" if now.memory_limit else ""
    rows = (
        (
            "clients",
            count(now.clients),
            f"at most {count(now.clients_maximum)}; {count(now.connections)} connections",
        ),
        ("sessions", count(now.sessions), f"{count(now.subscriptions)} subscriptions"),
        ("waits in queues", size(now.queued_bytes), f"{size(now.output_bytes)} the network has not taken"),
        ("retained", count(now.retained), size(now.retained_bytes)),
        (
            "dropped since the start",
            count(now.total_dropped),
            f"{count(now.total_dropped_full)} by full queues, {count(dropped_else)} else",
        ),
        ("expired", count(now.total_expired), "messages"),
        (
            "refused",
            count(now.total_refused),
            f"{count(now.total_protocol_errors)} that broke a rule",
        ),
        ("memory", size(now.memory) if now.memory else "?", limit.removeprefix(" ")),
        ("the loop was late by", f"{now.loop_lag * 1000:.0f} ms", "at most, in the last second"),
    )
    return [Text(f"{name:<{LEFT}}{value:>{NUMBER}}  {more}") for name, value, more in rows]
