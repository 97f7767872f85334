"""What clients may do, where rules decide that: the questions, and who is asked.

A ``Judge`` is synchronous and does no I/O: it is asked where a subscription is made, where a route is (who
may publish to the topic, and who of its receivers may receive it), and where messages are sent that no route
leads to. It tells what it knows of one client as ``Rights``. Whoever has rules overrides both.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

MOST_REMEMBERED: Final = 64  # topics that one session may receive, or may not, while messages wait in it
NO_GROUPS: Final[frozenset[str]] = frozenset()
NO_CLAIMS: Final[dict[str, str]] = {}  # never filled


@final
class Who:
    """A client, as rules can name it. ``identity`` is its user, None where it has none; ``certificate_name``
    the name in its certificate, ``listener`` what people call the listener it came in by, ``address`` its
    own, with the port where it has one.
    """

    def __init__(
        self,
        identity: str | None,
        client_id: str,
        certificate_name: str | None = None,
        groups: frozenset[str] = NO_GROUPS,
        claims: dict[str, str] = NO_CLAIMS,
        listener: str = "",
        address: str = "",
    ) -> None:
        self.identity: str | None = identity
        self.client_id: str = client_id
        self.certificate_name: str | None = certificate_name
        self.groups: frozenset[str] = groups
        self.claims: dict[str, str] = claims
        self.listener: str = listener
        self.address: str = address

    def is_like(self, other: Who) -> bool:
        """Can no rule tell them apart? The port of an address says nothing."""
        return (
            self.identity == other.identity
            and self.client_id == other.client_id
            and self.certificate_name == other.certificate_name
            and self.groups == other.groups
            and self.claims == other.claims
            and self.listener == other.listener
            and self.address.rpartition(":")[0] == other.address.rpartition(":")[0]
        )


@mypyc_attr(allow_interpreted_subclasses=True)
class Judge:
    """Knows the rules. A reload is another judge."""

    def __init__(self) -> None:
        self.refuses_subscriptions: bool = True  # or what may be received decides

    def is_common(self, topic: bytes) -> bool:
        """Have all clients of one kind (``Rights.kind``) the same right to receive this topic?"""
        return False

    def rights(self, who: Who) -> Rights:
        """What this client may."""
        return Rights(self, who)

    def failed(self, error: Exception) -> None:
        """An answer could not be given, and was taken for a no; for the log."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Rights:
    """What one client may: nothing, unless it is overridden. ``why`` is for people: the rule behind the last
    answer, where that was no; else "".
    """

    def __init__(self, judge: Judge, who: Who) -> None:
        self.judge: Judge = judge
        self.who: Who = who
        self.why: str = ""
        self.kind: object = None  # clients of one kind are alike to the rules, but for what these call them
        self.next: Rights | None = None  # by a judge that is to come (``rejudging``)
        self.refuses_wills: bool = True  # at CONNECT; else they are published, or not, when they are due
        self._remembered: dict[bytes, bool] = {}

    def may_publish(self, topic: bytes, qos: int, retain: bool) -> bool:
        """Publish to this Topic Name?"""
        return False

    def may_subscribe(self, topic_filter: bytes, qos: int) -> bool:
        """Subscribe with this Topic Filter, which has its ``$share/ShareName/``, asking for this QoS?"""
        return False

    def may_receive(self, topic: bytes) -> bool:
        """Receive what is published to this Topic Name?"""
        return False

    def receives(self, topic: bytes) -> bool:
        """``may_receive``, where the same is asked again and again; an error is a no."""
        known = self._remembered.get(topic)
        if known is None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered = {}
            known = self._remembered[topic] = self.is_shown(topic)
        return known

    def is_shown(self, topic: bytes) -> bool:
        """``may_receive``; an error is a no, and costs nobody else."""
        try:
            return self.may_receive(topic)
        except Exception as error:
            self.judge.failed(error)
            return False
