"""Where things lie on the bus."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.cluster.orders import LEASES, SESSIONS
from curier.cluster.records import Boot
from curier.jetstream.names import Names, hashed

NAMES = Names("home", 2)


@given(session=st.text())
def test_nothing_of_a_client_identifier_is_in_a_subject(session: str) -> None:
    assert re.fullmatch(r"home\.sessions\.[a-z2-7]{52}", NAMES.subject(SESSIONS, session))


@given(one=st.text(), other=st.text())
def test_two_sessions_have_two_subjects(one: str, other: str) -> None:
    assert (hashed(one) == hashed(other)) == (one == other)


def test_streams_and_subjects_are_told_apart() -> None:
    assert [NAMES.stream(one) for one in NAMES.streams] == [
        "HOME_LEASES",
        "HOME_SESSIONS",
        "HOME_SNAPSHOTS",
        "HOME_LOG_0",
        "HOME_LOG_1",
    ]
    assert NAMES.subject(LEASES, "a") == "home.leases.a"
    assert NAMES.subject(1, "a.7") == "home.log.1.a.7"
    assert NAMES.all_of(1) == "home.log.1.>"
    assert NAMES.asking(Boot("a", 7)) == "home.ask.a.7"


@pytest.mark.parametrize("name", ["", "a b", "a>", "*", "ä", "a" * 33, "a\r\n", "a..b"])
def test_a_name_that_would_be_a_pattern_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        NAMES.subject(LEASES, name)
    with pytest.raises(ValueError, match="letters, digits"):
        Names(name, 1)
