"""What a bridge has subscribed to, so that other settings can end it: sessions outlive them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from curier.errors import StoreError

NAME: Final = "subscribed.json"


class Remembered:
    """Topic Filters by side, in a file of ``directory``; without one, as long as this lives."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / NAME if directory is not None else None
        self._sides: dict[str, list[str]] = {}
        if self._path is not None and self._path.exists():
            try:
                found = json.loads(self._path.read_text())
                self._sides = {str(side): [str(one) for one in filters] for side, filters in found.items()}
            except (OSError, ValueError, AttributeError, TypeError):
                self._sides = {}  # then nothing is ended that was made before; all else holds

    def subscribed(self, side: str) -> list[str]:
        """What the session there was subscribed to last."""
        return self._sides.get(side, [])

    def note(self, side: str, filters: Sequence[str]) -> None:
        """It is subscribed to these. Raises ``StoreError``."""
        if self._sides.get(side) == [*filters]:
            return
        self._sides[side] = [*filters]
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(self._sides))
            os.replace(new, self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
