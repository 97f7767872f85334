"""Topic Names and Topic Filters: what is well formed, and which filter matches which name.

``matches`` is the definition of a match in a dozen lines; the trees of this package give the same answer for
many filters or many names at once, and are tested against it. Spec: section 4.7 of 3.1.1 and 5.0, and 4.8.2
of 5.0 for Shared Subscriptions.

Topics are UTF-8 bytes, already checked to be well formed and without U+0000 [MQTT-4.7.3-2]. Comparing bytes
is comparing characters, and nothing is normalized [MQTT-4.7.3-4].
"""

from __future__ import annotations

from typing import Final

MAXIMUM_TOPIC_BYTES: Final = 65535
SHARE_PREFIX: Final = b"$share/"
DOLLAR: Final = 0x24
PLUS: Final = 0x2B
HASH: Final = 0x23


def check_topic_name(topic: bytes, max_levels: int) -> str:
    """Say in plain words why this is not a Topic Name of at most ``max_levels`` levels; "" if it is one."""
    if has_wildcard(topic):  # [MQTT-3.3.2-2], [MQTT-4.7.0-1] in 5.0, [MQTT-4.7.1-1] in 3.1.1
        return "a Topic Name must not contain the wildcard characters '+' and '#'"
    return _check_size("Topic Name", topic, max_levels)


def check_topic_filter(topic_filter: bytes, max_levels: int) -> str:
    """Say in plain words why this is not a Topic Filter of at most ``max_levels`` levels; "" if it is one.

    A filter that starts with ``$share/`` is checked as that of a Shared Subscription (5.0 section 4.8.2),
    where only the levels behind the ShareName count.
    """
    if not is_shared(topic_filter):
        return _check_plain_filter(topic_filter, max_levels)
    if len(topic_filter) > MAXIMUM_TOPIC_BYTES:  # [MQTT-4.7.3-3]
        return f"a Topic Filter must not be longer than {MAXIMUM_TOPIC_BYTES} bytes"
    share_name, inner = split_shared(topic_filter)
    if not share_name:  # [MQTT-4.8.2-1]
        return "the ShareName of a Shared Subscription must be at least one character long"
    if has_wildcard(share_name):  # [MQTT-4.8.2-2]
        return "the ShareName of a Shared Subscription must not contain '+' and '#'"
    if not inner:  # [MQTT-4.8.2-2]
        return "the ShareName of a Shared Subscription must be followed by '/' and a Topic Filter"
    return _check_plain_filter(inner, max_levels)


def is_shared(topic_filter: bytes) -> bool:
    """Whether this is the filter of a Shared Subscription (5.0 section 4.8.2)."""
    return len(topic_filter) > 6 and topic_filter[0] == DOLLAR and topic_filter.startswith(SHARE_PREFIX)


def split_shared(topic_filter: bytes) -> tuple[bytes, bytes]:
    """Divide ``$share/{ShareName}/{filter}`` into ShareName and filter; what is missing is empty."""
    share_name, _, inner = topic_filter[len(SHARE_PREFIX) :].partition(b"/")
    return share_name, inner


def has_wildcard(topic_filter: bytes) -> bool:
    """Whether ``+`` or ``#`` is in the filter."""
    return PLUS in topic_filter or HASH in topic_filter  # an int is found ten times as fast as a bytes of one


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


def _check_size(what: str, topic: bytes, max_levels: int) -> str:
    if not topic:  # [MQTT-4.7.3-1]
        return f"a {what} must be at least one character long"
    if len(topic) > MAXIMUM_TOPIC_BYTES:  # [MQTT-4.7.3-3]
        return f"a {what} must not be longer than {MAXIMUM_TOPIC_BYTES} bytes"
    if len(topic) >= max_levels:  # otherwise it cannot have that many
        levels = topic.count(b"/") + 1
        if levels > max_levels:
            return f"a {what} must not have more than {max_levels} levels here, and this has {levels}"
    return ""


def _check_plain_filter(topic_filter: bytes, max_levels: int) -> str:
    reason = _check_size("Topic Filter", topic_filter, max_levels)
    if reason or not has_wildcard(topic_filter):
        return reason
    levels = topic_filter.split(b"/")
    last = len(levels) - 1
    for depth, level in enumerate(levels):
        if len(level) > 1 and has_wildcard(level):  # [MQTT-4.7.1-1], [MQTT-4.7.1-2], in 3.1.1 [MQTT-4.7.1-3]
            return "a wildcard character must occupy an entire level of a Topic Filter"
        if level == b"#" and depth != last:  # [MQTT-4.7.1-1], in 3.1.1 [MQTT-4.7.1-2]
            return "'#' must be the last character of a Topic Filter"
    return ""
