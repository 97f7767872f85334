"""Rules as they are said on a command line: ``lose 2nd PUBACK to dash-1``.

    lose PACKET...                          it never arrives
    delay PACKET... by 2s                   it, and all behind it in its direction, arrives later
    double PACKET...                        it arrives twice
    reorder PACKET... [within 2s]           it arrives behind the next one of its direction
    flip a bit of PACKET... | flip bit 12 of PACKET...
    answer PACKET... with 0x97              its sender gets this answer, and nobody else gets the packet
    cut before PACKET... | cut after PACKET... | cut after 10s
    stop reading after PACKET... [for 10s]  whoever sent it is not read from any more

A PACKET is ``[2nd | first | every | every 3rd] NAME [qos N] [id N] [on FILTER] [to CLIENT | from CLIENT]``,
where NAME may be ``packet``, CLIENT may be ``broker`` or ``client`` for a direction alone, and ``of CLIENT``
is both directions. Everything may be followed by ``of each connection``, ``after 10s``, ``until 20s``, ``at
10%``, ``once`` and ``3 times``. What has spaces in it, or is one of these words, stands in quotes.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable
from typing import Any, Final, NoReturn

from curier.errors import ConfigError
from curier.faults.rules import (
    ANSWER,
    ANY,
    CUT_AFTER,
    CUT_BEFORE,
    DELAY,
    DOUBLE,
    FLIP,
    LOSE,
    PACKET_TYPES,
    REORDER,
    STOP_READING,
    TO_CLIENT,
    TO_SERVER,
    Rule,
)
from curier.strict_toml import parse_seconds
from curier.topics.filters import check_topic_filter

_VERBS: Final = {
    "lose": LOSE,
    "delay": DELAY,
    "double": DOUBLE,
    "reorder": REORDER,
    "flip": FLIP,
    "answer": ANSWER,
    "cut": "cut",
    "stop": STOP_READING,
}
_ORDINALS: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_TIME: Final = re.compile(r"\d+(\.\d+)?(ms|s|min|h)")
_MOST_LEVELS: Final = 200


def parse_rule(text: str) -> Rule:
    """Raises ``ConfigError``, which names the word that is wrong and what could stand there."""
    return _Words(text).rule()


class _Words:
    """The words of one rule, read from the first to the last."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self._values: dict[str, Any] = {"text": self.text}
        try:
            # Words in quotes are names, whatever they are: a mark keeps them apart from words of the language
            lexer = shlex.shlex(text, posix=False, punctuation_chars=False)
            lexer.whitespace_split = True
            lexer.commenters = ""
            self._words = list(lexer)
        except ValueError:
            raise ConfigError(f"{self.text}: a quotation mark is not closed") from None
        self._at = 0

    def rule(self) -> Rule:
        """The rule that these words are."""
        if not self._words:
            raise ConfigError(f"a rule is missing: it begins with one of {', '.join(_VERBS)}")
        verb = self._next("")
        if verb not in _VERBS:
            self._wrong(verb, _VERBS)
        action = _VERBS[verb]
        self._values["action"] = action
        if verb == "cut":
            self._cut()
        elif verb == "stop":
            self._stop_reading()
        elif verb == "flip":
            self._flip()
        else:
            self._packet()
        while self._at < len(self._words):
            self._detail(self._next(""))
        return Rule(**self._values)

    # ---- the parts of the language ----

    def _cut(self) -> None:
        where = self._next("before or after")
        if where not in ("before", "after"):
            self._wrong(where, ("before", "after"))
        self._values["action"] = CUT_BEFORE if where == "before" else CUT_AFTER
        if where == "after" and _TIME.fullmatch(self._peek()):
            self._by_clock()
        else:
            self._packet()

    def _stop_reading(self) -> None:
        self._expect("reading")
        if self._peek() in ("from", "of"):  # whom, from the first
            self._detail(self._next(""))
            if self._peek() != "after":
                self._values.update(by_clock=True)
                return
        self._expect("after")
        if _TIME.fullmatch(self._peek()):
            self._by_clock()
        else:
            self._packet()

    def _by_clock(self) -> None:
        self._values.update(by_clock=True, after=self._seconds("after"))

    def _flip(self) -> None:
        word = self._next("bit")
        if word == "bit":
            self._values["bit"] = self._number("bit", 0)
        elif word == "a":
            self._expect("bit")
        else:
            self._wrong(word, ("a bit of", "bit"))
        self._expect("of")
        self._packet()

    def _packet(self) -> None:
        """``[2nd | every 3rd] NAME``."""
        word = self._next("the name of a packet")
        if word == "every":
            nth = _ordinal(self._peek())
            if nth:
                self._next("")
                self._values["every"] = nth
            word = self._next("the name of a packet")
        elif word in ("a", "the", "any", "each"):
            word = self._next("the name of a packet")
        nth = _ordinal(word)
        if nth:
            self._values["nth"] = nth
            word = self._next("the name of a packet")
        if word in ("packet", "packets"):
            self._values["packet"] = ANY
        elif word.upper() in PACKET_TYPES:
            self._values["packet"] = PACKET_TYPES[word.upper()]
        else:
            self._wrong(word, [*PACKET_TYPES, "packet"])

    def _detail(self, word: str) -> None:
        """What may follow, in any order."""
        details: dict[str, Callable[[], None]] = {
            "to": lambda: self._whose(TO_CLIENT, word),
            "from": lambda: self._whose(TO_SERVER, word),
            "of": self._of,
            "on": self._topic,
            "id": lambda: self._set("identifier", self._number("id", 1)),
            "qos": lambda: self._set("qos", self._number("qos", 0, 2)),
            "by": lambda: self._set("seconds", self._seconds("by")),
            "within": lambda: self._set("seconds", self._seconds("within")),
            "for": lambda: self._set("seconds", self._seconds("for")),
            "with": lambda: self._set("reason_code", self._code()),
            "after": lambda: self._set("after", self._seconds("after")),
            "until": lambda: self._set("until", self._seconds("until")),
            "at": lambda: self._set("chance", self._chance()),
            "once": lambda: self._set("times", 1),
        }
        only = {"by": DELAY, "within": REORDER, "for": STOP_READING, "with": ANSWER}
        if word in only and self._values["action"] != only[word]:
            raise ConfigError(f"{self.text}: {word!r} belongs to {only[word]!r}")
        if word.isdigit() and self._peek() == "times":
            self._next("")
            self._set("times", int(word))
        elif word.lower() in details:
            details[word.lower()]()
        else:
            self._wrong(word, [*details, "3 times"])

    def _whose(self, direction: str, word: str) -> None:
        who = self._next(f"a Client Identifier behind {word!r}")
        if who == "broker":
            self._set("direction", TO_SERVER if word == "to" else TO_CLIENT)
        else:
            self._set("direction", direction)
            if who not in ("client", "clients"):
                self._set("client_id", _unquoted(who))

    def _of(self) -> None:
        who = self._next("a Client Identifier behind 'of'")
        if who == "each" and self._peek() == "connection":
            self._next("")
            self._set("per_connection", True)
        else:
            self._set("client_id", _unquoted(who))

    def _topic(self) -> None:
        topic = _unquoted(self._next("a Topic Filter behind 'on'"))
        why = check_topic_filter(topic.encode(), _MOST_LEVELS)
        if why:
            raise ConfigError(f"{self.text}: {topic!r}: {why}")
        self._set("topic", topic)

    # ---- words and numbers ----

    def _set(self, name: str, value: object) -> None:
        if name in self._values:
            raise ConfigError(f"{self.text}: {self._words[self._at - 1]!r}: that was said already")
        self._values[name] = value

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _next(self, what: str) -> str:
        if self._at == len(self._words):
            raise ConfigError(f"{self.text}: it ends where {what} has to follow")
        self._at += 1
        return self._words[self._at - 1]

    def _expect(self, word: str) -> None:
        found = self._next(repr(word))
        if found != word:
            self._wrong(found, (word,))

    def _number(self, what: str, least: int, most: int = 65_535) -> int:
        word = self._next(f"a number behind {what!r}")
        if not re.fullmatch(r"[0-9]{1,9}", word) or not least <= int(word) <= most:
            raise ConfigError(f"{self.text}: {word!r}: {what} takes a number from {least} to {most}")
        return int(word)

    def _seconds(self, what: str) -> float:
        word = self._next(f"a time behind {what!r}")
        if word.isdigit() and self._peek() in ("ms", "s", "min", "h"):
            word += self._next("")
        if not _TIME.fullmatch(word):
            raise ConfigError(f"{self.text}: {word!r}: {what} takes a time with its unit, as 2s or 500ms")
        return parse_seconds(word)

    def _chance(self) -> float:
        word = self._next("a chance behind 'at'")
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?%", word):
            raise ConfigError(f"{self.text}: {word!r}: a chance is a percentage, as 10%")
        return float(word[:-1]) / 100

    def _code(self) -> int:
        word = self._next("a Reason Code behind 'with'")
        if not re.fullmatch(r"0x[0-9A-Fa-f]{1,2}", word):
            raise ConfigError(f"{self.text}: {word!r}: a Reason Code is written as 0x97")
        return int(word, 16)

    def _wrong(self, word: str, known: Any) -> NoReturn:
        near = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1)
        if near:
            meant = next(name for name in known if name.lower() == near[0])
            raise ConfigError(f"{self.text}: {word!r} is not known here; did you mean {meant!r}?")
        raise ConfigError(f"{self.text}: {word!r} is not known here; expected one of: {', '.join(known)}")


def _ordinal(word: str) -> int:
    """``2nd`` is 2; 0 for what is no such word."""
    found = re.fullmatch(r"([1-9][0-9]{0,8})(st|nd|rd|th)", word)
    return int(found[1]) if found else _ORDINALS.get(word.lower(), 0)


def _unquoted(word: str) -> str:
    if len(word) >= 2 and word[0] == word[-1] and word[0] in "\"'":
        return word[1:-1]
    return word
