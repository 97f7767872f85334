"""A list on the screen: a line for what is looked for, one that says what is shown, and the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import DataTable, Input, Static

from curier.top.lists import Kind, Page, Row
from curier.top.wording import count, moment
from curier.web.client import ApiError


class Listing(Vertical):
    """The list of a kind, in the order that was chosen last."""

    DEFAULT_CSS = """
    Listing Input { height: 3; display: none; }
    Listing Input.asked { display: block; }
    Listing Static { height: 1; text-style: bold; }
    Listing DataTable { height: 1fr; }
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__(id=kind.name)
        self.kind = kind
        self.sort = 0
        self.search = ""

    def compose(self) -> ComposeResult:
        """Make its parts."""
        yield Input(placeholder="part of a name; Enter looks for it, Escape for all", id=f"{self.id}-search")
        yield Static("asking ...", id=f"{self.id}-summary", markup=False)
        yield DataTable(cursor_type="row", id=f"{self.id}-table", zebra_stripes=False)

    def on_mount(self) -> None:
        """It is there: say what its columns are."""
        for name in self.kind.columns:
            self.table.add_column(Text(name, justify=self._side(name)))

    def _side(self, column: str) -> Literal["left", "right"]:
        return "right" if column in self.kind.numbers else "left"

    @property
    def table(self) -> DataTable[Text]:
        """The rows."""
        return self.query_one(DataTable)

    def next_sort(self) -> None:
        """Order by what comes next."""
        self.sort = (self.sort + 1) % len(self.kind.sorts)

    def ask_search(self) -> None:
        """Ask what is to be looked for."""
        asked = self.query_one(Input)
        asked.add_class("asked")
        asked.focus()

    def end_search(self, search: str) -> None:
        """Look for that."""
        self.search = search
        asked = self.query_one(Input)
        asked.value = search
        asked.remove_class("asked")
        self.table.focus()

    def show(self, page: Page | ApiError, now: float) -> None:
        """Show these rows, and stay where the reader is: at the same row, as far down as before."""
        summary = self.query_one(Static)
        if isinstance(page, ApiError):
            summary.update(f"not answered at {moment(now)}: {page}; what is shown is older")
            return
        summary.update(self._summary(page, now))
        table = self.table
        at, down, right = table.cursor_row, table.scroll_y, table.scroll_x
        key = self._key_at(at)
        with self.app.batch_update():
            table.clear()
            for row in page.rows:
                table.add_row(*self._cells(row), key=row.key)
            keys = [row.key for row in page.rows]
            if keys:
                table.move_cursor(
                    row=keys.index(key) if key in keys else min(at, len(keys) - 1), scroll=False
                )
            table.scroll_to(right, down, animate=False)

    def _cells(self, row: Row) -> Iterator[Text]:
        for column, cell in zip(self.kind.columns, row.cells, strict=True):
            yield Text(cell, justify=self._side(column))

    def _key_at(self, row: int) -> str | None:
        if not self.table.is_valid_row_index(row):
            return None
        return self.table.ordered_rows[row].key.value

    def _summary(self, page: Page, now: float) -> str:
        shown = len(page.rows)
        what = f"{count(page.found)} {self.kind.many}"
        if self.search:
            what += f" with {self.search!r}"
        if shown < page.found:
            what += f", {count(shown)} of them"
        hint = "; Enter shows one" if self.kind.opens and page.rows else ""
        return f"{what}, {self.kind.sorts[self.sort][1]}, at {moment(now)}{hint}"
