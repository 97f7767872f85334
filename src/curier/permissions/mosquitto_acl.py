"""Mosquitto's ``acl_file``, and what it lets a client do.

Lines before the first ``user`` are for clients without a user name, and for nobody else; those behind it for
that user. Denies come before grants, whatever their order, and ``pattern`` lines, which are for everybody,
after both. There is no right to subscribe: what may be received decides. A will is published, or not, when it
is due.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.judging import Who
from curier.errors import ConfigError
from curier.permissions.base import Decision, RuleRights, Rules, log
from curier.permissions.dialects import MOSQUITTO_20, MOSQUITTO_21
from curier.permissions.tree import PUBLISH, RECEIVE, RETAIN, SUBSCRIBE, Rule, RuleTree, values_of
from curier.topics.filters import check_topic_filter, matches

_WRITE: Final = PUBLISH | RETAIN
_ALL: Final = _WRITE | RECEIVE
_ACCESS: Final = {b"read": RECEIVE, b"write": _WRITE, b"readwrite": _ALL, b"deny": 0}
_EVERYBODY: Final = (0,)  # the subject of patterns
_NAMELESS: Final = 1
_NOBODY: Final = -1
_BOM: Final = b"\xef\xbb\xbf"
_GRANTS: Final = 1 << 40  # denies come before all of them
_MOST_LEVELS: Final = 65_536  # more than fit into a Topic Filter


def why_not_written(topic: bytes) -> str:
    """Plain words where Mosquitto lets nobody publish, whatever the rules; or ""."""
    if topic.startswith(b"$SYS") and not matches(b"$SYS/broker/connection/+/state", topic):
        return "topics that begin with $SYS belong to the server"
    return "topics that begin with $share are no topics" if topic.startswith(b"$share") else ""


@final
class MosquittoAcl(Rules):
    """The rules of one file, whose text is ``data``; ``name`` is what errors call it. ``ConfigError`` names
    file and line of what Mosquitto would not start with.

    In the meaning of 2.0, ``%u`` and ``%c`` may be part of a level, and their values may have several.
    """

    def __init__(self, name: str, data: bytes, dialect: str = MOSQUITTO_21) -> None:
        super().__init__()
        self.refuses_subscriptions = False
        self.name = name
        self.subjects: dict[bytes, int] = {}
        self.own = RuleTree()
        self.patterns = RuleTree(frozenset((b"%u", b"%c")).__contains__)
        self.spanning: list[tuple[bytes, Rule]] = []  # patterns with %u or %c, in order, as 2.0 has them
        self._is_20 = dialect == MOSQUITTO_20
        self._all: list[tuple[bytes, int, Rule]] = []
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
                subject = self.subjects.setdefault(rest.strip(), len(self.subjects) + 2)
            elif word == b"topic":
                self._add(number, line, rest, subject)
            elif word == b"pattern":
                self._add(number, line, rest, _EVERYBODY[0])
                if b"%u" not in rest and b"%c" not in rest:
                    log.warning("%s, line %d: a pattern without %%u and %%c is for everybody", name, number)
            else:
                raise self._wrong(number, "expected a line that begins with user, topic, pattern or #")
        self._all.sort(key=lambda one: one[2].order)
        self.spanning.sort(key=lambda one: one[1].order)

    def _add(self, number: int, line: bytes, rest: bytes, subject: int) -> None:
        word, _, topic = rest.strip(b" ").partition(b" ")
        actions = _ALL
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
        order = number + (_GRANTS if actions else 0)
        rule = Rule(order, bool(actions), actions or _ALL, number, line.decode(errors="replace"))
        self._all.append((topic, subject, rule))
        if subject != _EVERYBODY[0]:
            self.own.add(topic, subject, rule)
        elif self._is_20 and (b"%u" in topic or b"%c" in topic):
            self.spanning.append((topic, rule))
        else:
            self.patterns.add(topic, subject, rule)

    def rights(self, who: Who) -> MosquittoRights:
        """What this client may."""
        return MosquittoRights(self, who)

    def is_common(self, topic: bytes) -> bool:
        """Have all clients with the same lines the same right to receive this topic?"""
        return not self.spanning and not self.patterns.speaks_of_clients(topic)

    def explain(self, who: Who) -> list[str]:
        """Its own lines, denies first, then the patterns."""
        rights = self.rights(who)
        own = [rule for _, subject, rule in self._all if subject in rights.subjects]
        patterns = [rule for _, subject, rule in self._all if subject in _EVERYBODY]
        return [self.shown(rule) for rule in (own + patterns if rights.has_patterns else own)]

    def shown(self, rule: Rule) -> str:
        """A rule, with file and line."""
        return f"{self.name}, line {rule.line}: {rule.text.strip()}"

    def _wrong(self, line: int, what: str) -> ConfigError:
        return ConfigError(f"{self.name}, line {line}: {what}")


@final
class MosquittoRights(RuleRights):
    """What one client may."""

    def __init__(self, acl: MosquittoAcl, who: Who) -> None:
        super().__init__(acl, who)
        self.refuses_wills = False
        self._acl = acl
        self._user = user = (who.identity or "").encode()
        self._client = client = who.client_id.encode()
        self.subjects = (acl.subjects.get(user, _NOBODY) if user else _NAMELESS,)
        self._values = values_of({b"%c": client, b"%u": user})
        self.has_patterns = not any(sign in user or sign in client for sign in (b"+", b"#"))
        self.kind = (*self.subjects, self.has_patterns)

    def decide(self, action: int, topic: bytes, qos: int) -> Decision:
        """Whether this client may, and which line says so."""
        acl = self._acl
        if action == SUBSCRIBE:
            return Decision(True, f"{acl.name}: a SUBSCRIBE is never refused; what may be received decides")
        if action != RECEIVE:
            why = why_not_written(topic)
            if why:
                return Decision(False, why)
        rule = acl.own.first(topic, self.subjects, action, self._values)
        if rule is None and self.has_patterns:
            rule = acl.patterns.first(topic, _EVERYBODY, action, self._values)
            if acl.spanning:
                rule = self._spanning(topic, action, rule)
        if rule is None:
            return Decision(False, f"{acl.name}: no line allows it")
        return Decision(rule.allows, acl.shown(rule))

    def _spanning(self, topic: bytes, action: int, best: Rule | None) -> Rule | None:
        for pattern, rule in self._acl.spanning:
            if best is not None and best.order < rule.order:
                return best
            if not rule.actions & action or (b"%u" in pattern and not self._user):
                continue
            if matches(pattern.replace(b"%c", self._client).replace(b"%u", self._user), topic):
                return rule
        return best
