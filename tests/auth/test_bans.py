"""Who is banned, for how long, and who is not; and that no table grows."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from curier.auth import bans as module
from curier.auth.bans import MOST_COUNTED, NEW_PLACES, Bans, BanSettings
from curier.errors import ConfigError

HERE = "192.0.2.1:50000"
THERE = "198.51.100.7:1"
ANA = ("user ana", "client c")


def wrong(bans: Bans, count: int, who: str = "user ana", address: str = HERE, now: float = 0.0) -> None:
    for _ in range(count):
        list(bans.failed(address, who, now))


def is_banned(bans: Bans, *who: str, address: str = HERE, now: float = 0.0) -> bool:
    return bool(bans.why_banned(address, who or ANA, now))


def test_a_user_is_banned_at_an_address_and_nowhere_else() -> None:
    bans = Bans(BanSettings())
    wrong(bans, 9)
    assert not is_banned(bans)
    (ban,) = bans.failed("192.0.2.1:7", "user ana", 0.0)  # from another port
    assert (ban.whom, ban.until, ban.number) == ("user ana at 192.0.2.1", 300.0, 1)
    why = "user ana at 192.0.2.1 is banned for 200 s more: 10 wrong logins in 300 s"
    assert bans.why_banned(HERE, ANA, 100.0) == why
    assert is_banned(bans)
    assert not is_banned(bans, address=THERE)
    assert not is_banned(bans, "user ben")
    assert is_banned(bans, now=299.9)
    assert not is_banned(bans, now=300.0)


def test_what_was_long_ago_or_was_right_in_the_end_does_not_count() -> None:
    bans = Bans(BanSettings())
    wrong(bans, 9)
    wrong(bans, 9, now=300.0)
    assert not is_banned(bans, now=300.0)
    bans.succeeded(HERE, "user ana", 300.0)
    wrong(bans, 9, now=300.0)
    assert not is_banned(bans, now=300.0)


def test_each_ban_of_the_same_is_longer_up_to_the_longest() -> None:
    bans = Bans(BanSettings(failures=1, seconds=100.0, longest=300.0))
    now, lengths = 0.0, []
    for _ in range(4):
        (ban,) = bans.failed(HERE, "user ana", now)
        lengths.append(ban.until - now)
        now = ban.until
    assert lengths == [100.0, 200.0, 300.0, 300.0]
    (ban,) = bans.failed(HERE, "user ana", now + 300.0)  # it has been good for a while
    assert ban.number == 1


def test_an_address_is_banned_for_many_users_but_not_for_those_it_knows() -> None:
    bans = Bans(BanSettings())
    bans.succeeded(HERE, "user zoe", 0.0)
    for number in range(100):
        assert not is_banned(bans)
        wrong(bans, 1, f"user {number}")
    assert "100 wrong logins, 1 right ones" in bans.why_banned(HERE, ANA, 0.0)
    assert is_banned(bans, address="192.0.2.1:9")
    assert not is_banned(bans, address=THERE)
    assert not is_banned(bans, "user zoe", "client z")


def test_one_bad_client_among_many_good_ones_does_not_ban_them() -> None:
    """Behind one router."""
    bans = Bans(BanSettings(failures=0, user_failures=0))
    for number in range(50):
        bans.succeeded(HERE, f"user {number}", 0.0)
    for _ in range(2):  # again, which says no more
        bans.succeeded(HERE, "user 1", 0.0)
    wrong(bans, 500)
    assert not is_banned(bans)
    wrong(bans, 1)
    assert is_banned(bans)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:5", "127.8.8.8:5", "[::1]:5", "uid=1000:pid=7", "pipe", "[::ffff:127.0.0.1]:5"]
)
def test_who_is_never_banned(address: str) -> None:
    bans = Bans(BanSettings(failures=1, address_failures=1, flaps=1))
    wrong(bans, 1, address=address)
    assert bans.flapped(address, "client c", 0.0) is None
    assert not is_banned(bans, address=address)
    assert bans.present(0.0) == []


def test_never_is_chosen() -> None:
    bans = Bans(BanSettings(failures=1, never=(ip_network("192.0.2.0/24"),)))
    for address in (HERE, "127.0.0.1:5"):
        wrong(bans, 1, address=address)
    assert [ban.place for ban in bans.present(0.0)] == ["127.0.0.1"]


def test_a_network_of_ipv6_is_one_address() -> None:
    bans = Bans(BanSettings(address_failures=3))
    for number in range(3):
        wrong(bans, 1, f"user {number}", f"[2001:db8:0:1::{number}]:1")
    assert is_banned(bans, address="[2001:db8:0:1:ffff::]:1")
    assert not is_banned(bans, address="[2001:db8:0:2::]:1")
    assert bans.lift("2001:db8:0:1::/64")


def test_a_client_that_flaps_is_banned_where_it_is() -> None:
    bans = Bans(BanSettings(flaps=3))
    assert [bans.flapped(HERE, "client c", now) is None for now in (0.0, 1.0, 2.0)] == [True, True, False]
    assert is_banned(bans, "user ana", "client c", now=2.0)
    assert not is_banned(bans, "user ana", "client d", now=2.0)
    assert not is_banned(bans, "user ana", "client c", address=THERE, now=2.0)


# -- one user, from everywhere --


def elsewhere(number: int) -> str:
    """Another address, each in a region of its own."""
    return f"[2001:{number:x}::1]:1"


def test_who_is_guessed_from_many_addresses_is_shut_out_but_where_it_is_known() -> None:
    bans = Bans(BanSettings())
    bans.succeeded("198.51.7.7:9", "user ana", 0.0)  # where it was
    for number in range(49):
        wrong(bans, 1, address=elsewhere(number))
    assert not is_banned(bans, address=elsewhere(49))
    (ban,) = bans.failed(elsewhere(49), "user ana", 0.0)
    whom = "user ana at new places"
    assert (ban.whom, ban.until, ban.why) == (whom, 300.0, "50 wrong logins in 300 s")
    for number in range(100):
        why = bans.why_banned(elsewhere(number), ANA, 0.0)
        assert why == f"{whom} is banned for 300 s more: 50 wrong logins in 300 s"
    assert not is_banned(bans, "user ben", "client c", address=elsewhere(1))
    assert not is_banned(bans, address="198.51.7.7:9")
    assert not is_banned(bans, address=THERE)  # by another address of its provider
    assert is_banned(bans, address="198.52.7.7:9")
    assert not is_banned(bans, address=elsewhere(1), now=300.0)


def test_the_owner_cannot_be_shut_out_where_it_is_known() -> None:
    """By many addresses that guess for a day."""
    bans = Bans(BanSettings())
    checked = 0
    for minute in range(0, 24 * 60, 15):
        now = 60.0 * minute
        for number in range(60):
            if not is_banned(bans, address=elsewhere(number), now=now):
                wrong(bans, 1, address=elsewhere(number), now=now)
                checked += 1
        if minute % 600 == 0:
            bans.succeeded(HERE, "user ana", now)
        assert not is_banned(bans, now=now)
    assert checked < 50 * 30  # each ban is longer, up to an hour


def test_wrong_logins_where_a_user_is_known_shut_nobody_out_elsewhere() -> None:
    """Devices that have the old password."""
    bans = Bans(BanSettings(failures=0, address_failures=0))
    for number in range(100):
        bans.succeeded(elsewhere(number), "user ana", 0.0)
        wrong(bans, 10, address=elsewhere(number))
    assert not is_banned(bans, address=elsewhere(100))


def test_a_place_is_forgotten_after_a_week_unless_a_client_was_there() -> None:
    week = module.GOOD_SECONDS
    bans = Bans(BanSettings(user_failures=1))
    for address in (HERE, THERE):
        bans.succeeded(address, "user ana", 0.0)
    bans.seen(HERE, "user ana", week - 1.0)  # its connection has lasted so long
    wrong(bans, 1, address=elsewhere(1), now=week)
    assert not is_banned(bans, now=week)
    assert is_banned(bans, address=THERE, now=week)


def test_names_that_may_be_one_to_a_database_are_counted_as_one() -> None:
    bans = Bans(BanSettings(user_failures=6))
    bans.succeeded(HERE, "user Ana", 0.0)
    for number, name in enumerate(("ana", "ANA", "a\u0301na", "\xe1na", "ana ", "\uff41na")):
        assert not is_banned(bans, address=elsewhere(99))
        wrong(bans, 1, f"user {name}", elsewhere(number))
    assert is_banned(bans, "user AnA", address=elsewhere(99))
    assert not is_banned(bans, "user AnA")
    assert bans.lift(NEW_PLACES, "user ANA")
    assert not is_banned(bans, "user ana", address=elsewhere(99))


def test_clients_without_a_name_are_counted_at_their_address_alone() -> None:
    bans = Bans(BanSettings(user_failures=1))
    wrong(bans, 1, "unnamed client c")
    assert bans.present(0.0) == []


def test_nothing_is_counted_that_nobody_is_banned_for() -> None:
    bans = Bans(BanSettings(failures=0, address_failures=0, flaps=0, user_failures=0))
    wrong(bans, 1000)
    assert bans.flapped(HERE, "client c", 0.0) is None
    assert not is_banned(bans)


def test_bans_are_seen_and_lifted() -> None:
    bans = Bans(BanSettings(failures=1, address_failures=2))
    wrong(bans, 2)
    wrong(bans, 1, "user ben", THERE, 10.0)
    assert [ban.whom for ban in bans.present(10.0)] == [
        "user ana at 192.0.2.1",
        "user ben at 198.51.100.7",
        "192.0.2.1",
    ]
    bans.lift_all_of_users()
    assert [ban.whom for ban in bans.present(10.0)] == ["192.0.2.1"]
    assert bans.lift("192.0.2.1")
    assert not bans.lift("192.0.2.1")
    assert bans.present(10.0) == []


def test_forged_addresses_and_names_fill_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOST_COUNTED", "MOST_BANS", "MOST_GOOD", "MOST_KNOWN"):
        monkeypatch.setattr(module, name, 50)
    bans = Bans(BanSettings(failures=3, flaps=3))
    for number in range(500):
        address = f"[2001:db8:{number:x}::1]:1"
        wrong(bans, 3, f"user {number}" + "x" * 100_000, address)
        wrong(bans, 1, f"user {number}", address)
        bans.succeeded(address, f"user good {number}", 0.0)
        for _ in range(4):
            bans.flapped(address, f"client {number}", 0.0)
    for table in (bans._bans, bans._pairs, bans._places, bans._users, bans._flaps, bans._good, bans._known):
        assert len(table) == 50
    assert max(len(who) for _, who in bans._bans) <= module.LONGEST_NAME
    assert MOST_COUNTED == 10_000
    wrong(bans, 10)  # and whoever goes on is banned all the same
    assert is_banned(bans)
    bans.succeeded(THERE, "user zoe", 0.0)
    assert not is_banned(bans, "user zoe", address=THERE)


@pytest.mark.parametrize(
    ("settings", "why"), [({"window": 0.0}, "more than 0"), ({"longest": 1.0}, "shorter")]
)
def test_settings_that_cannot_be(settings: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        BanSettings(**settings)  # type: ignore[arg-type]
