"""What of a broker's traffic a reader wants to see."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from curier.frozen import dataclass
from curier.places import lies_in
from curier.topics.filters import check_topic_filter, matches
from curier.trace.events import Wire

MOST_EVENTS: Final = 10_000
MOST_BYTES: Final = 16 * 2**20
MOST_LEVELS: Final = 65_536

Words = str | Sequence[str] | None
"""One, several, or None: whatever it is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Connections that are all of this; where there are ``topics``, of those what belongs to a publication on
    one of them. ``payload`` is how many bytes of each payload are kept, None: all.
    """

    client_ids: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    listeners: frozenset[str] = frozenset()
    topics: tuple[bytes, ...] = ()
    payload: int | None = None

    @property
    def is_of_some(self) -> bool:
        """Are some connections chosen, and not all?"""
        return bool(self.client_ids or self.users or self.networks or self.listeners)

    def fits(self, wire: Wire) -> bool:
        """Is this connection one of them, by what is known of it so far?"""
        return (
            (not self.client_ids or wire.client_id in self.client_ids)
            and (not self.users or wire.user in self.users)
            and (not self.listeners or wire.listener in self.listeners)
            and (not self.networks or lies_in(wire.client_address, self.networks))
        )

    def has_topic(self, topic: bytes) -> bool:
        """Is this Topic Name one of them, where only some are chosen?"""
        return any(matches(topic_filter, topic) for topic_filter in self.topics)


def choice(
    client_id: Words = None,
    user: Words = None,
    address: Words = None,
    listener: Words = None,
    topic: Words = None,
    payload: int | None = None,
) -> Choice:
    """A choice, of what people say. Raises ``ValueError`` for an address, a filter or a number that cannot
    be.
    """
    networks: list[IPv4Network | IPv6Network] = []
    for word in _words("address", address):
        try:
            networks.append(ip_network(word, strict=False))
        except ValueError:
            raise ValueError(
                f"address is an IP address or a network such as 10.0.0.0/8, not {word!r}"
            ) from None
    topics = [word.encode() for word in _words("topic", topic)]
    for topic_filter in topics:
        why = check_topic_filter(topic_filter, MOST_LEVELS)
        if why:
            raise ValueError(f"topic {topic_filter.decode()!r}: {why}")
    if payload is not None and payload < 0:
        raise ValueError(f"payload is a number of bytes or None, not {payload!r}")
    return Choice(
        frozenset(_words("client_id", client_id)),
        frozenset(_words("user", user)),
        tuple(networks),
        frozenset(_words("listener", listener)),
        tuple(topics),
        payload,
    )


def _words(name: str, words: Words) -> list[str]:
    if words is None:
        return []
    found = [words] if isinstance(words, str) else list(words)
    for word in found:
        if not word:
            raise ValueError(f"{name} is a text that is not empty, or several of them")
    return found
