"""What ends a request that is not fulfilled."""

from __future__ import annotations

from typing import Final


class Problem(Exception):
    """Ends a request with this status; ``detail`` says why, and the way out."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status: Final = status
        self.detail: Final = detail
        self.headers: Final = headers
