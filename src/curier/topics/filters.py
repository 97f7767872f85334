"""Topic Names and Topic Filters: what is well formed, and which filter matches which name.

``matches`` is the definition of a match in a dozen lines; the trees of this package give the same answer for
many filters or many names at once, and are tested against it. Spec: section 4.7 of 3.1.1 and 5.0, and 4.8.2
of 5.0 for Shared Subscriptions.

Topics are UTF-8 bytes, already checked to be well formed and without U+0000 [MQTT-4.7.3-2]. Comparing bytes
is comparing characters, and nothing is normalized [MQTT-4.7.3-4].
"""

from __future__ import annotations

from typing import Final

from curier.codec.constants import MQTT_50
from curier.codec.filters import PLUS, filter_fault, has_wildcard, is_shared, split_shared

__all__ = [
    "MAXIMUM_TOPIC_BYTES",
    "check_topic_filter",
    "check_topic_name",
    "check_wildcards",
    "has_wildcard",
    "is_shared",
    "matches",
    "split_shared",
]

MAXIMUM_TOPIC_BYTES: Final = 65535


def check_topic_name(topic: bytes, max_levels: int, max_bytes: int = MAXIMUM_TOPIC_BYTES) -> str:
    """Say in plain words why this is not a Topic Name of at most ``max_levels`` levels and ``max_bytes``; ""
    if it is one.
    """
    if has_wildcard(topic):  # [MQTT-3.3.2-2], [MQTT-4.7.0-1] in 5.0, [MQTT-4.7.1-1] in 3.1.1
        return "a Topic Name must not contain the wildcard characters '+' and '#'"
    if not topic:  # [MQTT-4.7.3-1]
        return "a Topic Name must be at least one character long"
    return _check_size("Topic Name", topic, topic, max_levels, max_bytes)


def check_topic_filter(topic_filter: bytes, max_levels: int, max_bytes: int = MAXIMUM_TOPIC_BYTES) -> str:
    """Say in plain words why this is not a Topic Filter of at most ``max_levels`` levels and ``max_bytes``;
    "" if it is one.

    A filter that starts with ``$share/`` is checked as that of a Shared Subscription (5.0 section 4.8.2),
    where only what is behind the ShareName counts.
    """
    why = filter_fault(topic_filter, MQTT_50)[0]
    if why:
        return why
    counted = split_shared(topic_filter)[1] if is_shared(topic_filter) else topic_filter
    return _check_size("Topic Filter", topic_filter, counted, max_levels, max_bytes)


def check_wildcards(topic_filter: bytes, max_levels: int) -> str:
    """Say in plain words why a Topic Filter with '+' has too many levels; "" if it has not, or has no '+'.

    One level more doubles the filters that could match one Topic Name, and what a search for them may cost.
    """
    if PLUS not in topic_filter:
        return ""
    levels = topic_filter.count(b"/") + 1
    if is_shared(topic_filter):
        levels -= 2
    if levels <= max_levels:
        return ""
    return f"a Topic Filter with '+' must not have more than {max_levels} levels here, and this has {levels}"


def matches(topic_filter: bytes, topic: bytes) -> bool:
    """Whether a well-formed, non-shared Topic Filter matches a Topic Name (section 4.7)."""
    if topic.startswith(b"$") and topic_filter.startswith((b"+", b"#")):  # [MQTT-4.7.2-1]
        return False
    wanted = topic_filter.split(b"/")
    levels = topic.split(b"/")
    for depth, level in enumerate(wanted):
        if level == b"#":  # any number of levels, none included: "sport/#" matches "sport"
            return True
        if depth == len(levels):
            return False
        if level != b"+" and level != levels[depth]:
            return False
    return len(wanted) == len(levels)


def _check_size(what: str, topic: bytes, counted: bytes, max_levels: int, max_bytes: int) -> str:
    if len(topic) > MAXIMUM_TOPIC_BYTES:  # [MQTT-4.7.3-3]
        return f"a {what} must not be longer than {MAXIMUM_TOPIC_BYTES} bytes"
    if len(counted) > max_bytes:
        return f"a {what} must not have more than {max_bytes} bytes here, and this has {len(counted)}"
    if len(counted) >= max_levels:  # otherwise it cannot have that many
        levels = counted.count(b"/") + 1
        if levels > max_levels:
            return f"a {what} must not have more than {max_levels} levels here, and this has {levels}"
    return ""
