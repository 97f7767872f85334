"""The screen of ``curier top``, by its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from curier.top.app import Top
from curier.top.listing import Listing
from curier.web import forms, session_forms
from curier.web.client import ApiError
from curier.web.table import CLIENT, ENDINGS, QUEUE, SUBSCRIPTIONS
from tests.top.asked import World, client, overview, topic


class Screen:
    """What is seen."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys, and have the broker looked at."""
        await self.pilot.press(*keys)
        await self.app.look()
        await self.app.look()  # a list is asked for every other time
        await self.pilot.pause()

    def text(self, name: str) -> str:
        return str(self.app.query_one(f"#{name}", Static).content)

    @property
    def listing(self) -> Listing:
        assert self.app.listing is not None
        return self.app.listing

    @property
    def table(self) -> DataTable[object]:
        return self.app.query_one(f"#{self.listing.id}-table", DataTable)

    def column(self, at: int = 0) -> list[str]:
        return [str(self.table.get_row_at(row)[at]) for row in range(self.table.row_count)]


@asynccontextmanager
async def screen(world: World, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Screen]:
    app = Top(world.watch, look_seconds=None, clock=lambda: world.now)
    async with app.run_test(size=size) as pilot:
        await app.look()
        yield Screen(app, pilot)


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (20, 5)])
async def test_it_begins_with_the_overview_and_shows_its_keys(size: tuple[int, int]) -> None:
    world = World()
    async with screen(world, size) as seen:
        await world.second(total_publishes_received=50_000)
        await seen.app.look()
        assert seen.text("state").startswith("● curier 1 at http://127.0.0.1:9883")
        assert "50 000/s" in seen.text("figures")
        keys = [
            binding.binding.key
            for binding in seen.app.screen.active_bindings.values()
            if binding.binding.show
        ]
        assert {"1", "2", "3", "slash", "s", "f", "q"} <= {*keys}


async def test_clients_are_sorted_by_the_broker_as_the_key_says() -> None:
    world = World()
    world.api.clients = [client("a", queued=412, queued_bytes=4096), client("b", connected=False)]
    async with screen(world) as seen:
        await seen.press("2")
        assert world.api.asked[-1].sort == "queued"
        assert seen.column() == ["a", "b"]
        assert seen.column(2) == ["412", "0"]
        assert seen.column(1)[1] == "away"
        await seen.press("s")
        assert world.api.asked[-1].sort == "dropped"
        assert "most dropped first" in seen.text("clients-summary")
        for _ in seen.listing.kind.sorts[1:]:
            await seen.press("s")
        assert world.api.asked[-1].sort == "queued"


async def test_a_search_is_the_broker_s_and_escape_ends_it() -> None:
    world = World()
    async with screen(world) as seen:
        await seen.press("2", "slash", "f", "q", "2", "enter")  # keys are letters there
        assert world.api.asked[-1].search == "fq2"
        assert "with 'fq2'" in seen.text("clients-summary")
        await seen.press("escape")
        assert world.api.asked[-1].search == ""


async def test_what_is_frozen_stays_while_the_state_goes_on() -> None:
    world = World()
    world.api.clients = [client("a")]
    async with screen(world) as seen:
        await seen.press("2")
        await seen.press("f")
        world.api.clients = [client("b")]
        world.api.gone = ApiError(0, "connection refused")
        await seen.press()
        assert seen.column() == ["a"]
        assert seen.text("frozen").startswith("frozen: this is how it was at ")
        assert "no answer since" in seen.text("state")
        world.api.gone = None
        await seen.press("f")
        assert seen.column() == ["b"]


async def test_the_reader_stays_at_the_row_that_was_chosen() -> None:
    world = World()
    world.api.clients = [client(f"c{number}") for number in range(50)]
    async with screen(world) as seen:
        await seen.press("2")
        await seen.press(*["down"] * 30)
        down = seen.table.scroll_y
        assert seen.table.cursor_row == 30
        assert down > 0
        world.api.clients.insert(10, client("new"))
        await seen.press()
        assert seen.table.cursor_row == 31
        assert down <= seen.table.scroll_y <= down + 1
        world.api.clients = []
        await seen.press()
        assert seen.column() == []


