"""The screen of ``curier top``: one line that says how the broker is reached, one view, and the keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import ContentSwitcher, DataTable, Footer, Input, Static

from curier.top.detail import DETAIL, Detail, ask
from curier.top.listing import Listing
from curier.top.lists import KINDS
from curier.top.overview import overview_lines, state_line
from curier.top.watching import Watch
from curier.top.wording import moment
from curier.web.client import ApiError

LOOK_SECONDS: Final = 1.0
LIST_LOOKS: Final = 2
"""A list is asked for each so many looks: it costs the broker more than the overview."""

OVERVIEW: Final = "overview"
CLIENTS: Final = "clients"


class Top(App[None]):
    """Shows what ``watch`` sees. ``clock`` is that of the reader. So many ``look_seconds`` lie between two
    looks; None: whoever calls ``look`` has it look.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #state { height: 1; text-style: bold; }
    #frozen { height: 1; display: none; text-style: reverse; }
    #frozen.on { display: block; }
    ContentSwitcher { height: 1fr; }
    DataTable > .datatable--cursor, DataTable:focus > .datatable--cursor {
        background: ansi_default; color: ansi_default; text-style: reverse;
    }
    DataTable > .datatable--header {
        background: ansi_default; color: ansi_default; text-style: bold underline;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", f"view('{OVERVIEW}')", "Overview"),
        Binding("2", f"view('{CLIENTS}')", "Clients"),
        Binding("3", "view('topics')", "Topics"),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("s", "sort", "Order"),
        Binding("f", "freeze", "Freeze"),
        Binding("escape", "leave", "", show=False),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "", show=False, priority=True),
    ]

    def __init__(
        self,
        watch: Watch,
        *,
        look_seconds: float | None = LOOK_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ansi_color=True)  # the terminal's own colours, be it light or dark
        self.theme = "ansi-dark"
        self._watch = watch
        self._look_seconds = look_seconds
        self._clock = clock
        self._looks = 0
        self._is_looking = asyncio.Lock()
        self._frozen_at: float | None = None

    def compose(self) -> ComposeResult:
        """Make the parts of the screen."""
        yield Static("asking ...", id="state", markup=False)
        yield Static(id="frozen", markup=False)
        with ContentSwitcher(initial=OVERVIEW):
            with VerticalScroll(id=OVERVIEW):
                yield Static(id="figures", markup=False)
            for kind in KINDS:
                yield Listing(kind)
            yield Detail()
        yield Footer(compact=True)

    async def on_mount(self) -> None:
        """Begin to look."""
        if self._look_seconds is not None:
            self.set_interval(self._look_seconds, self.look_again)
            self.look_again()

    def look_again(self) -> None:
        """Look, unless the last look still waits for its answer."""
        if self._is_looking.locked():
            self._show_state()  # which says for how long
        else:
            self.run_worker(self.look(), exclusive=False)

    async def look(self, *, at_list: bool = False) -> None:
        """Ask the broker, and show what it says; the list that is seen every other time, or ``at_list``."""
        async with self._is_looking:
            self._looks += 1
            await self._watch.look()
            self._show_state()
            if self._frozen_at is not None and not at_list:
                return
            self._show_figures()
            if (at_list or self._looks % LIST_LOOKS == 0) and self._watch.away is None:
                await self._look_at_list()
                await self._look_at_client()

    async def _look_at_list(self) -> None:
        listing = self.listing
        if listing is None:
            return
        try:
            page = await listing.kind.ask(self._watch, listing.search, listing.kind.sorts[listing.sort][0])
        except ApiError as error:
            listing.show(error, self._clock())
        else:
            listing.show(page, self._clock())

    async def _look_at_client(self) -> None:
        detail = self.query_one(Detail)
        if self.query_one(ContentSwitcher).current != DETAIL:
            return
        now = self._watch.now.time if self._watch.now is not None else 0.0
        client_id = detail.client_id
        try:
            seen = await ask(self._watch, client_id)
        except ApiError as error:
            detail.show(error, now)
        else:
            if detail.client_id == client_id:  # and nobody has chosen another one meanwhile
                detail.show(seen, now)

    def _show_state(self) -> None:
        self.query_one("#state", Static).update(state_line(self._watch, self._clock()))

    def _show_figures(self) -> None:
        self.query_one("#figures", Static).update(overview_lines(self._watch, self.size.width))

    def on_resize(self) -> None:
        """Fit the lines to the width."""
        self._show_figures()

    @property
    def listing(self) -> Listing | None:
        """The list that is seen."""
        shown = self.query_one(ContentSwitcher).visible_content
        return shown if isinstance(shown, Listing) else None

    # ---- keys ----

    def action_view(self, name: str) -> None:
        """Show another view."""
        self.query_one(ContentSwitcher).current = name
        if self.listing is not None:
            self.listing.table.focus()
            self._look_at_list_soon()

    def action_sort(self) -> None:
        """Show the list in another order."""
        if self.listing is not None:
            self.listing.next_sort()
            self._look_at_list_soon()

    def action_search(self) -> None:
        """Ask what to look for."""
        if self.listing is None:
            self.action_view(CLIENTS)
        if self.listing is not None:
            self.listing.ask_search()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """That is looked for."""
        if self.listing is not None:
            self.listing.end_search(event.value)
            self._look_at_list_soon()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show one client whole."""
        if self.listing is not None and self.listing.kind.opens and event.row_key.value is not None:
            detail = self.query_one(Detail)
            detail.choose(event.row_key.value)
            self.query_one(ContentSwitcher).current = DETAIL
            detail.focus()
            self._look_at_list_soon()

    def action_leave(self) -> None:
        """Look for nothing any more, or at no single client."""
        if self.query_one(ContentSwitcher).current == DETAIL:
            self.action_view(CLIENTS)
        elif self.listing is not None:
            self.listing.end_search("")
            self._look_at_list_soon()

    def action_freeze(self) -> None:
        """Change nothing that is shown, or go on. Whether the broker answers is told all the same."""
        line = self.query_one("#frozen", Static)
        self._frozen_at = self._clock() if self._frozen_at is None else None
        line.set_class(self._frozen_at is not None, "on")
        if self._frozen_at is not None:
            line.update(f"frozen: this is how it was at {moment(self._frozen_at)}; f goes on")
        else:
            self._look_at_list_soon()

    def _look_at_list_soon(self) -> None:
        """Because somebody has asked for it."""
        if self._look_seconds is not None:
            self.run_worker(self.look(at_list=True), exclusive=False)
