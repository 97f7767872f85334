"""What is known of a broker that is asked again and again, and goes away, and comes back."""

from __future__ import annotations

from curier.errors import ConfigError
from curier.top.overview import overview_lines, state_line
from curier.top.watching import Watch
from curier.web.client import ApiError
from curier.web.local import Local
from tests.top.asked import World, trouble


async def test_rates_are_of_the_time_between_two_looks_by_the_clock_of_the_broker() -> None:
    world = World()
    await world.watch.look()
    assert not world.watch.past
    await world.second(total_publishes_received=50_000, total_bytes_sent=2048, total_dropped=3)
    (rates,) = world.watch.past
    assert (rates.received, rates.bytes_sent, rates.dropped, rates.sent) == (50_000, 2048, 3, 0)
    await world.watch.look()  # nothing has passed for it
    assert len(world.watch.past) == 1


async def test_a_broker_that_goes_away_and_comes_back_is_told_with_its_time() -> None:
    world = World()
    await world.watch.look()
    world.api.gone = ApiError(0, "connection refused")
    world.now = 1010.0
    await world.watch.look()
    world.now = 1130.0
    await world.watch.look()
    said = state_line(world.watch, world.now).plain
    assert said.startswith("✗ curier 1: no answer since ")
    assert "for 2 min (connection refused)" in said
    world.api.gone = None
    await world.watch.look()
    said = state_line(world.watch, world.now + 5).plain
    assert said.startswith("● curier 1 at http://127.0.0.1:9883")
    assert "; back since " in said
    assert said.endswith("away for 2 min")
    assert "back" not in state_line(world.watch, world.now + 100).plain


async def test_one_that_was_started_anew_is_asked_with_its_new_token_and_has_no_rates_of_before() -> None:
    world = World()
    await world.watch.look()
    await world.second(total_publishes_received=1000)
    world.api.gone = ApiError(401, "this token is not known")
    await world.watch.look()
    world.api.gone = None
    await world.second(started_at=101.0, total_publishes_received=0)
    assert world.api.tokens == ["token 1", "token 2"]
    assert "started anew since" in state_line(world.watch, world.now).plain
    assert [one.received for one in world.watch.past] == [1000]


async def test_a_refusal_is_no_reason_to_look_elsewhere() -> None:
    world = World()
    await world.watch.look()
    world.api.gone = ApiError(429, "more than 100 requests a second")
    await world.watch.look()
    world.api.gone = None
    await world.watch.look()
    assert world.api.tokens == ["token 1"]


async def test_no_broker_on_this_machine_is_one_that_is_away() -> None:
    def find() -> Local:
        raise ConfigError("there is no window")

    watch = Watch(find, World().api.make)
    await watch.look()
    assert watch.away is not None
    assert watch.away.why == "there is no window"


async def test_what_is_wrong_comes_first_with_a_mark_and_a_word() -> None:
    world = World()
    await world.watch.look()
    assert overview_lines(world.watch, 80).plain.startswith("✓ Nothing is wrong.\n")
    await world.second(troubles=[trouble("the disk takes nothing\x1b[31m", "error"), trouble("drops")])
    lines = overview_lines(world.watch, 80).plain.split("\n")
    assert lines[:2] == ["✗ error: the disk takes nothing\\x1b[31m", "! warning: drops"]


async def test_all_but_what_is_wrong_fits_into_80_columns_whatever_the_numbers() -> None:
    world = World()
    counters = {
        name: 2_000_000_000
        for name in world.api.overview.__struct_fields__
        if name.startswith("total_") or name in ("clients", "sessions", "retained", "memory", "queued_bytes")
    }
    await world.watch.look()
    await world.second(**counters)
    lines = overview_lines(world.watch, 80).plain.split("\n")
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert len(lines) <= 21  # of 24, beside the state, the keys and one trouble more
