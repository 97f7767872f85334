"""What a stranger can make grow has a limit, and each limit a default, a line of documentation, a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from curier.listeners import Listener
from curier.net.doors import entrances_of
from curier.settings.listener import LISTENER
from curier.settings.table import LIMIT
from tests.each import each

TESTS = Path(__file__).parent
ABOUT_NAMES = {"test_options.py", "test_limits.py", "test_mosquitto_conf.py", "settings_page.py"}
"""These look at names of settings and not at what comes of them."""

FROM_WITHOUT = {
    "bytes before a login": "max_connect_size",
    "time before a login": "connect_timeout",
    "connections in all": "max_connections",
    "connections of an address before their login": "max_connecting",
    "connections of a user": "max_user_connections",
    "connections a second of an address": "max_connect_rate",
    "connections a second in all": "max_connect_total_rate",
    "messages a second of a client": "max_message_rate",
    "bytes a second of a client": "max_byte_rate",
    "messages a second of a user": "max_user_message_rate",
    "bytes a second of a user": "max_user_byte_rate",
    "messages a second to a client": "max_output_message_rate",
    "bytes a second to a client": "max_output_byte_rate",
    "a packet": "max_packet_size",
    "a packet without a payload": "max_request_size",
    "Properties": "max_property_length",
    "User Properties": "max_user_properties",
    "time for a packet": "packet_timeout",
    "unfinished messages of a client": "receive_maximum",
    "unfinished messages to a client": "max_inflight",
    "their bytes": "max_inflight_bytes",
    "a queue": "max_queued_messages",
    "its bytes": "max_queued_bytes",
    "all queues": "max_queued_total_bytes",
    "Topic Aliases": "topic_alias_maximum",
    "sessions": "max_sessions",
    "subscriptions of a session": "max_subscriptions",
    "subscriptions in all, so Shared Subscriptions as well": "max_subscriptions_total",
    "Shared Subscriptions of a session": "max_wildcard_shapes",
    "Topic Filters of a packet": "max_filters_per_packet",
    "bytes of Topic Filters": "max_subscription_bytes",
    "levels of a topic": "max_topic_levels",
    "bytes of a topic": "max_topic_length",
    "levels of wildcards": "max_wildcard_levels",
    "retained messages": "max_retained_messages",
    "their bytes in all": "max_retained_bytes",
    "new ones a second": "max_retain_rate",
    "what one client has of them": "client_share",
    "what one user has of what all share": "source_share",
    "unsent bytes": "output_hard_limit",
    "topics whose receivers are remembered": "route_cache_size",
    "memory": "memory_limit",
    "how late the loop may be": "max_lag",
}


@pytest.fixture(scope="module")
def sources() -> str:
    return "".join(path.read_text() for path in TESTS.rglob("*.py") if path.name not in ABOUT_NAMES)


@pytest.mark.parametrize("what", FROM_WITHOUT)
def test_what_strangers_can_make_grow_has_a_limit_that_is_tested(what: str, sources: str) -> None:
    setting = LIMIT[FROM_WITHOUT[what]]
    assert setting.about
    assert setting.default
    assert re.search(rf"\b{setting.name}\b", sources)


@each("name", [one for one in LIMIT if one.startswith("max_")])
def test_each_limit_is_one_of_those(name: str) -> None:
    assert name in FROM_WITHOUT.values()


def test_limits_of_a_listener_reach_the_core() -> None:
    names = [name for name in LISTENER if name.startswith("max_")]
    values = {name: 100 + number for number, name in enumerate(names)}
    (entrance,) = entrances_of([Listener("tcp://127.0.0.1", **values)])  # type: ignore[arg-type]
    assert {name: getattr(entrance, name) for name in names} == values
