"""What all kinds of rules have in common: a decision that says which rule it is from."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from curier.broker.judging import Judge, Rights, Who
from curier.loglines import logger
from curier.permissions.tree import PUBLISH, RECEIVE, RETAIN, SUBSCRIBE

log = logger("curier.permissions")


class Decision(NamedTuple):
    """Whether a client may, and why: file, line and rule."""

    allows: bool
    why: str


class Rules(Judge):
    """The rules of one file."""

    @abstractmethod
    def rights(self, who: Who) -> RuleRights:
        """What this client may."""

    @abstractmethod
    def explain(self, who: Who) -> list[str]:
        """The rules that are about this client, a line each, in the order in which they count."""

    def failed(self, error: Exception) -> None:
        """Log an answer that could not be given, which is a defect of ours."""
        log.error("a rule could not be worked out, and the answer is no", exc_info=error)


class RuleRights(Rights):
    """What the rules of a file let one client do."""

    @abstractmethod
    def decide(self, action: int, topic: bytes, qos: int) -> Decision:
        """Whether it may do ``action`` with this topic, which is a filter where that is ``SUBSCRIBE``."""

    def may_publish(self, topic: bytes, qos: int, retain: bool) -> bool:
        """Publish to this Topic Name?"""
        return self._take(self.publishing(topic, qos, retain))

    def may_subscribe(self, topic_filter: bytes, qos: int) -> bool:
        """Subscribe with this Topic Filter?"""
        return self._take(self.decide(SUBSCRIBE, topic_filter, qos))

    def may_receive(self, topic: bytes) -> bool:
        """Receive what is published to this Topic Name?"""
        return self._take(self.decide(RECEIVE, topic, 0))

    def publishing(self, topic: bytes, qos: int, retain: bool) -> Decision:
        """Whether it may publish, and retain where that is asked for."""
        decision = self.decide(PUBLISH, topic, qos)
        if retain and decision.allows:
            return self.decide(RETAIN, topic, qos)
        return decision

    def _take(self, decision: Decision) -> bool:
        self.why = "" if decision.allows else decision.why
        return decision.allows
