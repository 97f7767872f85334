"""Files that ``curier trace`` writes: events as they come, drawings at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from curier.cli.tracing.choosing import Chooser
from curier.cli.tracing.look import Look
from curier.frozen import dataclass
from curier.trace.drawing.diagram import Diagram
from curier.trace.drawing.making import diagram
from curier.trace.drawing.mermaid import mermaid
from curier.trace.drawing.svg import svg
from curier.trace.events import Event
from curier.trace.joining import Joiner
from curier.trace.recordings import writer


@dataclass(frozen=True, slots=True)
class Files:
    """What is written besides what is shown."""

    save: str | None = None
    save_port: int | None = None
    svg: str | None = None
    mermaid: str | None = None
    number: int | None = None

    @property
    def wants_flows(self) -> bool:
        """Is something to be drawn at the end?"""
        return bool(self.svg or self.mermaid)

    def draw(self, joiner: Joiner, look: Look, chooser: Chooser) -> None:
        """Draw one flow. Raises ``click.ClickException`` where there is none, or no file."""
        if not self.wants_flows:
            return
        flow = joiner.flow(self.number) if self.number else None
        if flow is None and not self.number:
            flow = next((one for one in reversed(joiner.publications) if chooser.fits_flow(one)), None)
        if flow is None:
            which = f"no flow has the number {self.number}" if self.number else "no publication was seen"
            raise click.ClickException(f"there is nothing to draw: {which}")
        made = diagram(flow, look.view(joiner.now))
        forms: list[tuple[str | None, Callable[[Diagram], str]]] = [(self.svg, svg), (self.mermaid, mermaid)]
        for path, form in forms:
            if path:
                try:
                    Path(path).write_text(form(made), encoding="utf-8")
                except OSError as error:
                    raise click.ClickException(f"{path}: {error.strerror}") from None


class Saving:
    """A file that events are written into, if one is asked for."""

    def __init__(self, files: Files) -> None:
        path = files.save
        if files.save_port and not (path or "").endswith(".pcapng"):
            raise click.UsageError("--save-port is for --save FILE.pcapng: nothing else has ports")
        try:
            self._file = open(path, "wb") if path else None
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None
        self._writer = (
            writer(self._file, path or "", files.save_port or 0) if self._file is not None else None
        )

    def add(self, event: Event) -> None:
        """Write one."""
        if self._writer is not None:
            self._writer.write(event)

    def close(self) -> None:
        """Nothing more comes."""
        if self._file is not None:
            self._file.close()