async def test_names_are_shown_as_what_they_are() -> None:
    world = World()
    names = ["[bold]x[/bold]", "\x1b[31mred", "=1+1", "", "\u202eabc", "a" * 1000]
    world.api.clients = [client(name) for name in names]
    world.api.topics = [topic("[red]/t", "\x1b]0;title\x07"), topic("//")]
    async with screen(world) as seen:
        await seen.press("2")
        shown = seen.column()
        assert shown[:5] == ["[bold]x[/bold]", "\\x1b[31mred", "=1+1", "", "\\u202eabc"]
        assert len(shown[5]) == 30
        await seen.press("3")
        assert seen.column() == ["[red]/t", "//"]
        assert seen.column(1)[0] == "\\x1b]0;title\\x07"


async def test_of_many_it_says_how_many_are_shown() -> None:
    world = World()
    world.api.clients, world.api.found = [client("a"), client("b")], 100_000
    async with screen(world) as seen:
        await seen.press("2")
        assert seen.text("clients-summary").startswith("100 000 clients, 2 of them, most queued first, at ")


async def test_a_list_that_is_refused_leaves_what_was_there() -> None:
    world = World()
    world.api.clients = [client("a")]
    async with screen(world) as seen:
        await seen.press("2")
        seen.listing.show(ApiError(403, "[b]this is for the role viewer"), world.now)
        assert "[b]this is for the role viewer; what is shown is older" in seen.text("clients-summary")
        assert seen.column() == ["a"]


def answers_of(client_id: str) -> dict[str, object]:
    """What a broker says of one client."""
    row = client(client_id, queued=300, connected_at=40.0, user="ana", address="192.0.2.7:5", dropped=3)
    payload = forms.Payload(5, 5, text="hello")
    waiting = session_forms.QueuedMessage("1", "t/[b]", payload, 1, False, "waits", 70.0, 0.0, "")
    ended = session_forms.Ending(95.0, "disconnected", "192.0.2.7:4", "tcp", 30.0, 0x8D, "Keep Alive")
    refused = session_forms.Ending(94.0, "refused", "192.0.2.8:4", "tcp", 0.0, 0x87, "\x1b[31m")
    return {
        CLIENT.path: forms.Client(row, 60.0, 3600, 0.0, True, True, "will/t", 20, 20, 99.0, []),
        QUEUE.path: session_forms.Queue(client_id, True, 300, 4096, 0, [waiting], [], "1"),
        SUBSCRIPTIONS.path: forms.Subscriptions([forms.SubscriptionRow("a/#", 1, False, False, 0)], 1),
        ENDINGS.path: session_forms.EndingsAnswer([ended, refused], 90.0),
    }


async def test_enter_shows_one_client_and_escape_leads_back() -> None:
    world = World()
    world.api.clients = [client("a"), client("b[x]")]
    world.api.answers = answers_of("b[x]")
    async with screen(world) as seen:
        await seen.press("2")
        await seen.press("down", "enter")
        text = seen.text("facts")
        for part in (
            "client b[x]", "for 1 min", "ana", "192.0.2.7:5", "1 h without it, on disk", "will/t",
            "queue: 300, 4.0 KiB", "waits         30 s  QoS 1  t/[b], 5 B", "... 299 more",
            "subscriptions: 1", "a/#", "after 30 s", "Keep Alive (0x8D)", "\\x1b[31m (0x87)",
        ):  # fmt: skip
            assert part in text, part
        world.api.answers[CLIENT.path] = ApiError(404, "there is no session")
        await seen.press()
        assert "It has no session." in seen.text("facts")
        assert "Keep Alive (0x8D)" in seen.text("facts")
        world.api.answers[ENDINGS.path] = ApiError(403, "[b]no")
        await seen.press()
        assert "not answered: [b]no" in seen.text("facts")
        await seen.press("escape")
        assert seen.listing.id == "clients"
        assert seen.table.cursor_row == 1


async def test_a_topic_has_no_view_of_its_own() -> None:
    world = World()
    world.api.topics = [topic("t", "1")]
    async with screen(world) as seen:
        await seen.press("3", "enter")
        assert seen.listing.id == "topics"


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_a_key_ends_it(key: str) -> None:
    async with screen(World()) as seen:
        await seen.app.run_action("view('clients')")
        await seen.pilot.press(key)
        assert not seen.app.is_running or seen.app._exit


async def test_a_broker_that_is_not_there_yet_is_waited_for() -> None:
    world = World()
    world.api.gone = ApiError(0, "connection refused")
    async with screen(world) as seen:
        assert "no answer since" in seen.text("state")
        assert seen.text("figures") == "Nothing is known yet."
        world.api.gone, world.api.overview = None, overview(time=5.0)
        await seen.press()
        assert seen.text("figures").startswith("✓ Nothing is wrong.")
