"""Options of a broker: what is out of its range is named before a broker is made."""

from __future__ import annotations

import pytest

from curier.broker.options import Options
from tests.each import each


def test_the_defaults_are_in_order() -> None:
    Options().check()


@each(
    ("name", "value"),
    [
        ("receive_maximum", 0),
        ("receive_maximum", 65536),
        ("max_inflight", 0),
        ("topic_alias_maximum", -1),
        ("topic_alias_maximum", 65536),
        ("outgoing_topic_aliases", 65536),
        ("keep_alive_maximum", 65536),
        ("maximum_qos", 3),
        ("max_packet_size", 63),
        ("max_packet_size", 268_435_461),
        ("session_expiry_maximum", -1),
        ("session_expiry_maximum", 1 << 32),
        ("max_connections", 0),
        ("max_sessions", 0),
        ("max_queued_messages", 0),
        ("max_queued_bytes", 0),
        ("max_connect_size", 63),
        ("max_user_properties", 0),
        ("max_property_length", 0),
        ("max_request_size", 131_071),
        ("max_subscriptions", 0),
        ("max_filters_per_packet", 0),
        ("max_topic_levels", 0),
        ("max_topic_length", 255),
        ("max_topic_length", 65536),
        ("max_retained_messages", 0),
        ("max_retained_bytes", 0),
        ("route_cache_size", -1),
        ("output_soft_limit", 0),
        ("connect_timeout", 0.0),
        ("retry_interval", -1.0),
        ("sys_interval", -1.0),
        ("connect_timeout", float("nan")),
        ("sys_interval", float("nan")),
    ],
)
def test_what_is_out_of_its_range_is_named(name: str, value: float) -> None:
    options = Options()
    setattr(options, name, value)
    with pytest.raises(ValueError, match=name):
        options.check()


def test_the_hard_limit_is_not_below_the_soft_one() -> None:
    options = Options()
    options.output_hard_limit = options.output_soft_limit - 1
    with pytest.raises(ValueError, match="output_hard_limit"):
        options.check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_sessions", "many"),
        ("max_sessions", None),
        ("max_sessions", 1.5),
        ("queue_qos0", "yes"),
        ("queue_qos0", 1),
        ("connect_timeout", "10 s"),
        ("connect_timeout", None),
        ("response_information", b"x"),
    ],
)
def test_another_type_is_a_type_error_at_once_or_when_it_is_checked(name: str, value: object) -> None:
    options = Options()
    with pytest.raises(TypeError):  # noqa: PT012 - compiled, the attribute itself refuses it
        setattr(options, name, value)
        options.check()


def test_a_whole_number_of_seconds_is_a_number() -> None:
    options = Options()
    options.connect_timeout = 10
    options.check()


def test_a_setting_that_there_is_not_is_named_at_once_or_when_it_is_checked() -> None:
    options = Options()
    with pytest.raises((AttributeError, ValueError), match="max_sesions"):  # noqa: PT012 - as above
        setattr(options, "max_sesions", 5)  # noqa: B010 - no attribute that mypy knows
        options.check()
