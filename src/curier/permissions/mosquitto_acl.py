"""Mosquitto's ``acl_file``, read as its 2.1 reads it, and what it lets a client do.

Lines before the first ``user`` are for clients without a user name, and for nobody else; those behind it for
that user. Denies come before grants, whatever their order, and ``pattern`` lines, which are for everybody,
after both. There is no right to subscribe: what may be received decides.
"""

from __future__ import annotations

from typing import Final, final

from curier.errors import ConfigError
from curier.permissions.tree import PUBLISH, RECEIVE, Rule, RuleTree
from curier.topics.filters import check_topic_filter

_ACCESS: Final = {b"read": RECEIVE, b"write": PUBLISH, b"readwrite": PUBLISH | RECEIVE, b"deny": 0}
_EVERYBODY: Final = 0  # the subject of patterns
_NAMELESS: Final = 1
_BOM: Final = b"\xef\xbb\xbf"
_GRANTS: Final = 1 << 40  # denies come before all of them
_PATTERNS: Final = 1 << 41
_MOST_LEVELS: Final = 65_536  # more than fit into a Topic Filter


@final
class MosquittoAcl:
    """The rules of one file, whose text is ``data``; ``name`` is what errors call it. ``ConfigError`` names
    file and line of what Mosquitto would not start with.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._subjects: dict[bytes, int] = {}
        self._tree = RuleTree((b"%u", b"%c"))
        subject = _NAMELESS
        if data.startswith(_BOM):
            raise self._wrong(1, "the file begins with a byte order mark: save it as UTF-8 without one")
        for number, line in enumerate(data.split(b"\n"), 1):
            line = line.rstrip()
            if not line.strip(b" ") or line.startswith(b"#"):
                continue
            word, _, rest = line.lstrip(b" ").partition(b" ")
            if word == b"user":
                if not rest.strip():
                    raise self._wrong(number, "expected a user name behind user")
                subject = self._subjects.setdefault(rest.strip(), len(self._subjects) + 2)
            elif word == b"topic":
                self._add(number, line, rest, subject, 0)
            elif word == b"pattern":
                self._add(number, line, rest, _EVERYBODY, _PATTERNS)
            else:
                raise self._wrong(number, "expected a line that begins with user, topic, pattern or #")

    def _add(self, number: int, line: bytes, rest: bytes, subject: int, order: int) -> None:
        word, _, topic = rest.strip(b" ").partition(b" ")
        actions = PUBLISH | RECEIVE
        if not topic:
            topic = word  # what "topic read" says, too: the topic is called read
        elif word not in _ACCESS:
            raise self._wrong(number, "expected read, write, readwrite or deny before the topic")
        else:
            actions = _ACCESS[word]
        topic = topic.strip()
        why = check_topic_filter(topic, _MOST_LEVELS)
        if why:
            raise self._wrong(number, why)
        order += number + (_GRANTS if actions else 0)
        text = line.decode(errors="replace")
        rule = Rule(order, bool(actions), actions or PUBLISH | RECEIVE, number, text)
        self._tree.add(topic, subject, rule)

    def decide(self, action: int, topic: bytes, username: str | None, client_id: str) -> tuple[bool, str]:
        """Whether this client may, and which line says so."""
        user = (username or "").encode()
        client = client_id.encode()
        subjects = [self._subjects.get(user, -1) if user else _NAMELESS]
        values = {b"%c": client}
        if user:
            values[b"%u"] = user
        if not any(sign in user or sign in client for sign in (b"+", b"#")):
            subjects.append(_EVERYBODY)
        rule = self._tree.first(topic, subjects, action, values)
        if rule is None:
            return False, f"{self._name}: no line allows it"
        return rule.allows, f"{self._name}, line {rule.line}: {rule.text}"

    def _wrong(self, line: int, what: str) -> ConfigError:
        return ConfigError(f"{self._name}, line {line}: {what}")
