"""Whoever runs the broker that a window belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from curier.web import forms


class Keeper(Protocol):
    """Whoever runs the broker, as far as the window may ask it: for its settings, and to read them again."""

    def settings(self) -> list[forms.SettingRow]:
        """All settings, as they hold now."""

    def check(self) -> list[str]:
        """What would be wrong if they were read again now; in a thread."""

    async def reload(self) -> str:
        """Read them again; what has changed, in words. Raises ``ConfigError``, and nothing has."""

    def log_levels(self) -> dict[str, str]:
        """How much is logged of each topic."""

    def set_log_level(self, topic: str, level: str) -> None:
        """Log so much of a topic, of all for "", until the broker ends or its settings are read again."""
