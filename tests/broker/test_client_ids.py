"""Whose a Client Identifier is: sessions belong to users, and patterns say who may have which."""

from __future__ import annotations

import pytest

from curier.broker.client_ids import any_fits
from curier.broker.effects import Answer, Authenticate
from curier.broker.hooks import Hook
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.constants import MQTT_50, MQTT_311
from curier.session.records import SessionSaved, decode, encode
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet
from tests.codec.cases import properties
from tests.store.history import restored


def by_name(question: Authenticate) -> Answer:
    """Everybody is who they say."""
    return Answer(0, identity=question.connect.username)


def come(
    net: Net, user: str | None, client_id: str = "c", clean: bool = False, version: int = MQTT_50
) -> tuple[Client, p.Connack]:
    client = net.open()
    client.version = version
    made = properties(session_expiry_interval=FOREVER) if version == MQTT_50 else None
    client.send(p.Connect(version, client_id, clean, 0, user, None, None, made))
    return client, client.pop(p.Connack)


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("is_away", [False, True])
@pytest.mark.parametrize("other", ["ben", "Ana", "ana ", None, ""])
def test_nobody_gets_the_session_of_another_user(
    make: Make, other: str | None, is_away: bool, clean: bool
) -> None:
    net = make(authenticate=by_name)
    ana, _ = come(net, "ana")
    ana.subscribe(("secret", 1))
    if is_away:
        ana.drop()
    told: list[tuple[int, str]] = []

    class Refusals(Hook):
        def on_refuse(self, connection: object, reason_code: int, why: str) -> None:
            told.append((reason_code, why))

    net.core.add_hook(Refusals())
    stranger, connack = come(net, other, clean=clean)
    assert (connack.reason_code, stranger.closed) == (0x87, True)
    assert connack.properties is not None
    assert connack.properties.reason_string == "the session of this Client Identifier is another user's"
    (refusal,) = told
    who = f"user {other}" if other else "a client without a user"
    assert refusal == (0x87, f"its session belongs to user ana, and {who} wants it")
    assert ana.closed == is_away
    if is_away:
        ana, connack = come(net, "ana")
        assert connack.session_present
    net.connect("sender").publish("secret", b"x", 1)
    assert ana.payloads() == [b"x"]


def test_before_5_it_is_return_code_5(make: Make) -> None:
    net = make(authenticate=by_name)
    come(net, "ana", version=MQTT_311)
    _, connack = come(net, "ben", version=MQTT_311)
    assert connack.reason_code == 5


def test_its_user_may_have_it_from_anywhere(make: Make) -> None:
    net = make(authenticate=by_name)
    first, _ = come(net, "ana")
    _, connack = come(net, "ana", version=MQTT_311)
    assert (connack.reason_code, connack.session_present) == (0, True)
    assert first.goodbye().reason_code == 0x8E


def test_a_session_that_has_ended_is_nobodys(make: Make) -> None:
    net = make(authenticate=by_name)
    ana, _ = come(net, "ana", clean=True)
    ana.disconnect(session_expiry_interval=0)
    assert come(net, "ben")[1].reason_code == 0


def test_what_was_nobodys_is_the_next_users(make: Make) -> None:
    net = make(authenticate=by_name)
    come(net, None)
    assert come(net, "ana")[1].session_present
    assert come(net, "ben")[1].reason_code == 0x87


@pytest.mark.parametrize("has_users", [True, False])
def test_anybody_may_where_that_is_wanted_or_there_are_no_users(make: Make, has_users: bool) -> None:
    net = make(quiet(session_owners=not has_users), authenticate=by_name if has_users else None)
    come(net, "ana")
    assert come(net, "ben")[1].session_present


def test_the_user_is_kept_with_the_session() -> None:
    net = Net("journal", authenticate=by_name)
    come(net, "ána")[0].drop()
    net.core = restored([list(decode(encode(net.records)))], net.now)
    net.core.asks_authentication = True
    assert come(net, "ben")[1].reason_code == 0x87
    assert come(net, "ána")[1].session_present


def test_a_session_of_before_sessions_had_users_is_the_next_users() -> None:
    net = Net("journal", authenticate=by_name)
    net.core = restored([[SessionSaved(1, "c", 5, FOREVER, 0.0)]], net.now)
    net.core.asks_authentication = True
    assert come(net, "ana")[1].session_present
    assert come(net, "ben")[1].reason_code == 0x87


# ---- patterns ----


@pytest.mark.parametrize(
    ("patterns", "client_id", "user", "expected"),
    [
        ("{username}", "ana", "ana", True),
        ("{username}", "ana2", "ana", False),
        ("{username}", "Ana", "ana", False),
        ("{username}", "", "", False),
        ("{username}-*", "ana-", "ana", True),
        ("{username}-*", "ana-1-2", "ana", True),
        ("{username}-*", "ana", "ana", False),
        ("{username}-*", "-1", "", False),
        ("{username}-*", "ben-1", "ana", False),
        ("{username} {username}-*", "ana", "ana", True),
        ("dev-*", "dev-1", "", True),
        ("*", "", "", True),
        ("*", "x", "", True),
        ("a*a", "a", "u", False),
        ("a*a", "aa", "u", True),
        ("a*b*c", "abc", "u", True),
        ("a*b*c", "ac", "u", False),
        ("a*b*b", "ab", "u", False),
        ("a**b", "axb", "u", True),
        ("{username}-*", "*-1", "*", True),  # a star in a name is a star
        ("{username}-*", "x-1", "*", False),
        ("{username}", "{username}", "{username}", True),
        ("{username}", "a b", "a b", True),
    ],
)
def test_patterns(patterns: str, client_id: str, user: str, expected: bool) -> None:
    assert any_fits(patterns, client_id, user) is expected


def test_many_stars_take_no_time() -> None:
    assert not any_fits("*a" * 200 + "b", "a" * 60_000, "u")


@pytest.mark.parametrize(("version", "code"), [(MQTT_50, 0x85), (MQTT_311, 2)])
def test_who_may_not_have_a_client_identifier_is_refused(make: Make, version: int, code: int) -> None:
    net = make(quiet(client_ids="{username} {username}-*"), authenticate=by_name)
    assert come(net, "ana", "ana-1", version=version)[1].reason_code == 0
    assert come(net, "ben", "ana-2", version=version)[1].reason_code == code
    assert come(net, None, "ana-2", version=version)[1].reason_code == code
    assert list(net.core.sessions) == ["ana-1"]
    assert come(net, "ben", "", clean=True, version=version)[1].reason_code == 0  # one that is made


def test_a_pattern_that_cannot_be_is_told() -> None:
    options = Options()
    options.client_ids = "{username}-* {user}-*"
    with pytest.raises(ValueError, match=r"client_ids may have .* not '{user}-"):
        options.check()


def test_a_journal_without_users_is_as_it_was() -> None:
    """So that nothing changes for whoever has none."""
    assert encode([SessionSaved(1, "c", 5, 0, 0.0)])[0] == 1
    assert encode([SessionSaved(1, "c", 5, 0, 0.0, b"m/")])[0] == 17
    assert encode([SessionSaved(1, "c", 5, 0, 0.0, b"", "u")])[0] == 18
