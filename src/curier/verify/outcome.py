"""What a play has shown, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from curier.frozen import dataclass
from curier.verify.ledger import (
    DOUBLED,
    FOREIGN,
    LOST,
    OUT_OF_ORDER,
    RETAINED,
    SESSION,
    SUBSCRIPTION,
    UNSUBSCRIPTION,
    WILL,
    Fault,
)
from curier.verify.play import Play

KEPT: Final = "kept"
REFUTED: Final = "refuted"
UNJUDGED: Final = "could not be judged"
EXIT_CODES: Final = {KEPT: 0, REFUTED: 1, UNJUDGED: 2}

MOST_FAULTS: Final = 10
"""That are listed in words."""

MOST_IN_JSON: Final = 1000

WORDS: Final = {
    LOST: ("acknowledged message lost", "acknowledged messages lost"),
    DOUBLED: ("message of QoS 2 doubled", "messages of QoS 2 doubled"),
    OUT_OF_ORDER: ("message out of order", "messages out of order"),
    FOREIGN: ("message that nobody published", "messages that nobody published"),
    RETAINED: ("retained value lost", "retained values lost"),
    SESSION: ("session lost", "sessions lost"),
    SUBSCRIPTION: ("subscription lost", "subscriptions lost"),
    UNSUBSCRIPTION: ("ended subscription back", "ended subscriptions back"),
    WILL: ("will not published", "wills not published"),
}
"""One of each kind, and many."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of a play. ``why``: what could not be judged, in words, "" if all could.

    ``faults`` are the promises that were not kept; ``asides`` are wills that were not published, by a broker
    that is not held to it.
    """

    acknowledged: int
    delivered: int
    kills: int
    seconds: float
    visits: int
    retained: int
    subscriptions: int
    faults: tuple[Fault, ...]
    asides: tuple[Fault, ...]
    why: str
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One of the three."""
        if self.faults:
            return REFUTED
        return UNJUDGED if self.why else KEPT

    @property
    def exit_code(self) -> int:
        """0 kept, 1 refuted, 2 could not be judged."""
        return EXIT_CODES[self.verdict]

    @property
    def counts(self) -> dict[str, int]:
        """How many faults there are, by kind; a message is one, however many receivers missed it."""
        return Counter(fault.kind for fault in self._different())

    def words(self) -> str:
        """The verdict for people."""
        done = f"{_many(self.acknowledged, 'message')} acknowledged in {_many(self.kills, 'kill')}"
        if self.verdict == KEPT:
            lines = [f"{done}: none lost, none of QoS 2 doubled, order kept."]
            lines += [f"Kept as well: {self._kept()}."]
        elif self.verdict == REFUTED:
            counts = self.counts
            told = [
                f"{counts[kind]:,} {words[counts[kind] > 1]}" for kind, words in WORDS.items() if counts[kind]
            ]
            lines = [f"refuted: {done}: {', '.join(told)}."]
            lines += [f"  {fault.text}" for fault in self._first()]
            if (more := sum(counts.values()) - len(self._first())) > 0:
                lines += [f"  and {more:,} more; --json has them"]
        else:
            lines = [f"could not be judged: {self.why}"]
        if self.verdict == REFUTED and self.why:
            lines += [f"Not all could be judged: {self.why}"]
        if self.asides:
            said = f"{len(self.asides):,} of {self.visits:,} wills were not published after a kill"
            lines += [f"{said}, which MQTT does not demand in so many words (--wills does)."]
        lines += [f"Mind: {note}." for note in self.notes]
        return "\n".join(lines)

    def _kept(self) -> str:
        wills = "" if self.asides else f", {_many(self.visits, 'will')} published"
        return (
            f"{_many(self.retained, 'retained value')}, {_many(self.visits, 'session')}, "
            f"{_many(self.subscriptions, 'subscription')}{wills}"
        )

    def _different(self) -> list[Fault]:
        """Each message once for each kind."""
        seen: dict[tuple[str, str, int, str], Fault] = {}
        for fault in self.faults:
            seen.setdefault(
                (fault.kind, fault.topic, fault.number, "" if fault.number else fault.text), fault
            )
        return list(seen.values())

    def _first(self) -> list[Fault]:
        """The first of each kind, and then others."""
        found = self._different()
        kinds: dict[str, Fault] = {}
        for fault in found:
            kinds.setdefault(fault.kind, fault)
        return [*kinds.values(), *(one for one in found if kinds[one.kind] is not one)][:MOST_FAULTS]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "acknowledged": self.acknowledged,
            "delivered": self.delivered,
            "kills": self.kills,
            "seconds": round(self.seconds, 3),
            "sessions": self.visits,
            "subscriptions": self.subscriptions,
            "retained": self.retained,
            "counts": self.counts,
            "faults": [_fault(one) for one in self.faults[:MOST_IN_JSON]],
            "wills_not_published": len(self.asides),
            "not_judged": self.why,
            "notes": list(self.notes),
        }


def outcome_of(play: Play, holds_to_wills: bool) -> Outcome:
    """What ``play`` has shown. ``holds_to_wills``: a will that was not published refutes."""
    why = play.unjudged
    if not why and not play.kills:
        why = "it was stopped before the first kill"
    if not why and not play.promised:
        why = "nothing was acknowledged"
    wills = tuple(play.will_faults)
    return Outcome(
        play.promised,
        play.delivered,
        len(play.kills),
        play.seconds,
        sum(1 for visit in play.visits if visit.welcome_at),
        len({sent.topic for one in play.senders for sent in one.sent.values() if sent.retain}),
        sum(1 for visit in play.visits if visit.subscribed_at),
        (*play.faults, *wills) if holds_to_wills else tuple(play.faults),
        () if holds_to_wills else wills,
        why,
        tuple(play.notes),
    )


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "text": fault.text,
        "topic": fault.topic,
        "number": fault.number,
        "acknowledged_at": fault.acknowledged_at,
    }
